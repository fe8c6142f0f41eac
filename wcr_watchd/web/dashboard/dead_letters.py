"""The page of messages that could not be delivered, with the buttons to send them again or let them go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.message import headline
from wcr_watchd.core.model import DeliveryState
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/dead-letters"
MOST = 200
"""Messages on the page, the newest."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/resend", resend)
    app.router.add_post(f"{PATH}/discard", discard)


async def show(request: web.Request) -> web.Response:
    """What could not be delivered, why, and how often it was tried."""
    view = request.app[CONTROL]
    rows = await view.store.deliveries(states=(DeliveryState.FAILED,), limit=MOST)
    listed = [(row, headline(row.notification.message)) for row in rows]
    return page(request, "dead_letters.html", rows=listed, count=max(len(rows), view.counters.dead_letters))


async def resend(request: web.Request) -> web.Response:
    """Send one or all again, from a button; back to the list."""
    return await _carry_out(request, request.app[CONTROL].resend)


async def discard(request: web.Request) -> web.Response:
    """Take one or all off the list, from a button; back to the list."""
    control, by = request.app[CONTROL], request[VISITOR].name
    return await _carry_out(request, lambda ids: control.discard(ids, by))


async def _carry_out(request: web.Request, do: Callable[[list[str] | None], Awaitable[str]]) -> web.Response:
    chosen = str((await request.post()).get("id", ""))
    try:
        await do([chosen] if chosen else None)
    except CommandError as error:
        raise web.HTTPConflict(text=f"{error}\n") from error
    raise web.HTTPSeeOther(PATH)
