"""Commands about the configuration: what is wrong with it, what it could be, and its schema."""

from __future__ import annotations

import time
from collections.abc import Collection, Sized
from pathlib import Path

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.options import DEFAULT_CONFIG, config_option, exits, json_option
from wcr_watchd.config import discover as discovery
from wcr_watchd.config import load as loading
from wcr_watchd.config import schema as schemas
from wcr_watchd.config import show as showing
from wcr_watchd.config.faults import did_you_mean
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.warnings import warnings

MOST_NAMED = 20
"""Checks that are all named to somebody who named one that does not exist."""


@click.command("check-config")
@config_option
@click.option(
    "--show",
    metavar="NAME",
    shell_complete=complete.checks,
    help="Print the effective settings of one check and where each comes from.",
)
@json_option
@exits
def check_config(config: Path | None, show: str | None, json_: bool) -> None:
    """Say what is wrong with the configuration.

    Prints every mistake at once, with its file and line and what would be right; exit status 2 when there is one.
    """
    path = config or DEFAULT_CONFIG
    loaded = loading.load(path)
    if show:
        _show_check(loaded, show, json_)
        return
    warned = [str(one) for one in warnings(loaded, time.time())]
    summary = {"file": str(path), "checks": len(loaded.setup.checks), "channels": len(loaded.setup.channels)}
    if json_:
        render.as_json(summary | {"warnings": warned})
    else:
        for warning in warned:
            render.complain(f"warning: {warning}")
        checks, channels = _counted(loaded.setup.checks, "check"), _counted(loaded.setup.channels, "channel")
        click.echo(f"{path}: fine; {checks}, {channels}")


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def _show_check(loaded: Loaded, name: str, json_: bool) -> None:
    must_exist((name,), loaded.every_check.checks)
    settings = showing.effective(loaded, name)
    if json_:
        render.as_json(settings)
    else:
        click.echo(showing.as_toml(settings))


@click.command()
@exits
def init() -> None:
    """Print a configuration for this host.

    Discovers what stands here (disks, listening servers, certificates, services) and prints a commented file (TOML):
    ``wcr-watchd init > watchd.toml``.
    """
    click.echo(discovery.render(discovery.discover()), nl=False)


@click.command()
@exits
def schema() -> None:
    """Print the configuration's JSON Schema.

    With it editors complete and check the file.
    """
    render.as_json(schemas.json_schema())


def must_exist(names: tuple[str, ...], checks: Collection[str]) -> None:
    """What is wrong with a name is wrong usage; with many checks only the one that was meant is named."""
    for name in names:
        if name not in checks:
            hint = did_you_mean(name, checks)
            if not hint.startswith("did") and len(checks) > MOST_NAMED:
                hint = f"there are {len(checks)}"
            raise click.UsageError(f"no check named {name!r} ({hint or 'there is none'})")
