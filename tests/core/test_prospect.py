"""When what rules foretell meets their limits: as a date, with an interval, robust to clean-ups, nights and gaps."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import pi, sin
from statistics import fmean

import pytest

from wcr_watchd.core.model import MeasurementSpec, Severity
from wcr_watchd.core.prospect import Day, comes_and_goes, days_of, prospect
from wcr_watchd.core.rules import Rule, parse_rule
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
