"""What handlers of the API read from a request: its JSON body, and who asks."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from wcr_watchd.web import shapes
from wcr_watchd.web.access.roles import VISITOR


def by(request: web.Request, body: dict[str, Any]) -> str:
    """Who asks, as it will stand in the records."""
    return str(body.get("by") or request[VISITOR].name)[:80]


async def json_body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; empty without one. Raises 400 when it is something else."""
    if not request.can_read_body:
        return {}
    try:
        body = shapes.parsed(await request.read())
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    return body
