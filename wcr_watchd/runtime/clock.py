"""The daemon's time: steady for deadlines, yet the wall clock's in the long run."""

from __future__ import annotations

import time
from collections.abc import Callable

SLEW = 1 / 20
"""Seconds by which the time moves towards the wall clock per second that passes."""
STEP_BEYOND = 86_400.0
"""A difference beyond this is no step of a running clock but a clock that was never set: it is taken over at once."""
BRIDGED = 300.0
"""Seconds by which the wall clock may have been set back between two lives so that the second goes on by the time of
the first; a larger step is taken over, since a restart is what people try when the time shown is plainly wrong."""


def since_boot() -> float:
    """Seconds since the machine started, those it slept included (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Epoch seconds that a step of the wall clock does not step, so that no deadline jumps with it.

    The time advances with the time since boot and drifts towards the wall clock, never backwards. A suspend is time
    that really passed, so it counts here; it stops the monotonic clock that the schedule of checks goes by.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        elapsed: Callable[[], float] = since_boot,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._elapsed = elapsed
        self._steady = wall()
        self._read_at = elapsed()

    def now(self) -> float:
        """Epoch seconds."""
        read_at = self._elapsed()
        passed, self._read_at = read_at - self._read_at, read_at
        self._steady += passed
        difference = self._wall() - self._steady
        if abs(difference) > STEP_BEYOND:
            self._steady += difference
        else:
            self._steady += max(-passed * SLEW, min(passed * SLEW, difference))
        return self._steady

    def go_on_from(self, at: float) -> None:
        """Be no earlier than a time (epoch seconds) that the last life has seen.

        By a clock that was set back meanwhile, this life would come by the same moments again: a silence that had ended
        would be in force once more, and its end be told a second time.
        """
        if 0.0 < at - self.now() <= BRIDGED:
            self._steady = at

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return self._monotonic()

    def elapsed(self) -> float:
        """Seconds of a clock that never goes back and goes on while the machine sleeps."""
        return self._elapsed()
