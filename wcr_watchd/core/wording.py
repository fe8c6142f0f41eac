"""What a template of the user's own can say of a message, and messages to try such a template with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wcr_watchd.core.guidance import runbook_address
from wcr_watchd.core.message import (
    clock_time,
    digest,
    headline,
    lasted,
    long_text,
    mark,
    marked,
    measured,
    rfc3339,
    since,
    tag,
    trial,
    what,
)
from wcr_watchd.core.model import EventKind, IncidentState, Message, Severity
from wcr_watchd.core.setup import Setup

SAMPLE_AT = 1_795_421_520.0
"""When the sample incident begins: 2026-11-23 08:12 UTC."""
SAMPLE_TICKET = "not-a-link-that-works-but-one-as-long"


def values(message: Message) -> Mapping[str, Any]:
    """What a template can use, by name: texts, but for ``incident``, the lists and ``numbers``.

    ``items`` are the same values of each message that a digest stands for.
    """
    return {
        "event": message.event.value,
        "severity": message.severity.word,
        "previous_severity": message.previous_severity.word,
        "state": message.state.value,
        "tag": tag(message),
        "mark": mark(message),
        "headline": headline(message),
        "text": long_text(message).strip(),
        "summary": marked(message.summary, message),
        "reason": message.reason,
        "note": message.note,
        "by": message.by,
        "incident": message.incident,
        "url": message.url,
        "ack_url": message.ack_url,
        "about": what(message),
        "check": message.check,
        "subject": message.subject,
        "type": message.probe,
        "target": message.target,
        "tags": list(message.tags),
        "owner": message.owner,
        "runbook": message.runbook,
        "contacts": list(message.contacts),
        "watchd": message.watchd,
        "location": message.location,
        "at": rfc3339(message.at, message.timezone),
        "opened_at": rfc3339(message.opened_at, message.timezone),
        "time": clock_time(message.at, message.timezone, message.at),
        "since": since(message),
        "lasted": lasted(message),
        "measurements": {name: measured(value, unit) for name, value, unit in message.measurements},
        "numbers": {name: value for name, value, _ in message.measurements},
        "items": [values(item) for item in message.items],
    }


def sample(event: EventKind, severity: Severity, watchd: str = "watchd", timezone: str = "UTC") -> Message:
    """A message about a made-up incident, a quarter of an hour old unless it has just been opened."""
    over = event is EventKind.RESOLVED
    changed = event in (EventKind.RAISED, EventKind.LOWERED)
    before = Severity.WARNING if severity is not Severity.WARNING else Severity.INFO
    return Message(
        event=event,
        at=SAMPLE_AT + (0.0 if event is EventKind.OPENED else 900.0),
        watchd=watchd,
        location="local",
        incident=42,
        severity=severity,
        state=IncidentState.RESOLVED if over else IncidentState.OPEN,
        opened_at=SAMPLE_AT,
        url="https://watch.example.org/incidents/42",
        ack_url="" if over or event is EventKind.ACKNOWLEDGED else "https://watch.example.org/ack/a-signed-ticket",
        check="api",
        probe="http",
        target="https://api.example.org/health",
        subject="",
        tags=("web",),
        owner="platform",
        runbook="https://wiki.example.org/runbooks/api",
        summary="fine again" if over else "HTTP 500, expected 2xx",
        reason="up again for 2 runs" if over else "confirmed after 3 of 3",
        measurements=(("response_time", 0.213, "seconds"),),
        contacts=("ann",),
        previous_severity=before if changed else Severity.OK,
        by="ann" if event is EventKind.ACKNOWLEDGED else "",
        timezone=timezone,
    )


def samples() -> tuple[Message, ...]:
    """One message of each kind that differs in what it holds; a template that does for these will do."""
    kinds = (EventKind.OPENED, EventKind.RAISED, EventKind.ACKNOWLEDGED, EventKind.RESOLVED)
    found = tuple(sample(kind, Severity.CRITICAL) for kind in kinds)
    bare = replace(found[0], measurements=(), tags=(), contacts=(), owner="", runbook="", url="", summary="")
    odd = replace(found[0], summary='it said "no" \\ twice,\nthen left')
    test = trial(watchd="watchd", location="local", timezone="UTC", at=SAMPLE_AT)
    return (*found, bare, odd, digest(found, SAMPLE_AT), test)


def made_up(setup: Setup, check: str | None, event: EventKind, severity: Severity) -> Message:
    """A message as this configuration would send it: as if ``check`` had a problem, or (None) a made-up one."""
    if event is EventKind.DRILL:
        return trial(watchd=setup.name, location=setup.location, timezone=setup.timezone, at=SAMPLE_AT)
    message = sample(EventKind.OPENED if event is EventKind.DIGEST else event, severity, setup.name, setup.timezone)
    message = replace(
        message,
        location=setup.location,
        url=f"{setup.public_url.rstrip('/')}/incidents/42" if setup.public_url else "",
        ack_url=f"{setup.public_url.rstrip('/')}/ack/{SAMPLE_TICKET}" if setup.public_url and message.ack_url else "",
    )
    if check is not None:
        it = setup.checks[check]
        message = replace(
            message,
            check=check,
            probe=it.probe,
            target=it.target,
            tags=it.tags,
            owner=it.owner,
            runbook=runbook_address(setup, it.runbook),
            summary="what the check finds stands here",
            measurements=(),
        )
    if event is EventKind.DIGEST:
        return digest([message, replace(message, incident=43, severity=Severity.WARNING)], message.at)
    return message
