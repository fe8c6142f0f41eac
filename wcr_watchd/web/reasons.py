"""The JSON of "why was I (not) told" and of "who would be told": shared by API, page and command line."""

from __future__ import annotations

from typing import Any

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Incident, Notification
from wcr_watchd.core.outlook import Outlook, Telling
from wcr_watchd.core.view import View
from wcr_watchd.core.why import Answer, why
from wcr_watchd.core.work import check_of
from wcr_watchd.web import shapes

Json = dict[str, Any]
MAX_DELIVERIES = 1_000


async def answer(view: View, incident: Incident, contact: str = "") -> Answer:
    """Why ``contact`` (empty: anybody) was or was not told of the incident."""
    events = await view.store.events(incident.id)
    deliveries = await view.store.deliveries(incident=incident.id, limit=MAX_DELIVERIES)
    return why(view.setup, check_of(view.setup, incident), incident, events, deliveries, contact)


def answer_json(found: Answer) -> Json:
    """The answer with its steps."""
    return {
        "answer": found.sentence,
        "steps": [
            shapes.event(step.event)
            | {
                "told": [shapes.delivery(row) | {"sentence": sentence} for row, sentence in step.deliveries],
                "not_told": step.not_told,
            }
            for step in found.steps
        ],
    }


def outlook_json(found: Outlook, check: str, severity: str) -> Json:
    """Who would be told, step by step."""
    begin = found.tellings[0].at
    return {
        "check": check,
        "severity": severity,
        "at": shapes.time_text(begin),
        "steps": [_telling(one, begin) for one in found.tellings],
        "afterwards": found.afterwards,
    }


def _telling(one: Telling, begin: float) -> Json:
    return {
        "at": shapes.time_text(one.at),
        "after": round(one.at - begin, 3),
        "event": one.kind.value,
        "severity": one.severity.word,
        "reason": one.reason,
        "told": [_owed(notification) for notification in one.notifications],
        "on_call": {name: list(contacts) for name, contacts in one.on_call},
    }


def _owed(one: Notification) -> Json:
    waits = one.not_before > one.created_at
    return {
        "channel": one.recipient.channel,
        "contact": one.recipient.contact,
        "not_before": shapes.time_text(one.not_before) if waits else None,
        "because": ("digest" if one.digest else "quiet hours") if waits else "",
        "fallbacks": [":".join(filter(None, (who.channel, who.contact))) for who in one.fallbacks],
    }


def must_be_configured(view: View, check: str) -> None:
    """Raise ``CommandError`` when there is no such check."""
    if check not in view.setup.checks:
        raise CommandError(f"there is no check named {check!r}; `wcr-watchd list` shows all")
