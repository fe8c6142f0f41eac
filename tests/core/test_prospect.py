"""When what rules foretell meets their limits: as a date, with an interval, robust to clean-ups, nights and gaps."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from math import pi, sin
from statistics import fmean
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.core.forecast import Reach
from wcr_watchd.core.model import MeasurementSpec, Severity
from wcr_watchd.core.prospect import Day, Monthly, Prospect, comes_and_goes, days_of, prospect
from wcr_watchd.core.rules import Rule, parse_rule
from wcr_watchd.core.spending import Bill
from wcr_watchd.core.thresholds import Limit, limits
from wcr_watchd.core.units import Unit

HOUR, DAY = 3_600.0, 86_400.0
SPECS = (
    MeasurementSpec("disk_used", Unit.RATIO, "", labels=("mount",)),
    MeasurementSpec("size", Unit.BYTES, ""),
    MeasurementSpec("left", Unit.COUNT, ""),
)
Samples = list[tuple[float, float]]


def rule(text: str) -> Rule:
    return parse_rule(text, Severity.WARNING, SPECS)


def limit(text: str) -> Limit:
    [found] = limits([rule(text)])
    return found


def days_until(text: str, hours: Samples, now: float | None = None) -> tuple[float | None, ...]:
    """Expected, earliest and latest, in days from the end of the samples."""
    at = hours[-1][0] + HOUR / 2
    met = prospect(limit(text), (), hours[-1][1] if now is None else now, hours, at).met
    assert met is not None
    return tuple(None if one is None else (one - at) / DAY for one in (met.expected, met.earliest, met.latest))


def test_limits_are_those_of_forecasts_each_once() -> None:
    found = limits(
        [
            rule("forecast(disk_used, 1d) > 100% and disk_used > 50% for 1h"),
            rule("forecast(disk_used, 4h) > 95%"),
            rule('100% < forecast(disk_used{mount="/"}, 4d) or size > 3GiB'),
            rule("forecast(left, 7d) < 1000"),
            rule("forecast(left, 1d) < 100"),
        ]
    )
    assert [(str(one.series), one.value, one.rises) for one in found] == [
        ("disk_used", 1.0, True),
        ('disk_used{mount="/"}', 1.0, True),
        ("left", 100.0, False),
    ]


def test_a_disk_and_a_clean_up_that_came_once() -> None:
    growing = [(hour * HOUR, 0.3 + 0.01 * hour / 24) for hour in range(30 * 24)]
    assert days_until("forecast(disk_used, 1d) > 100%", growing) == pytest.approx((40, 40, 40), abs=0.2)
    cleaned = [(at, value - 0.2 if at > 20 * DAY else value) for at, value in growing]
    expected, earliest, latest = days_until("forecast(disk_used, 1d) > 100%", cleaned)
    assert expected == pytest.approx(60, abs=2.5)
    assert earliest is not None
    assert latest is not None
    assert earliest <= 60 <= latest


def test_what_has_room_at_night_is_full_by_day() -> None:
    """Connections by day: what counts is the busiest hour, whenever one asks."""
    busy = [
        (hour * HOUR, (0.3 + 0.005 * hour / 24) * (0.2 + 0.8 * max(0.0, sin(hour % 24 / 24 * 2 * pi))))
        for hour in range(30 * 24 + 20)
    ]
    for cut in (30 * 24, 30 * 24 + 7, 30 * 24 + 13, 30 * 24 + 20):
        expected, _, _ = days_until("forecast(disk_used, 7d) > 90%", busy[:cut])
        assert expected == pytest.approx((0.9 - 0.3) / 0.005 - cut / 24, rel=0.05)


def test_hours_in_which_nobody_watched_are_no_quiet_day() -> None:
    busy = [(hour * HOUR, 0.5 + 0.002 * hour / 24 if 8 <= hour % 24 < 18 else 0.1) for hour in range(30 * 24)]
    gone = [one for one in busy if not 20 * DAY < one[0] < 20 * DAY + 19 * HOUR]
    expected, earliest, latest = days_until("forecast(disk_used, 7d) > 80%", gone)
    assert expected == pytest.approx(120, rel=0.1)
    assert earliest is not None
    assert latest is not None
    assert latest - earliest < 60


def test_a_balance_falls_to_its_limit() -> None:
    left = [(hour * HOUR, 10_000 - 50 * hour / 24) for hour in range(30 * 24)]
    assert days_until("forecast(left, 7d) < 1000", left)[0] == pytest.approx(150, rel=0.02)


def test_what_does_not_grow_never_is_and_what_is_met_is_met_now() -> None:
    steady = [(hour * HOUR, 5.0) for hour in range(10 * 24)]
    assert days_until("forecast(size, 7d) > 20B", steady) == (None, None, None)
    assert days_until("forecast(size, 7d) > 20B", steady, now=21.0) == (0.0, 0.0, 0.0)


def test_what_was_full_by_day_is_met_already_at_night() -> None:
    """A line that is beyond its limit was drawn on from there, away from it: never, the page said."""
    busy = [(hour * HOUR, 0.95 if 8 <= hour % 24 < 18 else 0.1) for hour in range(30 * 24 + 2)]
    assert days_until("forecast(disk_used, 7d) > 90%", busy, now=0.1) == (0.0, 0.0, 0.0)


def test_noise_of_what_is_kept_brings_its_limit_no_nearer() -> None:
    """A store that fills up is on its way wherever it was in between; what comes and goes counts at its highest."""
    found = []
    for seed in range(7, 13):
        chance = random.Random(seed)
        filling = [(hour * HOUR, 0.3 + 0.01 * hour / 24 + chance.gauss(0, 0.02)) for hour in range(30 * 24)]
        found.append(days_until("forecast(disk_used, 1d) > 100%", filling, now=0.6)[0] or 0.0)
    # The busiest hours of days are four hundredths above the line, which is four days.
    assert fmean(found) == pytest.approx(36, abs=0.6)


def test_what_comes_and_goes_is_told_by_its_course() -> None:
    def days(value: Callable[[int], float]) -> list[Day]:
        return days_of([(hour * HOUR, value(hour)) for hour in range(30 * 24)], 30 * DAY)

    office = days(lambda hour: (0.8 if 8 <= hour % 24 < 18 else 0.1) * (0.2 if hour // 24 % 7 > 4 else 1.0))
    assert comes_and_goes(office, 30 * DAY)
    assert not comes_and_goes(days(lambda hour: 0.2 + hour / 2_000), 30 * DAY)
    assert not comes_and_goes(days(lambda hour: 0.2 + (hour % 240 + 600) / 2_000), 30 * DAY), "cleaned every ten days"


def test_too_short_a_past_tells_nothing() -> None:
    hours = [(hour * HOUR, 0.01 * hour) for hour in range(40)]
    assert prospect(limit("forecast(disk_used, 1d) > 100%"), (), 0.4, hours, 40 * HOUR).met is None
    assert prospect(limit("forecast(disk_used, 1d) > 100%"), (), 0.4, [], 40 * HOUR).met is None


# --- what begins again every month ------------------------------------------------------------------------------------

ZONE = "Europe/Berlin"


def moment(month: int, day: int, hour: int = 12) -> float:
    return datetime(2026, month, day, hour, tzinfo=ZoneInfo(ZONE)).timestamp()


def spent(
    text: str, value: Callable[[datetime], float], at: float, *, is_cost: bool = True, known: int = 95, begins: int = 1
) -> Prospect:
    """What is told of a series with these values by the hour, after so many days."""
    hours = [
        (at - back * HOUR, value(datetime.fromtimestamp(at - back * HOUR, ZoneInfo(ZONE))))
        for back in range(known * 24)
    ]
    hours.reverse()
    one = limit(text)
    days: dict[float, list[float]] = {}
    for when, seen in hours:
        days.setdefault(at - (at - when) // DAY * DAY, []).append(seen)
    extremes = [(when, max(seen) if one.rises else min(seen)) for when, seen in days.items()]
    return prospect(one, (), hours[-1][1], hours[-36 * 24 :], at, Monthly(extremes, Bill(ZONE, begins), is_cost))


def of_month(rate: float) -> Callable[[datetime], float]:
    return lambda when: rate * (when.day - 1 + when.hour / 24)


@pytest.mark.parametrize("is_cost", [True, False])
@pytest.mark.parametrize("day", [1, 2, 3, 6, 9, 20, 28, 31])
def test_a_budget_that_will_do_is_not_drawn_beyond_the_end_of_its_month(day: int, is_cost: bool) -> None:
    """Five a day are 155 by the end of the month, and nothing again on the first: 175 were said to be met in a week."""
    found = spent("forecast(left, 7d) > 175", of_month(5), moment(10, day), is_cost=is_cost)
    assert found.begins_again == moment(11, 1, 0)
    assert found.met is not None
    assert (found.met.expected, found.met.latest) == (None, None)


@pytest.mark.parametrize("is_cost", [True, False])
@pytest.mark.parametrize("day", [9, 20])
def test_a_budget_that_will_not_do_is_met_on_its_day(day: int, is_cost: bool) -> None:
    found = spent("forecast(left, 7d) > 125", of_month(5), moment(10, day), is_cost=is_cost)
    assert found.met is not None
    assert found.met.expected == pytest.approx(moment(10, 26, 0), abs=DAY)
    over = spent("forecast(left, 7d) > 40", of_month(5), moment(10, day), is_cost=is_cost).met
    assert over == Reach(*[moment(10, day)] * 3) if day > 9 else over is not None


def test_a_month_may_begin_on_any_day() -> None:
    def bill(when: datetime) -> float:
        days = when.day - 15 if when.day >= 15 else when.day + 15
        return 5 * (days + when.hour / 24)

    found = spent("forecast(left, 7d) > 175", bill, moment(10, 9), begins=15)
    assert found.begins_again == moment(10, 15, 0)
    assert found.met is not None
    assert found.met.expected is None


def test_what_is_left_of_a_quota_comes_back_with_the_month() -> None:
    found = spent("forecast(left, 7d) < 10", lambda when: 200 - of_month(5)(when), moment(10, 24), is_cost=False)
    assert found.begins_again == moment(11, 1, 0)
    assert found.met is not None
    assert found.met.expected is None
    found = spent("forecast(left, 7d) < 60", lambda when: 200 - of_month(5)(when), moment(10, 24), is_cost=False)
    assert found.met is not None
    assert found.met.expected == pytest.approx(moment(10, 29, 0), abs=DAY)


def test_a_quota_that_is_always_below_its_limit_is_met() -> None:
    """A smaller plan than the rule was written for: nothing may be spent of it, and the page of the check failed."""
    at = moment(10, 1, 2)  # so early in a month it is foretold by the days before
    found = spent("forecast(left, 7d) < 300", lambda when: 200 - of_month(5)(when), at, known=6)
    assert found.met == Reach(at, at, at)


def test_a_limit_below_nothing_is_not_met_by_a_month_of_nothing() -> None:
    """An account with a credit is below nothing: what a month comes to was divided by."""
    found = spent("forecast(left, 7d) > -5", lambda when: -10.0 - 5.0 * (when.day - 1), moment(10, 2), known=6)
    assert found.met is not None
    assert (found.met.expected, found.met.latest) == (None, None)


def test_a_first_month_is_known_to_be_one_of_a_cost_alone() -> None:
    assert spent("forecast(left, 7d) > 175", of_month(5), moment(10, 20), known=20).begins_again == moment(11, 1, 0)
    assert spent("forecast(left, 7d) > 175", of_month(5), moment(10, 20), known=20, is_cost=False).begins_again is None


def test_a_store_that_was_emptied_on_the_first_fills_up_on() -> None:
    def emptied(when: datetime) -> float:
        return (when.timestamp() - moment(10, 1) if when.timestamp() > moment(10, 1) else DAY * 100) / DAY * 5

    found = spent("forecast(left, 7d) > 175", emptied, moment(10, 20), is_cost=False)
    assert found.begins_again is None
    assert found.met is not None
    assert found.met.expected == pytest.approx(moment(10, 1) + 35 * DAY, abs=3 * DAY)
