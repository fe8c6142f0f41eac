"""Subscribers of the status page in the API, for operators."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.access import Role
from wcr_watchd.web import shapes, subscribers
from wcr_watchd.web.access.roles import needs
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.models.status_posts import Subscribers
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import Paged, page_of
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/status-subscribers"
TAG = "status page"


class Listing(Paged):
    """Which subscribers."""

    q: str | None = Field(None, description="Only those with this text in their address.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_delete(f"{PATH}/{{id:{subscribers.HANDLE}}}", remove)


@needs(Role.OPERATOR)
@operation(TAG, query=Listing, answer=Subscribers)
async def listed(request: web.Request) -> web.Response:
    """Who confirmed that mails are wanted, by address; `count` is of all, whatever is looked for."""
    found, count = await subscribers.found(request.app[CONTROL], request.query.get("q", ""))
    some, following = page_of(request, found, subscribers.handle_of)
    rows = [
        {"id": subscribers.handle_of(one), "address": one.address, "since": shapes.time_text(one.confirmed_at)}
        for one in some
    ]
    return web.json_response({"subscribers": rows, "count": count, "next": following})


@operation(TAG, answer=Done)
async def remove(request: web.Request) -> web.Response:
    """End a subscription; what is still owed is not sent."""
    said = await subscribers.remove(request.app[CONTROL], request.match_info["id"])
    return web.json_response({"done": said})
