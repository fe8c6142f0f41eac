"""Numbers for what would otherwise be written again with every observation: sources and series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from wcr_watchd.store.rollup import DAY

K = TypeVar("K")


@dataclass(slots=True)
class Numbers(Generic[K]):
    """Numbers given out to keys, and when each was last in use (epoch ms, to the day).

    What is new or newly seen is collected until it is stored (:meth:`stored`) or read again (:meth:`load`).
    """

    _known: dict[K, tuple[int, int]] = field(default_factory=dict)
    _new: dict[K, tuple[int, int]] = field(default_factory=dict)
    _seen: dict[K, tuple[int, int]] = field(default_factory=dict)
    _next: int = 1

    def load(self, entries: Iterator[tuple[K, int, int]]) -> None:
        """Start from what is stored: key, number and time last seen."""
        self._known = {key: (number, seen) for key, number, seen in entries}
        self._next = max((number for number, _ in self._known.values()), default=0) + 1
        self._new, self._seen = {}, {}

    def number_of(self, key: K, at: int) -> int:
        """Return the key's number, giving it one when it is new; it is in use at ``at`` (epoch ms)."""
        number, seen = self._known.get(key) or self._new.get(key) or (0, 0)
        if not number:
            number = self._next
            self._next += 1
            self._new[key] = (number, at)
        elif at - seen > DAY and key in self._known:
            self._seen[key] = (number, at)
        return number

    def new(self) -> Iterator[tuple[K, int, int]]:
        """Keys that have to be stored: key, number, time."""
        return ((key, number, at) for key, (number, at) in self._new.items())

    def seen(self) -> Iterator[tuple[int, int]]:
        """Numbers whose time last seen has to be stored: number, time."""
        return iter(self._seen.values())

    def stored(self) -> None:
        """What was new or newly seen is stored now."""
        self._known |= self._new
        self._known |= self._seen
        self._new, self._seen = {}, {}
