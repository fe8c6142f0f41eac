"""Who is on call, who would be told, contacts and drills."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Object, Severity, Span, Time


class OnCallNow(Answer):
    """Who is on call now."""

    contacts: list[str]
    why: str
    until: Time | None
    next: list[str] | None


class Turn(Answer):
    """A stretch of time with the same people on call."""

    start: Time
    end: Time
    contacts: list[str]
    why: str


class Schedule(Answer):
    """An on-call schedule."""

    name: str
    timezone: str
    now: OnCallNow
    turns: list[Turn]
    gaps: list[Span]


class OnCall(Answer):
    """Who is on call."""

    now: Time
    from_: Time = Field(alias="from")
    until: Time
    schedules: list[Schedule]


class Drill(Answer):
    """How a drill goes or went."""

    number: int
    policy: str
    severity: Severity
    state: Literal["running", "acknowledged", "unanswered", "stopped"]
    started_at: Time
    ended_at: Time | None
    acknowledged_by: str
    acknowledged_after: float | None
    messages: list[Object]


class Outlook(Answer):
    """Who would be told, step by step."""

    check: str
    severity: Severity
    at: Time
    steps: list[Object]
    afterwards: str


class Contact(Answer):
    """A contact: the kinds of address they have, and when somebody last saw that they can be reached.

    `state` is that of the task `verify-NAME`; null where nobody asks for it.
    """

    name: str
    addresses: list[str]
    state: Literal["waiting", "soon", "due", "overdue", "running", "failed"] | None
    verified_at: Time | None
    verified_by: str
    note: str
    due: Time | None


class Contacts(Answer):
    """Every contact."""

    contacts: list[Contact]
