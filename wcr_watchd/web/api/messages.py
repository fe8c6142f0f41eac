"""Messages in the API: what is owed, what could not be delivered, and trying a channel."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.model import DeliveryState
from wcr_watchd.web import shapes
from wcr_watchd.web.api import models
from wcr_watchd.web.api.forms import By
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import MOST
from wcr_watchd.web.api.requests import by, json_body
from wcr_watchd.web.health import CONTROL

TAG = "messages"


class Chosen(By):
    """Which messages: their ids, or all."""

    ids: list[str] | None = Field(None, description="Ids of messages.")
    all: Literal[True] | None = Field(None, description="true: all of them.")


class Trial(By):
    """To whom a test goes."""

    who: str | None = Field(None, description="A contact or on-call schedule, where the channel needs one.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/deliveries", deliveries)
    app.router.add_get(f"{prefix}/dead-letters", dead_letters)
    app.router.add_post(f"{prefix}/dead-letters/resend", resend)
    app.router.add_post(f"{prefix}/dead-letters/discard", discard)
    app.router.add_post(f"{prefix}/channels/{{name}}/test", notify_test)


@operation(TAG, answer=models.Deliveries)
async def deliveries(request: web.Request) -> web.Response:
    """The newest notifications and where they stand."""
    rows = await request.app[CONTROL].store.deliveries(limit=100)
    return web.json_response({"deliveries": [shapes.delivery(row) for row in rows]})


@operation(TAG, answer=models.DeadLetters)
async def dead_letters(request: web.Request) -> web.Response:
    """Messages that could not be delivered, newest first: why, and how often they were tried."""
    rows = await request.app[CONTROL].store.deliveries(states=(DeliveryState.FAILED,), limit=MOST)
    return web.json_response({"dead_letters": [shapes.dead_letter(row) for row in rows]})


@operation(TAG, body=Chosen, answer=models.Done)
async def resend(request: web.Request) -> web.Response:
    """Send messages of the dead-letter list again. JSON body: ``{"ids": [id, …]}`` or ``{"all": true}``."""
    sentence = await request.app[CONTROL].resend(_chosen(await json_body(request)))
    return web.json_response({"done": sentence})


@operation(TAG, body=Chosen, answer=models.Done)
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


@operation(TAG, body=Trial, answer=models.Done)
async def notify_test(request: web.Request) -> web.Response:
    """Send a test message over a channel. JSON body: ``{"who": contact or schedule}`` where the channel needs one."""
    body = await json_body(request)
    receipt = await request.app[CONTROL].notify_test(request.match_info["name"], body.get("who") or "")
    return web.json_response({"done": receipt})
