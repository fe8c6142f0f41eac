"""``wcr-watchd contact``: who was verified when, and saying that somebody is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click
from rich.markup import escape

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import FAILING, FINE, by_option, done, exits, json_option, socket_option

OVERDUE = frozenset({"due", "overdue"})


@click.group()
def contact() -> None:
    """People who are told, and that they can still be reached."""


@contact.command("list")
@socket_option
@json_option
@exits
def contact_list(socket: Path, json_: bool) -> int:
    """All contacts, and when each was verified last.

    Exit status 1 when one is to be verified by now.
    """
    rows = call(socket, "GET", "/contacts")["contacts"]
    if json_:
        render.as_json(rows)
    else:
        render.table(
            {
                "CONTACT": [escape(row["name"]) for row in rows],
                "BY": [", ".join(row["addresses"]) for row in rows],
                "STATE": [row["state"] or "not asked for" for row in rows],
                "VERIFIED": [render.local_time(row["verified_at"]) if row["verified_at"] else "never" for row in rows],
                "SAID": [escape(" ".join(filter(None, (row["verified_by"], row["note"])))) for row in rows],
                "DUE": [render.local_time(row["due"]) if row["due"] else "" for row in rows],
            }
        )
    return FAILING if any(row["state"] in OVERDUE for row in rows) else FINE


@contact.command("verified")
@click.argument("name", shell_complete=complete.people)
@click.option("--note", default="", help="How they were reached, what changed.")
@by_option
@socket_option
@json_option
@exits
def contact_verified(name: str, note: str, by: str | None, socket: Path, json_: bool) -> None:
    """Say that NAME was reached by each of their ways, and answered."""
    body = {"by": by, "note": note}
    done(call(socket, "POST", f"/contacts/{quote(name, safe='')}/verified", body), json_)
