"""Objectives: the budget is what its parts say."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.core.objectives import Budget, Objective, budget, budget_left, promised
from wcr_watchd.core.uptime import Uptime

OBJECTIVE = Objective("api", ("api",), 0.999)


def test_the_budget_counts_unwatched_and_planned_time_apart() -> None:
    day = Uptime(up=80_000.0, down=43.2, planned_up=1_000.0, planned_down=600.0, unwatched=6_356.8)
    found = budget(OBJECTIVE, [day, day])
    assert found.availability == pytest.approx(80_000 / 80_043.2)
    assert found.availability_with_planned == pytest.approx(81_000 / 81_643.2)
    assert (found.down, found.unwatched) == (pytest.approx(86.4), pytest.approx(12_713.6))
    assert found.left == pytest.approx(1 - 43.2 / (0.001 * 86_400))
    assert budget(OBJECTIVE, []) == Budget(None, None, 0.0, 0.0, 0.0, None)


def test_a_target_and_what_is_left_in_words() -> None:
    assert [promised(one) for one in (0.999, 0.99995, 0.999995)] == ["99.9 %", "99.995 %", "99.9995 %"]
    assert [budget_left(one) for one in (1.0, 0.99999, 0.7557, 0.0, -0.001, -0.234)] == [
        "100 % left", "99.999 % left", "75.6 % left", "used up", "used up", "used up, and 23 % more",
    ]  # fmt: skip


def test_days_of_a_month_are_those_of_the_calendar_also_where_the_clocks_skip_its_first_midnight() -> None:
    zone = ZoneInfo("America/Havana")  # at midnight of 8 March 2026 it was one o'clock
    month = Objective("api", ("api",), 0.999, month_begins=8, timezone=zone.key)
    edges = month.days(datetime(2026, 3, 11, 12, tzinfo=zone).timestamp())
    shown = [f"{datetime.fromtimestamp(at, zone):%d %H:%M}" for at in edges]
    assert shown == ["08 01:00", "09 00:00", "10 00:00", "11 00:00", "11 12:00"]
