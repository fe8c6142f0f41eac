"""Commands about access: links that sign in."""

from __future__ import annotations

from pathlib import Path

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import exits, json_option, socket_option
from wcr_watchd.core.units import format_duration


@click.command("sign-in-link")
@socket_option
@json_option
@exits
def sign_in_link(socket: Path, json_: bool) -> None:
    """Print a link that signs a browser in once.

    For the first visit, and whenever no other way in is left. Whoever opens it within a quarter of an hour is an admin
    under your name.
    """
    made = call(socket, "POST", "/sign-in-links")
    if json_:
        render.as_json(made)
    else:
        click.echo(made["url"])
        render.complain(f"it works once, within {format_duration(made['lasts'])}")
