"""Incidents, their timelines, why somebody was told, and what is known of their causes."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Object, Severity, Time
from wcr_watchd.web.api.models.messages import Delivery


class Told(Answer):
    """Somebody who was told."""

    channel: str
    contact: str


class Incident(Answer):
    """An incident as it stands."""

    id: int
    check: str
    subject: str
    severity: Severity
    peak: Severity
    state: Literal["open", "acknowledged", "suppressed", "silenced", "maintenance", "resolved"]
    opened_at: Time
    changed_at: Time
    resolved_at: Time | None
    acknowledged_at: Time | None
    acknowledged_by: str
    acknowledged_until: Time | None
    owner: str
    flapping: bool
    summary: str
    rule: str
    muted_by: str
    muted_until: Time | None
    told: list[Told]
    next_escalation_at: Time | None
    next_reminder_at: Time | None


class Incidents(Answer):
    """Incidents, newest first; ``next`` is the cursor of the next page."""

    incidents: list[Incident]
    next: str | None = None


class Event(Answer):
    """An entry of a timeline."""

    sequence: int
    event: str
    at: Time
    severity: Severity
    summary: str
    reason: str
    by: str


class IncidentDetails(Incident):
    """An incident with its timeline and what became of its notifications."""

    timeline: list[Event]
    notifications: list[Delivery]


class WhyStep(Event):
    """A step of the answer: who was told of it, and who was not."""

    told: list[Object]
    not_told: str


class Why(Answer):
    """Why somebody was, or was not, told."""

    incident: Incident
    answer: str
    steps: list[WhyStep]


class Cause(Answer):
    """What an incident may be due to, and the numbers of what it refers to."""

    kind: Literal["watcher", "dependency", "vendor", "change", "neighbours"]
    text: str
    incident: int | None
    change: int | None


class Causes(Answer):
    """Likely causes, the likeliest first."""

    causes: list[Cause]


class Noted(Answer):
    """What somebody noted."""

    by: str
    text: str


class Earlier(Answer):
    """An earlier incident like this one: whether it was told in the same words, how it ended, what was noted."""

    incident: Incident
    same_words: bool
    ended: str
    notes: list[Noted]


class Similar(Answer):
    """Earlier incidents like this one; ``recent`` is how many began in the 90 days up to it, with this one."""

    similar: list[Earlier]
    recent: int


class ToldFirst(Answer):
    """Somebody who was told: over what, when first, in how many messages."""

    who: str
    at: Time
    messages: int


class FollowUp(Answer):
    """Something to do after an incident, which is a task."""

    task: str
    text: str
    owner: str
    due: Time
    done_at: Time | None
    done_by: str


class Review(Answer):
    """What was recorded of an incident (durations in seconds, null for what did not happen), and what people wrote."""

    incident: Incident
    lasted: float
    acknowledged_after: float | None
    resolved_after: float | None
    first_told_after: float | None
    told: list[ToldFirst]
    undelivered: int
    runs: int
    failed: int
    causes: list[Cause]
    root_cause: str
    impact: str
    resolution: str
    prevention: str
    written_by: str
    written_at: Time | None
    follow_ups: list[FollowUp]
    markdown: str
