"""Days in minutes: a monitor, its engine and its store with a clock that is turned by hand, on a real disk.

What a life of days does to memory and database is seen here: retention is reached on the second day, from then on both
must stay as they are.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.soak.figures import Figures, of_process, size_of
from wcr_watchd.core.model import (
    Measurement,
    MeasurementSpec,
    Notification,
    Observation,
    Outcome,
    Retry,
    Severity,
)
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.units import Unit
from wcr_watchd.core.view import Counters
from wcr_watchd.runtime.monitor import Monitor
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.store.upkeep import Retention

BEGIN = 1_790_000_000.0
DAY = 86_400
PRUNE_EVERY = 300
CHECKS = 40
DAYS_KEPT = Retention(raw=1, five_minutes=1, hours=1, incidents=1)
SPECS = (MeasurementSpec("response_time", Unit.SECONDS, "How long it took."),)
GROWS_AT_MOST = 0.03


class HandClock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Nobody:
    """An outbox that delivers to nobody."""

    def owe(self, notifications: Iterable[Notification]) -> None:
        """Deliver nothing."""

    def overtaken(self, incidents: Iterable[int]) -> None:
        """Nothing is owed."""

    def heed(self, is_muted: Callable[[int], bool]) -> None:
        """Nothing is owed."""

    def store_works(self) -> None:
        """Nothing is owed."""

    def record_all(self) -> None:
        """Nothing is owed."""


@dataclass
class Days:
    """So many ``days`` of ``CHECKS`` checks that run every ``every`` seconds."""

    folder: Path
    days: float = 6.0
    every: int = 60
    seed: int = 1
    figures: Figures = field(default_factory=Figures)

    def run(self) -> str:
        """Live through them; returns the figures. Raises ``AssertionError`` when memory or database grow."""
        return asyncio.run(self._live())

    async def _live(self) -> str:
        chance, clock = Random(self.seed), HandClock()
        path = self.folder / "watchd.db"
        store = SqliteStore(path, retention=DAYS_KEPT)
        await store.open()
        monitor = Monitor(_setup(), State(), store, Nobody(), clock, Counters(), lambda name, delay: None)
        down: set[str] = set()
        runs = 0
        for second in range(0, int(self.days * DAY), self.every):
            clock.at = BEGIN + second
            for name in monitor.setup.checks:
                if chance.random() < 0.002:
                    down ^= {name}
                monitor.receive(_observation(name, clock.at, name in down, chance))
                runs += 1
            await monitor.flush()
            if second % PRUNE_EVERY < self.every:
                await store.prune(clock.at)
            if second % 3600 < self.every:
                gc.collect()
                used = of_process(os.getpid())
                self.figures.note(second / 3600, {"memory MiB": used["memory MiB"], "database MiB": size_of(path)})
        opened = monitor.state.next_incident - 1
        await store.close()
        self._assert_flat()
        return f"{self.days:g} days, {runs} runs, {opened} incidents\n{self.figures.table()}"

    def _assert_flat(self) -> None:
        """From the third day on, when everything kept has its whole length, nothing grows."""
        for name, values in self.figures.values.items():
            if self.days >= 5:
                third, last = values[48:72], values[-24:]
                assert max(last) <= max(third) * (1 + GROWS_AT_MOST) + 1, f"{name} grows: {third} {last}"


def _setup() -> Setup:
    rules = (
        parse_rule("down", Severity.CRITICAL, SPECS),
        parse_rule("p95(response_time, 5m) > 9s", Severity.WARNING, SPECS),
    )
    checks = {
        f"check-{number}": Check(f"check-{number}", "http", "http://x", 60.0, 10.0, rules, Retry(0, 1.0))
        for number in range(CHECKS)
    }
    return Setup("prod", "here", "UTC", "", checks)


def _observation(name: str, at: float, down: bool, chance: Random) -> Observation:
    took = round(chance.uniform(0.01, 2.0), 3)
    return Observation(
        check=name,
        location="here",
        at=at,
        duration=took,
        outcome=Outcome.DOWN if down else Outcome.UP,
        reason="status" if down else "",
        summary=f"GET http://{name} answered {500 if down else 200} in {took} s",
        measurements=() if down else (Measurement("response_time", took),),
        evidence={"body": "x" * 300} if down else {},
    )
