"""``wcr-watchd drill``: rehearse an escalation, marked [DRILL], and see what arrives and who answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from wcr_watchd.cli import complete, render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import FAILING, FINE, by_option, exits, json_option, socket_option
from wcr_watchd.core.units import format_duration

LOOK_EVERY = 0.5
"""Seconds between looks at how it goes."""


@click.command()
@click.option("--policy", default="default", show_default=True, help="The escalation policy that is rehearsed.")
@click.option("--severity", type=click.Choice(["info", "warning", "critical"]), default="critical", show_default=True)
@click.option("--contact", default="", shell_complete=complete.people, help="Only this person's messages.")
@click.option("--speed", default=1.0, show_default=True, help="Times as fast: with 60, a minute takes a second.")
@click.option("--wait", default="5m", show_default=True, help="How long an answer to the last step is waited for.")
@by_option
@socket_option
@json_option
@exits
def drill(
    policy: str,
    severity: str,
    contact: str,
    speed: float,
    wait: str,
    by: str | None,
    socket: Path,
    json_: bool,
) -> int:
    """Rehearse an escalation.

    Sends its messages marked [DRILL], step by step, until somebody acknowledges the drill's number as they would an
    incident's, and reports what was accepted, by whom, in how many seconds. Ctrl-C ends it. Exit status 1 when a
    message was not accepted.
    """
    wish = {"policy": policy, "severity": severity, "contact": contact, "speed": speed, "wait": wait, "by": by}
    report = call(socket, "POST", "/drills", wish)
    number, shown = report["number"], 0
    if not json_:
        click.echo(f"drill #{number} of {policy}, {severity}: to answer it, acknowledge it (`wcr-watchd ack {number}`)")
    try:
        while True:
            report = call(socket, "GET", f"/drills/{number}")
            for told in report["messages"][shown:] if not json_ else ():
                click.echo(_told(told))
            shown = len(report["messages"])
            if report["state"] != "running":
                break
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        report = call(socket, "POST", f"/drills/{number}/stop")
    if json_:
        render.as_json(report)
    else:
        click.echo(_end(report))
    return FINE if all(told["accepted"] for told in report["messages"]) else FAILING


def _told(told: dict[str, Any]) -> str:
    who = f"{told['contact']} by {told['channel']}" if told["contact"] else told["channel"]
    step = f"after {format_duration(told['after'])}" if told["after"] else "at once"
    instead = f", in place of {told['instead']}" if told["instead"] else ""
    if told["accepted"]:
        said = f"accepted in {told['seconds']:.2f} s: {told['receipt']}"
    else:
        said = f"NOT accepted: {told['error']}"
    return f"{render.local_time(told['at'])} {step}: {who}{instead}: {said}"


def _end(report: dict[str, Any]) -> str:
    accepted = sum(told["accepted"] for told in report["messages"])
    sent = f"{accepted} of {len(report['messages'])} messages were accepted"
    if report["state"] == "acknowledged":
        took = format_duration(report["acknowledged_after"])
        return f"{sent}; {report['acknowledged_by']} acknowledged after {took}"
    return f"{sent}; " + ("nobody acknowledged" if report["state"] == "unanswered" else "it was stopped")
