"""What is new since a person last accepted what there is, and since when; kept in a check's memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

MOST = 400
"""Things of one kind that are remembered one by one; the rest as one."""
LONGEST = 120
"""Characters of one; what is longer is cut, and told from others by a digest."""


class Known:
    """The things of several kinds that a check has seen.

    What a kind has at its first look is accepted. What goes is forgotten, so that it is new when it comes again.
    """

    def __init__(self, memory: dict[str, Any], now: float) -> None:
        self._kinds: dict[str, dict[str, list[int]]] = memory.setdefault("known", {})
        self._now = int(now)

    def look(self, kind: str, present: Iterable[str], accept: bool = False) -> list[str]:
        """Take note of what there is; returns what nobody has accepted yet, sorted.

        With ``accept`` all of it is accepted.
        """
        before = self._kinds.get(kind)
        accept = accept or before is None
        things: dict[str, list[int]] = {}
        for thing in _bounded(present):
            first, accepted = (before or {}).get(thing, (self._now, 0))
            things[thing] = [min(first, self._now), int(accept or accepted)]
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
        first, _ = self._kinds.get(kind, {}).get(_short(thing), (self._now, 0))
        return max(0.0, self._now - first)


def _bounded(present: Iterable[str]) -> list[str]:
    """All things, sorted; what is too much stands as one, which is another as soon as anything of it is."""
    things = sorted({_short(one) for one in present})
    rest = things[MOST:]
    return things[:MOST] + ([f"… {len(rest)} more ({_digest(' '.join(rest))})"] if rest else [])


def _short(thing: str) -> str:
    return thing if len(thing) <= LONGEST else f"{thing[: LONGEST - 18]}… {_digest(thing)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def accepted_in_words(first: bool, accepted_by: str) -> str:
    """How it comes that nothing is new, for the end of a summary."""
    if accepted_by:
        return f"accepted by {accepted_by}"
    return "taken as right by the first run" if first else "as accepted"
