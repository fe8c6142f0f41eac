"""Commands with which somebody handles an incident."""

from __future__ import annotations

from pathlib import Path

import click

from wcr_watchd.cli import complete
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import by_option, done, exits, json_option, socket_option


@click.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@by_option
@click.option("--for", "for_", help="Only for so long (2h); then it is told again.")
@click.option("--sticky", is_flag=True, help="Also when it gets worse.")
@socket_option
@json_option
@exits
def ack(number: int, by: str | None, for_: str | None, sticky: bool, socket: Path, json_: bool) -> None:
    """Take an incident, so that reminders stop.

    Escalation stops as well, until it is over or gets worse; whoever was told learns who has it. NUMBER is the
    incident's, without the #.
    """
    body = {"by": by, "for": for_, "sticky": sticky}
    done(call(socket, "POST", f"/incidents/{number}/acknowledge", body), json_)


@click.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@by_option
@socket_option
@json_option
@exits
def resolve(number: int, by: str | None, socket: Path, json_: bool) -> None:
    """End an incident by hand.

    It goes on if its check still fails. NUMBER is the incident's, without the #.
    """
    done(call(socket, "POST", f"/incidents/{number}/resolve", {"by": by}), json_)


@click.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@click.argument("text", nargs=-1, required=True)
@by_option
@socket_option
@json_option
@exits
def note(number: int, text: tuple[str, ...], by: str | None, socket: Path, json_: bool) -> None:
    """Add a line to an incident's timeline."""
    done(call(socket, "POST", f"/incidents/{number}/notes", {"by": by, "text": " ".join(text)}), json_)


@click.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@click.argument("owner", default="")
@by_option
@socket_option
@json_option
@exits
def assign(number: int, owner: str, by: str | None, socket: Path, json_: bool) -> None:
    """Say who works on an incident.

    Without OWNER: nobody. NUMBER is the incident's, without the #.
    """
    done(call(socket, "POST", f"/incidents/{number}/owner", {"by": by, "owner": owner}), json_)
