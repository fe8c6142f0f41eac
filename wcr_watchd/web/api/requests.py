"""What handlers of the API read from a request: its JSON body, and who asks."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import parse_duration
from wcr_watchd.web import shapes
from wcr_watchd.web.access.roles import VISITOR, Means

_BODY = web.RequestKey("body", dict[str, Any])


def by(request: web.Request, body: dict[str, Any]) -> str:
    """Who asks, as it will stand in the records. A program may ask for somebody; a person is who signed in."""
    visitor = request[VISITOR]
    said = "" if visitor.means is Means.SESSION else body.get("by")
    return str(said or visitor.name)[:80]


async def json_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; empty without one. Raises 400 when it is something else."""
    if _BODY in request:
        return request[_BODY]
    request[_BODY] = body = await _read(request)
    return body


async def _read(request: web.Request) -> dict[str, Any]:
    if not request.can_read_body:
        return {}
    try:
        body = shapes.parsed(await request.read())
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    return body


def number_of(text: str | None, default: float) -> float:
    """A number in the query. Raises ``HTTPBadRequest`` for what is none."""
    if text is None:
        return default
    try:
        return float(text)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{text!r} is not a number") from error


def moment(text: str | None, default: float) -> float:
    """A time in the query, as RFC 3339 or in epoch seconds. Raises ``HTTPBadRequest`` for what is none."""
    if text is None:
        return default
    try:
        return shapes.moment(text)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


def duration_of(text: object) -> float:
    """How many seconds a text such as ``2h`` is. Raises ``HTTPBadRequest`` for what is none."""
    try:
        return parse_duration(str(text))
    except UnitError as error:
        raise web.HTTPBadRequest(text=f"{error}; write for example 2h") from error
