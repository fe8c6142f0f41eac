"""The page of one incident: what is wrong, who was told and why, what happened since, and what people do with it."""

from __future__ import annotations

from collections.abc import Awaitable

from aiohttp import web

from wcr_watchd.core.errors import CommandError, UnitError
from wcr_watchd.core.units import parse_duration
from wcr_watchd.core.work import check_of
from wcr_watchd.web import reasons
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/incidents/{number:\\d{1,9}}"
MAX_NOTE = 4_000


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/acknowledge", acknowledge)
    app.router.add_post(f"{PATH}/resolve", resolve)
    app.router.add_post(f"{PATH}/note", note)


async def show(request: web.Request) -> web.Response:
    """One incident: what is wrong, who was told and why, and what happened since."""
    view = request.app[CONTROL]
    number = _number(request)
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}\n")
    contact = request.query.get("contact", "")
    return page(
        request,
        "incident.html",
        incident=found,
        people=list(view.setup.contacts),
        contact=contact,
        answer=await reasons.answer(view, found, contact) if contact else None,
        check=check_of(view.setup, found) if found.alert else view.setup.checks.get(found.check),
        generator=_safe_url(found.alert.generator) if found.alert else "",
        timeline=await view.store.events(number),
        deliveries=await view.store.deliveries(incident=number),
    )


def _safe_url(url: str) -> str:
    """A URL that somebody else sent, if it leads to a page and does not run anything."""
    return url if url.startswith(("http://", "https://")) else ""


async def acknowledge(request: web.Request) -> web.Response:
    """Take an incident, from the button of a page, for a time (``for``) or until it is over."""
    control, form = request.app[CONTROL], await request.post()
    text = str(form.get("for", "")).strip()
    try:
        until = control.now() + parse_duration(text) if text else None
    except UnitError as error:
        raise web.HTTPBadRequest(text=f"{error}; write for example 2h\n") from error
    await _done(control.acknowledge(_number(request), request[VISITOR].name, until=until))
    raise web.HTTPSeeOther("/")


async def resolve(request: web.Request) -> web.Response:
    """End an incident by hand, from its button."""
    await _done(request.app[CONTROL].resolve(_number(request), request[VISITOR].name))
    raise web.HTTPSeeOther(request.path.removesuffix("/resolve"))


async def note(request: web.Request) -> web.Response:
    """Add a note to the timeline, from the form under it."""
    form = await request.post()
    text = str(form.get("text", ""))[:MAX_NOTE]
    await _done(request.app[CONTROL].note(_number(request), request[VISITOR].name, text))
    raise web.HTTPSeeOther(request.path.removesuffix("/note"))


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


async def _done(command: Awaitable[str]) -> None:
    try:
        await command
    except CommandError as error:
        raise web.HTTPConflict(text=f"{error}\n") from error
