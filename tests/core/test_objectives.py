"""Objectives: the burn-rate alerts behave as in the published table, and the budget is what its parts say.

The Site Reliability Workbook (Google, 2018), chapter 5: for a target of 99.9 % over 30 days, burn rates of 14.4, 6 and
1 over 1 h, 6 h and 3 d; errors are told after (1 - target) / error rate x long window x burn rate, and the short window
ends it about as long after the errors have.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import ALERTS, DAY, HOUR, MINUTE, Budget, Counts, Objective, budget, burning
from wcr_watchd.core.uptime import Uptime

START = 1_790_000_000.0 // HOUR * HOUR
OBJECTIVE = Objective("api", ("api",), 0.999)
RUNS = 100_000
"""Runs in a second: as a busy service has them, so that shares are exact."""


def told(errors: float, lasts: float, watched: float, step: float = 10.0) -> list[tuple[float, set[Severity]]]:
    """When (seconds since errors began) which alerts hold, after three calm days; ``errors`` is what share fails."""
    counts = Counts()
    for hour in range(72, 6, -1):
        counts.add(START - hour * HOUR, int(RUNS * HOUR), 0)
    for minute in range(6 * 60, 0, -1):
        counts.add(START - minute * MINUTE, int(RUNS * MINUTE), 0)
    found, before = [], set[Severity]()
    for number in range(int(watched / step)):
        at = number * step
        counts.add(START + at, int(RUNS * step), round(RUNS * step * errors) if at < lasts else 0)
        holds = {one.severity for one in burning(OBJECTIVE, counts, START + at + step)}
        if holds != before:
            found.append((at + step, holds))
            before = holds
    return found


def test_the_recommended_parameters() -> None:
    assert [(one.severity, one.long, one.short, round(one.burn_rate(30 * DAY), 6)) for one in ALERTS] == [
        (Severity.CRITICAL, HOUR, 5 * MINUTE, 14.4),
        (Severity.CRITICAL, 6 * HOUR, 30 * MINUTE, 6.0),
        (Severity.WARNING, 3 * DAY, 6 * HOUR, 1.0),
    ]


@pytest.mark.parametrize(
    ("errors", "severity", "after"),
    [
        (1.0, Severity.CRITICAL, 0.001 / 1.0 * HOUR * 14.4),  # 52 s
        (0.1, Severity.CRITICAL, 0.001 / 0.1 * HOUR * 14.4),  # 8.6 min
        (0.0145, Severity.CRITICAL, 0.001 / 0.0145 * HOUR * 14.4),  # just fast enough for the first: an hour
        (0.007, Severity.CRITICAL, 0.001 / 0.007 * 6 * HOUR * 6),  # 5.1 h, by the second
        (0.002, Severity.WARNING, 0.001 / 0.002 * 3 * DAY * 1),  # 1.5 d, by the third
    ],
)
def test_detection_time_is_the_published_one(errors: float, severity: Severity, after: float) -> None:
    step = 10.0 if severity is Severity.CRITICAL else 10 * MINUTE
    at = next(at for at, holds in told(errors, 3 * DAY, after * 1.2 + HOUR, step) if severity in holds)
    # Counted in minutes (of the last six hours) and hours, so that it may be off by one of these.
    slot = MINUTE if severity is Severity.CRITICAL else HOUR
    assert after - slot - step <= at <= after + slot + step


@pytest.mark.parametrize("errors", [0.0, 0.0005, 0.00099])
def test_precision_a_pace_that_the_budget_allows_tells_nobody(errors: float) -> None:
    assert told(errors, 4 * DAY, 4 * DAY, 10 * MINUTE) == []


def test_precision_whoever_is_told_has_lost_the_stated_share_of_the_budget() -> None:
    """By the table: 2 % in an hour, 5 % in six, 10 % in three days; a minute of rounding aside."""
    budget_of_period = OBJECTIVE.allowed * 30 * DAY
    for errors in (1.0, 0.2, 0.05, 0.02, 0.01, 0.007):
        step = 10.0 if errors > 0.1 else MINUTE
        at, _ = next((at, holds) for at, holds in told(errors, DAY, 7 * HOUR, step) if Severity.CRITICAL in holds)
        assert (at + MINUTE) * errors >= 0.02 * budget_of_period * 0.95


def test_recall_what_uses_up_the_budget_is_told() -> None:
    assert told(0.0011, 4 * DAY, 4 * DAY, 10 * MINUTE), "it would be used up before the end of the period"


def test_the_end_is_noticed_within_the_short_window() -> None:
    changes = told(1.0, 10 * MINUTE, 40 * MINUTE)
    assert changes[0][0] <= 2 * MINUTE
    # The second alert has a short window of half an hour; the first one ends five minutes after the errors.
    over = next(at for at, holds in changes if Severity.CRITICAL not in holds)
    assert over - 10 * MINUTE <= 31 * MINUTE + 10.0


def test_where_runs_are_few_one_failure_tells_nobody() -> None:
    counts = Counts()
    for minute in range(60):
        counts.add(START + minute * MINUTE, 1, int(minute == 58))
    assert burning(OBJECTIVE, counts, START + HOUR) == ()
    counts.add(START + HOUR, 1, 1)
    found, *_ = burning(OBJECTIVE, counts, START + HOUR + 1)
    assert found.severity is Severity.CRITICAL
    assert "of the runs failed in the last 1 h" in found.because
    assert "times as fast as it may (14.4 is told)" in found.because


def test_without_runs_nothing_is_said() -> None:
    assert Counts().share(START, HOUR) == (None, 0)
    assert burning(OBJECTIVE, Counts(), START) == ()


def test_a_check_that_runs_seldom_is_not_over_because_nothing_ran() -> None:
    counts = Counts()
    for hour in range(6):
        counts.add(START + hour * HOUR, 1, 1)
    assert burning(OBJECTIVE, counts, START + 5 * HOUR + 20 * MINUTE)


@given(st.lists(st.tuples(st.integers(0, 5 * 86_400), st.integers(0, 50), st.integers(0, 50)), max_size=60))
def test_shares_are_shares_and_memory_is_bounded(some: list[tuple[int, int, int]]) -> None:
    counts = Counts()
    for at, good, bad in sorted(some):
        counts.add(START + at, good + bad, bad)
    for window in (5 * MINUTE, HOUR, 6 * HOUR, 3 * DAY):
        share, failed = counts.share(START + 5 * DAY, window)
        assert share is None or 0.0 <= share <= 1.0
        assert failed <= sum(bad for _, _, bad in some)
    assert len(counts._fine.slots) <= 6 * 60 + 2
    assert len(counts._coarse.slots) <= 3 * 24 + 2


def test_the_budget_counts_unwatched_and_planned_time_apart() -> None:
    day = Uptime(up=80_000.0, down=43.2, planned_up=1_000.0, planned_down=600.0, unwatched=6_356.8)
    found = budget(OBJECTIVE, [day, day])
    assert found.availability == pytest.approx(80_000 / 80_043.2)
    assert found.availability_with_planned == pytest.approx(81_000 / 81_643.2)
    assert (found.down, found.unwatched) == (pytest.approx(86.4), pytest.approx(12_713.6))
    assert found.left == pytest.approx(1 - 43.2 / (0.001 * 86_400))
    assert budget(OBJECTIVE, []) == Budget(None, None, 0.0, 0.0, 0.0, None)
