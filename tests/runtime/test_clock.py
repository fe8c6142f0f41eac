"""The daemon's time does not step with the wall clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.runtime.clock import Clock


class Times:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0
        self.slept = 0.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic, lambda: self.monotonic + self.slept)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def test_it_is_the_wall_clock_when_nothing_happens() -> None:
    times = Times()
    clock = times.clock()
    times.pass_(1_234.5)
    assert clock.now() == times.wall


def test_a_step_of_an_hour_moves_no_deadline() -> None:
    for step in (3_600.0, -3_600.0):
        times = Times()
        clock = times.clock()
        times.wall += step
        before = clock.now()
        assert abs(before - 1_000_000.0) < 0.01
        times.pass_(60)
        assert 57 <= clock.now() - before <= 63


def test_a_sleep_of_the_machine_is_time_that_passed() -> None:
    times = Times()
    clock = times.clock()
    times.slept += 3_600.0
    times.wall += 3_600.0
    assert clock.now() == times.wall
    assert clock.monotonic() == 50.0


def test_it_comes_back_to_the_wall_clock_in_the_end() -> None:
    times = Times()
    clock = times.clock()
    times.wall += 60
    for _ in range(1_300):
        times.pass_(1)
        clock.now()
    assert abs(clock.now() - times.wall) < 0.01


def test_a_clock_that_was_never_set_is_taken_over() -> None:
    times = Times()
    clock = times.clock()
    times.wall += 50 * 365 * 86_400
    assert clock.now() == times.wall


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-5_000, 5_000)), max_size=30))
def test_it_never_goes_back(history: list[tuple[float, float]]) -> None:
    times = Times()
    clock = times.clock()
    last = clock.now()
    for passed, step in history:
        times.pass_(passed)
        times.wall += step
        if abs(times.wall - last) > 86_000:
            return
        now = clock.now()
        assert now >= last
        last = now


def test_a_life_goes_on_by_the_time_of_the_last_one_although_the_clock_was_set_back_a_little() -> None:
    times = Times()
    clock = times.clock()
    clock.go_on_from(1_000_060.0)
    assert clock.now() == 1_000_060.0
    for _ in range(1_300):
        times.pass_(1)
        clock.now()
    assert abs(clock.now() - times.wall) < 0.01


def test_a_life_begins_by_the_wall_clock_when_the_last_one_is_over_or_its_time_was_plainly_wrong() -> None:
    for seen in (0.0, 999_000.0, 1_003_600.0):
        clock = Times().clock()
        clock.go_on_from(seen)
        assert clock.now() == 1_000_000.0
