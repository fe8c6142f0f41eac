"""Between the frozen values of the core and rows of the database."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from wcr_watchd.core.access import AuditEntry, OwnPassword, Session
from wcr_watchd.core.changes import Change
from wcr_watchd.core.drill_report import DrillReport
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.heartbeat import HeartbeatState, Ping
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    Event,
    EventKind,
    Incident,
    Labels,
    Measurement,
    Notification,
    Observation,
    Outcome,
    Severity,
)
from wcr_watchd.core.modifications import KnownFacts, Modification
from wcr_watchd.core.report import Audience, Document, Filed, ReportKind
from wcr_watchd.core.review import Review
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.task import TaskRecord, TaskState
from wcr_watchd.store.pack import PackedRow

T = TypeVar("T")

CHECK_STATE = TypeAdapter(CheckState)
INCIDENT = TypeAdapter(Incident)
NOTIFICATION = TypeAdapter(Notification)
SILENCE = TypeAdapter(Silence)
HEARTBEAT = TypeAdapter(HeartbeatState)
PING = TypeAdapter(Ping)
TASK = TypeAdapter(TaskState)
TASK_RECORD = TypeAdapter(TaskRecord)
SESSION = TypeAdapter(Session)
OWN_PASSWORD = TypeAdapter(OwnPassword)
AUDIT = TypeAdapter(AuditEntry)
CHANGE = TypeAdapter(Change)
FACTS = TypeAdapter(KnownFacts)
DOCUMENT = TypeAdapter(Document)
REVIEW = TypeAdapter(Review)
DRILL = TypeAdapter(DrillReport)

OUTCOMES = (Outcome.UP, Outcome.DOWN, Outcome.UNKNOWN)
"""By the number they are stored as."""
OUTCOME_NUMBER = {outcome: number for number, outcome in enumerate(OUTCOMES)}


def milliseconds(at: float) -> int:
    """Epoch seconds as the store keeps them."""
    return round(at * 1000)


def milliseconds_or_none(at: float | None) -> int | None:
    """Likewise, for times that may not have come."""
    return None if at is None else milliseconds(at)


def seconds(at: int) -> float:
    """Epoch seconds of what the store keeps."""
    return at / 1000


def to_json(adapter: TypeAdapter[T], value: T) -> str:
    """A value as JSON text. Not pydantic's own, which turns infinite and undefined numbers into null."""
    return json.dumps(adapter.dump_python(value, mode="json"), separators=(",", ":"), ensure_ascii=False)


def from_json(adapter: TypeAdapter[T], text: str) -> T:
    """The reverse of :func:`to_json`; fields that are no longer known are ignored, new ones take their defaults.

    Raises :class:`StoreError` for what another version wrote in a form that is not understood.
    """
    try:
        return adapter.validate_python(json.loads(text))
    except ValueError as error:
        raise StoreError(
            f"a stored value is not in the form this version writes ({error}): "
            "use the version that wrote it, or move the database away to start with an empty one"
        ) from error


def report_row(report: Filed) -> tuple[Any, ...]:
    """A report as it is kept: what a list shows in columns, all of it packed."""
    one = report.document
    body = zlib.compress(to_json(DOCUMENT, one).encode())
    about = (one.name, one.kind, one.audience, int(report.scheduled), one.title, one.summary)
    return (report.number, *about, *map(milliseconds, (one.made_at, one.since, one.until)), body)


def report_of(row: tuple[Any, ...], body: bytes) -> Filed:
    """The reverse of :func:`report_row`; without ``body``, a document without contents."""
    number, name, kind, audience, scheduled, title, summary, made_at, since, until = row
    if body:
        return Filed(number, from_json(DOCUMENT, zlib.decompress(body).decode()), bool(scheduled))
    times = (seconds(made_at), seconds(since), seconds(until))
    head = Document(name, ReportKind(kind), Audience(audience), title, summary, *times)
    return Filed(number, head, bool(scheduled))


@lru_cache(maxsize=4096)
def labels_text(labels: Labels) -> str:
    """Labels as one comparable text."""
    return json.dumps(labels, separators=(",", ":"), ensure_ascii=False)


def labels_of(text: str) -> Labels:
    """The reverse of :func:`labels_text`."""
    return tuple((str(name), str(value)) for name, value in json.loads(text))


def incident_row(incident: Incident) -> tuple[Any, ...]:
    """Values for the statement ``keep_incident``."""
    return (
        incident.id,
        incident.check,
        incident.subject,
        int(incident.severity),
        incident.state.value,
        milliseconds(incident.opened_at),
        milliseconds_or_none(incident.resolved_at),
        to_json(INCIDENT, incident),
    )


def change_row(change: Change) -> tuple[Any, ...]:
    """Values for the statement ``keep_change``."""
    at = change.prepared_at if change.started_at is None else change.started_at
    return change.id, milliseconds(at), int(not change.state.over), to_json(CHANGE, change)


def modification_row(one: Modification) -> tuple[Any, ...]:
    """Values for the statement ``keep_modification``."""
    return milliseconds(one.at), one.source, one.kind, one.name, one.before, one.after


def modification_of(row: tuple[Any, ...]) -> Modification:
    """A modification from the columns of the statement ``modifications``."""
    at, source, kind, name, was, became = row
    return Modification(seconds(at), source, kind, name, was, became)


def ping_row(ping: Ping) -> tuple[Any, ...]:
    """Values for the statement ``keep_ping``; the body is no text and stands for itself."""
    head = to_json(PING, replace(ping, body=b""))
    return ping.check, ping.job, ping.number, milliseconds(ping.at), head, ping.body


def ping_of(row: tuple[Any, ...]) -> Ping:
    """The reverse of :func:`ping_row`, for a row of the statement ``pings``."""
    return replace(from_json(PING, row[0]), body=bytes(row[1]))


def task_record_row(record: TaskRecord) -> tuple[Any, ...]:
    """Values for the statement ``keep_task_record``."""
    return record.task, record.number, milliseconds(record.at), to_json(TASK_RECORD, record)


def event_row(event: Event) -> tuple[Any, ...]:
    """Values for the statement ``keep_event``."""
    return (
        event.incident,
        event.sequence,
        event.kind.value,
        milliseconds(event.at),
        int(event.severity),
        event.summary,
        event.reason,
        event.by,
    )


def event_of(row: tuple[Any, ...]) -> Event:
    """An event from the columns of the statement ``events``."""
    incident, sequence, kind, at, severity, summary, reason, by = row
    return Event(incident, sequence, EventKind(kind), seconds(at), Severity(severity), summary, reason, by)


def delivery_row(delivery: Delivery) -> tuple[Any, ...]:
    """Values for the statements ``owe`` and ``keep_delivery``."""
    notification = delivery.notification
    return (
        notification.id,
        notification.incident,
        notification.recipient.channel,
        notification.recipient.contact,
        notification.recipient.address,
        milliseconds(notification.created_at),
        delivery.state.value,
        delivery.attempts,
        milliseconds(delivery.next_attempt_at),
        delivery.last_error,
        milliseconds_or_none(delivery.delivered_at),
        delivery.receipt,
        delivery.fell_back,
        to_json(NOTIFICATION, notification),
    )


def delivery_of(row: tuple[Any, ...]) -> Delivery:
    """A delivery from the columns of the statement ``deliveries``."""
    data, state, attempts, next_attempt_at, last_error, delivered_at, receipt, fell_back = row
    return Delivery(
        notification=from_json(NOTIFICATION, data),
        state=DeliveryState(state),
        attempts=attempts,
        next_attempt_at=seconds(next_attempt_at),
        last_error=last_error,
        delivered_at=None if delivered_at is None else seconds(delivered_at),
        receipt=receipt,
        fell_back=bool(fell_back),
    )


def observation_of(check: str, location: str, row: PackedRow, series: Mapping[int, tuple[str, Labels]]) -> Observation:
    """An observation from its packed row; ``series`` names the numbers in it."""
    measurements = (
        Measurement(series[number][0], value, series[number][1])
        for number, value in zip(row.series, row.values, strict=True)
        if number in series
    )
    return Observation(
        check=check,
        location=location,
        at=seconds(row.at),
        duration=row.duration,
        outcome=OUTCOMES[row.outcome],
        reason=row.reason,
        summary=row.summary,
        measurements=tuple(measurements),
        evidence=row.evidence or {},
    )
