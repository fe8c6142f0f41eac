"""``wcr-watchd why`` and ``wcr-watchd policy test``: who was told and why, and who would be."""

from __future__ import annotations

import time
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.markup import escape

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import exits, json_option, socket_option
from wcr_watchd.cli.times import duration, moment
from wcr_watchd.core.model import Severity
from wcr_watchd.core.outlook import outlook
from wcr_watchd.core.units import format_duration
from wcr_watchd.web import reasons

Json = dict[str, Any]


@click.command()
@click.argument("number", type=int, shell_complete=complete.open_incidents)
@click.argument("contact", default="", shell_complete=complete.people)
@socket_option
@json_option
@exits
def why(number: int, contact: str, socket: Path, json_: bool) -> None:
    """Why somebody was, or was not, told.

    Step by step, of incident NUMBER; of CONTACT alone where one is named.
    """
    found = call(socket, "GET", f"/incidents/{number}/why" + (f"?contact={quote(contact)}" if contact else ""))
    if json_:
        render.as_json(found)
        return
    click.echo(found["answer"])
    for step in found["steps"]:
        click.echo(f"\n{render.local_time(step['at'])} {step['event']}, {step['severity']}: {step['reason']}")
        for told in step["told"]:
            click.echo(f"  {told['sentence']}")
        if step["not_told"]:
            click.echo(f"  {contact} was not told: {step['not_told']}")


@click.group()
def policy() -> None:
    """Who is told by the escalation policies."""


@policy.command("test")
@click.option("--check", required=True, shell_complete=complete.checks, help="An incident of this check.")
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), default="critical", show_default=True)
@click.option("--at", metavar="TIME", help="When it would begin: 2026-12-24T18:00; default: now.")
@click.option("--for", "for_", default="1d", show_default=True, help="How long it would last.")
@click.option("--config", "-c", type=click.Path(path_type=Path, dir_okay=False), help="By this file, without a daemon.")
@socket_option
@json_option
@exits
def policy_test(
    check: str, severity: str, at: str | None, for_: str, config: Path | None, socket: Path, json_: bool
) -> None:
    """Who would be told, by what, when, until when.

    Nobody is told: the incident is thought through, with whoever is on call at each moment, quiet hours and windows.
    """
    start, lasts = moment(at) if at else time.time(), duration(for_)
    if config:
        # Only here is a configuration read, and what reads it takes a second to import.
        from wcr_watchd.config import load as loading  # noqa: PLC0415

        setup = loading.load(config).setup
        if check not in setup.checks:
            raise click.UsageError(f"no check named {check!r} in {config}")
        told = outlook(setup, setup.checks[check], Severity.of(severity), start, start + lasts)
        found = reasons.outlook_json(told, check, severity)
    else:
        query = urlencode({"check": check, "severity": severity, "at": start, "for": for_})
        found = call(socket, "GET", f"/policy/test?{query}")
    if json_:
        render.as_json(found)
    else:
        _show(found)


def _show(found: Json) -> None:
    rows = [_row(list(group)) for _, group in groupby(found["steps"], key=_alike)]
    columns = ("WHEN", "AFTER", "EVENT", "SEVERITY", "TOLD", "WHY")
    render.table({heading: [row[heading] for row in rows] for heading in columns})
    click.echo(found["afterwards"])


def _alike(step: Json) -> Any:
    """Reminders to the same people come together in one line; nothing else does."""
    told = sorted((one["channel"], one["contact"], one["because"]) for one in step["told"])
    return (told, step["severity"], step["reason"]) if step["event"] == "reminded" else step["at"]


def _row(steps: list[Json]) -> dict[str, str]:
    first, last = steps[0], steps[-1]
    more = f", {len(steps)} times until {render.local_time(last['at'])}" if len(steps) > 1 else ""
    told = ", ".join(_told(one) for one in first["told"]) or "nobody"
    return {
        "WHEN": render.local_time(first["at"]),
        "AFTER": format_duration(first["after"]) if first["after"] else "at once",
        "EVENT": first["event"],
        "SEVERITY": first["severity"],
        "TOLD": escape(told),
        "WHY": escape(first["reason"] + more),
    }


def _told(one: Json) -> str:
    who = ":".join(filter(None, (one["channel"], one["contact"])))
    waits = f" not before {render.local_time(one['not_before'])} ({one['because']})" if one["not_before"] else ""
    instead = f" (else {', '.join(one['fallbacks'])})" if one["fallbacks"] else ""
    return who + waits + instead
