"""Silences and maintenance windows: what they cover, and when.

The matchers are those of Alertmanager: ``name="value"``, ``!=``, ``=~`` and ``!~`` with regular expressions that must
match the whole value; a label that is not there counts as empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

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
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.operator.value}"{escaped}"'

    def holds(self, facts: Facts) -> bool:
        """Whether the facts meet it; of several values one is enough (for a negation: none may)."""
        values = facts.get(self.name) or ("",)
        if self.operator in (Operator.EQUAL, Operator.NOT_EQUAL):
            found = self.value in values
        else:
            found = any(_pattern(self.value).fullmatch(value) for value in values)
        return found is (self.operator in (Operator.EQUAL, Operator.MATCHES))


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def covers(matchers: tuple[Matcher, ...], facts: Facts) -> bool:
    """Whether all matchers hold; none at all cover nothing."""
    return bool(matchers) and all(matcher.holds(facts) for matcher in matchers)


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

    def active(self, now: float) -> bool:
        """Whether it holds at this time."""
        return self.starts_at <= now < self.ends_at


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

    ``notice`` is how many seconds before its start it is announced, each time.
    """

    name: str
    spans: Spans
    matchers: tuple[Matcher, ...]
    notice: tuple[float, ...] = ()
    comment: str = ""
