"""Which checks the overview lists: what a person searches for, page by page, the worst of each group first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.setup import Check
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes

ROWS_OF_A_PAGE = 200
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


def listing(view: View, wanted: Wanted) -> Listing:
    """Find what is wanted. Takes a while with thousands of checks: for a thread."""
    checks = view.setup.checks
    words = {name: shapes.state_word(view.state.checks.get(name)) for name in checks}
    # Group by group: sorting thousands at once would hold the interpreter, and the event loop with it.
    by_group: dict[str, list[str]] = {}
    for name, check in checks.items():
        if wanted.takes(check, words[name]):
            by_group.setdefault(check.group, []).append(name)
    groups = sorted(by_group, key=lambda group: (not group, group))
    found = [name for group in groups for name in sorted(by_group[group], key=lambda name: _urgency(view, name))]
    pages = max(1, -(-len(found) // ROWS_OF_A_PAGE))
    page = min(max(1, wanted.page), pages)
    names = found[(page - 1) * ROWS_OF_A_PAGE : page * ROWS_OF_A_PAGE]
    return Listing(
        names=tuple(names),
        groups=tuple(_groups(view, found, names, words)),
        found=len(found),
        page=page,
        pages=pages,
        words=Counter(words.values()),
        every_group=tuple(sorted({check.group for check in checks.values()})),
        every_tag=tuple(sorted({tag for check in checks.values() for tag in check.tags})),
    )


def _groups(view: View, found: list[str], names: list[str], words: Mapping[str, str]) -> Iterator[Group]:
    checks = view.setup.checks
    counts: dict[str, Counter[str]] = {}
    for name in found:
        counts.setdefault(checks[name].group, Counter())[words[name]] += 1
    shown: dict[str, list[str]] = {}
    for name in names:
        shown.setdefault(checks[name].group, []).append(name)
    for group, some in shown.items():
        counted = counts[group]
        yield Group(group, tuple((word, counted[word]) for word in STATES if counted[word]), tuple(some))


def _urgency(view: View, name: str) -> tuple[int, bool, str]:
    state = view.state.checks.get(name)
    severity = state.severity if state else Severity.OK
    uncertain = state is None or state.outcome is not Outcome.UP
    return -severity, not uncertain, name
