"""Silences and maintenance windows: what they cover, and when.

The matchers are those of Alertmanager: ``name="value"``, ``!=``, ``=~`` and ``!~`` with regular expressions that must
match the whole value; a label that is not there counts as empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

SAME_SECOND = 1.0
"""Times of a silence closer than this many seconds are the same: programs send them back rounded."""

KEPT = 5 * 86_400.0
"""Seconds that a silence is remembered after its end, so that it can be seen who muted what."""
KEPT_MAINTENANCE = 100 * 86_400.0
"""Seconds that maintenance is remembered: what was planned is told apart for as far back as anybody reckons, which is
an objective of 92 days, or the 90 days of the status page. Forgotten earlier, its downtime would become unplanned."""

Facts = Mapping[str, tuple[str, ...]]
"""What can be matched of an incident: label names and their values (a check has several tags)."""


class Operator(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    name: str
    operator: Operator
    value: str

    def __str__(self) -> str:
        name = self.name if _PLAIN_NAME.fullmatch(self.name) else _quoted(self.name)
        return f"{name}{self.operator.value}{_quoted(self.value)}"

    def holds(self, facts: Facts) -> bool:
        """Whether the facts meet it; of several values one is enough (for a negation: none may)."""
        values = facts.get(self.name) or ("",)
        if self.operator in (Operator.EQUAL, Operator.NOT_EQUAL):
            found = self.value in values
        else:
            found = any(_pattern(self.value).fullmatch(value) for value in values)
        return found is (self.operator in (Operator.EQUAL, Operator.MATCHES))


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def covers(matchers: tuple[Matcher, ...], facts: Facts) -> bool:
    """Whether all matchers hold; none at all cover nothing."""
    return bool(matchers) and all(matcher.holds(facts) for matcher in matchers)


class Standing(StrEnum):
    """Where a silence is in time; the words of Alertmanager."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is told of what the matchers cover, from ``starts_at`` until ``ends_at`` (epoch seconds, end exclusive).

    ``maintenance`` says that it is announced work that somebody started, and not a silence.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    author: str
    comment: str
    updated_at: float
    maintenance: bool = False

    @property
    def forgotten_at(self) -> float:
        """From when on nobody asks for it any more (epoch seconds)."""
        return self.ends_at + (KEPT_MAINTENANCE if self.maintenance else KEPT)

    def active(self, now: float) -> bool:
        """Whether it holds at this time."""
        return self.starts_at <= now < self.ends_at

    def standing(self, now: float) -> Standing:
        """Whether it is still to come, holds, or is over."""
        if now >= self.ends_at:
            return Standing.EXPIRED
        return Standing.PENDING if now < self.starts_at else Standing.ACTIVE

    def ended(self, now: float) -> Silence:
        """The silence, over from now on; one that is over already stays as it is."""
        if self.standing(now) is Standing.EXPIRED:
            return self
        return replace(self, starts_at=min(self.starts_at, now), ends_at=now, updated_at=now)


def revised(before: Silence, wanted: Silence, now: float) -> tuple[Silence, ...]:
    """What to keep when a silence is changed, as Alertmanager does: it under its own id, or an end and a new one.

    What it covered, and since when, must stay true afterwards: where that changes, the old one ends now and ``wanted``
    follows under its own id, now at the earliest. The last of the silences returned is the one that holds.
    """
    if _goes_on(before, wanted, now):
        return (replace(wanted, id=before.id, updated_at=now),)
    follows = replace(wanted, starts_at=max(wanted.starts_at, now), updated_at=now)
    return (before.ended(now), follows) if before.standing(now) is not Standing.EXPIRED else (follows,)


def _goes_on(before: Silence, wanted: Silence, now: float) -> bool:
    if set(before.matchers) != set(wanted.matchers):
        return False
    match before.standing(now):
        case Standing.ACTIVE:
            return abs(before.starts_at - wanted.starts_at) < SAME_SECOND and wanted.ends_at >= now
        case Standing.PENDING:
            return wanted.starts_at >= now
        case Standing.EXPIRED:
            return False


class Spans(Protocol):
    """When something recurs."""

    def around(self, at: float) -> tuple[float, float] | None:
        """The span that holds at this time: start and end (exclusive), epoch seconds; None when there is none."""
        ...

    def after(self, at: float) -> Iterator[tuple[float, float]]:
        """The spans that begin at this time or later, in order; may never end."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """A planned maintenance window: while it is open, nobody is told of what its matchers cover.

    ``notice`` is how many seconds before its start it is announced, each time. ``when`` says for people when it is, on
    the clocks of ``timezone``. ``public`` is what the status page says of it (None: usual words; empty: nothing).
    """

    name: str
    spans: Spans
    matchers: tuple[Matcher, ...]
    notice: tuple[float, ...] = ()
    comment: str = ""
    when: str = ""
    timezone: str = "UTC"
    public: str | None = None
