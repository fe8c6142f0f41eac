"""What is spent: months put together and foretold, over resets, fees, gaps and refunds; and when a budget is gone."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.reports.past import SUBJECTS, wanted
from wcr_watchd.core.report import Limit, Wanted
from wcr_watchd.reports.ahead import Courses
from wcr_watchd.reports.costs import Cost, costs, measured
from wcr_watchd.reports.foretold import spent, to_come
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.totals import DayBucket

DAY = 86_400_000
COST = replace(SUBJECTS[-1], limits=(Limit("spent", ">", 140.0), Limit("spent", ">", 175.0), Limit("left", "<", 100.0)))
BUDGETED = replace(COST, measures=(("spent", ""), ("left", ""), ("response_time", "seconds")))


class Labels:
    """The names of the series, as the records have them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def labels(self, _series: int) -> tuple[str, tuple[tuple[str, str], ...]]:
        return self._name, ()


def at(month: int, day: int, year: int = 2026) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()


def asked(until: float, begins: int = 1) -> Wanted:
    since, one = until - 30 * 86_400.0, replace(BUDGETED, month_begins=begins)
    return replace(wanted(Path("none")), since=since, until=until, now=until, subjects=(one,))


def found(
    value: Callable[[datetime], float | None], until: float, days: int = 92, name: str = "spent", begins: int = 1
) -> Cost:
    """What is said of a check that measured this value at noon of each day."""
    course = {}
    first = int(until * 1000) - days * DAY
    for day in range(first // DAY * DAY, int(until * 1000), DAY):
        known = value(datetime.fromtimestamp(day / 1000, UTC))
        if known is not None:
            course[day] = DayBucket(1, known, known, known, known, known)
    courses: Courses = {"cost-hosting": {1: course}}
    [cost] = costs(asked(until, begins), courses, cast(Recorded, Labels(name)))
    return cost


def test_the_next_month_is_as_long_as_it_is() -> None:
    cost = found(lambda day: 5.1 * day.day, at(12, 1))
    assert spent(cost) == "October 2026 158.10, November 2026 153.00"
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(158.1, rel=0.01)
    assert cost.foreseen.low <= 158.1 <= cost.foreseen.high
    assert to_come(cost, asked(at(12, 1))).startswith("December 2026 about 158")
    assert to_come(cost, asked(at(12, 1))).endswith("below 175")


def test_a_fee_on_the_first_of_the_month_is_in_it_once() -> None:
    cost = found(lambda day: 60 + 2 * day.day, at(12, 1))
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(122, rel=0.03)


def test_a_growing_cost_passes_its_budget_on_a_day_with_an_interval() -> None:
    def growing(day: datetime) -> float:
        return sum(
            4 + 0.03 * ((datetime(2026, day.month, one, tzinfo=UTC).timestamp() - at(9, 1)) / 86_400.0)
            for one in range(1, day.day + 1)
        )

    cost = found(growing, at(12, 1))
    december = sum(4 + 0.03 * (91 + one) for one in range(31))
    assert cost.foreseen is not None
    assert december > 175
    assert cost.foreseen.low <= december <= cost.foreseen.high
    assert cost.foreseen.expected == pytest.approx(december, rel=0.03)
    assert "passes 175 about 2" in to_come(cost, asked(at(12, 1)))


def test_a_month_that_goes_on_is_drawn_to_its_end() -> None:
    cost = found(lambda day: 5.1 * day.day, at(11, 17))
    assert cost.month == "2026-11"
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(153.0, rel=0.02)
    assert cost.foreseen.low <= 153.0 <= cost.foreseen.high
    assert cost.sums[-1] == ("2026-10", pytest.approx(158.1))


def test_the_first_month_is_known_by_where_it_begins() -> None:
    cost = found(lambda day: 5.1 * day.day, at(12, 1), days=28)
    assert (cost.month, cost.sums[-1]) == ("2026-12", ("2026-11", pytest.approx(153.0)))
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(158.1, rel=0.03)


def test_days_around_the_first_that_nobody_measured() -> None:
    cost = found(lambda day: None if day.day in (1, 2) else 5.0 * day.day, at(12, 1))
    assert [month for month, _ in cost.sums] == ["2026-10", "2026-11"]
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(155, rel=0.04)


def test_a_refund_begins_no_month() -> None:
    cost = found(lambda day: 5.1 * day.day - (20 if day.day > 20 else 0), at(12, 1))
    assert [month for month, _ in cost.sums] == ["2026-10", "2026-11"]
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(138, rel=0.03)


def test_a_credit_that_is_used_up_is_foretold_from_above() -> None:
    left = found(lambda day: 1_000 - 5 * (day.timestamp() - at(9, 1)) / 86_400.0, at(12, 1), name="left")
    assert (left.month, left.limit) == ("", 100.0)
    assert left.met is not None
    assert left.met.expected == pytest.approx(at(9, 1) + 180 * 86_400.0, abs=86_400.0 * 2)
    said = to_come(left, asked(at(12, 1)))
    assert said.startswith("in 3 months about 9")
    assert said.endswith("100 in about 90 d")


def test_what_else_a_check_counts_is_no_cost() -> None:
    counted = replace(BUDGETED, measures=(("status", ""), ("redirects", ""), ("spent", ""), ("body_size", "bytes")))
    assert measured(counted) == {"spent"}
    assert measured(replace(counted, tags=())) == frozenset()


def test_what_is_known_for_two_days_foretells_nothing() -> None:
    cost = found(lambda day: 5.1 * day.day, at(12, 1), days=2)
    assert cost.foreseen is None


def since(begins: int) -> Callable[[datetime], float]:
    """Five a day since the billing month began on that day, the last one of a shorter month."""

    def spent_by(day: datetime) -> float:
        days = 1
        while (one := day - timedelta(days=days - 1)).day != min(begins, monthrange(one.year, one.month)[1]):
            days += 1
        return 5.0 * days

    return spent_by


@pytest.mark.parametrize(
    ("begins", "until", "sums", "expected"),
    [
        (15, at(11, 29), "month from 15 September 2026 150.00, month from 15 October 2026 155.00", 150.0),
        (31, at(4, 10, 2028), "month from 31 January 2028 145.00, month from 29 February 2028 155.00", 150.0),
        (31, at(4, 10, 2027), "month from 31 January 2027 140.00, month from 28 February 2027 155.00", 150.0),
        (2, at(3, 20, 2028), "month from 2 January 2028 155.00, month from 2 February 2028 145.00", 155.0),
    ],
)
def test_a_bill_that_begins_on_any_day(begins: int, until: float, sums: str, expected: float) -> None:
    """Months of 28 to 31 days, a leap day, and a month that has no such day."""
    cost = found(since(begins), until, begins=begins)
    assert spent(cost) == sums
    assert cost.foreseen is not None
    assert cost.foreseen.expected == pytest.approx(expected, abs=6.0), "a whole month, to a day"
    assert to_come(cost, asked(until, begins)).startswith("month from ")
    assert not found(since(15), at(11, 29)).month, "where it is not said, nobody knows of a month"
