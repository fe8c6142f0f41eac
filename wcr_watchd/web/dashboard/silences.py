"""The page of silences and maintenance: what holds, what is to come, and the form that adds one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from aiohttp import web

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.silence import Standing
from wcr_watchd.web import quiet, shapes
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/silences"


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, add)
    app.router.add_post(f"{PATH}/{{id}}/expire", expire)
    app.router.add_post("/maintenance/{name}/stop", stop)


async def show(request: web.Request) -> web.Response:
    """The page; ``?match=…`` fills the form."""
    return _page(request, {"matchers": request.query.get("match", "")})


async def add(request: web.Request) -> web.Response:
    """Add what the form asks for; with what is wrong beside it when that cannot be done."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    control = request.app[CONTROL]
    try:
        asked = quiet.wanted(control, form, request[VISITOR].name, maintenance=form.get("kind") == "maintenance")
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


async def stop(request: web.Request) -> web.Response:
    """End a planned window for this time, from its button."""
    await _done(request.app[CONTROL].stop_window(request.match_info["name"], request[VISITOR].name))
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
    windows = [(one, open_span(view.state, one, now), shapes.next_spans(one, now)) for one in view.setup.windows]
    holding = [one for one in known if one.active(now)]
    silences = sum(not one.maintenance for one in holding)
    return page(
        request,
        "silences.html",
        now=now,
        current=[one for one in known if one.standing(now) is not Standing.EXPIRED],
        over=[one for one in reversed(known) if one.standing(now) is Standing.EXPIRED],
        windows=windows,
        sentence=_sentence(silences, len(holding) - silences + sum(span is not None for _, span, _ in windows)),
        form={"matchers": "", "for": "2h", "comment": "", "kind": "silence", **form},
        said=said,
    )


def _sentence(silences: int, maintenance: int) -> str:
    """What holds now."""
    said = [f"{silences} silence{'s' if silences > 1 else ''}"] if silences else []
    said += [f"{maintenance} maintenance window{'s' if maintenance > 1 else ''}"] if maintenance else []
    one = silences + maintenance == 1
    return f"{' and '.join(said)} {'is' if one else 'are'} in force" if said else "Everything is told"
