"""The daemon's time, as the parts see it that are given it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time; a test has one of its own."""

    def now(self) -> float:
        """Epoch seconds; a step of the wall clock does not step it."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        ...
