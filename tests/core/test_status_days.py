"""The past of a component by days."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_status import an_incident
from wcr_watchd.core.local_time import months
from wcr_watchd.core.model import Severity
from wcr_watchd.core.status import Condition, DayBar, ShownFrom, Together
from wcr_watchd.core.status_days import Course, Stretch, day_bars, troubles, uptime, watched, worst_of
from wcr_watchd.core.uptime import Outcomes

HOUR, DAY = 3_600.0, 86_400.0
MIDNIGHT = 1_795_392_000.0
"""2026-11-23 in UTC."""
NOW = MIDNIGHT + 12 * HOUR


def bars(*courses: Course, maintenance: tuple[tuple[float, float], ...] = (), days: int = 3) -> tuple[DayBar, ...]:
    return day_bars(courses, Together.WORST, maintenance, "UTC", days, NOW)


ALWAYS = ((MIDNIGHT - 30 * DAY, NOW),)


def test_a_day_without_trouble_is_whole_and_today_is_as_long_as_it_lasted() -> None:
    found = bars(Course(ALWAYS, ()))
    assert [bar.date for bar in found] == ["2026-11-21", "2026-11-22", "2026-11-23"]
    assert [bar.length for bar in found] == [DAY, DAY, 12 * HOUR]
    assert {bar.condition for bar in found} == {Condition.OPERATIONAL}
    assert uptime(found) == 1.0


def test_an_outage_across_midnight_counts_on_both_days_and_began_once() -> None:
    out = Stretch(MIDNIGHT - HOUR, MIDNIGHT + HOUR, Condition.MAJOR)
    _, before, after = bars(Course(ALWAYS, (out,)))
    assert (before.outage, before.outages) == (HOUR, 1)
    assert (after.outage, after.outages) == (HOUR, 0)
    assert uptime([before]) == pytest.approx(1 - 1 / 24)


def test_what_nobody_watched_is_not_up() -> None:
    found = bars(Course(((MIDNIGHT, NOW),), ()))
    assert [bar.condition for bar in found] == [Condition.UNKNOWN, Condition.UNKNOWN, Condition.OPERATIONAL]
    assert uptime(found[:2]) is None
    assert uptime(found) == 1.0


def test_an_outage_while_nobody_watched_is_not_made_up() -> None:
    out = Stretch(MIDNIGHT - 3 * HOUR, MIDNIGHT - HOUR, Condition.MAJOR)
    gap = Course(((MIDNIGHT - DAY, MIDNIGHT - 2 * HOUR), (MIDNIGHT, NOW)), (out,))
    before = bars(gap)[1]
    assert (before.outage, before.unwatched) == (HOUR, 2 * HOUR)


def test_planned_maintenance_stands_apart() -> None:
    out = Stretch(MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR, Condition.MAJOR)
    today = bars(Course(ALWAYS, (out,)), maintenance=((MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR),))[2]
    assert (today.maintenance, today.outage, today.counted) == (HOUR, HOUR, 11 * HOUR)
    assert uptime([today]) == pytest.approx(1 - 1 / 11)


def test_by_the_rule_any_one_of_two_is_enough() -> None:
    out = Stretch(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR, Condition.MAJOR)
    broken, fine = Course(ALWAYS, (out,)), Course(ALWAYS, ())
    assert day_bars([broken, fine], Together.ANY, (), "UTC", 1, NOW)[0].outage == 0
    assert day_bars([broken, fine], Together.WORST, (), "UTC", 1, NOW)[0].outage == HOUR


def test_a_day_of_a_clock_change_has_its_own_length() -> None:
    now = 1_793_682_000.0  # 2026-11-03 in New York
    found = day_bars([Course(((now - 9 * DAY, now),), ())], Together.WORST, (), "America/New_York", 4, now)
    assert {bar.date: bar.length / HOUR for bar in found}["2026-11-01"] == 25


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1), st.sampled_from(Condition)), max_size=6),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=4),
)
def test_every_second_of_a_day_is_counted_once(
    trouble: list[tuple[float, float, Condition]], watch: list[tuple[float, float]]
) -> None:
    start = MIDNIGHT - 2 * DAY
    stretches = worst_of(Stretch(start + a * DAY, start + (a + b) * DAY, c) for a, b, c in trouble if b)
    spans: list[tuple[float, float]] = []
    for a, b in sorted(watch):
        begin = max(start + a * DAY, spans[-1][1] if spans else 0.0)
        spans.append((begin, max(begin, start + (a + b) * DAY)))
    for bar in bars(Course(tuple(spans), stretches)):
        known = bar.outage + bar.degraded + bar.maintenance + bar.unwatched
        assert -1e-3 <= known <= bar.length + 1e-3
        share = uptime([bar])
        assert share is None or 0.0 <= share <= 1.0


def test_hours_with_few_runs_are_watched_in_part() -> None:
    usual = [Outcomes(number * HOUR, HOUR, 55, 5, 0) for number in range(5)]
    half = Outcomes(5 * HOUR, HOUR, 30, 0, 0)
    blind, partly = Outcomes(6 * HOUR, HOUR, 0, 0, 60), Outcomes(7 * HOUR, HOUR, 45, 0, 15)
    spans = watched([*usual, half, blind, partly], 60.0, 1e9)
    assert spans == ((0.0, 5.5 * HOUR), (7 * HOUR, 7.75 * HOUR))


def test_a_run_of_a_slow_check_speaks_until_the_next() -> None:
    runs = [Outcomes(0.0, HOUR, 1, 0, 0), Outcomes(DAY, HOUR, 1, 0, 0)]
    assert watched(runs, DAY, 1e9) == ((0.0, 2.5 * DAY),)


def test_incidents_are_as_bad_as_they_ever_were() -> None:
    over = an_incident(Severity.WARNING, "x > 1", peak=Severity.CRITICAL, opened_at=NOW - 9, resolved_at=NOW)
    (found,) = troubles([over], ShownFrom.WARNING, NOW + 5)
    assert (found.condition, found.end) == (Condition.PARTIAL, NOW)
    assert troubles([over], ShownFrom.DOWN, NOW) == ()


def test_of_several_at_a_time_the_worst_holds() -> None:
    slow, out = Stretch(0, 10, Condition.DEGRADED), Stretch(4, 6, Condition.MAJOR)
    assert worst_of([slow, out]) == (
        Stretch(0, 4, Condition.DEGRADED),
        Stretch(4, 6, Condition.MAJOR),
        Stretch(6, 10, Condition.DEGRADED),
    )


def test_months_go_back_over_the_year() -> None:
    assert [name for name, _, _ in months(MIDNIGHT, "UTC", 12)][::11] == ["2026-11", "2025-12"]
