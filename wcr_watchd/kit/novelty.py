"""What is new since a person last accepted what there is, and since when; kept in a check's memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST = 500
"""Things of one kind that are remembered."""
LONGEST = 160
"""Characters of one."""


class Known:
    """The things of several kinds that a check has seen.

    What a kind has at its first look is accepted. What goes is forgotten, so that it is new when it comes again.
    """

    def __init__(self, memory: dict[str, Any], now: float) -> None:
        self._kinds: dict[str, dict[str, list[float]]] = memory.setdefault("known", {})
        self._now = now

    def look(self, kind: str, present: Iterable[str], accept: bool = False) -> list[str]:
        """Take note of what there is; returns what nobody has accepted yet, sorted.

        With ``accept`` all of it is accepted.
        """
        before = self._kinds.get(kind)
        accept = accept or before is None
        things: dict[str, list[float]] = {}
        for thing in sorted({one[:LONGEST] for one in present})[:MOST]:
            first, accepted = (before or {}).get(thing, (self._now, 0.0))
            things[thing] = [min(first, self._now), float(accept or accepted)]
        self._kinds[kind] = things
        return self.new(kind)

    def all(self, kind: str) -> list[str] | None:
        """What there was at the last look; None when there never was one."""
        return list(self._kinds[kind]) if kind in self._kinds else None

    def new(self, kind: str) -> list[str]:
        """What nobody has accepted, as of the last look."""
        return [thing for thing, (_, accepted) in self._kinds.get(kind, {}).items() if not accepted]

    def age(self, kind: str, thing: str) -> float:
        """Seconds since a thing was first seen; 0 when it is not there."""
        first, _ = self._kinds.get(kind, {}).get(thing[:LONGEST], (self._now, 0.0))
        return self._now - first


def accepted_in_words(first: bool, accepted_by: str) -> str:
    """How it comes that nothing is new, for the end of a summary."""
    if accepted_by:
        return f"accepted by {accepted_by}"
    return "taken as right by the first run" if first else "as accepted"
