"""``wcr-watchd on-call``: who is on call."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlencode

import click

from wcr_watchd.cli import render
from wcr_watchd.cli.client import call
from wcr_watchd.cli.options import exits, json_option, socket_option
from wcr_watchd.cli.times import duration, moment
from wcr_watchd.web import shapes


@click.command("on-call")
@click.option("--at", metavar="TIME", help="From this time on: 2026-12-24T18:00 (of this machine), or with an offset.")
@click.option("--next", "ahead", default="7d", show_default=True, help="So far ahead.")
@click.option("--config", "-c", type=click.Path(path_type=Path, dir_okay=False), help="By this file, without a daemon.")
@socket_option
@json_option
@exits
def on_call(at: str | None, ahead: str, config: Path | None, socket: Path, json_: bool) -> None:
    """Who is on call, now and in the next days."""
    start = moment(at) if at else time.time()
    until = start + duration(ahead)
    if config:
        # Only here is a configuration read, and what reads it takes a second to import.
        from wcr_watchd.config import load as loading  # noqa: PLC0415

        schedules = loading.load(config).setup.on_call.values()
        rows = [shapes.on_call(schedule, time.time(), start, until) for schedule in schedules]
    else:
        rows = call(socket, "GET", f"/on-call?{urlencode({'from': start, 'until': until})}")["schedules"]
    if json_:
        render.as_json(rows)
    else:
        render.on_call(rows)
