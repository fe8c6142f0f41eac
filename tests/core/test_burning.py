"""The burn-rate alerts behave as in the published table, whatever the checks are like.

The Site Reliability Workbook (Google, 2018), chapter 5: for a target of 99.9 % over 30 days, burn rates of 14.4, 6 and
1 over 1 h, 6 h and 3 d; errors are told after (1 - target) / error rate x long window x burn rate, and the short window
ends it about as long after the errors have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.burning import ALERTS, COARSE, FINE, HOUR, MINUTE, Counts, Past, burning
from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import DAY, Objective
from wcr_watchd.core.uptime import Outcomes

START = 1_790_000_000.0 // HOUR * HOUR
OBJECTIVE = Objective("api", ("api",), 0.999)
LOOK = 15.0
Down = Callable[[float], bool]
"""Whether a check is down at a time (seconds since the errors began)."""


def told(
    downs: Mapping[str, tuple[float, Down]], watched: float, objective: Objective = OBJECTIVE, look: float = LOOK
) -> list[tuple[float, set[Severity]]]:
    """When (seconds since errors began) which alerts hold, after three calm days.

    ``downs`` is how often each check runs, and when it is down; one that fails runs again after ten seconds, twice.
    """
    counts = Counts()
    for every, _ in downs.values():
        past = [Outcomes(START + hour * HOUR, HOUR, round(HOUR / every), 0, 0) for hour in range(-72, 0)]
        counts.recall(Past(past[-6:], past), every, [], START)
    due = dict.fromkeys(downs, 0.0)
    again = dict.fromkeys(downs, 0)
    found, before, now = [], set[Severity](), 0.0
    while now < watched:
        for name, (every, is_down) in downs.items():
            while due[name] <= now:
                at, down = due[name], is_down(due[name])
                counts.see(name, START + at, every, down)
                again[name] = again[name] + 1 if down else 0
                due[name] = at + 10.0 if again[name] in (1, 2) else (at // every + 1) * every
        holds = {one.severity for one in burning(objective, counts, START + now) if one.because}
        if holds != before:
            found.append((now, holds))
            before = holds
        now += look
    return found


def share(part: float, step: float = 10.0) -> Down:
    """Down for that part of the time, spread as evenly as ``step`` seconds allow."""
    return lambda at: int((at // step + 1) * part) > int(at // step * part)


def between(start: float, end: float) -> Down:
    return lambda at: start <= at < end


def first(changes: list[tuple[float, set[Severity]]], severity: Severity) -> float:
    return next(at for at, holds in changes if severity in holds)


def over(changes: list[tuple[float, set[Severity]]], severity: Severity) -> float:
    """When an alert ended for good."""
    assert severity not in changes[-1][1]
    return next(at for (at, _), (_, held) in zip(changes[::-1], changes[-2::-1], strict=False) if severity in held)


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
        (0.02, Severity.CRITICAL, 0.001 / 0.02 * HOUR * 14.4),  # 43 min
        (0.0075, Severity.CRITICAL, 0.001 / 0.0075 * 6 * HOUR * 6),  # 4.8 h, by the second
        (0.002, Severity.WARNING, 0.001 / 0.002 * 3 * DAY * 1),  # 1.5 d, by the third
    ],
)
def test_detection_time_is_the_published_one(errors: float, severity: Severity, after: float) -> None:
    look = LOOK if after < HOUR else 5 * MINUTE
    at = first(told({"api": (10.0, share(errors))}, after * 1.2 + HOUR, look=look), severity)
    # Counted in minutes (of the last six hours) and hours, so that it may be off by one of these; errors come whole.
    slot = MINUTE if severity is Severity.CRITICAL else HOUR
    assert after - slot - 10.0 / errors <= at <= after + slot + look + 10.0 / errors


@pytest.mark.parametrize("period", [7 * DAY, 28 * DAY, 30 * DAY])
@pytest.mark.parametrize("errors", [0.0, 0.0005, 0.0009])
def test_precision_a_pace_that_the_budget_allows_tells_nobody(errors: float, period: float) -> None:
    objective = replace(OBJECTIVE, period=period)
    assert told({"api": (10.0, share(errors))}, 4 * DAY, objective, look=10 * MINUTE) == []


def test_recall_what_uses_up_the_budget_is_told() -> None:
    changes = told({"api": (10.0, share(0.0012))}, 4 * DAY, look=10 * MINUTE)
    assert changes, "it would be used up before the end of the period"


@pytest.mark.parametrize("every", [10.0, 60.0, 300.0, 900.0, HOUR])
def test_an_outage_is_told_at_once_and_once_however_often_the_check_runs(every: float) -> None:
    """A page at the first failed runs, and one end: nothing comes again when a window has no run in it."""
    length = max(10 * MINUTE, 2 * every)
    changes = told({"api": (every, between(0.0, length))}, length + 8 * HOUR)
    pages = [at for at, holds in changes if Severity.CRITICAL in holds]
    assert pages[0] <= 52.0 + LOOK
    held = pairwise([set[Severity](), *(holds for _, holds in changes)])
    assert sum(Severity.CRITICAL in holds - before for before, holds in held) == 1
    # The second alert has a short window of half an hour; what a run says holds until the next one.
    assert over(changes, Severity.CRITICAL) - length <= 30 * MINUTE + every + 2 * LOOK


def test_the_end_is_noticed_within_the_short_window() -> None:
    # A minute and a half are 2.5 % of an hour, but 0.4 % of six: only the first alert holds, and ends with its window.
    changes = told({"api": (10.0, between(0.0, 90.0))}, 2 * HOUR)
    assert first(changes, Severity.CRITICAL) == pytest.approx(52.0, abs=LOOK)
    assert over(changes, Severity.CRITICAL) - 90.0 == pytest.approx(5 * MINUTE, abs=MINUTE + LOOK)
    changes = told({"api": (10.0, between(0.0, 6 * MINUTE))}, 2 * HOUR)
    assert over(changes, Severity.CRITICAL) - 6 * MINUTE == pytest.approx(30 * MINUTE, abs=2 * MINUTE)


def test_a_failure_that_is_over_when_it_is_confirmed_wakes_nobody() -> None:
    """Three failed runs within twenty seconds are twenty seconds, and no three minutes."""
    assert told({"api": (300.0, between(0.0, 15.0))}, 2 * HOUR) == []


def test_a_check_that_runs_seldom_weighs_as_much_as_one_that_runs_often() -> None:
    """One of two is down: that is half of the time, as in the budget, though it has one run of sixty."""
    objective = Objective("both", ("often", "seldom"), 0.95)
    changes = told({"often": (60.0, share(0.0)), "seldom": (HOUR, between(0.0, DAY))}, DAY, objective, MINUTE)
    # Half of the time is ten times as fast as 95 % allows: 6 is told after 0.05 / 0.5 x 6 h x 6.
    assert first(changes, Severity.CRITICAL) == pytest.approx(0.05 / 0.5 * 6 * HOUR * 6, abs=2 * MINUTE)


def test_precision_whoever_is_told_has_lost_the_stated_share_of_the_budget() -> None:
    """Over two days of outages: 2 % of the budget in an hour, 5 % in six, 10 % in three days, to a run."""
    chance = random.Random(3)
    begins = sorted(chance.uniform(0, 2 * DAY) for _ in range(9))
    spans = [(begin, begin + chance.expovariate(1 / 240.0)) for begin in begins]
    of_period = OBJECTIVE.allowed * 30 * DAY

    def lost(since: float, until: float) -> float:
        return sum(max(0.0, min(until, end) - max(since, start)) for start, end in spans)

    changes = told({"api": (30.0, lambda at: any(start <= at < end for start, end in spans))}, 2 * DAY, look=30.0)
    held = set[Severity]()
    pages = []
    for at, holds in changes:
        if Severity.CRITICAL in holds - held:
            pages.append(at)
        held = holds
    assert len(pages) > 3
    for at in pages:
        used = max(lost(at - HOUR, at) / 0.02, lost(at - 6 * HOUR, at) / 0.05) / of_period
        assert used >= 0.5, "half of the share at least: what a run says holds until the next one, thirty seconds later"


def test_where_runs_are_few_one_failure_tells_nobody() -> None:
    counts = Counts()
    for minute in range(61):
        counts.see("api", START + minute * MINUTE, 60.0, down=minute == 58)
    assert burning(OBJECTIVE, counts, START + HOUR) == ()
    counts.see("api", START + HOUR + 50.0, 60.0, down=True)
    found, *_ = burning(OBJECTIVE, counts, START + HOUR + 51)
    assert found.severity is Severity.CRITICAL
    assert found.because.startswith("down for ")
    assert "of the last 1 h: the error budget" in found.because
    assert "times as fast as it may (14.4 is told)" in found.because


def test_where_nobody_watched_of_late_nothing_begins_and_nothing_ends() -> None:
    """As after a start: the records have an outage an hour ago, and how it is now is not known yet."""
    assert Counts().share(START, HOUR) is None
    assert burning(OBJECTIVE, Counts(), START) == ()
    counts = Counts()
    bad = [Outcomes(START - 50 * MINUTE, 5 * MINUTE, 0, 5, 0), Outcomes(START - 40 * MINUTE, 5 * MINUTE, 5, 0, 0)]
    counts.recall(Past(bad, bad), 60.0, [], START)
    assert [one.because for one in burning(OBJECTIVE, counts, START) if one.severity is Severity.CRITICAL] == ["", ""]
    counts.see("api", START, 60.0, down=False)
    assert Severity.CRITICAL not in {one.severity for one in burning(OBJECTIVE, counts, START + MINUTE)}


def test_the_first_minute_after_a_start_is_no_hour() -> None:
    """Nothing is known of the hour before, and half a minute is down: that is 0.8 % of the hour, and not all of it."""
    counts = Counts()
    for second in range(0, 40, 10):
        counts.see("api", START + second, 10.0, down=True)
    assert burning(OBJECTIVE, counts, START + 40) == ()
    for second in (40, 50):
        counts.see("api", START + second, 10.0, down=True)
    assert [one.severity for one in burning(OBJECTIVE, counts, START + 55)] == [Severity.CRITICAL]


def test_what_the_records_say_is_counted_where_it_was_and_without_planned_maintenance() -> None:
    hours = [Outcomes(START - number * HOUR, HOUR, 30, 30, 0) for number in range(80, 0, -1)]
    fine = [Outcomes(START - number * 5 * MINUTE, 5 * MINUTE, 5, 0, 0) for number in range(72, 0, -1)]
    counts = Counts()
    counts.recall(Past(fine, hours), 60.0, [(START - DAY, START)], START)
    assert counts.share(START, HOUR) is None
    assert counts.share(START, COARSE) == pytest.approx(0.5)
    again = Counts()
    again.recall(Past(fine, hours), 60.0, [], START)
    assert (again.share(START, FINE), again.share(START, COARSE)) == (0.0, pytest.approx(0.5))


@given(st.lists(st.tuples(st.integers(0, 5 * 86_400), st.sampled_from([True, False, None])), max_size=60))
def test_shares_are_shares_and_memory_is_bounded(some: list[tuple[int, bool | None]]) -> None:
    counts = Counts()
    for at, down in sorted(some, key=lambda one: one[0]):
        counts.see("api", START + at, HOUR, down)
    for window in (5 * MINUTE, HOUR, 6 * HOUR, 3 * DAY):
        watched, down, failed = counts.within(START + 5 * DAY, window)
        assert 0.0 <= down <= watched <= window + HOUR
        assert failed <= sum(down is True for _, down in some)
    assert len(counts._fine.slots) <= 6 * 60 + 2
    assert len(counts._coarse.slots) <= 3 * 24 + 2
