"""Attempts that fail are made to wait, longer each time, but nobody for ever."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

FORGET_AFTER = 3_600.0
"""Seconds after the last failure when all of them are forgotten."""
MOST_KEYS = 10_000


@dataclass(slots=True)
class Throttle:
    """Delays by key: after ``free`` failures 1 s, then twice as long each time, up to ``longest`` seconds.

    ``clock`` gives monotonic seconds.
    """

    clock: Callable[[], float]
    free: int
    longest: float
    _failed: dict[str, tuple[int, float]] = field(default_factory=dict)
    """How many failed, and when the last one did; what failed last stands last."""

    def wait(self, key: str, longest: float = math.inf) -> float:
        """Seconds until the next attempt may be made, 0 for now; ``longest`` may be less than usual."""
        count, last = self._of(key)
        if count < self.free:
            return 0.0
        return max(0.0, last + min(self.longest, longest, 2.0 ** min(count - self.free, 32)) - self.clock())

    def fail(self, key: str) -> None:
        """Count a failure. Done before the attempt is looked at, so that many at once are as many."""
        count, _ = self._of(key)
        self._failed.pop(key, None)
        while len(self._failed) >= MOST_KEYS:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = count + 1, self.clock()

    def forget(self, key: str) -> None:
        """It went well after all."""
        self._failed.pop(key, None)

    def _of(self, key: str) -> tuple[int, float]:
        count, last = self._failed.get(key, (0, 0.0))
        return (count, last) if self.clock() < last + FORGET_AFTER else (0, 0.0)
