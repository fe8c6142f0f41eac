"""Messages and notifications to send in tests, and a store to keep them in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.message import digest, trial
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    EventKind,
    Incident,
    IncidentState,
    Message,
    Notification,
    Recipient,
    Severity,
)
from wcr_watchd.core.protocols import Batch, Restored

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


ACK_URL = "https://watch.example.org/ack/awriHAEAAAABbGVhZABzbXMrhWy8CrHsLrvLMgM"
MESSAGES = [
    make_message(),
    make_message(ack_url=ACK_URL),
    replace(digest([make_message(), make_message(incident=43)], OPENED), ack_url=ACK_URL),
    make_message(event=EventKind.RESOLVED, at=OPENED + 900, state=IncidentState.RESOLVED),
    make_message(event=EventKind.ACKNOWLEDGED, by="ann"),
    make_message(event=EventKind.LOWERED, severity=Severity.WARNING, previous_severity=Severity.CRITICAL),
    make_message(summary="", url="", runbook="", owner="", tags=(), contacts=(), measurements=(), subject="x"),
    make_message(summary="<b>&\r\nBcc: all@example.org\r\n\r\n</b>" + "long " * 2000, check="ünï", tags=("t",) * 500),
    make_message(measurements=(("ratio", float("inf"), "ratio"), ("odd", 1.0, "parsecs"))),
    digest([make_message(incident=number, summary="s" * 300) for number in range(1, 150)], OPENED),
    trial(watchd="wcr-prod", location="", timezone="UTC", at=OPENED),
]
"""Messages of every kind, with everything in them that a medium might choke on."""


class MemoryStore:
    """The outbox rows of a store; ``broken`` makes it refuse, ``delay`` is what a write takes (seconds)."""

    def __init__(self, delay: float = 0.01) -> None:
        self.delay = delay
        self.rows: dict[str, Delivery] = {}
        self.broken = False
        self.commits = 0

    async def commit(self, batch: Batch) -> None:
        await asyncio.sleep(self.delay)
        if self.broken:
            raise StoreError("disk full")
        self.commits += 1
        for notification in batch.notifications:
            self.rows.setdefault(notification.id, Delivery(notification))
        for delivery in batch.deliveries:
            self.rows[delivery.notification.id] = delivery

    async def deliveries(self, *, states: Sequence[DeliveryState] = (), **_: object) -> Sequence[Delivery]:
        found = [row for row in self.rows.values() if not states or row.state in states]
        return sorted(found, key=lambda row: (row.notification.created_at, row.notification.id), reverse=True)

    def states(self) -> dict[str, str]:
        return {name: row.state.value for name, row in self.rows.items()}

    def restored(self, *incidents: Incident) -> Restored:
        pending = tuple(row for row in self.rows.values() if row.state is DeliveryState.PENDING)
        return Restored((), incidents, (), (), 1, pending, None)
