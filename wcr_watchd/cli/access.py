"""Commands about access: links that sign in, hashes of passwords, and who did what."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlencode

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import exits, json_option, socket_option
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, hash_of


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


@click.group("user")
def user() -> None:
    """People who sign in with a password."""


@user.command("hash")
@exits
def hash_password() -> None:
    """Print the hash of a password, for ``[user.NAME]``.

    Asks for the password twice without showing it; reads one line where it is not asked at a terminal.
    """
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise click.UsageError(f"a password has at least {SHORTEST_PASSWORD} characters; several words do well")
    click.echo(hash_of(password))


@click.command("audit")
@click.option("--who", default="", help="Only what this person did.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="So many entries.")
@socket_option
@json_option
@exits
def audit(who: str, limit: int, socket: Path, json_: bool) -> None:
    """Who did what, newest first: actions, and who signed in or tried to."""
    rows = call(socket, "GET", f"/audit?{urlencode({'who': who, 'limit': limit})}")["entries"]
    if json_:
        render.as_json(rows)
    else:
        render.audit(rows)
