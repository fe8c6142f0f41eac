"""Objectives: the budget is what its parts say."""

from __future__ import annotations

import pytest

from wcr_watchd.core.objectives import Budget, Objective, budget
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
