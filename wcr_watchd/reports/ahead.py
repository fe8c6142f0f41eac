"""What comes of what grows: how much it will be in three months, and when it meets its limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from wcr_watchd.core.drift import drift
from wcr_watchd.core.forecast import Ahead, Reach, trend
from wcr_watchd.core.model import Labels
from wcr_watchd.core.prospect import Day, comes_and_goes, extremes, meets
from wcr_watchd.core.report import Limit, Subject
from wcr_watchd.core.units import Unit
from wcr_watchd.reports.months import Growth
from wcr_watchd.store.rollup import DAY, Bucket
from wcr_watchd.store.totals import DayBucket, Totals

FULL = 1.0
"""Where a share ends."""
LOOK_BACK = 92 * 86_400.0
"""Seconds of the past that are read: a quarter, also for the report of a week. Flows and costs need all of them."""
HORIZON = 91 * 86_400.0
"""Seconds until the value that is foretold: three months."""
FEWEST_WHOLE = 4
"""Days that must be known to tell of the first and the last whether they are whole."""
USUAL = 0.9
"""Share of the values of other days from which on a day is whole."""
FEWEST_DAYS = 21 * 86_400.0
"""Seconds that must be known for that: days say nothing of months."""

Days = Sequence[tuple[float, float]]
"""Values by time (epoch seconds), in order: one for each day."""
Courses = Mapping[str, Mapping[int, Mapping[int, DayBucket]]]
"""By check and number of the series the values of each day, by the start of the (UTC) day in ms."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes of a resource: how much it will be, and when it meets its ``limit`` (None: there is none).

    ``now`` is its newest day's busiest hour; ``ahead`` and ``met`` are None where too little is known to tell. What
    ``comes_and_goes`` will be so much on average, and meets its limit at its busiest hour.
    """

    growth: Growth
    now: float
    ahead: Ahead | None
    limit: float | None
    met: Reach | None
    comes_and_goes: bool = False


def joined(parts: Iterable[Mapping[str, Totals]]) -> Courses:
    """The days of several spans of time; a day that two of them share a part of is one."""
    found: dict[str, dict[int, dict[int, DayBucket]]] = {}
    for part in parts:
        for check, totals in part.items():
            for number, days in totals.daily.items():
                course = found.setdefault(check, {}).setdefault(number, {})
                for day, bucket in days.items():
                    course.setdefault(day, DayBucket()).join(bucket)
    return found


def whole(course: Mapping[int, DayBucket]) -> Mapping[int, DayBucket]:
    """Without a first and a last day of which only some hours are known: what comes and goes would seem to jump.

    Days are those of UTC, and a report of New York begins and ends five hours into one.
    """
    if len(course) < FEWEST_WHOLE:
        return course
    ends = (min(course), max(course))
    usual = median(bucket.count for day, bucket in course.items() if day not in ends)
    return {day: bucket for day, bucket in course.items() if day not in ends or bucket.count >= USUAL * usual}


def means(course: Mapping[int, Bucket], until: float) -> list[tuple[float, float]]:
    """The means of days in the middle of each, as far as they are over by ``until`` (epoch seconds)."""
    return [((day / 1000 + min((day + DAY) / 1000, until)) / 2, bucket.mean) for day, bucket in sorted(course.items())]


def days_of(course: Mapping[int, DayBucket], until: float) -> list[Day]:
    """The days of a resource, each up to its end, as far as they are over by ``until`` (epoch seconds)."""
    return [
        Day(min((day + DAY) / 1000, until), bucket.count, bucket.mean, bucket.quietest, bucket.busiest)
        for day, bucket in sorted(course.items())
    ]


def full(course: Mapping[int, DayBucket], until: float) -> Reach | None:
    """When a share is full; None when too little is known to tell."""
    days = days_of(course, until)
    return meets(FULL, days[-1].busiest, days, until) if days else None


def highest(limits: Iterable[Limit], name: str, labels: Labels) -> float | None:
    """The highest value that rules hold a measurement against from below: what should never be."""
    known = [one.value for one in limits if one.measurement == name and one.symbol[0] == ">" and one.is_of(labels)]
    return max(known, default=None)


def forecast(growth: Growth, subject: Subject, course: Mapping[int, DayBucket], until: float) -> Forecast:
    """What comes of a resource after ``until`` (epoch seconds), from its days before."""
    is_share = growth.unit == Unit.RATIO
    limit = FULL if is_share else highest(subject.limits, growth.name, growth.labels)
    days = days_of(course, until)
    is_flow = comes_and_goes(days, until)
    now = days[-1].busiest if days else growth.mean
    met = meets(limit, now, days, until) if limit is not None else None
    return Forecast(growth, now, _in_three_months(course, days, until, is_share, is_flow), limit, met, is_flow)


def _in_three_months(
    course: Mapping[int, DayBucket], days: Sequence[Day], until: float, is_share: bool, is_flow: bool
) -> Ahead | None:
    """What is kept goes along the line that says when it meets its limit; what flows does by its weeks."""
    if not days or days[-1].at - days[0].at < FEWEST_DAYS:
        return None
    line = drift(means(whole(course), until)) if is_flow else trend(extremes(days, until))
    if line is None:
        return None
    found = line.ahead(until + HORIZON)
    expected, low, high = (_within(value, is_share) for value in (found.expected, found.low, found.high))
    return Ahead(found.at, expected, low, high)


def _within(value: float, is_share: bool) -> float:
    return min(max(0.0, value), FULL) if is_share else max(0.0, value)
