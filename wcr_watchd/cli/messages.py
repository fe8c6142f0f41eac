"""``wcr-watchd render``: how a message would look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.options import config_file, config_option, exits, json_option
from wcr_watchd.config.faults import did_you_mean
from wcr_watchd.core.model import EventKind, Severity
from wcr_watchd.core.wording import made_up
from wcr_watchd.daemon.in_force import read_configuration
from wcr_watchd.kit.redact import Redactor

SEVERITIES = [severity.word for severity in (Severity.CRITICAL, Severity.WARNING, Severity.INFO)]


@click.command("render")
@click.argument("channel", shell_complete=complete.channels)
@click.option("--check", shell_complete=complete.checks, help="As if this check had a problem; else a made-up one.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="critical", show_default=True)
@click.option("--event", type=click.Choice([kind.value for kind in EventKind]), default="opened", show_default=True)
@config_option
@json_option
@exits
def render_message(
    channel: str, check: str | None, severity: str, event: str, config: Path | None, json_: bool
) -> None:
    """Print a message as it would look on CHANNEL, in its own words if it has some; nothing is sent."""
    loaded = read_configuration(config_file(config))
    for kind, name, known in (("channel", channel, loaded.channels), ("check", check, loaded.setup.checks)):
        if name is not None and name not in known:
            raise click.UsageError(f"no {kind} named {name!r}; {did_you_mean(name, known) or 'none is configured'}")
    message = made_up(loaded.setup, check, EventKind(event), Severity.of(severity))
    wording = loaded.wordings.get(channel)
    parts = loaded.channels[channel].render(wording.of(message) if wording else message)
    redact = Redactor(loaded.secrets).text
    shown = {name: redact(part) for name, part in parts.items()}
    if json_:
        render.as_json(shown)
    else:
        _print_parts(shown)


def _print_parts(parts: Mapping[str, str]) -> None:
    """Each part under its name, JSON so that it can be read."""
    for name, part in parts.items():
        if len(parts) > 1:
            click.secho(f"--- {name}", bold=True)
        click.echo(_readable(part))


def _readable(part: str) -> str:
    try:
        document = json.loads(part) if part.startswith(("{", "[")) else None
    except ValueError:
        document = None
    return part.rstrip() if document is None else json.dumps(document, indent=2, ensure_ascii=False)
