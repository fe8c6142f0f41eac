"""Messages in the API: what is owed, what could not be delivered, how channels stand, how a message would look."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.model import DeliveryState, EventKind, Severity
from wcr_watchd.web import shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import messages as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import MOST, limit_of
from wcr_watchd.web.api.problems import ProblemError
from wcr_watchd.web.api.requests import by, json_body
from wcr_watchd.web.channel_states import Standing, standings
from wcr_watchd.web.health import CONTROL

TAG = "messages"
USUAL = 100


class Chosen(By):
    """Which messages: their ids, or all."""

    ids: list[str] | None = Field(None, description="Ids of messages.")
    all: Literal[True] | None = Field(None, description="true: all of them.")


class Trial(By):
    """To whom a test goes."""

    who: str | None = Field(None, description="A contact or on-call schedule, where the channel needs one.")


class Listing(Query):
    """Which notifications."""

    state: Literal["pending", "delivered", "failed", "merged", "superseded"] | None = Field(
        None, description="Only those that stand so."
    )
    incident: str | None = Field(None, description="Only those of the incident of this number.")
    limit: str | None = Field(None, description=f"So many at most, up to {MOST}; default: {USUAL}.")


Event = Literal[
    "opened", "raised", "lowered", "reminded", "escalated", "acknowledged", "resolved", "flapping", "handover",
    "planned", "digest", "drill",
]  # fmt: skip
"""What a message can be about."""


class Look(Query):
    """Which message is shown."""

    check: str | None = Field(None, description="As if this check had a problem; default: a made-up one.")
    severity: Literal["critical", "warning", "info"] | None = Field(None, description="How bad; default: critical.")
    event: Event | None = Field(None, description="What happened; default: opened.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/deliveries", deliveries)
    app.router.add_get(f"{prefix}/dead-letters", dead_letters)
    app.router.add_post(f"{prefix}/dead-letters/resend", resend)
    app.router.add_post(f"{prefix}/dead-letters/discard", discard)
    app.router.add_get(f"{prefix}/channels", channels)
    app.router.add_get(f"{prefix}/channels/{{name}}/message", rendered)
    app.router.add_post(f"{prefix}/channels/{{name}}/test", notify_test)


@operation(TAG, query=Listing, answer=models.Deliveries)
async def deliveries(request: web.Request) -> web.Response:
    """The newest notifications and where they stand."""
    query, incident = request.query, request.query.get("incident")
    if incident is not None and not (incident.isascii() and incident.isdecimal() and len(incident) < 10):
        raise ProblemError(422, f"query.incident: {incident!r} is no number of an incident")
    rows = await request.app[CONTROL].store.deliveries(
        states=(DeliveryState(query["state"]),) if "state" in query else (),
        incident=int(incident) if incident else None,
        limit=limit_of(request, USUAL),
    )
    return web.json_response({"deliveries": [shapes.delivery(row) for row in rows]})


@operation(TAG, answer=models.DeadLetters)
async def dead_letters(request: web.Request) -> web.Response:
    """Messages that could not be delivered, newest first: why, and how often they were tried."""
    rows = await request.app[CONTROL].store.deliveries(states=(DeliveryState.FAILED,), limit=MOST)
    return web.json_response({"dead_letters": [shapes.dead_letter(row) for row in rows]})


@operation(TAG, body=Chosen, answer=Done)
async def resend(request: web.Request) -> web.Response:
    """Send messages of the dead-letter list again. JSON body: ``{"ids": [id, …]}`` or ``{"all": true}``."""
    sentence = await request.app[CONTROL].resend(_chosen(await json_body(request)))
    return web.json_response({"done": sentence})


@operation(TAG, body=Chosen, answer=Done)
async def discard(request: web.Request) -> web.Response:
    """Take messages off the dead-letter list. JSON body as for sending again, and ``by``."""
    body = await json_body(request)
    return web.json_response({"done": await request.app[CONTROL].discard(_chosen(body), by(request, body))})


def _chosen(body: dict[str, Any]) -> list[str] | None:
    """Ids out of a body; None for all."""
    ids = body.get("ids")
    if body.get("all") is True and ids is None:
        return None
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise web.HTTPBadRequest(text='say which messages: {"ids": ["…"]}, or {"all": true}')
    return ids


@operation(TAG, answer=models.Channels)
async def channels(request: web.Request) -> web.Response:
    """Every channel, those that fail first: whether it delivers, what waits, what bounds it, whom a test can go to."""
    found = await standings(request.app[CONTROL])
    return web.json_response({"channels": [_channel(one) for one in found]})


def _channel(one: Standing) -> shapes.Json:
    return {
        "name": one.channel.name,
        "type": one.channel.type,
        "state": one.state,
        "sentence": one.sentence,
        "sent": one.counters.sent,
        "failed": dict(one.counters.failed),
        "last_success_at": shapes.time_text(one.counters.last_success_at),
        "waiting": one.waiting,
        "last_error": one.last_error,
        "limits": list(one.limits),
        "people": list(one.people),
    }


@operation(TAG, query=Look, answer=models.Rendered)
async def rendered(request: web.Request) -> web.Response:
    """A made-up message as it would look on a channel, in its own words if it has some; nothing is sent."""
    query, name = request.query, request.match_info["name"]
    event, severity = EventKind(query.get("event", "opened")), Severity.of(query.get("severity", "critical"))
    parts = request.app[CONTROL].rendered(name, query.get("check"), event, severity)
    return web.json_response({"channel": name, "parts": dict(parts)})


@operation(TAG, body=Trial, answer=Done)
async def notify_test(request: web.Request) -> web.Response:
    """Send a test message over a channel. JSON body: ``{"who": contact or schedule}`` where the channel needs one."""
    body = await json_body(request)
    receipt = await request.app[CONTROL].notify_test(request.match_info["name"], body.get("who") or "")
    return web.json_response({"done": receipt})
