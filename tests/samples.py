"""Messages and notifications to send in tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wcr_watchd.core.model import EventKind, IncidentState, Message, Notification, Recipient, Severity

OPENED = 1795421520.0
"""2026-11-23 03:12:00 in New York."""


def make_message(**changes: Any) -> Message:
    """What is said when the API fails."""
    message = Message(
        event=EventKind.OPENED,
        at=OPENED,
        watchd="wcr-prod",
        location="nyc3",
        incident=42,
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        opened_at=OPENED,
        url="https://watch.example.org/incidents/42",
        check="api",
        probe="http",
        target="http://localhost:5001/health",
        subject="",
        tags=("web", "core"),
        owner="platform",
        runbook="https://wiki.example.org/runbooks/api",
        summary="HTTP 500, expected 2xx",
        reason="confirmed after 3 of 3",
        measurements=(("response_time", 0.213, "seconds"), ('disk_used{mount="/"}', 0.931, "ratio")),
        contacts=("lead",),
        timezone="America/New_York",
    )
    return replace(message, **changes)


def make_notification(recipient: Recipient, message: Message | None = None, **changes: Any) -> Notification:
    """That message, owed to the recipient."""
    message = message or make_message()
    notification = Notification(
        id=f"{message.watchd}-{message.incident}-{message.event}-{recipient.channel}-{recipient.contact}",
        incident=message.incident,
        event=message.event,
        severity=message.severity,
        recipient=recipient,
        created_at=message.at,
        not_before=message.at,
        message=message,
    )
    return replace(notification, **changes)
