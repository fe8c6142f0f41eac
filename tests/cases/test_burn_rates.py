"""The figures that "The Site Reliability Workbook" (Google, 2018) prints in chapter 5, "Alerting on SLOs", replayed.

https://sre.google/workbook/alerting-on-slos/, for 99.9 % over 30 days where it says nothing else. Each number with a
table or figure beside it stands there; what is read off a chart there is rounded, and the rule in its text is exact.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.test_burning import LOOK, OBJECTIVE, START, between, first, over, share, told
from wcr_watchd.core.burning import ALERTS, HOUR, MINUTE, Counts
from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import DAY, budget
from wcr_watchd.core.uptime import Uptime

BUDGET = 43.2 * MINUTE
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


@pytest.mark.parametrize(
    ("rate", "errors", "exhausted"),
    [(1, 0.001, 30 * DAY), (2, 0.002, 15 * DAY), (10, 0.01, 3 * DAY), (1000, 1.0, 43 * MINUTE)],
)
def test_table_5_4_time_to_exhaustion(rate: int, errors: float, exhausted: float) -> None:
    found = Uptime(up=exhausted * (1 - errors), down=exhausted * errors, unwatched=30 * DAY - exhausted)
    assert budget(OBJECTIVE, [found]).left == pytest.approx(0.0, abs=0.005), "43 minutes are 43.2"
    assert errors / OBJECTIVE.allowed == pytest.approx(rate)


def test_tables_5_6_and_5_8_the_parameters() -> None:
    assert [(one.severity, one.long, one.short, round(one.burn_rate(30 * DAY), 6), one.consumed) for one in ALERTS] == [
        (CRITICAL, HOUR, 5 * MINUTE, 14.4, 0.02),
        (CRITICAL, 6 * HOUR, 30 * MINUTE, 6.0, 0.05),
        (WARNING, 3 * DAY, 6 * HOUR, 1.0, 0.10),
    ]


@pytest.mark.parametrize(
    ("errors", "severity", "consumed", "look"),
    [(0.15, CRITICAL, 0.02, LOOK), (0.01, CRITICAL, 0.05, MINUTE), (0.002, WARNING, 0.10, 5 * MINUTE)],
)
def test_table_5_8_whoever_is_told_has_lost_that_share_of_the_budget(
    errors: float, severity: Severity, consumed: float, look: float
) -> None:
    expected = consumed * BUDGET / errors
    at = first(told({"api": (10.0, share(errors))}, expected * 1.1 + 10 * MINUTE, look=look), severity)
    slot = MINUTE if severity is CRITICAL else HOUR
    assert at * errors / BUDGET == pytest.approx(consumed, abs=((slot + look) * errors + 10.0) / BUDGET)


def test_figure_5_6_fifteen_percent_for_ten_minutes() -> None:
    """Over the threshold after five minutes; below it in the short window five after the end, in the long one sixty."""
    stops, part = 10 * MINUTE, share(0.15)
    changes = told({"api": (10.0, lambda at: at < stops and part(at))}, 80 * MINUTE)
    exact = 0.001 / 0.15 * HOUR * 14.4  # the sixth error is the one too many: they are of ten seconds, one every 67
    assert 5 * MINUTE <= exact <= first(changes, CRITICAL) <= exact + 10.0 / 0.15 + LOOK
    assert over(changes, CRITICAL) - stops == pytest.approx(5 * MINUTE, abs=MINUTE)
    counts = Counts()
    for second in range(0, int(75 * MINUTE), 10):
        counts.see("api", START + second, 10.0, down=second < stops and part(second))
    limit = 14.4 * OBJECTIVE.allowed
    still, no_more = (counts.within(START + stops + after * MINUTE, HOUR)[1] / HOUR for after in (52, 60))
    assert still > limit > no_more, "in the long window alone it would go on for nearly an hour"


def test_figure_5_3_spikes_that_a_duration_never_tells() -> None:
    """Down for five minutes in every ten: each costs almost 12 % of the budget, and none lasts long enough."""
    assert pytest.approx(0.12, abs=0.005) == 5 * MINUTE / BUDGET
    changes = told({"api": (10.0, lambda at: at % (10 * MINUTE) < 5 * MINUTE)}, HOUR)
    assert first(changes, CRITICAL) <= MINUTE + LOOK


def test_table_5_5_what_a_single_burn_rate_misses() -> None:
    """35 times as fast never alerts where 36 are asked for, and uses all of the budget in 20.5 hours."""
    assert pytest.approx(20.5 * HOUR, abs=0.1 * HOUR) == 30 * DAY / 35
    at = first(told({"api": (10.0, share(0.035))}, 40 * MINUTE), CRITICAL)
    assert at == pytest.approx(14.4 / 35 * HOUR, abs=MINUTE + LOOK + 10.0 / 0.035)


def test_table_5_1_a_tenth_of_a_percent_for_ten_minutes_tells_nobody() -> None:
    """Up to 144 alerts a day in the first of their ways, though the objective is met: a five-thousandth goes each."""
    assert pytest.approx(0.0002, abs=0.00005) == 0.001 * 10 * MINUTE / BUDGET
    part = share(0.001, 1.0)
    assert told({"api": (1.0, lambda at: at < 10 * MINUTE and part(at))}, HOUR, look=MINUTE) == []


def test_table_5_7_a_tenth_in_five_minutes_is_no_three_notifications() -> None:
    """All three conditions hold at once: both that page are one, and no longer than their windows."""
    lost = 0.1 * BUDGET
    assert lost <= 5 * MINUTE
    changes = told({"api": (1.0, between(0.0, lost + MINUTE))}, 8 * HOUR, look=30.0)
    pages = sum(
        CRITICAL in holds and CRITICAL not in before
        for (_, before), (_, holds) in zip([(0.0, set()), *changes], changes, strict=False)
    )
    assert pages == 1


def test_low_traffic_one_of_ten_an_hour() -> None:
    """One failure is 1000 times as fast and 13.9 % of the budget, and there may be seven: it pages there, not here."""
    every = HOUR / 10
    assert every / BUDGET == pytest.approx(0.139, abs=0.0005)
    one, seven, eight = (Uptime(up=30 * DAY - count * every, down=count * every) for count in (1, 7, 8))
    assert [round(budget(OBJECTIVE, [found]).left or 0.0, 3) for found in (one, seven, eight)] == [0.861, 0.028, -0.111]
    assert told({"api": (every, between(0.0, 5.0))}, 2 * HOUR) == []


def test_extreme_goals() -> None:
    """A total outage is 1.4 % of the budget of 90 % in an hour: that never fires, the alert of six hours does."""
    easy = replace(OBJECTIVE, target=0.9)
    assert HOUR / (easy.allowed * 30 * DAY) == pytest.approx(0.014, abs=0.0005)
    assert first(told({"api": (10.0, between(0.0, DAY))}, 4 * HOUR, easy, MINUTE), CRITICAL) == pytest.approx(
        6 * easy.allowed * 6 * HOUR, abs=2 * MINUTE
    )
    strict = replace(OBJECTIVE, target=0.99999)
    assert strict.allowed * 30 * DAY == pytest.approx(26.0, abs=0.1), "seconds until it is gone"
    assert first(told({"api": (10.0, between(0.0, MINUTE))}, 2 * MINUTE, strict, 1.0), CRITICAL) <= 10.0, "a second run"
