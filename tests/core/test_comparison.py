"""Comparing before and after: against published values, against counting by hand, and on drawn samples."""

from __future__ import annotations

import math
import random
from itertools import combinations
from math import comb
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.comparison import FEWEST, FEWEST_INDEPENDENT, Finding, compare, fisher, holm, mann_whitney
from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.resemblance import inflation

MALES = [19.0, 22.0, 16.0, 29.0, 24.0]
FEMALES = [20.0, 11.0, 17.0, 12.0]
"""Age at which diabetes was found; two-sided p by the documentation of scipy.stats.mannwhitneyu: 1/9."""


def test_the_published_example_is_exact() -> None:
    assert 2 * mann_whitney(FEMALES, MALES) == pytest.approx(1 / 9)


def test_it_is_what_scipy_says() -> None:
    """SciPy 1.17.1, mannwhitneyu and fisher_exact with alternative="greater": with ties, without, and of failures."""
    assert mann_whitney([3, 4, 2, 6, 2, 5], [9, 7, 5, 10, 6, 8]) == pytest.approx(0.006295955745189852)
    assert mann_whitney([3, 4, 2, 6, 2.5, 5], [9.1, 7.2, 5.3, 10.4, 6.5, 8.6]) == pytest.approx(0.0021645021645021645)
    before = [0.1, 0.2, 3, 4, 5, 1, 2, 2.6, 8, 0.7]
    assert mann_whitney(before, [1.1, 2.2, 3.3, 9.4, 5.5, 6.6, 7.7, 8.8, 1.5, 2.5]) == pytest.approx(
        0.05256121587390938
    )
    assert fisher(12, 40, 7, 10) == pytest.approx(0.02575823800924191)


def test_the_lady_who_tastes_tea() -> None:
    # Fisher, The Design of Experiments (1935): 8 cups, all 4 told right by chance once in 70, 3 or more in 17 of 70.
    assert fisher(0, 4, 4, 4) == pytest.approx(1 / 70)
    assert fisher(1, 4, 3, 4) == pytest.approx(17 / 70)


@given(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_small_samples_agree_with_counting_all_orders(m: int, n: int, source: random.Random) -> None:
    ranks = source.sample(range(m + n), m + n)
    before, after = ranks[:m], ranks[m:]

    def wins(some: tuple[int, ...]) -> int:
        others = [rank for rank in ranks if rank not in some]
        return sum(one > other for one in some for other in others)

    seen = wins(tuple(after))
    counted = sum(wins(some) >= seen for some in combinations(ranks, n)) / comb(m + n, n)
    assert mann_whitney([float(one) for one in before], [float(one) for one in after]) == pytest.approx(counted)


# Whole numbers: what is moved by so much stays as different as it was.
SOME = st.lists(st.integers(-(10**6), 10**6).map(float), min_size=1, max_size=30)


@given(SOME, SOME)
def test_a_chance_is_one_and_what_is_larger_is_less_likely(before: list[float], after: list[float]) -> None:
    p = mann_whitney(before, after)
    assert 0.0 <= p <= 1.0
    assert mann_whitney(before, [one + 3e6 for one in after]) <= p + 1e-12


def test_values_that_are_all_the_same_say_nothing() -> None:
    assert mann_whitney([1.0] * 30, [1.0] * 30) == 1.0
    assert mann_whitney([], [1.0]) == 1.0


def test_holm_stops_at_the_first_that_fails() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == (True, False, False, True)  # Holm's levels: .0125 .0167 .025 .05
    assert holm([]) == ()


def course(source: random.Random, count: int, alike: float, middle: float = 0.2) -> list[float]:
    """Times of runs, each of which resembles the one before it by so much."""
    found, at = [], source.gauss(0, 1)
    for _ in range(count):
        at = alike * at + math.sqrt(1 - alike**2) * source.gauss(0, 1)
        found.append(middle * math.exp(0.4 * at))
    return found


@pytest.mark.parametrize(
    ("alike", "count", "most"), [(0.0, 60, 0.02), (0.5, 60, 0.1), (0.9, 60, 0.12), (0.9, 240, 0.1)]
)
def test_runs_that_resemble_each_other_give_no_alarm_of_their_own(alike: float, count: int, most: float) -> None:
    """Counted as if they knew nothing of each other, more than a third of the quiet changes looked worse."""
    source = random.Random(3)
    worse, by_counting = 0, 0
    for _ in range(150):
        sides = course(source, count, alike), course(source, count, alike)
        worse += findings(*map(runs, sides))["duration"] is Finding.WORSE
        by_counting += mann_whitney(*sides) <= 0.05
    assert worse <= 150 * most
    assert by_counting >= 150 * 0.25 or alike < 0.9


@pytest.mark.parametrize(
    ("alike", "count", "slower", "least"),
    [(0.0, 15, 3.0, 0.9), (0.0, 60, 1.5, 0.9), (0.5, 60, 2.0, 0.9), (0.9, 240, 2.0, 0.75), (0.9, 30, 10.0, 0.75)],
)
def test_what_is_much_slower_is_found(alike: float, count: int, slower: float, least: float) -> None:
    source = random.Random(4)
    found = sum(
        findings(runs(course(source, count, alike)), runs(course(source, count, alike, 0.2 * slower)))["duration"]
        is Finding.WORSE
        for _ in range(100)
    )
    assert found >= 100 * least


def test_runs_that_tell_no_more_than_a_few_say_nothing() -> None:
    """One slow wave on either side: whether it is the update or the time of day, nobody can tell."""
    sides = [0.2 + 0.1 * math.sin(at / 7) for at in range(20)], [0.24 + 0.1 * math.sin(at / 7) for at in range(20)]
    assert inflation(*sides) > 20 / FEWEST_INDEPENDENT
    assert findings(*map(runs, sides))["duration"] is Finding.UNDECIDED
    found = compare({"a": runs(sides[0])}, {"a": runs(sides[1])}, {}, 0.25)
    assert found[0].text.endswith("undecided (20 and 20 runs)")


def test_the_inflation_is_that_of_a_process_of_the_first_order() -> None:
    source = random.Random(6)
    for alike in (0.0, 0.5, 0.8):
        truth = (1 + alike) / (1 - alike)
        found = median(inflation(course(source, 400, alike), course(source, 400, alike)) for _ in range(21))
        assert truth * 0.85 <= found <= truth * 1.35


@given(st.lists(st.floats(-1e9, 1e9), max_size=40), st.lists(st.floats(-1e9, 1e9), max_size=40))
def test_the_inflation_is_a_number_and_never_below_one(before: list[float], after: list[float]) -> None:
    assert 1.0 <= inflation(before, after) < 1e6


@pytest.mark.parametrize("same", [[0.2] * 30, []])
def test_values_that_do_not_vary_need_no_inflation(same: list[float]) -> None:
    assert inflation(same, same) == 1.0
    assert inflation([0.3] * 30, [0.7] * 30) == 1.0


def test_level_holds_when_nothing_changed() -> None:
    """Of 400 changes that change nothing, with 5 series each, hardly one in twenty may look worse by the test alone."""
    source = random.Random(7)
    false = 0
    for _ in range(400):
        chances = [mann_whitney([source.gauss(0, 1) for _ in range(30)], [source.gauss(0, 1) for _ in range(30)])
                   for _ in range(5)]  # fmt: skip
        false += any(holm(chances))
    assert false <= 32, "binomial(400, 0.05) is above 32 once in 500"


def runs(durations: list[float], down: int = 0, memory: float = 0.5, check: str = "api") -> list[Observation]:
    measured = (Measurement("memory_used", memory), Measurement("size", 100.0))
    up = [
        Observation(check, "here", float(at), duration, Outcome.UP, "", "", measured)
        for at, duration in enumerate(durations)
    ]
    gone = [Observation(check, "here", 1e3 + at, 0.1, Outcome.DOWN, "connect", "") for at in range(down)]
    unknown = [Observation(check, "here", 2e3, 0.1, Outcome.UNKNOWN, "missing", "")]
    return [*up, *gone, *unknown]


UNITS = {"api": {"memory_used": "ratio", "size": "bytes"}}
STEADY = [0.2 + (index * 11) % 30 / 1000 for index in range(30)]


def findings(before: list[Observation], after: list[Observation]) -> dict[str, Finding]:
    return {one.what: one.finding for one in compare({"api": before}, {"api": after}, UNITS, 0.25)}


def test_what_became_worse_is_named_and_the_rest_is_not() -> None:
    slower = [one * 2 for one in STEADY]
    assert findings(runs(STEADY), runs(slower)) == {
        "duration": Finding.WORSE,
        "failures": Finding.NOT_WORSE,
        "memory_used": Finding.NOT_WORSE,
    }
    assert findings(runs(STEADY), runs(STEADY, down=15))["failures"] is Finding.WORSE
    assert findings(runs(STEADY, memory=0.3), runs(STEADY, memory=0.7))["memory_used"] is Finding.WORSE
    assert set(findings(runs(slower, down=15, memory=0.7), runs(STEADY, memory=0.3)).values()) == {Finding.NOT_WORSE}


def test_what_is_certain_but_small_is_not_worse() -> None:
    assert findings(runs(STEADY), runs([one * 1.2 for one in STEADY]))["duration"] is Finding.NOT_WORSE
    fast = [one / 1000 for one in STEADY]
    assert findings(runs(fast), runs([one * 3 for one in fast]))["duration"] is Finding.NOT_WORSE
    assert findings(runs(STEADY, memory=0.01), runs(STEADY, memory=0.02))["memory_used"] is Finding.NOT_WORSE


def test_too_few_runs_say_nothing() -> None:
    assert set(findings(runs(STEADY), runs(STEADY[: FEWEST - 1])).values()) == {Finding.UNDECIDED}
    assert set(findings([], runs(STEADY)).values()) == {Finding.UNDECIDED}
    assert compare({}, {}, {}, 0.25) == ()


def test_the_worst_comes_first_and_reads_well() -> None:
    first, *_ = compare({"api": runs(STEADY)}, {"api": runs([one * 2 for one in STEADY])}, UNITS, 0.25)
    assert first.text.startswith("api duration: 215 ms → 429 ms, worse (p = ")
    assert first.text.endswith("30 and 30 runs)")
