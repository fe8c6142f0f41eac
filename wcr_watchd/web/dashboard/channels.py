"""The page of the channels: whether each delivers, what waits, and a button that tries it."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.errors import ChannelError, CommandError
from wcr_watchd.web.channel_states import standings
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/channels"


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/{{name}}/test", test)


async def show(request: web.Request) -> web.Response:
    """All channels, those that fail first."""
    return await _page(request)


async def test(request: web.Request) -> web.Response:
    """Send a test message, from a channel's button; the page then says what came of it."""
    who = str((await request.post()).get("who", ""))
    try:
        said = await request.app[CONTROL].notify_test(request.match_info["name"], who)
    except CommandError as error:
        return await _page(request, str(error), "warning", 409)
    except ChannelError as error:
        name = request.match_info["name"]
        return await _page(request, f"{name} did not take the test message: {error.summary}", "critical", 502)
    return await _page(request, said, "ok")


async def _page(request: web.Request, said: str = "", state: str = "", status: int = 200) -> web.Response:
    view = request.app[CONTROL]
    shown = await standings(view)
    failing = [one.channel.name for one in shown if one.state == "critical"]
    response = page(
        request,
        "channels.html",
        channels=shown,
        failing=failing,
        trying=[one.channel.name for one in shown if one.state == "warning"],
        said=said,
        said_state=state,
        dead_letters=view.counters.dead_letters,
        oldest=view.counters.oldest_pending_at,
    )
    response.set_status(status)
    return response
