"""Whether the loop keeps time: a stall counts from the moment it ends, whoever wakes first."""

from __future__ import annotations

import asyncio

import pytest

from wcr_watchd.core.view import Counters
from wcr_watchd.runtime.tasks import LOOK_EVERY, LoopLag


class HandClock:
    """Monotonic seconds that a test moves on."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def monotonic(self) -> float:
        return self.at

    def elapsed(self) -> float:
        return self.at


async def test_a_stall_is_known_before_the_watcher_itself_woke() -> None:
    clock = HandClock()
    lag = LoopLag(clock, Counters(), [].append)
    watching = asyncio.create_task(lag.serve())
    await asyncio.sleep(0)
    clock.at += 30.0  # stopped; what was waiting for an answer wakes before the watcher does
    assert lag.stalled_since(1_000.0) == pytest.approx(30.0 - LOOK_EVERY)
    assert lag.stalled_since(1_029.0) == pytest.approx(1.0)
    watching.cancel()


async def test_small_lateness_is_no_stall() -> None:
    clock = HandClock()
    lag = LoopLag(clock, Counters(), [].append)
    clock.at += LOOK_EVERY + 0.1
    assert lag.stalled_since(1_000.0) == 0.0


async def test_a_long_absence_is_passed_on_once() -> None:
    clock, absences = HandClock(), list[float]()
    lag = LoopLag(clock, Counters(), absences.append)
    watching = asyncio.create_task(lag.serve())
    await asyncio.sleep(0)
    clock.at += 3_600.0
    await asyncio.sleep(2.5 * LOOK_EVERY)
    watching.cancel()
    assert absences == [3_600.0]
