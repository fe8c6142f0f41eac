"""What is spent: what each month came to, what this one will come to, and when a budget is used up.

Providers tell what a month has cost so far, which begins again at nothing every month. A line through that says
nothing of the next month; so what was spent day by day is put together again, and months are foretold from sums over as
many days. A fee on the first of each month is in each of these sums once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from wcr_watchd.core.forecast import FEWEST, Ahead, Reach, reach, trend
from wcr_watchd.core.local_time import months
from wcr_watchd.core.model import Labels
from wcr_watchd.core.report import Limit, Subject, Wanted
from wcr_watchd.core.units import Unit
from wcr_watchd.reports.ahead import FEWEST_DAYS, HORIZON, Courses, Days
from wcr_watchd.reports.reckoning import SPEED
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.rollup import Bucket

COST_TAG = "costs"
NO_COSTS = frozenset({*SPEED, "status", "redirects", "rows", "exit_status", "plugin_state", "steps_done"})
"""What checks count beside that of which they are told that it is a cost."""
DAY = 86_400.0
BEGINS_AGAIN = 0.75
"""Share of what was before, below which a month has begun again at its beginning: a fee may be most of a month."""
FALLS = 0.5
"""Share of what was before, below which something begins again at any other time; a refund is less."""
NEAR = 3 * DAY
"""How far from the beginning of a month it begins again: days may not have been watched, and vendors have clocks."""
NOTHING = 1.5
"""Days of growth around nothing from which on a month began: where none began again as yet."""
SHOWN = 2
"""Months before, whose sums are told."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a check with the tag ``costs`` measured last, at the beginning and at the end of the period.

    Where that is what a month has cost so far, ``sums`` are those of the months before, ``month`` the one that
    ``foreseen`` is of; else that is in three months. ``met`` is when it meets ``limit``, the highest of its rules.
    """

    check: str
    name: str
    first: float
    last: float
    labels: Labels = ()
    sums: tuple[tuple[str, float], ...] = ()
    month: str = ""
    foreseen: Ahead | None = None
    limit: float | None = None
    met: Reach | None = None

    @property
    def title(self) -> str:
        """``spent eu of cost-hosting``."""
        return " ".join((self.name, *(value for _, value in self.labels), "of", self.check))


def measured(one: Subject) -> frozenset[str]:
    """Those measurements of a check that are costs."""
    if COST_TAG not in one.tags:
        return frozenset()
    return frozenset(name for name, unit in one.measures if unit == Unit.COUNT.value and name not in NO_COSTS)


def costs(wanted: Wanted, courses: Courses, records: Recorded) -> Iterable[Cost]:
    """What was spent, and what will be."""
    for one in wanted.subjects:
        names = measured(one)
        for number, course in courses.get(one.name, {}).items() if names else ():
            name, labels = records.labels(number)
            own = [bucket for day, bucket in sorted(course.items()) if day / 1000 >= wanted.since - DAY / 2]
            if name in names and own:
                known = Cost(one.name, name, own[0].mean, own[-1].maximum, labels)
                yield _foreseen(known, one, _days(course, wanted.until), wanted)


def _days(course: Mapping[int, Bucket], until: float) -> Days:
    """The highest value of each day, at its end."""
    return [(min(day / 1000 + DAY, until), bucket.maximum) for day, bucket in sorted(course.items())]


def _foreseen(known: Cost, one: Subject, days: Days, wanted: Wanted) -> Cost:
    limits, begins = one.limits, one.month_begins
    starts = sorted({edge for _, *edges in months(wanted.until, wanted.timezone, 5, begins) for edge in edges})
    begun = list(_begins_again(days, starts))
    is_monthly = bool(begun) and all(_is_near(days[number][0], starts) for number in begun)
    if is_monthly or (not begun and _began_at_nothing(days, starts)):
        return _of_month(known, _limit(limits, known, rising=True), _Spending(days, begun), wanted, begins)
    found = trend(days) if not begun else None
    if found is None:
        return known
    limit = _limit(limits, known, rising=found.slope > 0)
    met = reach(found, limit) if limit is not None else None
    if days[-1][0] - days[0][0] < FEWEST_DAYS:
        return replace(known, limit=limit, met=met)
    at = wanted.until + HORIZON
    return replace(known, foreseen=found.ahead(at), limit=limit, met=met)


def _begins_again(days: Days, starts: Sequence[float]) -> Iterator[int]:
    for number, ((_, before), (at, value)) in enumerate(pairwise(days), start=1):
        if value < before * (BEGINS_AGAIN if _is_near(at, starts) else FALLS):
            yield number


def _is_near(at: float, starts: Sequence[float]) -> bool:
    return any(-NEAR <= at - start <= NEAR for start in starts)


def _began_at_nothing(days: Days, starts: Sequence[float]) -> bool:
    """Whether the line through the last days comes from nothing at the beginning of their month."""
    last = days[-1][0]
    begin = max(start for start in starts if start < last)
    found = trend([one for one in days if one[0] > begin])
    return found is not None and found.slope > 0 and abs(found.value(begin)) <= NOTHING * DAY * found.slope


def _limit(limits: Iterable[Limit], known: Cost, *, rising: bool) -> float | None:
    """What rules hold it against: the highest of what it should not exceed, the least of what should be left."""
    own = [one for one in limits if one.measurement == known.name and one.is_of(known.labels)]
    found = [one.value for one in own if one.symbol[0] == (">" if rising else "<")]
    return (max if rising else min)(found, default=None)


# --- what begins again every month ------------------------------------------------------------------------------------


class _Spending:
    """All that was spent, put together from ``days`` of what a month has cost so far.

    ``begun`` are the numbers of the days on which a month had begun again.
    """

    def __init__(self, days: Days, begun: Sequence[int]) -> None:
        self.days = days
        self.begun = begun
        together, before = 0.0, 0.0
        self.together: list[tuple[float, float]] = []
        for number, (at, value) in enumerate(days):
            together += value - (0.0 if number in begun else before) if number else 0.0
            before = value
            self.together.append((at, together))

    def sums_until(self, begin: float) -> list[tuple[float, float]]:
        """What each month came to that was over by ``begin``, and when the next one had begun."""
        found = [(self.days[number - 1][1], self.days[number][0]) for number in self.begun]
        last, value = self.days[-1]
        is_told = bool(found) and abs(found[-1][1] - begin) <= NEAR
        return found if is_told or last > begin + DAY / 2 else [*found, (value, begin)]

    def over(self, length: float) -> list[tuple[float, float]]:
        """What was spent in so many seconds until each day."""
        first = self.together[0][0]
        return [(at, sum_ - self._by(at - length)) for at, sum_ in self.together if at - length >= first]

    def _by(self, at: float) -> float:
        """What was spent by then, between the days around it."""
        number = bisect_right(self.together, at, key=lambda one: one[0])
        earlier, later = self.together[max(0, number - 1)], self.together[min(number, len(self.together) - 1)]
        if later[0] <= earlier[0]:
            return earlier[1]
        return earlier[1] + (later[1] - earlier[1]) * (at - earlier[0]) / (later[0] - earlier[0])


def _of_month(known: Cost, limit: float | None, spending: _Spending, wanted: Wanted, begins: int) -> Cost:
    [(name, begin, end)] = months(wanted.until, wanted.timezone, 1, begins)
    told = tuple(
        (next(month for month, *_ in months(at - NEAR - DAY / 2, wanted.timezone, 1, begins)), total)
        for total, at in spending.sums_until(begin)
    )
    known = replace(known, sums=told[-SHOWN:], month=name, limit=limit)
    own = [one for one in spending.days[spending.begun[-1] if spending.begun else 0 :] if one[0] > begin]
    found = trend(own) if len(own) >= FEWEST else None
    if found is not None:
        last = found.ahead(end)
        step = DAY * found.slope  # a bill comes a day early or late
        expected, low, high = (max(found.level, value) for value in (last.expected, last.low - step, last.high + step))
        met = reach(found, limit) if limit is not None else None
        return replace(known, foreseen=Ahead(end, expected, low, high), met=met)
    ahead = _whole(spending, begin, end)
    if ahead is None:
        return known
    return replace(known, foreseen=ahead, met=None if limit is None else _passes(ahead, limit, begin))


def _whole(spending: _Spending, begin: float, end: float) -> Ahead | None:
    """What a whole month will come to, from sums over as many days; from the days alone where they are few."""
    sums = trend(spending.over(end - begin))
    if sums is not None:
        whole = sums.ahead(end)
        return Ahead(end, *(max(0.0, value) for value in (whole.expected, whole.low, whole.high)))
    rate = trend(spending.together)
    if rate is None:
        return None
    length = end - begin
    low, high = (rate.growth(edge, end - rate.at) for edge in (rate.low, rate.high))
    return Ahead(end, *(max(0.0, slope * length) for slope in (rate.slope, low, high)))


def _passes(month: Ahead, limit: float, begin: float) -> Reach:
    """When a month from ``begin`` on passes a limit, spent evenly; None: not in that month."""
    when = (
        begin + limit / total * (month.at - begin) if total > limit else None
        for total in (month.expected, month.high, month.low)
    )
    return Reach(*when)
