"""Earlier incidents of the same kind: of the same check and subject, those in the same words first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wcr_watchd.core.model import Event, EventKind, Incident

RECENT = 90 * 86_400.0
"""Seconds in which it is counted how often something came."""

_VARIES = re.compile(r"[0-9a-f]{8,}|\d+(?:[.,:]\d+)*")
"""What differs between two tellings of the same trouble: numbers, times, addresses, identifiers."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier incident: whether it was told in the same words, how it ended, and what people noted."""

    incident: Incident
    same_words: bool
    ended: str
    notes: tuple[tuple[str, str], ...]
    """Who, and what."""


def fingerprint(summary: str) -> str:
    """A summary without what varies from time to time."""
    return " ".join(_VARIES.sub("#", summary.lower()).split())


def similar(incident: Incident, known: Iterable[Incident]) -> list[Incident]:
    """Those of the same check and subject that began before, in the same words first, the latest of them first."""
    mine = fingerprint(incident.summary)
    found = [
        one
        for one in known
        if (one.check, one.subject) == (incident.check, incident.subject)
        and one.id != incident.id
        and one.opened_at <= incident.opened_at
    ]
    return sorted(found, key=lambda one: (fingerprint(one.summary) != mine, -one.opened_at))


def count_recent(incident: Incident, known: Iterable[Incident]) -> int:
    """How many of them, with this one, began in the ninety days up to it."""
    begins = incident.opened_at - RECENT
    return 1 + sum(one.opened_at > begins for one in similar(incident, known))


def told(incident: Incident, earlier: Incident, events: Sequence[Event]) -> Earlier:
    """An earlier incident with what its timeline says of its end."""
    end = next((event for event in reversed(events) if event.kind is EventKind.RESOLVED), None)
    notes = tuple((event.by, event.reason) for event in events if event.kind is EventKind.NOTED)
    same = fingerprint(earlier.summary) == fingerprint(incident.summary)
    return Earlier(earlier, same, end.reason if end else "", notes)
