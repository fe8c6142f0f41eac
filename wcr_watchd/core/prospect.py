"""When a measurement meets a limit: the date, with an interval, by the busiest hours of the last thirty days.

``forecast(disk_used, 7d) > 100%`` says whether a disk is full in a week; this says when it is. The page of a check, the
API, the command line and the reports all ask here, so that no two of them can tell different dates.

Of each day its busiest hour counts: what has room at night is full by day. What fills up (a disk) goes on along the
line through these. What went again for the most part (connections, with each weekend) meets a limit when it is at its
highest: there the line goes through the highest of each seven days, and begins at the highest of all. All that is
scored on recorded series, against the means of days, by ``tests/bench/forecasts.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from wcr_watchd.core.forecast import Reach, Sample, Trend, reach, steady, trend
from wcr_watchd.core.model import Labels
from wcr_watchd.core.rhythm import DAY, WEEK, is_flow, returns
from wcr_watchd.core.spending import Bill, Month, quota, spending, this_month
from wcr_watchd.core.thresholds import Limit
from wcr_watchd.core.units import Unit

PAST = 30 * DAY
"""Seconds of the past that a line goes through."""
WEEKS_PAST = PAST + (WEEK - 1) * DAY
"""And one through the highest of each seven days: so much of the past must be given."""
LEAST = 2 * DAY
"""Seconds of it without which nothing is told: half a day says nothing of the next weeks."""
KNOWN = 0.75
"""Share of what is usually measured in a day that must be for its busiest hour to be known."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a series up to ``at`` (epoch seconds): its mean, and the means of its quietest and busiest hour.

    ``known`` is how much was measured in it, in whatever is the same for all days of a series.
    """

    at: float
    known: float
    mean: float
    quietest: float
    busiest: float


@dataclass(frozen=True, slots=True)
class Prospect:
    """When a series meets its limit; ``now`` is its newest value, ``met`` None where too little is known to tell.

    What ``begins_again`` at nothing with the next month (epoch seconds) meets it before, or not at this growth.
    """

    measurement: str
    labels: Labels
    unit: Unit
    limit: float
    rises: bool
    now: float
    met: Reach | None
    begins_again: float | None = None


@dataclass(frozen=True, slots=True)
class Monthly:
    """What tells whether a series begins again every month: of each day the highest value (of what falls the lowest).

    Of a cost that is known sooner.
    """

    days: Sequence[Sample]
    bill: Bill
    is_cost: bool


def prospect(
    limit: Limit, labels: Labels, now: float, hours: Sequence[Sample], at: float, monthly: Monthly | None = None
) -> Prospect:
    """When a series that is ``now`` so much meets the limit, from its means of the hours up to ``at``."""
    series, rises = limit.series, limit.rises
    found = Prospect(series.name, labels, series.unit, limit.value, rises, now, None)
    is_met = _is_beyond(now, limit.value, rises=rises)
    month = None if monthly is None or is_met else _month(monthly, limit, now, at)
    if month is None:
        return replace(found, met=meets(limit.value, now, days_of(hours, at), at, rises=rises, hours=hours))
    met = month.met and Reach(
        *(
            max(at, one) if one is not None and one < month.end else None
            for one in (month.met.expected, month.met.earliest, month.met.latest)
        )
    )
    return replace(found, met=met, begins_again=month.end)


def _month(monthly: Monthly, limit: Limit, now: float, at: float) -> Month | None:
    """The month of what begins again with each; None of all else. What is left falls by what is spent of it."""
    days, value = [*monthly.days[:-1], (at, now)], limit.value
    if not limit.rises:
        whole = max(value for _, value in days)
        days, value = [(when, whole - left) for when, left in days], whole - value
    found = (spending if monthly.is_cost else quota)(days, monthly.bill, at)
    return this_month(found, value, monthly.bill, at) if found is not None else None


def days_of(hours: Iterable[Sample], at: float) -> list[Day]:
    """The days of a series, counted back from ``at``, oldest first."""
    days: dict[int, list[float]] = {}
    for when, value in hours:
        days.setdefault(int((at - when) // DAY), []).append(value)
    return [
        Day(at - back * DAY, len(values), fmean(values), min(values), max(values))
        for back, values in sorted(days.items(), reverse=True)
    ]


def meets(
    limit: float, now: float, days: Sequence[Day], at: float, *, rises: bool = True, hours: Sequence[Sample] = ()
) -> Reach | None:
    """When what is ``now`` so much meets a limit, seen from ``at``; None where too little is known to tell.

    Where days are too few for a line it goes through the ``hours``, if these are known.
    """
    if _is_beyond(now, limit, rises=rises):
        return Reach(at, at, at)
    samples = extremes(days, at, rises=rises)
    line = trend(samples)
    if line is None:
        samples = [one for one in hours if one[0] >= at - PAST]
        line = trend(samples) if samples and samples[-1][0] - samples[0][0] >= LEAST else None
    if line is None:
        return None
    if not returns(steady(samples)):
        return _reached(line, limit, at, rises=rises)
    whole = _whole(days)
    line = trend(extremes(whole, at, rises=rises)) or line
    highest = trend(_of_weeks(whole, at, rises=rises)) or line
    first = _reached(_at_its_most(highest, samples, rises=rises), limit, at, rises=rises)
    return Reach(first.expected, first.earliest, _reached(line, limit, at, rises=rises).latest)


def extremes(days: Sequence[Day], at: float, *, past: float = PAST, rises: bool = True) -> list[Sample]:
    """The busiest hours of the days that are looked at (the quietest, where it falls)."""
    return [(one.at, one.busiest if rises else one.quietest) for one in days if one.at > at - past]


def _whole(days: Sequence[Day]) -> list[Day]:
    """The days without large holes: one that was watched at night only is no quiet day."""
    enough = KNOWN * median(one.known for one in days) if days else 0.0
    return [one for one in days if one.known >= enough]


def _of_weeks(days: Sequence[Day], at: float, *, rises: bool) -> list[Sample]:
    """Of each seven days the value nearest to the limit: a weekend at the end is no decline."""
    week = WEEK - 1
    known = extremes(days, at, past=WEEKS_PAST, rises=rises)
    most = max if rises else min
    return [(known[end][0], most(value for _, value in known[end - week : end + 1])) for end in range(week, len(known))]


def comes_and_goes(days: Sequence[Day], at: float) -> bool:
    """Whether nothing of it is kept (traffic, load, connections), by the means of its days."""
    return is_flow([(one.at, one.mean) for one in days if one.at > at - PAST])


def _is_beyond(value: float, limit: float, *, rises: bool) -> bool:
    return value >= limit if rises else value <= limit


def _reached(line: Trend, limit: float, at: float, *, rises: bool) -> Reach:
    """When a line meets the limit; what it has met in the past, and the value has not, may be met at any time."""
    if _is_beyond(line.level, limit, rises=rises):
        return Reach(at, at, at)
    met = reach(line, limit)
    return Reach(*(None if one is None else max(at, one) for one in (met.expected, met.earliest, met.latest)))


def _at_its_most(line: Trend, samples: Sequence[Sample], *, rises: bool) -> Trend:
    """The line through the value that is nearest to the limit: what a clean-up took is not in use."""
    most = max if rises else min
    levels = [value + line.slope * (line.at - when) for when, value in steady(samples)]
    return replace(line, level=most([line.level, *levels]))
