"""The recorded series of ``tests/bench/recorded``, see README.md there."""

from __future__ import annotations

import csv
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import mean

FOLDER = Path(__file__).parent / "recorded"
SECONDS = {"second": 1.0, "hour": 3_600.0, "day": 86_400.0}
DAY, HOUR = 86_400.0, 3_600.0
Series = list[tuple[float, float]]


@cache
def recorded(name: str, column: int = 1) -> Series:
    """A recorded series: seconds since the midnight it begins after, and what was measured."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    unit = SECONDS[head[0]]
    return [(float(row[0]) * unit, float(row[column])) for row in rows]


@cache
def grown(name: str) -> Series:
    """How much has come of it by then: rows of a table, bytes of a log, money spent."""
    series = recorded(name)
    return list(zip((at for at, _ in series), accumulate(value for _, value in series), strict=True))


def growing(name: str, share: float) -> Series:
    """A recorded series that becomes more by such a share of itself in a quarter, evenly: ever more use a service."""
    return [(at, value * (1 + share * at / (92 * DAY))) for at, value in recorded(name)]


def daily(series: Series) -> Series:
    """The means of the days, at noon, as a report has them."""
    days: dict[float, list[float]] = {}
    for at, value in series:
        days.setdefault(at // DAY, []).append(value)
    return [(day * DAY + DAY / 2, mean(values)) for day, values in sorted(days.items())]
