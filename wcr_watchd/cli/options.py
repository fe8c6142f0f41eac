"""What all commands have in common: options, exit statuses, and how an answer or an error is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import NoDaemonError, RefusedError, default_socket
from wcr_watchd.core.errors import ConfigError, WatchdError

DEFAULT_CONFIG = Path("/etc/wcr-watchd/watchd.toml")
FINE, FAILING, WRONG, NO_DAEMON = 0, 1, 2, 3

P = ParamSpec("P")


def exits(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turn what a command returns or raises into an exit status, and errors into one clear text."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = command(*args, **kwargs)
        except ConfigError as error:
            render.problems(error.problems, bool(kwargs.get("json_")))
            status = WRONG
        except NoDaemonError as error:
            render.complain(str(error))
            status = NO_DAEMON
        except RefusedError as error:
            render.complain("\n".join(error.problems) or str(error))
            status = WRONG
        except WatchdError as error:
            render.complain(str(error))
            status = WRONG
        sys.exit(status or FINE)

    return wrapped


config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WATCHD_CONFIG",
    help=f"Configuration file (default: {DEFAULT_CONFIG}).",
)
socket_option = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=default_socket,
    show_default="the running daemon's",
    help="Unix socket of the daemon.",
)
by_option = click.option("--by", help="Who says so (default: you).")
json_option = click.option("--json", "json_", is_flag=True, help="Print JSON for programs.")


def done(answer: dict[str, Any], json_: bool) -> None:
    """Say what the daemon answered to a command."""
    if json_:
        render.as_json(answer)
    else:
        click.echo(answer["done"])


def config_file(config: Path | None) -> Path | None:
    """The configuration file; None where there is none and what stands on this host is discovered."""
    return config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
