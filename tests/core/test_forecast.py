"""A trend is that of the growth, whatever spikes, gaps and clean-ups there are; and it says how sure it is."""

from __future__ import annotations

import random
from itertools import accumulate
from math import sqrt
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import forecasts
from tests.bench.backtest import MEANS, in_three_months, mean_scores, until_reached
from tests.bench.recordings import daily, growing, grown, recorded
from wcr_watchd.core.forecast import FEWEST, Trend, reach, trend

HOUR, DAY = 3_600.0, 86_400.0
Samples = list[tuple[float, float]]


def line(days: int, per_day: float, start: float = 0.2) -> Samples:
    return [(day * DAY, start + per_day * day) for day in range(days)]


@given(
    st.floats(-1e6, 1e6),
    st.floats(-100, 100).filter(lambda slope: abs(slope) > 1e-6),
    st.integers(FEWEST, 60),
)
def test_a_line_is_found_as_it_is(start: float, slope: float, count: int) -> None:
    found = trend([(number * DAY, start + slope * number) for number in range(count)])
    assert found is not None
    assert found.slope * DAY == pytest.approx(slope, rel=1e-3, abs=1e-6)
    assert found.low <= found.slope <= found.high


def test_too_few_samples_tell_nothing() -> None:
    assert trend([]) is None
    assert trend(line(FEWEST - 1, 0.01)) is None


def test_a_spike_does_not_move_it() -> None:
    samples = line(30, 0.01)
    samples[12] = (12 * DAY, 0.99)
    found = trend(samples)
    assert found is not None
    assert found.slope * DAY == pytest.approx(0.01, rel=0.02)


def test_a_clean_up_is_no_part_of_the_growth() -> None:
    """Twenty days of growth, then a clean-up to where it began, then growth as before: it is full as it grows."""
    samples = [(day * DAY, 0.3 + 0.02 * (day if day < 20 else day - 18)) for day in range(30)]
    found = trend(samples)
    assert found is not None
    assert found.slope * DAY == pytest.approx(0.02, rel=0.05)
    full = reach(found, 1.0)
    assert full.expected is not None
    assert (full.expected - found.at) / DAY == pytest.approx((1 - samples[-1][1]) / 0.02, abs=1.0)


@pytest.mark.parametrize(("every", "net"), [(7, 0.0), (7, 0.5), (1, 0.0), (1, 0.5)])
def test_clean_ups_that_come_every_week_or_day_are_part_of_it(every: int, net: float) -> None:
    """What retention removes each Sunday, or each night, it will remove again: only what is left over grows."""
    hourly = [(hour * HOUR, 3.0 * (hour / 24 % every) + net * hour / 24) for hour in range(31 * 24 + 5)]
    found = trend(hourly)
    assert found is not None
    assert found.slope * DAY == pytest.approx(net, abs=0.05)


def test_three_clean_ups_long_ago_are_not_every_week() -> None:
    samples = [(day * DAY, 2.0 * day - 20.0 * sum(day >= step for step in (4, 7, 10))) for day in range(31)]
    found = trend(samples)
    assert found is not None
    assert found.slope * DAY == pytest.approx(2.0, rel=0.05)


def test_what_grows_by_steps_only_grows() -> None:
    """Backups: one more each night, nothing between, and one clean-up."""
    samples = [(hour * HOUR, 5.0 * (hour // 24) - (40.0 if hour > 200 else 0.0)) for hour in range(20 * 24)]
    found = trend(samples)
    assert found is not None
    assert found.slope * DAY == pytest.approx(5.0, rel=0.05)


def test_a_single_step_is_no_growth() -> None:
    """A deploy took more memory, and nothing changed since."""
    found = trend([(day * DAY, 0.5 if day < 12 else 0.8) for day in range(30)])
    assert found is not None
    assert found.slope == 0
    assert found.level == 0.8


@pytest.mark.parametrize("first", range(7))
def test_it_matters_not_at_which_day_of_the_week_the_past_begins(first: int) -> None:
    """Nothing comes on weekends; first and last value are wrong by up to a tenth here."""
    values = list(accumulate(0.0 if day % 7 > 4 else 0.01 for day in range(first, first + 31)))
    found = trend([(day * DAY, value) for day, value in enumerate(values)])
    assert found is not None
    assert found.slope * DAY * 7 == pytest.approx(0.05, rel=0.001)


def test_a_changed_growth_is_followed() -> None:
    """Since ten days it grows twice as fast: the median of all slopes would not know yet."""
    found = trend([(day * DAY, 0.01 * day + 0.01 * max(0, day - 20)) for day in range(31)])
    assert found is not None
    assert 0.015 < found.slope * DAY < 0.02


def test_noise_is_no_changed_growth() -> None:
    """Where what lies off the line is gone at the next sample, the line of the whole past is believed."""
    chance = random.Random(3)
    errors, plain = [], []
    for _ in range(100):
        noisy = [(at, value + chance.gauss(0, 0.01)) for at, value in line(31, 0.004)]
        found = trend(noisy)
        assert found is not None
        errors.append(abs(found.slope * DAY - 0.004))
        plain.append(abs((noisy[-1][1] - noisy[0][1]) / 30 - 0.004))
    assert fmean(errors) < 0.9 * fmean(plain)


def test_a_last_value_that_leaps_is_not_believed_yet() -> None:
    samples = line(30, 0.01)
    found = trend([*samples, (30 * DAY, 0.95)])
    assert found is not None
    assert found.value(30 * DAY) == pytest.approx(0.2 + 0.3)
    assert found.slope * DAY == pytest.approx(0.01)


def test_days_without_values_are_no_hindrance() -> None:
    """The daemon stood still on every day of which the values a week before would be asked for."""
    found = trend([one for one in line(31, 0.01) if one[0] not in {23 * DAY, 16 * DAY, 9 * DAY, 2 * DAY}])
    assert found is not None
    assert found.slope * DAY == pytest.approx(0.01)


@pytest.mark.parametrize("cleaned", [False, True])
def test_it_beats_naive_methods_on_recorded_series(cleaned: bool) -> None:
    found = [until_reached(grown(name), cleaned=cleaned, every=2) for name in forecasts.DAYS]
    scores = dict(mean_scores([one.errors for one in found]))
    ours = scores.pop("wcr-watchd")
    assert ours < min(scores.values())
    assert fmean(one.ours for one in found) > 0.9


def test_it_beats_naive_methods_and_means_of_days_on_what_comes_and_goes() -> None:
    """When connections run out: by the means of days they never do, however often they did at noon."""
    for share in (0.0, 1.0):
        found = [until_reached(growing(name, share), every=2) for name in forecasts.FLOWING]
        scores = dict(mean_scores([one.errors for one in found]))
        ours = scores.pop("wcr-watchd")
        assert ours < min(scores.values())
        assert fmean(one.ours for one in found) > 0.9
        assert fmean(one.inside[MEANS] for one in found) < 0.6


@pytest.mark.parametrize("name", forecasts.LONG)
def test_three_months_are_within_their_interval(name: str) -> None:
    """Recordings of two years: counts that only grow, and the same as traffic."""
    kept = in_three_months(daily(grown(name)), kept=True, every=5)
    assert kept.inside > 0.8
    flows = in_three_months(daily(recorded(name)), kept=False, every=5)
    assert flows.inside > 0.9
    assert flows.errors["wcr-watchd"] < min(flows.errors[one] for one in ("first and last", "least squares"))


@pytest.mark.parametrize(("cleaned", "spiky"), [(False, True), (True, False), (True, True)])
def test_it_beats_naive_methods_where_series_are_as_real_ones(cleaned: bool, spiky: bool) -> None:
    scores = forecasts.forecast_scores(cleaned=cleaned, spiky=spiky)
    ours = scores.pop("wcr-watchd")
    assert ours < 0.05
    if not cleaned:
        scores.pop(
            "least squares"
        )  # better by half a point where growth never changes, and off by all after a clean-up
    assert ours < min(scores.values())


def test_baselines_beat_naive_methods() -> None:
    scores = forecasts.baseline_errors(random.Random(1))
    ours = scores.pop("wcr-watchd")
    assert ours < min(scores.values())


def test_a_gap_does_not_move_it() -> None:
    samples = [one for one in line(40, 0.005) if not 10 * DAY <= one[0] < 25 * DAY]
    found = trend(samples)
    assert found is not None
    assert found.slope * DAY == pytest.approx(0.005, rel=0.01)


def test_the_interval_has_the_true_slope_nearly_always() -> None:
    chance = random.Random(7)
    inside = 0
    for _ in range(200):
        noisy = [(at, value + chance.gauss(0, 0.02)) for at, value in line(30, 0.004)]
        found = trend(noisy)
        assert found is not None
        inside += found.low * DAY <= 0.004 <= found.high * DAY
    assert inside >= 180


def test_many_samples_are_put_together() -> None:
    found = trend([(number * 60.0, number * 1e-6) for number in range(20_000)])
    assert found is not None
    assert found.slope == pytest.approx(1e-6 / 60, rel=1e-3)


@pytest.mark.parametrize(
    ("slope", "limit", "expected"),
    [(0.1, 1.0, 105.0), (-0.1, 0.0, 105.0), (0.1, 0.0, None), (-0.1, 1.0, None), (0.0, 1.0, None), (0.0, 0.5, 100.0)],
)
def test_when_a_limit_is_met(slope: float, limit: float, expected: float | None) -> None:
    found = reach(Trend(100.0, 0.5, slope, slope / 2, slope * 2), limit)
    assert found.expected == (None if expected is None else pytest.approx(expected))


def test_a_growth_that_may_be_none_has_no_latest_time() -> None:
    found = reach(Trend(0.0, 0.5, 0.1, -0.01, 0.2), 1.0)
    assert (found.expected, found.earliest, found.latest) == (5.0, 2.5, None)


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.5), (0.2, 4.0), (-1.0, 2.0)])
def test_the_interval_widens_beyond_the_past_and_dates_go_by_it(low: float, high: float) -> None:
    """How much it will be in three months and when it is so much must not say different things."""
    found = Trend(0.0, 10.0, 1.0, low, high, past=30.0)
    near, far = found.ahead(15.0), found.ahead(120.0)
    assert (near.low, near.expected, near.high) == pytest.approx((10 + 15 * low, 25.0, 10 + 15 * high))
    assert (far.high - far.low) / 120 == pytest.approx((high - low) * sqrt(5 / 1.5))
    for missing in (5.0, 60.0, 300.0):
        met = reach(found, 10.0 + missing)
        assert met.expected == pytest.approx(missing)
        assert met.earliest is not None
        assert found.ahead(met.earliest).high == pytest.approx(10.0 + missing)
        if met.latest is not None:
            assert found.ahead(met.latest).low == pytest.approx(10.0 + missing)
    assert reach(found, 310.0).latest is None, "so far ahead the least growth is none"
