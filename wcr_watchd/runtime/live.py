"""What pages draw as it happens: the last runs of each check, and word of whatever was touched."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import isnan, nan

from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.view import Touched

RECENT_RUNS = 60
"""Runs per check that a page can draw at once; two packed arrays, so that 10 000 checks cost 10 MB."""


class RecentRuns:
    """The last runs of each check."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[array[float], array[float]]] = {}

    def note(self, observation: Observation) -> None:
        """One more run."""
        at, durations = self._runs.setdefault(observation.check, (array("d"), array("d")))
        at.append(observation.at)
        durations.append(observation.duration if observation.outcome is Outcome.UP else nan)
        if len(at) > RECENT_RUNS:
            del at[0], durations[0]

    def of(self, check: str) -> tuple[tuple[float, float | None], ...]:
        """Oldest first: time and duration in seconds (None: not up)."""
        at, durations = self._runs.get(check, (array("d"), array("d")))
        return tuple((a, None if isnan(d) else d) for a, d in zip(at, durations, strict=True))

    def forget(self, check: str) -> None:
        """It is not configured any more."""
        self._runs.pop(check, None)


@dataclass(slots=True, eq=False)
class _Subscriber:
    """What waits for a reader is a set, so it is bounded by the number of checks and incidents."""

    pending: dict[Touched, None] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Touches:
    """Says what was touched to all who listen."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()

    def announce(self, touched: Touched) -> None:
        """This was touched."""
        for subscriber in self._subscribers:
            subscriber.pending[touched] = None
            subscriber.wake.set()

    async def batches(self) -> AsyncIterator[tuple[Touched, ...]]:
        """Batches of what is touched from now on; a slow reader gets fewer, larger batches."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            while True:
                await subscriber.wake.wait()
                subscriber.wake.clear()
                batch, subscriber.pending = tuple(subscriber.pending), {}
                yield batch
        finally:
            self._subscribers.discard(subscriber)
