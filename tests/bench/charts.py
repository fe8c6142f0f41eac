"""``python -m tests.bench.charts``: what a chart of a year and the availability of ninety days take out of the records.

A year of day rows of many checks, each with as many series as an http check has; every fifth check is asked for once.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

import click

from wcr_watchd.store.rollup import DAY, HOUR, Bucket, Rollup, encode
from wcr_watchd.store.sqlite import SqliteStore

YEAR = 365
POINTS = 1_000
PATTERNS = 8
"""Different days that are made; each check has them in an order of its own."""


Figures = dict[tuple[str, str], list[float]]
"""All values of a measure, by its name and unit."""


def measured(folder: Path, checks: int, series: int) -> Figures:
    """The figures, on a year of records that are written into ``folder`` first."""
    return asyncio.run(_measured(folder / "year.db", checks, series))


async def _measured(path: Path, checks: int, series: int) -> Figures:
    store = SqliteStore(path)
    await store.open()
    now = time.time() // 86_400 * 86_400
    await _fill(store, int(now * 1_000), checks, series)
    found = await _asked(store, now, checks)
    late: list[float] = []
    watching = asyncio.create_task(_lateness(late))
    await _asked(store, now, checks)  # once more: the look-out would count as their processor time
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await store.close()
    found["lateness of the loop during charts, p99", "ms"] = [quantiles(late, n=100)[98]]
    return found


async def _asked(store: SqliteStore, now: float, checks: int) -> Figures:
    """Ask for a year and for ninety days of every fifth check."""
    found: Figures = {}
    for number in range(1, checks + 1, 5):
        for measure, asked in (
            (
                "chart of a year",
                store.courses(f"c{number}", [("m1", ())], since=now - YEAR * 86_400, until=now, points=POINTS),
            ),
            ("availability of 90 days", store.outcomes(f"c{number}", since=now - 90 * 86_400, until=now)),
        ):
            wall, processor = time.perf_counter(), time.process_time()
            await asked
            taken = time.perf_counter() - wall, time.process_time() - processor
            for kind, seconds in zip((f"{measure}, time", f"{measure}, processor time"), taken, strict=True):
                found.setdefault((kind, "ms"), []).append(1_000 * seconds)
    return found


async def _lateness(late: list[float]) -> None:
    """How much later than asked the loop comes back to a millisecond's sleep, in milliseconds."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append(1_000 * (time.perf_counter() - began) - 1)


async def _fill(store: SqliteStore, now: int, checks: int, series: int) -> None:
    chance = random.Random(1)
    days = [encode(_day(chance, series)) for _ in range(PATTERNS)]
    database = store._database
    async with database.transaction(durable=False) as transaction:
        await transaction.run_many("add_source", [(one, f"c{one}", "here", now) for one in range(1, checks + 1)])
        await transaction.run_many("add_series", [(one, f"m{one}", "[]", now) for one in range(1, series + 1)])
    for number in range(1, YEAR + 1):
        rows = [(HOUR, now - number * DAY, one, chance.choice(days)) for one in range(1, checks + 1)]
        async with database.transaction(durable=False) as transaction:
            await transaction.run_many("keep_rollup", rows)


def _day(chance: random.Random, series: int) -> Rollup:
    day = Rollup(outcomes={hour: [60, 0, 0] for hour in range(24)})
    for identity in range(1, series + 1):
        for hour in range(24):
            bucket = Bucket(60, chance.uniform(5, 20), chance.uniform(0.01, 0.1), chance.uniform(0.5, 2))
            day.series.setdefault(identity, {})[hour] = bucket
            sketch = {chance.randrange(960, 1_000): chance.randrange(1, 12) for _ in range(8)}
            day.sketches.setdefault(identity, {})[hour] = sketch
    return day


@click.command()
@click.option("--checks", default=100, show_default=True)
@click.option("--series", default=8, show_default=True)
def main(checks: int, series: int) -> None:
    """Write the records, ask for the charts, and say how long that took."""
    with tempfile.TemporaryDirectory(prefix="watchd-charts-") as folder:
        for (measure, unit), values in measured(Path(folder), checks, series).items():
            click.echo(f"{measure}: median {median(values):.1f}, most {max(values):.1f} {unit}")


if __name__ == "__main__":
    main()
