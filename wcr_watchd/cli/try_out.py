"""Commands that ask the daemon to try something now: a message over a channel, a look that is then taken as right."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import FAILING, FINE, by_option, done, exits, json_option, socket_option


@click.command("notify-test")
@click.argument("channel", shell_complete=complete.channels)
@click.argument("who", required=False, default="", shell_complete=complete.people)
@socket_option
@json_option
@exits
def notify_test(channel: str, who: str, socket: Path, json_: bool) -> None:
    """Send a test message over CHANNEL.

    WHO is a contact or an on-call schedule, where the channel needs one.
    """
    done(call(socket, "POST", f"/channels/{quote(channel, safe='')}/test", {"who": who}), json_)


@click.command()
@click.argument("check", shell_complete=complete.checks)
@by_option
@socket_option
@json_option
@exits
def accept(check: str, by: str | None, socket: Path, json_: bool) -> int:
    """Take what a check finds now as being right.

    For checks that say what is new or changed since somebody last accepted it: files (integrity), accounts, open ports.
    Exit status 1 when the daemon could not look.
    """
    seen = call(socket, "POST", f"/checks/{quote(check, safe='')}/accept", {"by": by})
    if json_:
        render.as_json(seen)
    else:
        click.echo(seen["summary"])
    return FAILING if seen["outcome"] != "up" else FINE
