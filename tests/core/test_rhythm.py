"""What is usual goes by the time of the day and by days like today; a forecast grows as the same hours did before."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from tests.bench.backtest import mean_scores, traffic_ahead, value_ahead
from tests.bench.forecasts import GROWING, TRAFFIC
from tests.bench.recordings import grown, recorded
from wcr_watchd.core.rhythm import later, usual, value_at

HOUR, DAY = 3_600.0, 86_400.0
Samples = list[tuple[float, float]]


def requests(hour: int) -> float:
    """So many requests a second in an hour since a Monday: office hours, and quiet weekends."""
    day, time = divmod(hour, 24)
    if day % 7 > 4:
        return 10.0
    return 100.0 if 8 <= time < 18 else 5.0


def hours(first: int, last: int) -> Samples:
    return [(hour * HOUR, requests(hour)) for hour in range(first, last)]


def table(hours: int, step: float = 0.25) -> Samples:
    """The rows of a table to which every request adds one, by quarters of an hour."""
    times = [number * step for number in range(int(hours / step))]
    rows = accumulate(requests(int(time)) * step for time in times)
    return [(time * HOUR, value) for time, value in zip(times, rows, strict=True)]


@pytest.mark.parametrize("day", range(14, 21))
@pytest.mark.parametrize("time", [3, 7, 8, 12, 17, 18, 23])
def test_each_hour_of_a_week_is_known_after_two(day: int, time: int) -> None:
    now = day * 24 + time
    assert usual(hours(0, now), now * HOUR) == pytest.approx(requests(now))


def test_a_holiday_is_told_by_how_it_began() -> None:
    """On a Wednesday nobody came: from the afternoon on, it is a day like a Sunday."""
    noon = 16 * 24 + 14
    holiday = [(at, 10.0 if at >= 16 * DAY + 8 * HOUR else value) for at, value in hours(0, noon)]
    assert usual(holiday, noon * HOUR) == pytest.approx(10.0)


@pytest.mark.parametrize("lasted", [1, 3, 12, 48])
def test_a_flood_never_becomes_usual(lasted: int) -> None:
    """However long it lasts, nothing is usual at night that no night had."""
    night = 15 * 24 + 4
    flooded = [(at, 900.0 if at > (night - lasted) * HOUR else value) for at, value in hours(0, night)]
    assert usual(flooded, night * HOUR) <= 10.0


def test_a_single_spike_a_day_ago_is_not_usual() -> None:
    now = 15 * 24 + 12
    spiky = [(at, 5_000.0 if at == (now - 24) * HOUR else value) for at, value in hours(0, now)]
    assert usual(spiky, now * HOUR) == pytest.approx(100.0)


def test_without_a_day_before_everything_is_asked() -> None:
    assert usual([(0.0, 1.0), (HOUR, 2.0), (2 * HOUR, 9.0)], 3 * HOUR) == 2.0


def forecast(course: Samples, ahead: float) -> float | None:
    at = course[-1][0]
    return later([one for one in course if one[0] >= at - 6 * HOUR], course, at, ahead)


@pytest.mark.parametrize("time", [1, 7, 12, 17, 20])
@pytest.mark.parametrize("ahead", [4.0, 24.0, 168.0])
def test_rows_come_as_they_came_at_this_time(time: int, ahead: float) -> None:
    """From Wednesday on: the line of the last six hours would be wrong at every one of these times."""
    now = 9 * 24 + time
    said = forecast(table(now), ahead * HOUR)
    assert said == pytest.approx(table(int(now + ahead))[-1][1], rel=0.02)


def test_a_clean_up_is_no_part_of_the_growth() -> None:
    course = table(8 * 24 + 12)
    cleaned = [(at, value - 3_000.0 if at > 8 * DAY else value) for at, value in course]
    said, without = forecast(cleaned, DAY), forecast(course, DAY)
    assert said is not None
    assert without is not None
    assert said == pytest.approx(without - 3_000.0, abs=100.0)


def test_a_counter_that_began_anew_is_followed_from_there() -> None:
    course = table(8 * 24 + 12)
    before = course[-30][1]
    restarted = [(at, value if at < course[-30][0] else value - before) for at, value in course]
    said = forecast(restarted, 4 * HOUR)
    assert said == pytest.approx(table(8 * 24 + 16)[-1][1] - before, rel=0.1)


@pytest.mark.parametrize(("hours_ago", "of_it"), [(2, 0.5), (3, 0.8), (5, 0.95)])
def test_what_grows_as_never_before_is_followed_soon(hours_ago: int, of_it: float) -> None:
    """A log runs away at twenty times what a day brings: within hours the forecast is not that of quiet days."""
    course = table(8 * 24 + 12)
    begun = course[-1][0] - hours_ago * HOUR
    speed = 10_000.0 / HOUR
    runaway = [(at, value + max(0.0, at - begun) * speed) for at, value in course]
    said = forecast(runaway, 4 * HOUR)
    assert said is not None
    assert of_it < (said - runaway[-1][1]) / (4 * HOUR * speed) < 1.1


def test_a_nightly_import_is_growth() -> None:
    """Nothing all day, and a hundred rows more at two each night."""
    course = [(number * HOUR / 2, 100.0 * ((number - 4) // 48 + 1) + number * 0.01) for number in range(48 * 9)]
    assert forecast(course, DAY) == pytest.approx(course[-1][1] + 100.0, abs=1.0)


def test_backups_grow_by_the_night() -> None:
    """Nothing changes between two of them, and still they go one way. What retention took once is no growth."""
    course = [(number * HOUR, 7.0 * (number // 24) - (30.0 if number > 300 else 0.0)) for number in range(24 * 28 + 12)]
    assert forecast(course, 7 * DAY) == pytest.approx(course[-1][1] + 49.0)


@pytest.mark.parametrize("ahead", [3.0, 7.0])
def test_a_clean_up_of_every_week_comes_again(ahead: float) -> None:
    def used(number: int) -> float:
        return 3.0 * (number % 168) + 0.1 * number

    now = 24 * 29 + 12
    said = forecast([(number * HOUR, used(number)) for number in range(now)], ahead * DAY)
    assert said == pytest.approx(used(now - 1 + int(ahead * 24)), rel=0.02)


def test_far_ahead_the_newest_weeks_count_for_most() -> None:
    """Four weeks of ever fewer: that of the last week counts for half of it, that of the first for a sixteenth."""
    weekly = [80.0, 40.0, 20.0, 10.0]
    course: Samples = [(number * HOUR, 0.0) for number in range(-12, 1)]
    for number in range(28 * 24):
        course.append(((number + 1) * HOUR, course[-1][1] + weekly[number // 168] / 168))
    said = forecast(course, 7 * DAY)
    expected = (10 + 30 / 2 + 70 / 3 + 150 / 4) / 4
    assert said == pytest.approx(course[-1][1] + expected, rel=0.002)


def traffic(hour: int, more: float = 0.0) -> float:
    return requests(hour) * (1 + 0.1 * (hour * 7 % 11 - 5) / 5) + more * hour / 24


@pytest.mark.parametrize("time", [1, 7, 12, 17, 20])
@pytest.mark.parametrize("days", [3, 4, 7, 10])
def test_traffic_will_be_as_it_is_at_that_time(time: int, days: int) -> None:
    """Nights and weekends are no clean-ups, and the morning is no growth that goes on."""
    now = 28 * 24 + time
    said = forecast([(hour * HOUR, traffic(hour)) for hour in range(now)], days * DAY)
    assert said == pytest.approx(requests(now - 1 + days * 24), rel=0.2)


def test_traffic_that_grows_from_week_to_week_does_so_next_week() -> None:
    now = 28 * 24 + 12
    said = forecast([(hour * HOUR, traffic(hour, more=2.0)) for hour in range(now)], 7 * DAY)
    assert said == pytest.approx(traffic(now - 1 + 168, more=2.0), rel=0.1)


def test_an_outage_a_week_ago_is_not_expected_again() -> None:
    now = 28 * 24 + 12
    course = [(hour * HOUR, 0.0 if now - 200 < hour < now - 150 else traffic(hour)) for hour in range(now)]
    assert forecast(course, 7 * DAY) == pytest.approx(100.0, rel=0.15)


@pytest.mark.parametrize("time", [9, 12, 14])
@pytest.mark.parametrize("back", [7, 14])
def test_an_outage_on_a_day_that_is_asked_is_no_part_of_tomorrow(back: int, time: int) -> None:
    """Of two days that are asked, the one with an outage is half of what is said; of three it is nothing of it."""
    now = 15 * 24 + time
    asked = now + 24 - back * 24
    broken = [(hour * HOUR, 0.0 if abs(hour - asked) < 4 else traffic(hour)) for hour in range(now + 1)]
    assert forecast(broken, DAY) == pytest.approx(100.0, rel=0.15)


def test_what_a_clean_up_took_wholly_is_no_traffic() -> None:
    """It fills up again: that it has gone back to the beginning once does not make it come and go."""
    course = [(number * HOUR, number % 480 + 5.0) for number in range(28 * 24 + 12)]
    assert forecast(course, 7 * DAY) == pytest.approx(course[-1][1] + 168, rel=0.05)


@pytest.mark.parametrize("ahead", [4 * HOUR, DAY, 7 * DAY])
def test_it_beats_naive_methods_on_recorded_traffic(ahead: float) -> None:
    scores = dict(
        mean_scores([traffic_ahead(recorded(name), ahead, every=5 if ahead == DAY else 19) for name in TRAFFIC])
    )
    ours = scores.pop("wcr-watchd")
    assert ours < min(scores.values())


@pytest.mark.parametrize("column", [1, 2, 3])
def test_bursts_of_the_first_hour_are_not_drawn_on(column: int) -> None:
    """A machine known for an hour: lines through disk, memory and processes missed by up to two and a half times."""
    scores = value_ahead(recorded("machine", column), 600.0)
    assert scores["wcr-watchd"] < 1.01 * scores["last value"]


def test_what_grows_for_sure_is_followed_in_the_first_hour() -> None:
    chance = random.Random(5)
    leak = [(minute * 60.0, 0.3 + 0.1 * minute / 60 + chance.gauss(0, 0.001)) for minute in range(61)]
    assert forecast(leak, HOUR) == pytest.approx(0.5, abs=0.005)


def test_standing_still_for_some_hours_is_nothing_new() -> None:
    """It grew evenly so far; that the newest hours did not, is no reason to forget the weeks before."""
    now = 28 * 24 + 12
    course = [(number * HOUR, 5.0 * min(number, now - 4)) for number in range(now)]
    assert forecast(course, 7 * DAY) == pytest.approx(course[-1][1] + 5.0 * 168, rel=0.01)


@pytest.mark.parametrize("days", [4, 7])
def test_it_beats_naive_methods_on_recorded_series(days: int) -> None:
    scores = dict(mean_scores([value_ahead(grown(name), days * DAY, every=19) for name in GROWING]))
    ours = scores.pop("wcr-watchd")
    assert ours < min(scores.values())


def test_between_values_that_are_far_apart_nothing_is_known() -> None:
    course = [(0.0, 1.0), (HOUR, 2.0), (9 * HOUR, 10.0)]
    assert value_at(course, 0.5 * HOUR) == 1.5
    assert value_at(course, HOUR) == 2.0
    assert value_at(course, 5 * HOUR) is None
    assert value_at(course, 10 * HOUR) is None
    assert value_at(course, -HOUR) is None
