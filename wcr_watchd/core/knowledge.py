"""What people wrote down for the day it is needed: runbooks, vendors, risks and articles, and what each is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from wcr_watchd.core.errors import Problem
from wcr_watchd.core.silence import Facts, Matcher, covers

USUAL_REVIEW = 180 * 86_400.0
"""Seconds after which an entry is to be read again."""
FIRST_READ = 14 * 86_400.0
"""Seconds that an entry may lie there before somebody is reminded that nobody has read it yet."""


class EntryKind(StrEnum):
    """What an entry is for."""

    RUNBOOK = "runbook"
    VENDOR = "vendor"
    RISK = "risk"
    ARTICLE = "article"


@dataclass(frozen=True, slots=True)
class SupportLevel:
    """Whom to call at a vendor ``after`` so many seconds without help."""

    after: float
    contact: str


@dataclass(frozen=True, slots=True)
class Support:
    """How a vendor helps: where and when to ask, what to name oneself by (never a secret), what is promised."""

    address: str = ""
    hours: str = ""
    account: str = ""
    agreement: str = ""
    escalation: tuple[SupportLevel, ...] = ()


@dataclass(frozen=True, slots=True)
class Rating:
    """How likely a risk is and how much it would hurt (``low``, ``medium``, ``high``), and what became of it."""

    likelihood: str
    impact: str
    status: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the knowledge folder.

    ``text`` is its Markdown without the heading that became the title. It is about what the ``matchers`` cover; with
    ``words``, only about incidents that say one of them, and without matchers about all that do. ``review_every`` is in
    seconds, ``reviewed`` the day on which somebody last read it and found it right (None: nobody said so yet).
    ``file`` is where it stands below the folder, since ``here_since`` (epoch seconds) as it is.
    """

    name: str
    kind: EntryKind
    title: str
    text: str
    file: str
    matchers: tuple[Matcher, ...] = ()
    words: tuple[str, ...] = ()
    owner: str = ""
    here_since: float = 0.0
    reviewed: date | None = None
    review_every: float = USUAL_REVIEW
    support: Support | None = None
    rating: Rating | None = None

    @property
    def due_at(self) -> float:
        """When it is to be read (epoch seconds); 0 when nobody has said that it ever was."""
        if self.reviewed is None:
            return 0.0
        day = datetime(self.reviewed.year, self.reviewed.month, self.reviewed.day, tzinfo=UTC)
        return day.timestamp() + self.review_every

    def fits(self, facts: Facts, said: str = "") -> bool:
        """Whether it is about this; ``said`` is what an incident says."""
        if self.words and not any(_says(said.casefold(), word.casefold()) for word in self.words):
            return False
        return covers(self.matchers, facts) or bool(self.words and not self.matchers)

    def holds(self, text: str) -> bool:
        """Whether it has this text somewhere, for searching."""
        wanted = text.casefold()
        asked = self.support or Support()
        texts = (self.name, self.title, self.owner, self.text, asked.address, asked.account, asked.agreement)
        return any(wanted in one.casefold() for one in texts)


def _says(said: str, word: str) -> bool:
    """Whether a text has a word as a whole: "memory_used" has memory, "0.503 s" has no 503, "spool" no pool."""
    whole = rf"(?<![^\W_])(?<!\d[.,]){re.escape(word)}(?![^\W_]|[.,]\d)"
    return word in said and re.search(whole, said) is not None


@dataclass(frozen=True, slots=True)
class Book:
    """The knowledge folder as it was read: its entries by name, in the order of titles, and what is wrong with it."""

    folder: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def of(self, *kinds: EntryKind) -> Iterator[Entry]:
        """The entries of these kinds, by title."""
        return (entry for entry in self.entries.values() if entry.kind in kinds)

    def due(self, now: float) -> list[Entry]:
        """Those that somebody should read by now, for the first time or again, the longest due first."""
        return sorted(
            (one for one in self.entries.values() if one.due_at <= now), key=lambda one: (one.due_at, one.name)
        )

    def late(self, now: float) -> list[Entry]:
        """Those of them that somebody is reminded of: not what came lately, as nobody could have read it."""
        return [one for one in self.due(now) if one.reviewed is not None or one.here_since + FIRST_READ <= now]
