"""Changes in progress, and what became different."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Object, Time


class Change(Answer):
    """An update in progress, or one of the past."""

    id: int
    plan: str
    category: str
    title: str
    version: str
    name: str
    state: str
    by: str
    prepared_at: Time
    started_at: Time | None
    updated_at: Time | None
    ends_at: Time | None
    finished_at: Time | None
    overran: bool
    steps_done: int
    steps_total: int


class Changes(Answer):
    """Changes, newest first."""

    changes: list[Change]


class ChangeDetails(Change):
    """A change with its checklist, what verifying and comparing found, and its log."""

    matchers: list[str]
    checks: list[str]
    steps: list[Object]
    verified_at: Time | None
    verified: list[Object]
    compared_at: Time | None
    compared: list[Object]
    log: list[Object]


class ChangeOutcome(Answer):
    """What came of a command about a change."""

    done: str
    lines: list[str]
    change: ChangeDetails


class Modification(Answer):
    """Something that became different."""

    at: Time
    source: str
    kind: str
    name: str
    before: str
    after: str
    text: str


class Modifications(Answer):
    """What became different, newest first."""

    modifications: list[Modification]


class Mark(Answer):
    """Something to mark on charts; times also in epoch seconds."""

    at: Time
    until: Time | None
    time: float
    end: float | None
    text: str
    change: int | None


class Marks(Answer):
    """What to mark on charts, oldest first."""

    marks: list[Mark]
