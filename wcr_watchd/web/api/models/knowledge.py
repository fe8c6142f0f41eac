"""Runbooks and other entries of the knowledge folder."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class SupportLevel(Answer):
    """Whom to call at a vendor after so many seconds without help."""

    after: float
    contact: str


class Support(Answer):
    """How a vendor helps."""

    address: str
    hours: str
    account: str
    agreement: str
    escalation: list[SupportLevel]


class Rating(Answer):
    """How likely a risk is, how much it would hurt, and what became of it."""

    likelihood: Literal["low", "medium", "high"]
    impact: Literal["low", "medium", "high"]
    status: Literal["open", "mitigated", "accepted", "closed"]


class Entry(Answer):
    """An entry of the knowledge folder."""

    name: str
    kind: Literal["runbook", "vendor", "risk", "article"]
    title: str
    file: str
    owner: str
    matchers: list[str]
    words: list[str]
    reviewed: str | None
    review_due: Time | None
    due: bool
    support: Support | None
    rating: Rating | None


class Knowledge(Answer):
    """The knowledge folder."""

    folder: str
    entries: list[Entry]
    problems: list[str]
    next: str | None


class EntryDetails(Entry):
    """An entry with its text as Markdown, and the checks that it is about."""

    text: str
    checks: list[str]


class WrittenEntry(Entry):
    """An entry with its text as Markdown."""

    text: str


class Guidance(Answer):
    """What is written down; `runbook` is what the check names, a URL or an entry's name."""

    runbook: str
    runbooks: list[WrittenEntry]
    vendors: list[WrittenEntry]
    related: list[Entry]
