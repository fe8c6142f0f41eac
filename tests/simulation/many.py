"""Many worlds, one after the other and in several processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.judge import judge
from tests.simulation.plan import Plan
from tests.simulation.world import World

WORKERS = os.cpu_count() or 1
SHOWN = 20
"""Faults of a world that are shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one world; ``faults`` is what did not hold."""

    seed: int
    days: float
    faults: tuple[str, ...]
    told: int
    incidents: int
    crashes: int

    def __str__(self) -> str:
        more = [f"... and {len(self.faults) - SHOWN} more"] if len(self.faults) > SHOWN else []
        again = f"python -m tests.simulation --seed {self.seed} --days {self.days:g}"
        return "\n    ".join((f"{len(self.faults)} faults; again by: {again}", *self.faults[:SHOWN], *more))


@dataclass
class Sum:
    """What came of many."""

    days: float = 0.0
    told: int = 0
    incidents: int = 0
    crashes: int = 0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, one: Outcome) -> None:
        """Count one more."""
        self.days += one.days
        self.told += one.told
        self.incidents += one.incidents
        self.crashes += one.crashes
        if one.faults:
            self.failed.append(one)

    def __str__(self) -> str:
        return (
            f"{self.days:g} simulated days: {self.incidents} incidents, {self.told} messages taken, "
            f"{self.crashes} crashes; worlds with faults: {len(self.failed)}"
        )


def live(seed: int, days: float = 1.0, *, on_disk: bool = False) -> Outcome:
    """Live through the world of a seed and judge it; ``on_disk`` keeps its records in SQLite."""
    with tempfile.TemporaryDirectory(prefix="watchd-simulation-") as folder:
        world = World(Plan(seed, days), Path(folder) if on_disk else None)
        world.live()
    found = tuple(judge(world))
    return Outcome(seed, days, found, len(world.accepted), len(world.incidents), len(world.gone) - 1)


def live_all(seeds: Iterable[int], workers: int = WORKERS) -> Iterator[Outcome]:
    """Live through a day of each seed, in some processes."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(live, seeds, chunksize=5)


def campaign(days: int, first: int) -> str:
    """So many days, from the seed ``first`` on; returns the sum. Raises ``AssertionError`` with what did not hold."""
    total = Sum()
    for one in live_all(range(first, first + days)):
        total.add(one)
        if one.faults:
            print(one, flush=True)
    assert not total.failed, f"{total}; the first: {total.failed[0]}"
    return str(total)
