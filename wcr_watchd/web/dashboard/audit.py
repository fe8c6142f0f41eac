"""The page of the audit log, for admins."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.access import Role
from wcr_watchd.web.access.audit import AUDIT, number_in
from wcr_watchd.web.access.roles import needs
from wcr_watchd.web.dashboard.layout import page

PATH = "/audit"
ON_A_PAGE = 100


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, show)


@needs(Role.ADMIN)
async def show(request: web.Request) -> web.Response:
    """Who did what: the newest, or those ``before`` a number, of all or of one person (``who``)."""
    who = request.query.get("who", "")
    found = await request.app[AUDIT].entries(before=number_in(request, "before"), who=who, limit=ON_A_PAGE)
    older = found[-1].number if len(found) == ON_A_PAGE else 0
    return page(request, "audit.html", entries=found, who=who, older=older)
