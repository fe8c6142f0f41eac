"""The page of the status page's subscribers, for operators: how many, who, and ending a subscription."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.access import Role
from wcr_watchd.core.errors import CommandError
from wcr_watchd.web import subscribers
from wcr_watchd.web.access.roles import needs
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.status.posts import POSTS

PATH = "/status-posts/subscribers"
SHOWN = 200
"""Subscribers on the page; who looks for another one searches."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/{{handle:{subscribers.HANDLE}}}/remove", remove)


# Addresses are people's own: viewers do not see them.
@needs(Role.OPERATOR)
async def show(request: web.Request) -> web.Response:
    """Who has mails sent; ``?q=…`` looks for a part of an address."""
    text = request.query.get("q", "")
    found, count = await subscribers.found(request.app[CONTROL], text)
    desk = request.app.get(POSTS)
    settings = desk.settings if desk else None
    return page(
        request,
        "subscribers.html",
        rows=[(one, subscribers.handle_of(one)) for one in found[:SHOWN]],
        more=max(0, len(found) - SHOWN),
        count=count,
        text=text,
        open=bool(settings and settings.mail),
    )


async def remove(request: web.Request) -> web.Response:
    """End a subscription, from its button; back to the page."""
    try:
        await subscribers.remove(request.app[CONTROL], request.match_info["handle"])
    except CommandError as error:
        raise web.HTTPConflict(text=f"{error}\n") from error
    raise web.HTTPSeeOther(PATH)
