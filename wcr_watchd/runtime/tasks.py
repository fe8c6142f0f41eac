"""The tasks that run as long as the daemon: none may end unnoticed, and none may hold the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from wcr_watchd.core.view import Counters

log = structlog.get_logger(__name__)

LOOK_EVERY = 0.25
"""Seconds between two looks at whether the loop keeps time."""
STALL = 0.5
"""Seconds of lateness from which on the loop counts as stalled."""
REMEMBERED_STALLS = 100
ABSENCE = 2.0
"""Seconds without a look after which nobody was watching: the process was stopped, or the machine slept.

Whether that is worth a message is for `tell_absence` to say."""


class Monotonic(Protocol):
    """A clock that never goes back."""

    def monotonic(self) -> float:
        """Seconds."""
        ...

    def elapsed(self) -> float:
        """Likewise, going on while the machine sleeps."""
        ...


async def guard(name: str, job: Coroutine[Any, Any, None]) -> None:
    """Run a job that must not end: its failure, and its end without one, are errors that end the daemon."""
    try:
        await job
    except Exception:
        log.exception("a part of the daemon failed; it ends, to be started again", part=name)
        raise
    raise RuntimeError(f"the {name} task ended, which it never should")


class LoopLag:
    """Watches whether the event loop keeps time, and remembers when it did not.

    A process that was stopped or starved sees timeouts that say nothing about any target. ``absent(seconds)`` is
    called when nobody was watching for a while, be it that the process was stopped or that the machine slept.
    """

    def __init__(self, clock: Monotonic, counters: Counters, absent: Callable[[float], None]) -> None:
        self._absent = absent
        self._clock = clock
        self._counters = counters
        self._stalls: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_STALLS)
        self._look_at = clock.monotonic() + LOOK_EVERY

    async def serve(self) -> None:
        """Watch until cancelled."""
        while True:
            self._look_at = self._clock.monotonic() + LOOK_EVERY
            looked_at = self._clock.elapsed()
            await asyncio.sleep(LOOK_EVERY)
            now = self._clock.monotonic()
            late = max(0.0, now - self._look_at)
            self._counters.event_loop_lag = late
            self._counters.loop_progress_at = now
            self._counters.event_loop_tasks = len(asyncio.all_tasks())
            if late > STALL:
                self._stalls.append((now, late))
                log.warning("this process was held up; results of that time are void", seconds=round(late, 2))
            if (away := self._clock.elapsed() - looked_at) > ABSENCE:
                self._absent(away)

    def stalled_since(self, begun: float) -> float:
        """Seconds for which the loop was held up since then (monotonic seconds)."""
        past = sum(min(late, ended - begun) for ended, late in self._stalls if ended > begun)
        # What woke this run may come before the look that will note the stall that has just ended.
        now = self._clock.monotonic()
        late = now - self._look_at
        return past + (min(late, now - begun) if late > STALL else 0.0)
