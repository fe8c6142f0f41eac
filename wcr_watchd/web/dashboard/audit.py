"""The page of the audit log, for admins, and the same as JSON."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from wcr_watchd.core.access import Role
from wcr_watchd.web import shapes
from wcr_watchd.web.access.audit import AUDIT
from wcr_watchd.web.access.roles import needs
from wcr_watchd.web.dashboard.layout import page

PATH, API = "/audit", "/api/v1/audit"
ON_A_PAGE = 100
MOST = 1_000


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_get(API, entries)


@needs(Role.ADMIN)
async def show(request: web.Request) -> web.Response:
    """Who did what: the newest, or those ``before`` a number, of all or of one person (``who``)."""
    who = request.query.get("who", "")
    found = await request.app[AUDIT].entries(before=_number(request, "before"), who=who, limit=ON_A_PAGE)
    older = found[-1].number if len(found) == ON_A_PAGE else 0
    return page(request, "audit.html", entries=found, who=who, older=older)


@needs(Role.ADMIN)
async def entries(request: web.Request) -> web.Response:
    """The audit log, newest first: ``before`` (a number), ``who``, ``limit``."""
    limit = max(1, min(MOST, _number(request, "limit") or ON_A_PAGE))
    who = request.query.get("who", "")
    found = await request.app[AUDIT].entries(before=_number(request, "before"), who=who, limit=limit)
    return web.json_response({"entries": [asdict(one) | {"at": shapes.time_text(one.at)} for one in found]})


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise web.HTTPBadRequest(text=f"{name} must be a number, not {text[:40]!r}")
    return int(text)
