"""Days and weeks repeat: what is usual now, and what comes next, from what was at this time of the days before.

Scored on recorded series against simpler methods by ``tests/bench/forecasts.py``. Sources: the days that resemble today
are those of forecasting by analogues (E. N. Lorenz, "Atmospheric Predictability as Revealed by Naturally Occurring
Analogues", 1969); comparing only the same times of days is what R. M. Hirsch, J. R. Slack and R. A. Smith do for trends
("Techniques of Trend Analysis for Monthly Water Quality Data", 1982).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf
from statistics import fmean, median

from wcr_watchd.core.forecast import Sample, Trend, steady, trend

HOUR = 3_600.0
DAY = 24 * HOUR
WEEK = 7
"""Days."""
AROUND = HOUR / 2
"""Seconds around the same time of another day that are taken for it."""
LEFT_OUT = HOUR
"""The newest seconds of today that are not compared with other days: a spike must not become usual while it lasts."""
COMPARED = 4 * HOUR
"""Seconds of today, before those, that are."""
ASKED = 48
"""Moments of the past at which traffic is told from what grows."""
DOUBT = 0.7
"""What comes and goes is taken for traffic unless it would have been so much nearer to take it for growth."""
ALIKE = 3
"""So many days that resemble today most are asked what is usual, beside the same days of the weeks before."""
LATELY = 6 * HOUR
"""Seconds of the past whose trend is compared with that of the days before."""
FAR = 2.0
"""So many times the width of the growths seen, beyond them, begins what is new."""
LINE = 40
"""Samples that a trend is made of: more are put together, as it is made with every run of a check."""
COURSE = 500
"""Samples of the weeks before that are looked at, all that are kept of them."""
FAR_AHEAD = 2 * DAY
"""Further ahead than so many seconds, weeks say more than days."""
GAP = 3 * HOUR
"""Between values that are further apart nothing is known, unless a check is as slow as that."""


@dataclass(frozen=True, slots=True)
class _Day:
    """A day before: what it had at this time, by how much today was above it lately, and how far from it at all."""

    value: float
    above: float
    apart: float


def usual(samples: Sequence[Sample], at: float) -> float:
    """What is usual at a time (epoch seconds), by samples of the days before it, oldest first, at least one.

    The days that resemble today most, and the same days of the weeks before, each say what they had at this time, moved
    by how much today was above them in the last hours. It is the median of that, and never beyond what two of them
    really had: what lasts does not become usual by lasting. Without a value at this time of another day it is the
    median of all.
    """
    days = {back: day for back in range(1, _days_known(samples, at) + 1) if (day := _day(samples, at, back))}
    if not days:
        return median(value for _, value in samples)
    alike = sorted(days, key=lambda back: (days[back].apart, back))[:ALIKE]
    asked = [days[back] for back in (*alike, *(back for back in days if back % WEEK == 0))]
    had = sorted(day.value for day in asked)
    second = 1 if len(had) > 3 else 0
    return min(max(median(day.value + day.above for day in asked), had[second]), had[-1 - second])


def _days_known(samples: Sequence[Sample], at: float) -> int:
    return int((at - samples[0][0] + AROUND) // DAY)


def _day(samples: Sequence[Sample], at: float, back: int) -> _Day | None:
    """The day so many days ago; None when nothing is known of it at this time."""
    around = _between(samples, at - back * DAY - AROUND, at - back * DAY + AROUND)
    if not around:
        return None
    lately = _between(samples, at - LEFT_OUT - COMPARED, at - LEFT_OUT)
    above = [value - other for when, value in lately if (other := value_at(samples, when - back * DAY)) is not None]
    return _Day(
        median(value for _, value in around),
        median(above) if above else 0.0,
        median(map(abs, above)) if above else inf,
    )


def _between(samples: Sequence[Sample], first: float, last: float) -> Sequence[Sample]:
    return samples[bisect_left(samples, (first,)) : bisect_right(samples, (last, inf))]


def value_at(samples: Sequence[Sample], at: float, gap: float = GAP) -> float | None:
    """The value at a time, on the line between its neighbours; None where these are more than ``gap`` seconds apart."""
    number = bisect_left(samples, (at,))
    if number == len(samples):
        return None
    after, value = samples[number]
    if after == at:
        return value
    before, earlier = samples[number - 1] if number else (-inf, 0.0)
    if after - before > gap:
        return None
    return earlier + (value - earlier) * (at - before) / (after - before)


def later(lately: Sequence[Sample], course: Sequence[Sample], at: float, ahead: float) -> float | None:
    """The value ``ahead`` seconds after the last sample, that of ``at`` (epoch seconds); None when too few are known.

    ``lately`` are the samples of the last hours, ``course`` those of a week and more, further ahead than
    :data:`FAR_AHEAD` of weeks. It grows as it did from this time on a day and a week ago, or in those weeks, as far as
    that is known. But where the last hours grew far more than any before, their trend is drawn on: something new began.
    What comes and goes (traffic) will be as it is at that time of other days and weeks.
    """
    line = trend(lately, LINE)
    steadied = steady(course, COURSE)
    now = lately[-1][1]
    flows = _flows(course, steadied, at, ahead)
    is_new = line is not None and _new(line, course if flows else steadied)
    if flows and (ahead > LATELY or not is_new):
        return _usual_then(course, at, ahead)
    growth = None if is_new else _growth(steadied, at, now, ahead)
    if growth is not None:
        return now + growth
    if line is not None:
        # While no day is known a burst looks like growth; only a line that is sure of its direction is drawn on.
        is_sure = line.low > 0 or line.high < 0 or course[-1][0] - course[0][0] >= DAY
        return line.value(at + ahead) if is_sure else line.level
    if len(lately) < 2:
        return None
    (first, before), (last, _) = lately[0], lately[-1]
    return now + (now - before) / (last - first) * ahead


def is_flow(days: Sequence[Sample]) -> bool:
    """Whether what has these values day by day comes and goes (traffic, load, connections) and no store fills up."""
    return bool(days) and _flows(days, steady(days), days[-1][0], WEEK * DAY)


def _flows(course: Sequence[Sample], steadied: Sequence[Sample], at: float, ahead: float) -> bool:
    """Whether it is traffic and no store that fills up, by what came so many seconds later.

    Most of what came went again, and at many moments of the past it came nearer to what it was at that time before than
    to having grown as before; where both are about as near, it is.
    """
    if len(course) < 2 or not returns(course):
        return False
    as_grown, as_it_was = _missed(steadied, at, ahead)
    return len(as_grown) >= ASKED / 4 and DOUBT * fmean(as_it_was) <= fmean(as_grown)


def _missed(course: Sequence[Sample], at: float, ahead: float) -> tuple[Sequence[float], Sequence[float]]:
    """How wrong it would have been at many moments to say that it grows as before, or that it is as it was then."""
    period = WEEK * DAY if ahead > FAR_AHEAD else DAY
    gap, back = _gap(course), ceil(ahead / period) * period
    first, last = course[0][0] + max(period, back - ahead), at - ahead
    as_grown: list[float] = []
    as_it_was: list[float] = []
    for number in range(ASKED if last > first else 0):
        then = first + (last - first) * number / (ASKED - 1)
        now, was, came = (value_at(course, when, gap) for when in (then, then + ahead - back, then + ahead))
        if now is None or was is None or came is None:
            continue
        grown = next(_repeated(course, then, now, ahead, period, gap), None)
        if grown is not None:
            as_grown.append(abs(now + grown - came))
            as_it_was.append(abs(was - came))
    return as_grown, as_it_was


def returns(course: Sequence[Sample]) -> bool:
    """Whether most of what came went again."""
    moved = sum(abs(after - before) for (_, before), (_, after) in pairwise(course))
    return abs(course[-1][1] - course[0][1]) < moved / 2


def _usual_then(course: Sequence[Sample], at: float, ahead: float) -> float | None:
    """What it usually is at the time ``ahead``; None when that is not known.

    As at this time of a day, of a week and of two weeks before. Further ahead than :data:`FAR_AHEAD` as at this time of
    four weeks, and as much more as weeks became more. It is the median, as one of them may have had an outage.
    """
    gap, first = _gap(course), ceil(ahead / (WEEK * DAY))
    if ahead <= FAR_AHEAD:
        backs = (ceil(ahead / DAY) * DAY, first * WEEK * DAY, (first + 1) * WEEK * DAY)
        before = [value for back in backs if (value := value_at(course, at + ahead - back, gap)) is not None]
        return median(before) if before else None
    more = _weekly_growth(course, gap)
    weeks = {back: value_at(course, at + ahead - back * WEEK * DAY, gap) for back in range(first, first + 4)}
    found = [value + more * back for back, value in weeks.items() if value is not None]
    return median(found) if found else None


def _weekly_growth(course: Sequence[Sample], gap: float) -> float:
    """By how much a week usually is above the one before, at the same times."""
    more = [
        value - before for when, value in course if (before := value_at(course, when - WEEK * DAY, gap)) is not None
    ]
    return median(more) if more else 0.0


def _gap(course: Sequence[Sample]) -> float:
    """Between values further apart (seconds) nothing is known."""
    return max(GAP, 2 * median(after - before for (before, _), (after, _) in pairwise(course)))


def _growth(course: Sequence[Sample], at: float, now: float, ahead: float) -> float | None:
    """How much a steady course grew over so many seconds from this time on; None when that is not known.

    That of a day and a week ago on average. Far ahead it is that of the last week, of the last two, three ... on
    average, as :mod:`wcr_watchd.core.forecast` has it: the newest weeks count for most.
    """
    if len(course) < 2:
        return None
    gap = _gap(course)
    weeks = list(_repeated(course, at, now, ahead, WEEK * DAY, gap))
    if weeks and ahead > FAR_AHEAD:
        return fmean(fmean(weeks[:count]) for count in range(1, len(weeks) + 1))
    days = list(_repeated(course, at, now, ahead, DAY, gap))
    known = [*days[:1], *weeks[:1]]
    return fmean(known) if known else None


def _repeated(
    course: Sequence[Sample], at: float, now: float, ahead: float, period: float, gap: float
) -> Iterator[float]:
    """How much it grows if it does as it did one period ago, two periods ago ... as far as is known."""
    whole, rest = divmod(ahead, period)
    end: float | None = now
    begin = at - period
    while (then := value_at(course, begin, gap)) is not None and end is not None:
        after = value_at(course, begin + rest, gap)
        if after is None:
            return
        yield whole * (end - then) + after - then
        begin, end = begin - period, then


def _new(line: Trend, course: Sequence[Sample]) -> bool:
    """Whether the line of the last hours is far steeper than growth was before them; standing still is nothing new."""
    end = course[-1][0] - LATELY
    grown = [
        (after - value) / LATELY
        for when, value in course
        if when + LATELY <= end and (after := value_at(course, when + LATELY)) is not None
    ]
    if not grown:
        return True
    low, high = min(0.0, *grown), max(0.0, *grown)
    far = FAR * (high - low)
    return not low - far <= line.slope <= high + far
