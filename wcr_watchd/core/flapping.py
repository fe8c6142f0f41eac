"""Flapping: whether something changes its state so often that each change is no news any more.

The weighted method of Icinga 2 (documentation, "Flapping"; Nagios' is alike): of the last twenty results each that
differs from the one before counts, the newest 1.18, the oldest 0.80; the sum over twenty is the share of changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wcr_watchd.core.model import Severity

RESULTS = 20
_MASK = (1 << RESULTS) - 1
_WEIGHTS = tuple(0.8 + 0.02 * (RESULTS - 1 - age) for age in range(RESULTS))
"""By age in results, the newest first."""


@dataclass(frozen=True, slots=True)
class Flap:
    """The recent changes of one subject: a bit per result (the newest lowest), and whether it flaps."""

    severity: Severity = Severity.OK
    changes: int = 0
    flapping: bool = False

    @property
    def share(self) -> float:
        """The weighted share of results that brought a change, 0-1."""
        return sum(weight for age, weight in enumerate(_WEIGHTS) if self.changes >> age & 1) / RESULTS

    @property
    def count(self) -> int:
        """How many of the last results brought a change."""
        return self.changes.bit_count()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.changes and self.severity is Severity.OK and not self.flapping


def after_result(flap: Flap, severity: Severity, start: float, end: float) -> Flap:
    """Return where it stands after a result of this severity.

    It flaps above the share ``start`` and no longer below ``end`` (both 0-1).
    """
    changes = (flap.changes << 1 | (severity is not flap.severity)) & _MASK
    moved = replace(flap, severity=severity, changes=changes)
    if not changes:
        return replace(moved, flapping=False)
    return replace(moved, flapping=moved.share >= end if flap.flapping else moved.share > start)
