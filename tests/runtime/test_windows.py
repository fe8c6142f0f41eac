"""Windows are looked at when something is due, and again when a reload may have changed them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.core.world import check, setup
from tests.runtime.test_duty import LoopClock
from wcr_watchd.core.announcements import announcements, edges
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.recurrence import Once
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Window
from wcr_watchd.runtime.windows import WindowWatch


class Calendar:
    def __init__(self, clock: LoopClock) -> None:
        self.setup: Setup = setup(check("api"))
        self.clock = clock
        self.announced: list[float] = []
        self.edges: list[float] = []

    def pass_edges(self, since: float) -> None:
        now = self.clock.now()
        self.announced += [now for _ in announcements(self.setup, since, now)]
        self.edges += [now for _ in edges(self.setup, since, now)]


@pytest.mark.looptime
async def test_what_is_due_is_done_in_time_also_after_a_reload() -> None:
    clock = LoopClock()
    calendar = Calendar(clock)
    begun = clock.now()
    windows = WindowWatch(calendar, clock, begun)
    watch = asyncio.create_task(windows.serve())
    await asyncio.sleep(1_000.0)
    start = begun + 10_000.0
    window = Window("once", Once(start, start + 500.0), parse_matchers("check=api"), (8_999.0,))
    calendar.setup = replace(calendar.setup, windows=(window,))
    windows.reloaded()
    await asyncio.sleep(20_000.0)
    watch.cancel()
    assert calendar.announced == pytest.approx([start - 8_999.0], abs=1.0)
    assert calendar.edges == pytest.approx([start, start + 500.0], abs=1.0)
