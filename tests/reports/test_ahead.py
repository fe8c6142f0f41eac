"""What comes of what grows: over steps, clean-ups, restarts and gaps; and when it meets what rules name."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from wcr_watchd.core.drift import drift
from wcr_watchd.core.forecast import Reach
from wcr_watchd.core.model import MeasurementSpec, Severity
from wcr_watchd.core.prospect import prospect
from wcr_watchd.core.report import Limit, Subject
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.thresholds import limits
from wcr_watchd.core.units import Unit
from wcr_watchd.reports.ahead import FULL, HORIZON, Days, Forecast, days_of, forecast, full, highest, means, whole
from wcr_watchd.reports.foretold import forecast_words, limit_met
from wcr_watchd.reports.months import Growth
from wcr_watchd.store.totals import DayBucket

HOUR, DAY = 3_600.0, 86_400.0
GIB = 2.0**30
SPECS = (MeasurementSpec("connections_used", Unit.RATIO, ""),)
LIMITS = (Limit("database_size", ">", 40 * GIB), Limit("database_size", ">", 50 * GIB), Limit("requests", "<", 1.0))
SUBJECT = Subject("db", "postgres", "", (), "", "", 60.0, (), (), "", LIMITS)
SIZE = Growth("db", "database_size", (), "bytes", 30 * GIB)
DISK = Growth("host", "disk_used", (("mount", "/data"),), "ratio", 0.6)


def days(value: Callable[[int], float], count: int = 92) -> list[tuple[float, float]]:
    return [(number * DAY + DAY / 2, value(number)) for number in range(count)]


def course(known: Days, swing: float = 0.0) -> dict[int, DayBucket]:
    """What is recorded of days that had these means; their busiest hours are so much of them higher."""
    return {
        int(at // DAY * DAY) * 1000: DayBucket(
            24, 24 * value, value, value * (1 + swing), value * (1 - swing), value * (1 + swing)
        )
        for at, value in known
    }


def of(growth: Growth, known: Days, swing: float = 0.0) -> Forecast:
    return forecast(growth, SUBJECT, course(known, swing), known[-1][0] + DAY / 2)


def test_a_course_is_drawn_over_whole_days() -> None:
    """The busy evening of a first day alone stood as 35 % at first, of connections that were 32 % all the time."""
    known = course(days(lambda number: 0.3, 10))
    evening, morning = min(known), max(known)
    known[evening], known[morning] = DayBucket(5, 5 * 0.9), DayBucket(8, 8 * 0.1)
    assert means(whole(known), 10 * DAY) == [pytest.approx((number * DAY + DAY / 2, 0.3)) for number in range(1, 9)]
    begun = {day: known[day] for day in sorted(known)[-3:]}
    assert whole(begun) == begun, "of so few days nobody knows what is usual"


def test_even_growth_is_drawn_on_and_meets_the_highest_limit_of_the_rules() -> None:
    found = of(SIZE, days(lambda number: (20 + 0.1 * number) * GIB))
    assert found.ahead is not None
    assert found.met is not None
    assert found.met.expected is not None
    assert found.ahead.expected == pytest.approx((20 + 0.1 * (91.5 + 91)) * GIB, rel=0.01)
    assert found.limit == 50 * GIB
    assert found.met.expected == pytest.approx(300 * DAY, abs=2 * DAY)
    assert limit_met(found, 92 * DAY).startswith("at 50 GiB in about 20")


def test_a_clean_up_and_a_restore_of_old_data_are_no_growth() -> None:
    def cleaned(number: int) -> float:
        return (20 + 0.1 * number - (5 if number >= 60 else 0)) * GIB

    found = of(SIZE, days(cleaned))
    assert found.ahead is not None
    assert found.ahead.expected == pytest.approx((15 + 0.1 * 182.5) * GIB, rel=0.02)


def test_days_that_nobody_measured_change_nothing() -> None:
    every = days(lambda number: 0.3 + 0.003 * number)
    found, whole = of(DISK, [*every[:40], *every[55:]]), of(DISK, every)
    assert found.ahead is not None
    assert whole.ahead is not None
    assert found.ahead.expected == pytest.approx(whole.ahead.expected, abs=0.01)
    assert found.met is not None
    assert found.met.expected == pytest.approx(DAY * 700 / 3, rel=0.02)


def test_a_share_ends_at_all_of_it_and_no_amount_is_below_nothing() -> None:
    filling = of(DISK, days(lambda number: 0.5 + 0.005 * number))
    assert filling.ahead is not None
    assert (filling.limit, filling.ahead.expected, filling.ahead.high) == (FULL, 1.0, 1.0)
    emptying = of(SIZE, days(lambda number: (30 - 0.3 * number) * GIB))
    assert emptying.ahead is not None
    assert (emptying.ahead.low, emptying.ahead.expected) == (0.0, 0.0)
    assert emptying.met == Reach(None, None, None)
    assert limit_met(emptying, 92 * DAY) == "not at 50 GiB within 2 years"


def test_what_is_known_for_days_says_nothing_of_months_but_when_it_is_full() -> None:
    found = of(DISK, days(lambda number: 0.5 + 0.02 * number, 10))
    assert found.ahead is None
    assert forecast_words(found, 10 * DAY).startswith("; full in about 1")
    assert forecast_words(of(DISK, days(lambda _: 0.5, 10)), 10 * DAY) == "; not full within 2 years"
    assert forecast_words(of(DISK, days(lambda _: 0.5, 3)), 3 * DAY) == "", "three days say nothing of two years"


def test_what_is_over_its_limit_is_said_to_be() -> None:
    assert limit_met(of(SIZE, days(lambda number: (51 + 0.1 * number) * GIB)), 92 * DAY) == "at 50 GiB already"


def test_rules_on_other_series_or_from_above_are_no_limit() -> None:
    limits = (Limit("total_size", ">", 5.0, (("set", "=", "daily"),)), Limit("requests", "<", 1.0))
    assert highest(limits, "total_size", (("set", "daily"),)) == 5.0
    assert highest(limits, "total_size", (("set", "weekly"),)) is None
    assert highest(limits, "requests", ()) is None


def test_traffic_with_weekends_and_noise_goes_on_about_as_it_is() -> None:
    chance = random.Random(4)
    noisy = days(lambda number: (100 if number % 7 < 5 else 30) * chance.lognormvariate(0, 0.3))
    found = of(Growth("host", "network_sent", (), "bytes_per_second", 80.0), noisy)
    assert found.ahead is not None
    assert 55 < found.ahead.expected < 115, "the mean is 80 or so, whichever day of the week it is"
    assert found.ahead.low <= 80 <= found.ahead.high < 250


def test_traffic_that_grew_stays_and_may_grow_on() -> None:
    """What grew for a quarter mostly was a season; where it was none, the interval has it."""
    growing = days(lambda number: (100 if number % 7 < 5 else 30) * (1 + number / 92))
    line = drift(growing)
    assert line is not None
    seen = line.ahead(92 * DAY + HORIZON)
    assert seen.expected == pytest.approx(80 * 1.8, rel=0.05), "as in the last four weeks"
    assert seen.low == seen.expected, "in no week it fell"
    assert seen.high > 80 * 2.7
    assert drift(growing[:30]) is None


def test_the_day_that_goes_on_counts_at_its_middle_so_far() -> None:
    course = {0: DayBucket(24, 24.0, 1.0, 1.0, 1.0, 1.0), 86_400_000: DayBucket(6, 12.0, 2.0, 2.0, 2.0, 2.0)}
    assert means(course, DAY + 6 * 3_600.0) == [(DAY / 2, 1.0), (DAY + 3 * 3_600.0, 2.0)]
    assert [one.at for one in days_of(course, DAY + 6 * 3_600.0)] == [DAY, DAY + 6 * 3_600.0]


def test_a_share_that_shrinks_is_never_full() -> None:
    found = full(course(days(lambda number: 0.9 - 0.001 * number)), 92 * DAY)
    assert found is not None
    assert found.expected is None


@pytest.mark.parametrize("days_known", range(86, 93))
def test_a_report_and_the_page_of_the_check_tell_the_same_date(days_known: int) -> None:
    """Connections that are free at night, seen by their hours as the page has them, and by the days of a report.

    Whatever day of the week it is: on Sundays there are few.
    """
    until = days_known * DAY
    hours = [
        (
            hour * HOUR,
            (0.3 + 0.004 * hour / 24) * (1 if 8 <= hour % 24 < 18 else 0.1) * (0.6 if hour // 24 % 7 > 4 else 1),
        )
        for hour in range(days_known * 24)
    ]
    parts: dict[int, list[float]] = {}
    for at, value in hours:
        parts.setdefault(int(at // DAY * DAY) * 1000, []).append(value)
    course = {
        day: DayBucket(24, sum(values), min(values), max(values), min(values), max(values))
        for day, values in parts.items()
    }
    said = forecast(Growth("db", "connections_used", (), "ratio", 0.2), SUBJECT, course, until)
    [limit] = limits([parse_rule("forecast(connections_used, 7d) > 100%", Severity.WARNING, SPECS)])
    page = prospect(limit, (), hours[-1][1], hours, until)
    assert said.met is not None
    assert said.met.expected is not None
    assert said.met == page.met == full(course, until)
    assert said.met.expected / DAY == pytest.approx((1 - 0.3) / 0.004, rel=0.03)


@pytest.mark.parametrize("name", ["connections_used", "network_sent", "disk_used", "seats_taken"])
def test_what_it_is_called_does_not_say_whether_it_flows(name: str) -> None:
    """A list of names said so: what else came and went was drawn on by its days, what only grew was held back."""
    growing, noisy = Growth("one", name, (), "ratio", 0.4), random.Random(3)
    filling = of(growing, days(lambda number: 0.2 + 0.002 * number))
    assert filling.ahead is not None
    assert not filling.comes_and_goes
    assert filling.ahead.expected == pytest.approx(0.2 + 0.002 * (91.5 + 91), rel=0.02)
    flowing = of(growing, days(lambda number: (0.5 if number % 7 < 5 else 0.2) * noisy.lognormvariate(0, 0.1)))
    assert flowing.ahead is not None
    assert flowing.comes_and_goes
    assert flowing.ahead.high - flowing.ahead.low < 0.5
    said = forecast_words(flowing, 92 * DAY)
    assert ") on average; " in said
    assert "full at the busiest hour" in said
