"""What is spent: what each month came to, what this one will come to, and when a budget is used up.

Months are put together by :mod:`wcr_watchd.core.spending`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from wcr_watchd.core.forecast import Ahead, Reach, reach, trend
from wcr_watchd.core.model import Labels
from wcr_watchd.core.report import Limit, Subject, Wanted
from wcr_watchd.core.spending import COST_TAG, DAY, NEAR, Bill, Spending, begins_again, spending, this_month
from wcr_watchd.core.units import Unit
from wcr_watchd.reports.ahead import FEWEST_DAYS, HORIZON, Courses, Days
from wcr_watchd.reports.reckoning import SPEED
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.rollup import Bucket

NO_COSTS = frozenset({*SPEED, "status", "redirects", "rows", "exit_status", "plugin_state", "steps_done"})
"""What checks count beside that of which they are told that it is a cost."""
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
    limits, bill = one.limits, Bill(wanted.timezone, one.month_begins)
    of_months = spending(days, bill, wanted.until)
    if of_months is not None:
        return _of_month(known, _limit(limits, known, rising=True), of_months, bill, wanted.until)
    found = trend(days) if not begins_again(days, bill, wanted.until) else None
    if found is None:
        return known
    limit = _limit(limits, known, rising=found.slope > 0)
    met = reach(found, limit) if limit is not None else None
    if days[-1][0] - days[0][0] < FEWEST_DAYS:
        return replace(known, limit=limit, met=met)
    return replace(known, foreseen=found.ahead(wanted.until + HORIZON), limit=limit, met=met)


def _limit(limits: Iterable[Limit], known: Cost, *, rising: bool) -> float | None:
    """What rules hold it against: the highest of what it should not exceed, the least of what should be left."""
    own = [one for one in limits if one.measurement == known.name and one.is_of(known.labels)]
    found = [one.value for one in own if one.symbol[0] == (">" if rising else "<")]
    return (max if rising else min)(found, default=None)


def _of_month(known: Cost, limit: float | None, found: Spending, bill: Bill, until: float) -> Cost:
    [(_, begin, _)] = bill.months(until)
    told = tuple((bill.months(at - NEAR - DAY / 2)[0][0], total) for total, at in found.sums_until(begin))
    month = this_month(found, limit, bill, until)
    return replace(known, sums=told[-SHOWN:], month=month.name, limit=limit, foreseen=month.foreseen, met=month.met)
