"""On recorded series forecasts and baselines beat simpler methods, and intervals hold what came.

A sample of what ``python -m tests.bench.forecasts`` tells in full; docs/performance.md has the tables.
"""

from __future__ import annotations

from statistics import fmean

import pytest

from tests.bench import backtest
from tests.bench.backtest import OURS, Scores
from tests.bench.recordings import DAY, HOUR, grown, recorded

GROWING = ("road", "electricity", "freeway", "water")


def best_other(scores: Scores) -> float:
    return min(score for name, score in scores.items() if name != OURS)


@pytest.mark.parametrize(("ahead", "at_most"), [(4 * HOUR, 0.5), (DAY, 0.95), (7 * DAY, 1.02)])
def test_forecasts_beat_simpler_methods(ahead: float, at_most: float) -> None:
    """After a week exactly, the growth of the last week is the same method: there it must not be worse."""
    scores = backtest.mean_scores([backtest.value_ahead(grown(name), ahead, every=41) for name in GROWING])
    assert scores[OURS] < at_most * best_other(scores)


def test_limits_are_met_when_it_was_said() -> None:
    """With and without a clean-up in the month before: no other method is as good in both."""
    series = [grown(name) for name in (*GROWING, "transactions", "pageviews")]
    found = [backtest.until_reached(one, every=9, cleaned=cleaned) for cleaned in (False, True) for one in series]
    scores = backtest.mean_scores([one.errors for one in found])
    assert scores[OURS] < 1.03 * best_other(scores)
    assert scores[OURS] < 0.1
    assert 0.9 < fmean(one.ours for one in found) < 0.995


def test_baselines_beat_simpler_methods() -> None:
    used = ("road", "electricity", "freeway", "parking", "transactions", "pageviews")
    scores = backtest.mean_scores([backtest.usual_errors(recorded(name), every=13) for name in used])
    assert scores[OURS] < 0.75 * best_other(scores)


def test_a_rule_on_what_is_usual_is_quiet_where_nothing_happened_and_tells_what_did() -> None:
    """Halved traffic, as the rule of nginx has it: no evening and no Sunday, but every hour of a burst pipe."""
    traffic = backtest.alarms(recorded("road"), backtest.by_baseline, below=0.5)
    assert traffic.held < 0.01 * traffic.values
    burst = backtest.alarms(recorded("water"), backtest.by_baseline, below=0.5)
    assert (burst.began, burst.held) == (1, 11)
