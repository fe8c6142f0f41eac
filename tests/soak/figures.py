"""What a process uses, sampled from outside, and whether that stays flat."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, median

import psutil

MIB = 1024 * 1024
WARM_UP = 0.25
"""Part of a run that is not judged: caches fill, pools grow to their size."""


@dataclass(frozen=True)
class Bound:
    """How much a figure may grow from the first to the last quarter after the warm-up: a part of it, or a number."""

    part: float
    least: float


BOUNDS: Mapping[str, Bound] = {
    "memory MiB": Bound(0.03, 2.0),
    "descriptors": Bound(0.05, 3),
    "threads": Bound(0.0, 1),
    "tasks": Bound(0.05, 3),
}


@dataclass
class Figures:
    """Samples by name over time (hours)."""

    at: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def note(self, hours: float, values: Mapping[str, float]) -> None:
        """Keep one sample of everything."""
        self.at.append(hours)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def table(self) -> str:
        """One line per figure: the medians that are compared, the greatest value, the slope."""
        lines = [f"{'figure':<16}{'early':>10}{'late':>10}{'most':>10}{'slope/h':>10}"]
        for name, values in self.values.items():
            early, late = self.compared(name)
            lines.append(f"{name:<16}{early:>10.2f}{late:>10.2f}{max(values):>10.2f}{self.slope(name):>+10.2f}")
        return "\n".join(lines)

    def compared(self, name: str) -> tuple[float, float]:
        """The medians of the first and of the last quarter of what comes after the warm-up."""
        values = self._judged(self.values[name])
        quarter = max(1, len(values) // 4)
        return median(values[:quarter]), median(values[-quarter:])

    def slope(self, name: str) -> float:
        """Growth per hour after the warm-up, by least squares."""
        at, values = self._judged(self.at), self._judged(self.values[name])
        return linear_regression(at, values).slope if len(values) > 1 else 0.0

    def assert_flat(self) -> None:
        """Raise ``AssertionError`` naming every figure that grew beyond its bound."""
        grown = []
        for name, bound in BOUNDS.items():
            early, late = self.compared(name)
            if late - early > max(bound.least, bound.part * early):
                grown.append(f"{name} grew from {early:g} to {late:g}")
        assert not grown, "; ".join(grown) + "\n" + self.table()

    def _judged(self, values: Sequence[float]) -> Sequence[float]:
        return values[int(len(values) * WARM_UP) :]


def of_process(number: int) -> dict[str, float]:
    """Memory (proportional to what is shared), descriptors and threads of a process."""
    process = Path(f"/proc/{number}")
    pss = next(
        int(line.split()[1]) for line in (process / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    return {
        "memory MiB": pss * 1024 / MIB,
        "descriptors": float(len(os.listdir(process / "fd"))),
        "threads": float(len(os.listdir(process / "task"))),
    }


def children_of(number: int) -> list[int]:
    """The processes that a process has as children."""
    return [child.pid for child in psutil.Process(number).children()]


def size_of(database: Path) -> float:
    """MiB of a database with its side files."""
    return sum(file.stat().st_size for file in database.parent.glob(database.name + "*")) / MIB
