"""What comes of what grows: how much it will be in three months, and when it meets its limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wcr_watchd.core.drift import drift
from wcr_watchd.core.forecast import Reach, Trend, reach, trend
from wcr_watchd.core.model import Labels
from wcr_watchd.core.report import Limit, Subject
from wcr_watchd.core.units import Unit
from wcr_watchd.reports.months import Growth
from wcr_watchd.store.rollup import DAY, Bucket
from wcr_watchd.store.totals import Totals

FULL = 1.0
"""Where a share ends."""
LOOK_BACK = 92 * 86_400.0
"""Seconds of the past that a forecast follows: a quarter, also in the report of a week."""
HORIZON = 91 * 86_400.0
"""Seconds until the value that is foretold: three months."""
RECENT = 60 * 86_400.0
"""Seconds of it for what is kept (disks, databases, backups): of two months the date is nearer than of three."""
FEWEST_DAYS = 21 * 86_400.0
"""Seconds that must be known for that: days say nothing of months."""
FLOWS = frozenset({"network_sent", "network_received", "requests", "cpu_used", "connections_used"})
"""What goes up and down with the week and is not kept: its days are noise."""

Days = Sequence[tuple[float, float]]
"""Values by time (epoch seconds), in order: one for each day."""
Courses = Mapping[str, Mapping[int, Mapping[int, Bucket]]]
"""By check and number of the series the values of each day, by the start of the (UTC) day in ms."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What something will be ``at`` a time (epoch seconds), between ``low`` and ``high`` at 95 %."""

    at: float
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prospect:
    """How much of a resource is in use ``now``, and what comes of it.

    ``ahead`` is None where too little is known to tell; ``met`` is when it meets ``limit``, None: not at this growth.
    """

    growth: Growth
    now: float
    ahead: Ahead | None
    limit: float | None
    met: Reach | None


def joined(parts: Iterable[Mapping[str, Totals]]) -> Courses:
    """The days of several spans of time; a day that two of them share a part of is one."""
    found: dict[str, dict[int, dict[int, Bucket]]] = {}
    for part in parts:
        for check, totals in part.items():
            for number, days in totals.daily.items():
                course = found.setdefault(check, {}).setdefault(number, {})
                for day, bucket in days.items():
                    course.setdefault(day, Bucket()).merge(bucket)
    return found


def means(course: Mapping[int, Bucket], until: float) -> list[tuple[float, float]]:
    """The means of days in the middle of each, as far as they are over by ``until`` (epoch seconds)."""
    return [((day / 1000 + min((day + DAY) / 1000, until)) / 2, bucket.mean) for day, bucket in sorted(course.items())]


def line(name: str, days: Days) -> Trend | None:
    """Where a measurement of that name is heading; None when its days are too few to tell."""
    flow = drift(days) if name in FLOWS else None
    return flow or trend([one for one in days if one[0] >= days[-1][0] - RECENT])


def full(name: str, days: Days) -> Reach | None:
    """When a share is full; None when it does not grow."""
    found = line(name, days)
    return reach(found, FULL) if found is not None and found.slope > 0 else None


def highest(limits: Iterable[Limit], name: str, labels: Labels) -> float | None:
    """The highest value that rules hold a measurement against from below: what should never be."""
    known = [one.value for one in limits if one.measurement == name and one.symbol[0] == ">" and one.is_of(labels)]
    return max(known, default=None)


def prospect(growth: Growth, subject: Subject, days: Days, until: float) -> Prospect:
    """What comes of a resource after ``until`` (epoch seconds), from its days before."""
    is_share = growth.unit == Unit.RATIO
    limit = FULL if is_share else highest(subject.limits, growth.name, growth.labels)
    found = line(growth.name, days)
    if found is None:
        return Prospect(growth, growth.mean, None, limit, None)
    ahead = None
    if days[-1][0] - days[0][0] >= FEWEST_DAYS:
        at = until + HORIZON
        expected, low, high = (_within(value, is_share) for value in values(found, at))
        ahead = Ahead(at, expected, low, high)
    return Prospect(growth, found.level, ahead, limit, _met(found, limit, until))


def _met(found: Trend, limit: float | None, until: float) -> Reach | None:
    if limit is None or (found.slope <= 0 and found.level < limit):
        return None
    return Reach(until, until, until) if found.level >= limit else reach(found, limit)


def values(found: Trend, at: float) -> tuple[float, float, float]:
    """What is expected then, the least and the most."""
    length = at - found.at
    return found.value(at), found.level + found.low * length, found.level + found.high * length


def _within(value: float, is_share: bool) -> float:
    return min(max(0.0, value), FULL) if is_share else max(0.0, value)
