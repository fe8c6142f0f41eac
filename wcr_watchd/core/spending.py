"""What begins again at nothing every month: what it has cost so far, how much of a quota is used.

A line through that says nothing of the next month, and goes on beyond the end of this one. So what was spent day by day
is put together again, and months are foretold from sums over as many days. A fee on the first of each month is in each
of these sums once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wcr_watchd.core.forecast import FEWEST, Ahead, Reach, Sample, reach, trend
from wcr_watchd.core.local_time import months

COST_TAG = "costs"
"""The tag of checks whose figures are costs."""
DAY = 86_400.0
PAST = 95 * DAY
"""Seconds of the past in which it begins again at least twice, and a whole month lies between."""
BEGINS_AGAIN = 0.75
"""Share of what was before, below which a month has begun again at its beginning: a fee may be most of a month."""
FALLS = 0.5
"""Share of what was before, below which something begins again at any other time; a refund is less."""
EMPTIED = 0.15
"""Share of what was before, below which what nobody calls a cost begins again: a clean-up leaves more."""
NEAR = 3 * DAY
"""How far from the beginning of a month it begins again: days may not have been watched, and vendors have clocks."""
NOTHING = 1.5
"""Days of growth around nothing from which on a month began: where none began again as yet."""
MONTHS = 5
"""Months in which it is looked for."""


@dataclass(frozen=True, slots=True)
class Bill:
    """By which calendar it begins again: that of a time zone, on this day of the month."""

    timezone: str
    begins: int = 1

    def months(self, at: float, number: int = 1) -> Sequence[tuple[str, float, float]]:
        """Name, begin and end (epoch seconds) of so many months, the one that ``at`` is in first."""
        return tuple(months(at, self.timezone, number, self.begins))


@dataclass(frozen=True, slots=True)
class Month:
    """A month as in ``2026-11``: what it comes to at its end (None: too little is known), and when it meets a limit."""

    name: str
    end: float
    foreseen: Ahead | None
    met: Reach | None


class Spending:
    """All that was spent, put together from ``days`` of what a month has cost so far.

    ``begun`` are the numbers of the days on which a month had begun again.
    """

    def __init__(self, days: Sequence[Sample], begun: Sequence[int]) -> None:
        self.days = days
        self.begun = begun
        together, before = 0.0, 0.0
        self.together: list[Sample] = []
        for number, (at, value) in enumerate(days):
            together += value - (0.0 if number in begun else before) if number else 0.0
            before = value
            self.together.append((at, together))

    def sums_until(self, begin: float) -> list[Sample]:
        """What each month came to that was over by ``begin``, and when the next one had begun."""
        found = [(self.days[number - 1][1], self.days[number][0]) for number in self.begun]
        last, value = self.days[-1]
        is_told = bool(found) and abs(found[-1][1] - begin) <= NEAR
        return found if is_told or last > begin + DAY / 2 else [*found, (value, begin)]

    def over(self, length: float) -> list[Sample]:
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


def spending(days: Sequence[Sample], bill: Bill, until: float) -> Spending | None:
    """What was spent, from what costs had come to by the end of each day; None where that does not begin again."""
    starts, begun = _starts(bill, until), begins_again(days, bill, until)
    is_monthly = bool(begun) and all(_is_near(days[number][0], starts) for number in begun)
    return Spending(days, begun) if is_monthly or (not begun and _began_at_nothing(days, starts)) else None


def quota(days: Sequence[Sample], bill: Bill, until: float) -> Spending | None:
    """Likewise of what nobody calls a cost: it must have begun again twice, and with every month that is known.

    A store that happened to be emptied on the first of a month is none.
    """
    starts = _starts(bill, until)
    begun = [number for number, (before, after) in enumerate(pairwise(days), 1) if after[1] < EMPTIED * before[1]]
    known = [start for start in starts if days and days[0][0] + NEAR < start < days[-1][0] - NEAR]
    with_each = all(any(abs(days[number][0] - start) <= NEAR for number in begun) for start in known)
    is_monthly = len(begun) > 1 and with_each and all(_is_near(days[number][0], starts) for number in begun)
    return Spending(days, begun) if is_monthly else None


def was_emptied(values: Iterable[float]) -> bool:
    """Whether what nobody calls a cost may have begun again within these values, of more than a month."""
    most = 0.0
    for value in values:
        if value < EMPTIED * most:
            return True
        most = max(most, value)
    return False


def begins_again(days: Sequence[Sample], bill: Bill, until: float) -> Sequence[int]:
    """The numbers of the days on which it had begun again."""
    starts = _starts(bill, until)
    return [
        number
        for number, ((_, before), (at, value)) in enumerate(pairwise(days), start=1)
        if value < before * (BEGINS_AGAIN if _is_near(at, starts) else FALLS)
    ]


def _is_near(at: float, starts: Sequence[float]) -> bool:
    return any(-NEAR <= at - start <= NEAR for start in starts)


def _began_at_nothing(days: Sequence[Sample], starts: Sequence[float]) -> bool:
    """Whether the line through the last days comes from nothing at the beginning of their month."""
    last = days[-1][0]
    begin = max(start for start in starts if start < last)
    found = trend([one for one in days if one[0] > begin])
    return found is not None and found.slope > 0 and abs(found.value(begin)) <= NOTHING * DAY * found.slope


def this_month(one: Spending, limit: float | None, bill: Bill, until: float) -> Month:
    """What the month that ``until`` is in comes to, and when that meets the limit."""
    [(name, begin, end)] = bill.months(until)
    own = [day for day in one.days[one.begun[-1] if one.begun else 0 :] if day[0] > begin]
    found = trend(own) if len(own) >= FEWEST else None
    if found is not None:
        last = found.ahead(end)
        step = DAY * found.slope  # a bill comes a day early or late
        edges = (last.expected, last.low - step, last.high + step)
        foreseen = Ahead(end, *(max(found.level, value) for value in edges))
        return Month(name, end, foreseen, reach(found, limit) if limit is not None else None)
    whole = _whole(one, begin, end)
    return Month(name, end, whole, None if whole is None or limit is None else _passes(whole, limit, begin))


def _starts(bill: Bill, until: float) -> list[float]:
    return sorted({edge for _, *edges in bill.months(until, MONTHS) for edge in edges})


def _whole(one: Spending, begin: float, end: float) -> Ahead | None:
    """What a whole month will come to, from sums over as many days; from the days alone where they are few."""
    sums = trend(one.over(end - begin))
    if sums is not None:
        whole = sums.ahead(end)
        return Ahead(end, *(max(0.0, value) for value in (whole.expected, whole.low, whole.high)))
    rate = trend(one.together)
    if rate is None:
        return None
    length = end - begin
    low, high = (rate.growth(edge, end - rate.at) for edge in (rate.low, rate.high))
    return Ahead(end, *(max(0.0, slope * length) for slope in (rate.slope, low, high)))


def _passes(month: Ahead, limit: float, begin: float) -> Reach:
    """When a month from ``begin`` on passes a limit, spent evenly; None: not in that month."""
    when = (
        begin + limit / total * (month.at - begin) if total > max(0.0, limit) else None
        for total in (month.expected, month.high, month.low)
    )
    return Reach(*when)
