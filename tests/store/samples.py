"""Values to store, and a store to put them in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wcr_watchd.core.model import (
    Event,
    EventKind,
    Incident,
    IncidentState,
    Measurement,
    Message,
    Notification,
    Observation,
    Outcome,
    Recipient,
    Severity,
)
from wcr_watchd.store.sqlite import SqliteStore

NOW = 1_790_000_000.0
"""A moment in September 2026; any would do."""
MAIL = Recipient("mail", "ops", "ops@example.org")


def an_observation(
    check: str = "api", at: float = NOW, outcome: Outcome = Outcome.UP, **changes: object
) -> Observation:
    values: dict[str, object] = {
        "check": check,
        "location": "here",
        "at": at,
        "duration": 0.0213,
        "outcome": outcome,
        "reason": "" if outcome is Outcome.UP else "connect",
        "summary": "200 OK in 21 ms" if outcome is Outcome.UP else "connection refused by 127.0.0.1:80",
        "measurements": (Measurement("response_time", 0.0213), Measurement("body_size", 512.0)),
    }
    return Observation(**(values | changes))  # type: ignore[arg-type]


def an_incident(number: int = 1, check: str = "api", at: float = NOW, **changes: object) -> Incident:
    values: dict[str, object] = {
        "id": number,
        "check": check,
        "subject": "",
        "severity": Severity.CRITICAL,
        "peak": Severity.CRITICAL,
        "state": IncidentState.OPEN,
        "opened_at": at,
        "changed_at": at,
        "summary": "connection refused",
        "told": (MAIL,),
        "next_reminder_at": at + 900.125,
    }
    return Incident(**(values | changes))  # type: ignore[arg-type]


def an_event(incident: int = 1, sequence: int = 1, at: float = NOW) -> Event:
    return Event(
        incident=incident,
        sequence=sequence,
        kind=EventKind.OPENED,
        at=at,
        severity=Severity.CRITICAL,
        summary="connection refused",
        reason="confirmed after 3 of 3",
    )


def a_notification(incident: int = 1, key: str = "1-1-mail", at: float = NOW, **changes: object) -> Notification:
    message = Message(
        event=EventKind.OPENED,
        at=at,
        watchd="wcr-test",
        location="here",
        incident=incident,
        severity=Severity.CRITICAL,
        state=IncidentState.OPEN,
        opened_at=at,
        url="http://127.0.0.1/incidents/1",
        check="api",
        probe="http",
        target="http://127.0.0.1/",
        subject="",
        tags=("web", "tier 1"),
        owner="ops",
        runbook="",
        summary="connection refused – zu spät",
        reason="confirmed after 3 of 3",
        measurements=(("response_time", 0.25, "seconds"),),
    )
    values: dict[str, object] = {
        "id": key,
        "incident": incident,
        "event": EventKind.OPENED,
        "severity": Severity.CRITICAL,
        "recipient": MAIL,
        "created_at": at,
        "not_before": at,
        "message": message,
        "fallbacks": (Recipient("slack"),),
    }
    return Notification(**(values | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def a_store(folder: Path, *, timeout: float = 10.0) -> AsyncIterator[SqliteStore]:
    """An open store, closed however the test ends: one left open would keep the whole test run from ending."""
    store = SqliteStore(folder / "watchd.db", timeout=timeout)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
