"""So many of something in some time, where each would cost us something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Allowance:
    """So many of something per so many seconds, all at once if need be; ``clock`` gives monotonic seconds."""

    clock: Callable[[], float]
    most: int = 30
    seconds: float = 60.0
    _left: float = field(default=0.0, init=False)
    _at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._left, self._at = float(self.most), self.clock()

    def take(self) -> bool:
        """Whether there is one more now."""
        now = self.clock()
        self._left = min(self.most, self._left + (now - self._at) * self.most / self.seconds)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
