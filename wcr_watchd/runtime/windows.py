"""Maintenance windows as time passes: noticing when one is to be announced, begins or ends."""

from __future__ import annotations

import asyncio
from typing import Protocol

from wcr_watchd.core.announcements import next_edge, next_notice
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.setup import Setup

LONGEST_WAIT = 60.0
"""Seconds after which the clock is looked at again: it may run faster or slower than the loop's."""
SHORTEST_WAIT = 0.1


class Calendar(Protocol):
    """Who is to be told of what is planned, and by which configuration."""

    setup: Setup

    def pass_edges(self, since: float) -> None:
        """Announce what became due since then, and act on windows that began or ended."""
        ...


class WindowWatch:
    """Watches the maintenance windows; ``since`` is when somebody last did (epoch seconds)."""

    def __init__(self, calendar: Calendar, clock: Clock, since: float) -> None:
        self._calendar = calendar
        self._clock = clock
        self._since = since
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Watch until cancelled."""
        while True:
            self._changed.clear()
            wait = self.look()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def reloaded(self) -> None:
        """There are other windows now."""
        self._changed.set()

    def look(self) -> float:
        """Act on what is due; returns the seconds until more is, or until it is worth looking again."""
        now = self._clock.now()
        if now > self._since and self._calendar.setup.windows:
            self._calendar.pass_edges(self._since)
        self._since = max(now, self._since)
        setup = self._calendar.setup
        due = [at - now for at in (next_notice(setup, now), next_edge(setup, now)) if at is not None]
        return max(min(*due, LONGEST_WAIT) if due else LONGEST_WAIT, SHORTEST_WAIT)
