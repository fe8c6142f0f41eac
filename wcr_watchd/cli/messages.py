"""Commands about messages: how one would look, and those that could not be delivered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import by_option, config_file, config_option, done, exits, json_option, socket_option
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


@click.group("dead-letters", invoke_without_command=True)
@click.pass_context
@socket_option
@json_option
def dead_letters(context: click.Context, socket: Path, json_: bool) -> None:
    """Messages that could not be delivered.

    Without a command: which, why, and how often each was tried.
    """
    context.obj = socket
    if context.invoked_subcommand is None:
        _list(socket, json_)


@exits
def _list(socket: Path, json_: bool) -> None:
    rows = call(socket, "GET", "/dead-letters")["dead_letters"]
    if json_:
        render.as_json(rows)
    else:
        render.dead_letters(rows)


ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
all_option = click.option("--all", "all_", is_flag=True, help="All that are on the list.")


@dead_letters.command()
@ids_argument
@all_option
@json_option
@click.pass_obj
@exits
def resend(socket: Path, ids: tuple[str, ...], all_: bool, json_: bool) -> None:
    """Send messages again, under the same key, so that nobody is told twice of what was taken after all."""
    done(call(socket, "POST", "/dead-letters/resend", _chosen(ids, all_)), json_)


@dead_letters.command()
@ids_argument
@all_option
@by_option
@json_option
@click.pass_obj
@exits
def discard(socket: Path, ids: tuple[str, ...], all_: bool, by: str | None, json_: bool) -> None:
    """Take messages off the list that need not be told any more."""
    body = _chosen(ids, all_) | ({"by": by} if by else {})
    done(call(socket, "POST", "/dead-letters/discard", body), json_)


def _chosen(ids: tuple[str, ...], all_: bool) -> dict[str, Any]:
    if bool(ids) == all_:
        raise click.UsageError("say which: an ID or several, or --all")
    return {"all": True} if all_ else {"ids": list(ids)}
