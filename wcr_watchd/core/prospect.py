"""When a measurement meets the limit that a rule foretells: the date, with an interval, instead of yes or no.

``forecast(disk_used, 7d) > 100%`` says whether a disk is full in a week; this says when it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from wcr_watchd.core.forecast import Reach, Sample, Trend, reach, steady, trend
from wcr_watchd.core.model import Labels
from wcr_watchd.core.rhythm import DAY, WEEK
from wcr_watchd.core.thresholds import Limit
from wcr_watchd.core.units import Unit

PAST = 30 * DAY
"""Seconds of the past that are looked at, by the hour."""
LEAST = 2 * DAY
"""Seconds of it without which nothing is told: half a day says nothing of the next weeks."""
KNOWN = 0.75
"""Share of the usual hours of a day that must be known for its busiest one to be."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """When a series meets its limit; ``now`` is its newest value, ``met`` None where too little is known to tell."""

    measurement: str
    labels: Labels
    unit: Unit
    limit: float
    rises: bool
    now: float
    met: Reach | None


def prospect(limit: Limit, labels: Labels, now: float, hours: Sequence[Sample], at: float) -> Prospect:
    """When a series that is ``now`` so much meets the limit, from its mean of each hour up to ``at`` (epoch seconds).

    Of each day its busiest hour counts, and of the last week the busiest day: what has room at night is full by day.
    """
    series = limit.series
    found = Prospect(series.name, labels, series.unit, limit.value, limit.rises, now, None)
    if now >= limit.value if limit.rises else now <= limit.value:
        return replace(found, met=Reach(at, at, at))
    if not hours or hours[-1][0] - hours[0][0] < LEAST:
        return found
    days = _busiest(hours, at, limit)
    samples = days if trend(days) is not None else hours
    line = trend(samples)
    if line is None:
        return found
    return replace(found, met=_not_before(at, reach(_at_its_most(line, samples, limit), limit.value)))


def _busiest(hours: Sequence[Sample], at: float, limit: Limit) -> list[Sample]:
    """The value of each day that is nearest to the limit, counted back from ``at``; none of days with holes."""
    days: dict[int, list[float]] = {}
    for when, value in hours:
        days.setdefault(int((at - when) // DAY), []).append(value)
    enough = KNOWN * median(map(len, days.values()))
    most = max if limit.rises else min
    return [(at - back * DAY, most(days[back])) for back in sorted(days, reverse=True) if len(days[back]) >= enough]


def _at_its_most(line: Trend, samples: Sequence[Sample], limit: Limit) -> Trend:
    """The line through the value of the last week that is nearest to the limit: what a clean-up took is not in use."""
    week = [(when, value) for when, value in steady(samples) if when >= line.at - WEEK * DAY]
    most = max if limit.rises else min
    return replace(line, level=most([line.level, *(value + line.slope * (line.at - when) for when, value in week)]))


def _not_before(at: float, met: Reach) -> Reach:
    """A limit that a line has met in the past, and the value has not, may be met at any time."""
    return Reach(*(None if one is None else max(at, one) for one in (met.expected, met.earliest, met.latest)))
