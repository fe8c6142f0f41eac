"""``python -m tests.bench.reports``: how long a monthly report over many checks takes, on generated records."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from pydantic import TypeAdapter

from tests.bench.replay import generate
from wcr_watchd.core.report import Audience, Document, ReportKind, Subject, Wanted
from wcr_watchd.runtime import reports

DAY = 86_400.0
DAYS = 30
TICK = 0.01
"""Seconds between probes."""
QUIET = 5.0
"""Seconds for which they are looked at without a report."""
HOUR = 3_600_000
"""The width of the buckets in the row of a day (ms)."""


@click.command()
@click.option("--checks", default=500, show_default=True)
@click.option("--earlier", default=0, show_default=True, help="Months before it of which there are records as well.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for the records, kept for the next time.")
def main(checks: int, earlier: int, keep: Path | None) -> None:
    """Generate records of a month unless they are there, write its report, and say how long that took."""
    folder = keep or Path(tempfile.mkdtemp(prefix="watchd-report-"))
    folder.mkdir(exist_ok=True)
    database = folder / f"{DAYS}-{checks}-{earlier}.db"
    if not database.exists():
        generate(database, DAYS, checks, calm=False)
        _repeat(database, earlier)
    wanted = TypeAdapter(Wanted).dump_json(_wanted(database))
    took, processor = [], []
    for _ in range(3):
        began, before = time.monotonic(), _children()
        done = subprocess.run(
            [sys.executable, "-m", "wcr_watchd.reports"], input=wanted, capture_output=True, check=True
        )
        took.append(time.monotonic() - began)
        processor.append(_children() - before)
    document = TypeAdapter(Document).validate_json(done.stdout)
    click.echo(f"{document.title}: {document.summary}")
    click.echo(
        f"{checks} checks, {DAYS} days: {min(took):.2f} s at best, {sorted(took)[1]:.2f} s in the middle of three; "
        f"processor time {min(processor):.2f} s at best, {sorted(processor)[1]:.2f} s in the middle"
    )
    quiet, beside = asyncio.run(_lateness(_wanted(database)))
    click.echo(
        f"a probe that is due every {TICK * 1000:.0f} ms began late by {_worst(quiet)} while nothing was written, "
        f"by {_worst(beside)} while a daemon wrote the report"
    )


async def _lateness(wanted: Wanted) -> tuple[list[float], list[float]]:
    """By how many seconds probes began late: for some seconds without a report, and while one is written.

    All in one loop, as a daemon has it: what it does itself for a report delays its probes as well.
    """
    late: list[float] = []
    ticking = asyncio.create_task(_tick(late))
    await asyncio.sleep(QUIET)
    quiet, begun = list(late), len(late)
    await reports._written(wanted)
    ticking.cancel()
    return quiet, late[begun:]


async def _tick(late: list[float]) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:  # a clock is waited for, not an event
        due += TICK
        await asyncio.sleep(max(0.0, due - loop.time()))
        late.append(loop.time() - due)
        due = max(due, loop.time() - TICK)


def _worst(late: list[float]) -> str:
    found = sorted(late)
    return f"{found[int(0.99 * len(found))] * 1000:.1f} ms in 99 of 100, {found[-1] * 1000:.1f} ms at worst"


def _repeat(database: Path, months: int) -> None:
    """The days once more for each earlier month, rolled up only, as retention leaves them."""
    with sqlite3.connect(database) as connection:
        [[first]] = connection.execute("SELECT min(start) FROM rollup WHERE width = ?", (HOUR,))
        for number in range(1, months + 1):
            connection.execute(
                "INSERT INTO rollup SELECT width, start - ?, source_id, body"
                " FROM rollup WHERE width = ? AND start >= ?",
                (int(number * DAYS * DAY * 1000), HOUR, first),
            )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wanted(database: Path) -> Wanted:
    connection = sqlite3.connect(database)
    names = [row[0] for row in connection.execute("SELECT check_name FROM source")]
    [[last]] = connection.execute("SELECT max(start) FROM rollup WHERE width = ?", (HOUR,))
    connection.close()
    since = last / 1000 - (DAYS - 1) * DAY
    measures = (("response_time", "seconds"), ("body_size", "bytes"))
    return Wanted(
        name="monthly",
        kind=ReportKind.MONTHLY,
        audience=Audience.TEAM,
        watchd="bench",
        location="here",
        timezone="UTC",
        url="",
        store=str(database),
        now=since + DAYS * DAY,
        before=since - DAYS * DAY,
        since=since,
        until=since + DAYS * DAY,
        subjects=tuple(
            Subject(name, "http", f"group {number % 7}", (), "", "", 60.0, (), measures)
            for number, name in enumerate(names)
        ),
    )


if __name__ == "__main__":
    main()
