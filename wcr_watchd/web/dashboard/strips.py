"""The last day of every check at a glance: quarters of an hour, each as bad as it was at worst.

What was not watched is neither good nor bad, and is shown as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby

from wcr_watchd.core.model import Incident, Outcome, Severity
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.units import format_duration

SLOT = 900.0
"""Seconds."""
SLOTS = 96
"""A day."""


class Mark(IntEnum):
    """What a slot says, better ones first."""

    NONE = 0
    UP = 1
    UNKNOWN = 2
    WARNING = 3
    CRITICAL = 4

    @property
    def height(self) -> int:
        """Of 16: what is worse is higher, so that nobody needs to see colours."""
        return (2, 7, 9, 12, 16)[self]

    @property
    def words(self) -> str:
        """For those who do not see it."""
        return ("not watched", "up", "unknown", "warning", "critical or down")[self]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A strip as SVG path data by the class of its mark, and in words."""

    paths: tuple[tuple[str, str], ...]
    words: str


def mark_of(state: CheckState) -> Mark:
    """What a check is now."""
    if state.severity >= Severity.CRITICAL:
        return Mark.CRITICAL
    if state.severity > Severity.OK or state.outcome is Outcome.DOWN:
        return Mark.WARNING
    return Mark.UP if state.outcome is Outcome.UP else Mark.UNKNOWN


class Strips:
    """A day of marks per check; times are epoch seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, bytearray]] = {}

    def note(self, check: str, since: float, until: float, mark: Mark) -> None:
        """So it was in this time; what was noted before stays where it is worse."""
        first, last = int(since // SLOT), int(until // SLOT)
        slots = self._slots(check, last)
        newest = self._kept[check][0]
        for slot in range(max(first, newest - SLOTS + 1), last + 1):
            place = slot - newest + SLOTS - 1
            if 0 <= place < SLOTS:
                slots[place] = max(slots[place], mark)

    def note_incident(self, incident: Incident, now: float) -> None:
        """An incident was as bad as its peak all the time."""
        mark = Mark.CRITICAL if incident.peak >= Severity.CRITICAL else Mark.WARNING
        self.note(incident.check, incident.opened_at, min(now, incident.resolved_at or now), mark)

    def forget(self, keep: Iterable[str]) -> None:
        """Drop what is not watched any more."""
        self._kept = {check: self._kept[check] for check in keep if check in self._kept}

    def draw(self, check: str, now: float) -> Drawn:
        """The strip of the day that ends now: bars of 96 by 16."""
        slots = self._slots(check, int(now // SLOT))
        paths: dict[Mark, list[str]] = {}
        place = 0
        for value, run in groupby(slots):
            length, height = len(list(run)), Mark(value).height
            paths.setdefault(Mark(value), []).append(f"M{place} 16v-{height}h{length}v{height}z")
            place += length
        counted = [
            f"{mark.words} {format_duration(slots.count(mark) * SLOT)}" for mark in reversed(Mark) if mark in slots
        ]
        return Drawn(tuple((mark.name.lower(), "".join(drawn)) for mark, drawn in paths.items()), ", ".join(counted))

    def _slots(self, check: str, newest: int) -> bytearray:
        """The day's slots up to ``newest``, moved on when time has."""
        before, slots = self._kept.get(check, (newest, bytearray(SLOTS)))
        if newest > before:
            gone = min(SLOTS, newest - before)
            slots = slots[gone:] + bytearray(gone)
            before = newest
        self._kept[check] = before, slots
        return slots
