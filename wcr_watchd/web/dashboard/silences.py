"""The page of silences: what holds, what is to come, and the form that adds one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from aiohttp import web

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.silence import Standing
from wcr_watchd.web import quiet
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/silences"


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, add)
    app.router.add_post(f"{PATH}/{{id}}/expire", expire)


async def show(request: web.Request) -> web.Response:
    """The page; ``?match=…`` fills the form."""
    return _page(request, {"matchers": request.query.get("match", "")})


async def add(request: web.Request) -> web.Response:
    """Add what the form asks for; with what is wrong beside it when that cannot be done."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    control = request.app[CONTROL]
    try:
        asked = quiet.wanted(control, form, request[VISITOR].name, maintenance=False)
        await control.silence(asked)
    except (CommandError, web.HTTPBadRequest) as error:
        said = error.text or "" if isinstance(error, web.HTTPBadRequest) else str(error)
        response = _page(request, form, said.strip())
        response.set_status(400)
        return response
    raise web.HTTPSeeOther(PATH)


async def expire(request: web.Request) -> web.Response:
    """End a silence, from its button."""
    await _done(request.app[CONTROL].expire(request.match_info["id"]))
    raise web.HTTPSeeOther(PATH)


async def _done(command: Awaitable[str]) -> None:
    try:
        await command
    except CommandError as error:
        raise web.HTTPConflict(text=f"{error}\n") from error


def _page(request: web.Request, form: Mapping[str, str], said: str = "") -> web.Response:
    view = request.app[CONTROL]
    now = view.now()
    known = sorted(view.state.silences.values(), key=lambda one: one.ends_at)
    silences = [one for one in known if not one.maintenance]
    holding = sum(one.active(now) for one in silences)
    maintenance = sum(one.maintenance and one.active(now) for one in known)
    maintenance += sum(open_span(view.state, one, now) is not None for one in view.setup.windows)
    return page(
        request,
        "silences.html",
        now=now,
        current=[one for one in silences if one.standing(now) is not Standing.EXPIRED],
        over=[one for one in reversed(silences) if one.standing(now) is Standing.EXPIRED],
        holding=holding,
        maintenance=maintenance,
        form={"matchers": "", "for": "2h", "comment": "", **form},
        said=said,
    )
