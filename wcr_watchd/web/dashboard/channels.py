"""The page of the channels: whether each delivers, what waits, and a button that tries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from wcr_watchd.core.errors import ChannelError, CommandError
from wcr_watchd.core.model import Delivery, DeliveryState
from wcr_watchd.core.notices import channels_that_fail
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.view import ChannelCounters, ChannelView, View
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/channels"
MOST_WAITING = 1_000
"""Messages that wait, which are looked at."""
_ORDER = ("critical", "warning", "new", "ok")


@dataclass(frozen=True, slots=True)
class Shown:
    """One channel as the page shows it; ``people`` are whom a test can go to."""

    channel: ChannelView
    state: str
    sentence: str
    counters: ChannelCounters
    waiting: int
    last_error: str
    limits: tuple[str, ...]
    people: tuple[str, ...]


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
    waiting = await view.store.deliveries(states=(DeliveryState.PENDING,), limit=MOST_WAITING)
    shown = sorted((_shown(view, one, waiting) for one in view.channels()), key=lambda one: _ORDER.index(one.state))
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


def _shown(view: View, channel: ChannelView, waiting: Sequence[Delivery]) -> Shown:
    counters = view.counters.channels.get(channel.name, ChannelCounters())
    mine = [one for one in waiting if one.notification.recipient.channel == channel.name]
    errors = [one.last_error for one in mine if one.last_error]
    if channel.name in channels_that_fail(view.state):
        state, sentence = "critical", "does not deliver"
    elif errors:
        state, sentence = "warning", "is being tried again"
    elif counters.last_success_at is None:
        state, sentence = "new", "has not been used since the start"
    else:
        state, sentence = "ok", "delivers"
    kind = channel.address_kind
    reachable = [name for name, one in view.setup.contacts.items() if one.addresses.get(kind)] if kind else []
    return Shown(
        channel,
        state,
        sentence,
        counters,
        len(mine),
        errors[0] if errors else "",
        _limits(channel),
        (*reachable, *view.setup.on_call) if kind else (),
    )


def _limits(channel: ChannelView) -> tuple[str, ...]:
    said = []
    if channel.limit:
        said.append(f"{channel.limit[0]} in {format_duration(channel.limit[1])} by the configuration")
    if channel.rate:
        said.append(f"{channel.rate[0]} in {format_duration(channel.rate[1])} by the provider")
    return tuple(said)
