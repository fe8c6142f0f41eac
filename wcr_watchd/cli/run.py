"""``wcr-watchd run``: the daemon in the foreground."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import runtime_directory
from wcr_watchd.cli.options import FAILING, FINE, config_file, config_option, exits
from wcr_watchd.daemon.in_force import read_configuration
from wcr_watchd.daemon.lifecycle import run_daemon
from wcr_watchd.kit.log import configure as configure_logging
from wcr_watchd.kit.redact import Redactor


@click.command()
@config_option
@click.option("--socket", type=click.Path(path_type=Path), help="Unix socket to listen on for commands.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Least level that is logged.",
)
@exits
def run(config: Path | None, socket: Path | None, log_level: str) -> int:
    """Run the daemon in the foreground.

    Without a configuration it discovers what stands on this host and watches that.
    """
    path = config_file(config)
    loaded = read_configuration(path)
    redactor = Redactor(loaded.secrets)
    configure_logging(log_level, redactor)
    try:
        asyncio.run(run_daemon(path, loaded, socket or runtime_directory() / "control.sock", redactor))
    except OSError as error:
        render.complain(f"cannot start: {error}; another program may use that address, or [web] listen is wrong")
        return FAILING
    except ExceptionGroup:  # a part failed and has logged why; the service manager starts the daemon again
        return FAILING
    return FINE
