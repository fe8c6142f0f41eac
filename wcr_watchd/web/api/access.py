"""Access in the API: the audit log, and a link that signs a browser in."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.access import Role
from wcr_watchd.web import shapes
from wcr_watchd.web.access.audit import AUDIT, number_in
from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.access.links import LINK_SECONDS
from wcr_watchd.web.access.roles import VISITOR, Means, needs
from wcr_watchd.web.api.forms import Query
from wcr_watchd.web.api.models import access as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import MOST

TAG = "access"
ON_A_PAGE = 100


class Which(Query):
    """Which entries."""

    before: str | None = Field(None, description="Only those before the entry of this number.")
    who: str | None = Field(None, description="Only those of this person or program.")
    limit: str | None = Field(None, description=f"So many at most, up to {MOST}.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get("/api/v1/audit", entries)
    app.router.add_post("/api/v1/sign-in-links", make_link)


@needs(Role.ADMIN)
@operation(TAG, query=Which, answer=models.Audit)
async def entries(request: web.Request) -> web.Response:
    """The audit log, newest first: ``before`` (a number), ``who``, ``limit``."""
    limit = max(1, min(MOST, number_in(request, "limit") or ON_A_PAGE))
    who = request.query.get("who", "")
    found = await request.app[AUDIT].entries(before=number_in(request, "before"), who=who, limit=limit)
    return web.json_response({"entries": [asdict(one) | {"at": shapes.time_text(one.at)} for one in found]})


@needs(Role.ADMIN)
@operation(TAG, answer=models.Link)
async def make_link(request: web.Request) -> web.Response:
    """A new one-time link, for who asks over the Unix socket."""
    visitor = request[VISITOR]
    if visitor.means is not Means.SOCKET:
        raise web.HTTPForbidden(text="one-time links are made over the Unix socket only: wcr-watchd sign-in-link")
    return web.json_response({"url": request.app[ACCESS].link_for(visitor.name), "lasts": LINK_SECONDS})
