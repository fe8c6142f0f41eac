"""Availability from counted runs: what is up, down, planned and not watched."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.uptime import Outcomes, gathered, joined, overlap, uptime, uptimes

HOUR = 3_600.0


def hour(number: int, up: int = 60, down: int = 0, unknown: int = 0) -> Outcomes:
    return Outcomes(number * HOUR, HOUR, up, down, unknown)


def test_the_share_of_runs_that_were_up_counts_as_time() -> None:
    found = uptime([hour(0), hour(1, up=45, down=15)], 60.0, 0.0, 2 * HOUR, [])
    assert (found.up, found.down, found.unwatched) == (1.75 * HOUR, 0.25 * HOUR, 0.0)
    assert found.share == found.share_with_planned == pytest.approx(0.875)


def test_what_could_not_tell_and_holes_are_neither_up_nor_down() -> None:
    found = uptime([hour(0, up=30, unknown=30), hour(2, up=15)], 60.0, 0.0, 4 * HOUR, [])
    assert (found.up, found.down, found.unwatched) == (0.75 * HOUR, 0.0, 3.25 * HOUR)
    assert found.share == 1.0


def test_nothing_watched_is_no_availability() -> None:
    assert uptime([], 60.0, 0.0, HOUR, []).share is None
    assert uptime([hour(0, up=0, unknown=60)], 60.0, 0.0, HOUR, []).share_with_planned is None


def test_planned_maintenance_is_told_apart() -> None:
    found = uptime(
        [hour(0), hour(1, up=0, down=60)], 60.0, 0.0, 2 * HOUR, [(HOUR, 1.5 * HOUR), (1.25 * HOUR, 2 * HOUR)]
    )
    assert found.share == 1.0
    assert found.share_with_planned == 0.5
    assert (found.planned_up, found.planned_down) == (0.0, HOUR)


def test_a_slow_check_speaks_until_its_next_run() -> None:
    daily = [Outcomes(number * 86_400.0, 300.0, 1, 0, 0) for number in range(3)]
    found = uptime(daily, 86_400.0, 0.0, 3 * 86_400.0, [])
    assert (found.up, found.unwatched) == (3 * 86_400.0, 0.0)
    late = uptime(daily[:1], 86_400.0, 0.0, 3 * 86_400.0, [])
    assert (late.up, late.unwatched) == (1.5 * 86_400.0, 1.5 * 86_400.0)


def test_only_what_lies_between_the_ends_counts() -> None:
    found = uptime([hour(0, up=0, down=60), hour(1)], 60.0, 0.5 * HOUR, 1.25 * HOUR, [])
    assert (found.down, found.up) == (0.5 * HOUR, 0.25 * HOUR)


COUNTS = st.integers(0, 70)
HOURS = st.dictionaries(st.integers(0, 30), st.tuples(COUNTS, COUNTS, COUNTS), max_size=20)
SPANS = st.lists(st.tuples(st.floats(0, 30 * HOUR), st.floats(0, 30 * HOUR)), max_size=5)


@given(HOURS, SPANS, st.sampled_from([15.0, 60.0, 600.0, 7_200.0]))
def test_all_time_is_accounted_for_once(
    hours: dict[int, tuple[int, int, int]], plans: list[tuple[float, float]], every: float
) -> None:
    counted = [hour(number, *runs) for number, runs in sorted(hours.items())]
    found = uptime(counted, every, 2 * HOUR, 25 * HOUR, plans)
    parts = (found.up, found.down, found.planned_up, found.planned_down, found.unwatched)
    assert all(part >= -1e-6 for part in parts)
    assert sum(parts) == pytest.approx(23 * HOUR)
    spans = joined(plans)
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert found.planned_up + found.planned_down <= overlap(spans, 2 * HOUR, 25 * HOUR) + 1e-6


@given(HOURS, SPANS, st.sampled_from([15.0, 60.0, 600.0, 7_200.0]))
def test_parts_are_as_the_whole_would_have_them(
    hours: dict[int, tuple[int, int, int]], plans: list[tuple[float, float]], every: float
) -> None:
    counted = [hour(number, *runs) for number, runs in sorted(hours.items())]
    edges = [0.0, 3.5 * HOUR, 10 * HOUR, 11 * HOUR, 31 * HOUR]
    parts = uptimes(counted, every, edges, plans)
    for (since, until), part in zip(pairwise(edges), parts, strict=True):
        whole = uptime(counted, every, since, until, plans)
        assert (part.up, part.down, part.unwatched) == pytest.approx((whole.up, whole.down, whole.unwatched), abs=1e-6)


@pytest.mark.parametrize("every", [30.0, 60.0, 300.0])
def test_confirmations_of_a_failure_are_no_time_of_their_own(every: float) -> None:
    """Two more runs, ten and twenty seconds after the first that fails, as `retry` has it by default."""
    chance = random.Random(4)
    outages = [
        (at := number * 4 * HOUR + chance.uniform(0, HOUR), at + chance.uniform(2, 20) * 60) for number in range(60)
    ]
    counts: dict[int, list[int]] = {}
    at, confirming, was = 0.0, 0, False
    while at < 240 * HOUR:
        down = any(start <= at < end for start, end in outages)
        counts.setdefault(int(at // HOUR), [0, 0])[down] += 1
        confirming = 2 if down and not was else max(0, confirming - 1)
        was = down
        at = at + 10 if confirming and down else (at // every + 1) * every
    hours = [hour(number, *runs) for number, runs in sorted(counts.items())]
    found = uptime(hours, every, 0.0, 240 * HOUR, [])
    true = sum(end - start for start, end in outages)
    assert found.down == pytest.approx(true, rel=0.05)
    assert sum(one.down for one in hours) * every > 1.08 * true, "each run counted alone would be too much"


def test_what_ran_twice_as_often_then_counts_each_run() -> None:
    found = uptime([hour(0, up=90, down=30)], 60.0, 0.0, HOUR, [])
    assert (found.up, found.down) == (0.75 * HOUR, 0.25 * HOUR)
    both = uptime([hour(0, up=0, down=62)], 60.0, 0.0, HOUR, [])
    assert (both.up, both.down) == (0.0, HOUR)
    blip = uptime([hour(0, up=60, down=1)], 60.0, 0.0, HOUR, [])
    assert blip.down == pytest.approx(HOUR / 61), "it came back at once"


RUNS = st.sampled_from([(60, 0, 0), (60, 0, 0), (55, 0, 0), (54, 0, 0), (53, 0, 0), (59, 1, 0), (0, 60, 0), (58, 0, 2)])


@given(
    st.lists(st.tuples(st.integers(0, 40), RUNS), max_size=30, unique_by=lambda one: one[0]),
    st.sampled_from([60.0, 1_800.0, HOUR, 6 * HOUR]),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=4),
    st.integers(0, 10),
    st.integers(11, 45),
)
def test_calm_hours_made_one_are_the_same_uptime(
    hours: list[tuple[int, tuple[int, int, int]]],
    every: float,
    windows: list[tuple[int, int]],
    since: int,
    until: int,
) -> None:
    spans = [(number * HOUR, HOUR, runs) for number, runs in sorted(hours)]
    planned = [(start * HOUR + 600, (start + length) * HOUR) for start, length in windows]
    one_by_one = [Outcomes(start, width, *runs) for start, width, runs in spans]
    span = (since * HOUR + 900, until * HOUR)
    expected = uptime(one_by_one, every, *span, planned)
    found = uptime(gathered(spans, every), every, *span, planned)
    for name in ("up", "down", "planned_up", "planned_down", "unwatched"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name


def test_a_calm_month_is_one_span() -> None:
    [one] = gathered([(number * HOUR, HOUR, (60, 0, 0)) for number in range(720)], 60.0)
    assert one == Outcomes(0.0, 720 * HOUR, 43_200, 0, 0)
