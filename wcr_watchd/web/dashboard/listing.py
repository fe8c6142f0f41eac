"""Which checks the overview lists: what a person searches for, page by page, the worst of each group first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode

from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes

ROWS_OF_A_PAGE = 200
CHECKS_AT_A_TIME = 500
"""Checks that are looked at before others have the event loop, which takes a millisecond."""
LONGEST_SEARCH = 200
NO_GROUP = "-"
"""In a query, the checks that are in no group."""
WRONG = ("critical", "warning", "info")
STATES = (*WRONG, "confirming", "down", "unknown", "new", "ok")
"""The words for how a check is, the worst first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty means everything. ``state`` is a word, or ``wrong`` for what needs attention."""

    text: str = ""
    state: str = ""
    tag: str = ""
    group: str | None = None
    page: int = 1

    @property
    def is_all(self) -> bool:
        """Whether nothing is looked for in particular."""
        return not self.text and not self.state and not self.tag and self.group is None

    def query(self, **more: object) -> str:
        """The query that asks for the same, with more to it or another page."""
        group = NO_GROUP if self.group == "" else self.group
        said = {"q": self.text, "state": self.state, "tag": self.tag, "group": group, "page": self.page} | more
        return urlencode({key: value for key, value in said.items() if value})

    def takes(self, check: Check, word: str) -> bool:
        """Whether a check that is so is looked for."""
        if self.state and not (word in WRONG if self.state == "wrong" else word == self.state):
            return False
        if self.tag and self.tag not in check.tags:
            return False
        if self.group is not None and check.group != self.group:
            return False
        if not self.text:
            return True
        said = f"{check.name} {check.probe} {check.target} {check.group} {check.owner} {' '.join(check.tags)}".lower()
        return all(part in said for part in self.text.lower().split())


@dataclass(frozen=True, slots=True)
class Group:
    """A group of checks: how many of them are how, and those that are on this page."""

    name: str
    counts: tuple[tuple[str, int], ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a page lists. ``words`` counts how all checks are, whatever is looked for."""

    names: tuple[str, ...]
    groups: tuple[Group, ...]
    found: int
    page: int
    pages: int
    words: Counter[str]
    every_group: tuple[str, ...]
    every_tag: tuple[str, ...]

    @property
    def first(self) -> int:
        """The number of the first row."""
        return (self.page - 1) * ROWS_OF_A_PAGE + 1


def read(query: Mapping[str, str]) -> Wanted:
    """What a query asks for; what makes no sense is left out."""
    page, state, group = query.get("page", ""), query.get("state", ""), query.get("group", "")
    return Wanted(
        text=query.get("q", "").strip()[:LONGEST_SEARCH],
        state=state if state in (*STATES, "wrong") else "",
        tag=query.get("tag", ""),
        group="" if group == NO_GROUP else group or None,
        page=int(page) if page.isascii() and page.isdecimal() and len(page) < 6 else 1,
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The checks of a configuration in the order of a page that finds them all fine, and the tags that they have."""

    setup: Setup
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    tags: tuple[str, ...]

    @classmethod
    def of(cls, setup: Setup) -> Catalogue:
        """That of a configuration. Takes a while with thousands of checks: for a thread, and not for every page."""
        by_group: dict[str, list[str]] = {}
        tags: set[str] = set()
        for name, check in setup.checks.items():
            by_group.setdefault(check.group, []).append(name)
            tags.update(check.tags)
        groups = sorted(by_group, key=lambda group: (not group, group))
        return cls(setup, tuple((group, tuple(sorted(by_group[group]))) for group in groups), tuple(sorted(tags)))


async def listing(view: View, catalogue: Catalogue, wanted: Wanted) -> Listing:
    """Find what is wanted among the checks of a catalogue, a few at a time: thousands would hold the event loop."""
    states, checks = view.state.checks, catalogue.setup.checks
    words, counts, found, seen = Counter[str](), dict[str, Counter[str]](), list[str](), 0
    for group, names in catalogue.groups:
        counted = counts[group] = Counter()
        by_urgency: dict[tuple[int, bool], list[str]] = {}
        for name in names:
            seen += 1
            if seen % CHECKS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            state = states.get(name)
            word = shapes.state_word(state)
            words[word] += 1
            if wanted.takes(checks[name], word):
                counted[word] += 1
                by_urgency.setdefault(_urgency(state), []).append(name)
        for urgency in sorted(by_urgency):
            found += by_urgency[urgency]
    pages = max(1, -(-len(found) // ROWS_OF_A_PAGE))
    page = min(max(1, wanted.page), pages)
    shown = found[(page - 1) * ROWS_OF_A_PAGE : page * ROWS_OF_A_PAGE]
    return Listing(
        names=tuple(shown),
        groups=tuple(_groups(shown, checks, counts)),
        found=len(found),
        page=page,
        pages=pages,
        words=words,
        every_group=tuple(sorted(counts)),
        every_tag=catalogue.tags,
    )


def _groups(shown: list[str], checks: Mapping[str, Check], counts: Mapping[str, Counter[str]]) -> Iterator[Group]:
    for group, some in groupby(shown, key=lambda name: checks[name].group):
        counted = counts[group]
        yield Group(group, tuple((word, counted[word]) for word in STATES if counted[word]), tuple(some))


def _urgency(state: CheckState | None) -> tuple[int, bool]:
    severity = state.severity if state else Severity.OK
    uncertain = state is None or state.outcome is not Outcome.UP
    return -severity, not uncertain
