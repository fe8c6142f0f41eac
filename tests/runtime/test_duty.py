"""Hand-overs are noticed when they are due, also one that fell into a time in which nobody was watching."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from tests.core.world import check, setup
from wcr_watchd.core.on_call import Layer, OnCallSchedule, weekly
from wcr_watchd.core.setup import Setup
from wcr_watchd.runtime.duty import DutyWatch

WEEK = 604_800.0
NEVER = datetime(2500, 1, 1)  # noqa: DTZ001 - a local time


class LoopClock:
    """The loop's own time, which looptime makes virtual, on a day in 2026."""

    def now(self) -> float:
        return 1_795_456_800.0 + asyncio.get_running_loop().time()


class Duties:
    def __init__(self, known: Setup) -> None:
        self.setup = known
        self.handed: list[tuple[str, tuple[str, ...]]] = []

    def hand_over(self, schedule: str, people: tuple[str, ...], until: float | None) -> None:
        self.handed.append((schedule, people))


def duties(schedule: OnCallSchedule) -> Duties:
    return Duties(replace(setup(check("api")), on_call={"ops": schedule}))


@pytest.mark.looptime
async def test_each_turn_begins_with_a_hand_over() -> None:
    told = duties(weekly("ops", "UTC", ("lead", "second")))
    clock = LoopClock()
    watch = asyncio.create_task(DutyWatch(told, clock, clock.now()).serve())
    await asyncio.sleep(3 * WEEK + 10.0)
    watch.cancel()
    assert len(told.handed) == 3
    assert {people for _, people in told.handed} == {("lead",), ("second",)}
    assert all(one != other for one, other in zip(told.handed, told.handed[1:], strict=False))


@pytest.mark.looptime
async def test_a_hand_over_that_nobody_saw_is_made_up_for() -> None:
    told = duties(weekly("ops", "UTC", ("lead", "second")))
    clock = LoopClock()
    DutyWatch(told, clock, clock.now() - WEEK).look()
    assert len(told.handed) == 1


@pytest.mark.looptime
async def test_a_schedule_without_anybody_is_said_also_when_a_reload_brings_it() -> None:
    told = duties(weekly("ops", "UTC", ("lead",)))
    clock = LoopClock()
    watch = DutyWatch(told, clock, clock.now())
    watch.look()
    never = OnCallSchedule("night", "UTC", (Layer("none", (("lead",),), starts=True, first=NEVER),))
    told.setup = replace(told.setup, on_call={**told.setup.on_call, "night": never})
    watch.look()
    watch.look()
    assert told.handed == [("night", ())]


@pytest.mark.looptime
async def test_a_gap_in_which_the_daemon_starts_is_said() -> None:
    told = duties(OnCallSchedule("ops", "UTC", (Layer("none", (("lead",),), starts=True, first=NEVER),)))
    watch = DutyWatch(told, LoopClock(), LoopClock().now())
    watch.look()
    watch.look()
    assert told.handed == [("ops", ())]
