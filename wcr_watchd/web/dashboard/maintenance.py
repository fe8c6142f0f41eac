"""The page of maintenance: what is worked on now, what is planned once and what recurs; to plan, change and end it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from aiohttp import web

from wcr_watchd.core.announcements import covered
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.silence import Silence, Standing, Window
from wcr_watchd.core.view import View
from wcr_watchd.web import quiet
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/maintenance"
ONE = f"{PATH}/{{id}}"
NEXT_TIMES = 6
"""Times to come that are shown of what recurs."""
MOST_OVER = 50
"""Past maintenance that is shown."""
FORM = {"matchers": "", "starts_at": "", "for": "2h", "comment": ""}


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, plan)
    app.router.add_post(f"{ONE}/change", change)
    app.router.add_post(f"{ONE}/expire", expire)
    app.router.add_post(f"{PATH}/{{name}}/stop", stop)


async def show(request: web.Request) -> web.Response:
    """The page; ``?match=…`` fills the form."""
    return _page(request, {"matchers": request.query.get("match", "")})


async def plan(request: web.Request) -> web.Response:
    """Plan maintenance, or start it now; with what is wrong beside the form when that cannot be done."""
    control, form = request.app[CONTROL], await _form(request)
    try:
        zone = ZoneInfo(control.setup.timezone)
        await control.silence(quiet.wanted(control, form, request[VISITOR].name, maintenance=True, zone=zone))
    except (CommandError, web.HTTPBadRequest) as error:
        return _page(request, form, _said(error), 400)
    raise web.HTTPSeeOther(PATH)


async def change(request: web.Request) -> web.Response:
    """Give planned or started maintenance another beginning, end or reason; what it covers stays."""
    control, form = request.app[CONTROL], await _form(request)
    known = _known(request)
    asked = {"starts_at": form.get("starts_at") or _iso(known.starts_at), "ends_at": form.get("ends_at", "")}
    try:
        zone = ZoneInfo(control.setup.timezone)
        read = quiet.wanted(control, asked | {"for": "1m"}, request[VISITOR].name, maintenance=True, zone=zone)
        ends_at = read.ends_at if asked["ends_at"] else known.ends_at
        # A field shows whole minutes: one that was left alone is no new time.
        starts_at = read.starts_at if _field(control, known.starts_at) != form.get("starts_at") else known.starts_at
        wanted = replace(
            read,
            matchers=known.matchers,
            starts_at=starts_at,
            ends_at=ends_at,
            comment=form.get("comment", known.comment)[: quiet.MAX_COMMENT],
        )
        await control.silence(wanted, known.id)
    except (CommandError, web.HTTPBadRequest) as error:
        return _page(request, {}, _said(error), 400)
    raise web.HTTPSeeOther(PATH)


async def expire(request: web.Request) -> web.Response:
    """End started maintenance, or call off planned one, from its button."""
    return await _done(request.app[CONTROL].expire(_known(request).id))


async def stop(request: web.Request) -> web.Response:
    """End a recurring window for this time, from its button."""
    return await _done(request.app[CONTROL].stop_window(request.match_info["name"], request[VISITOR].name))


async def _done(command: Awaitable[str]) -> web.Response:
    try:
        await command
    except CommandError as error:
        raise web.HTTPConflict(text=f"{error}\n") from error
    raise web.HTTPSeeOther(PATH)


async def _form(request: web.Request) -> dict[str, str]:
    return {key: str(value).strip() for key, value in (await request.post()).items()}


def _known(request: web.Request) -> Silence:
    identifier = request.match_info["id"]
    found = request.app[CONTROL].state.silences.get(identifier)
    if found is None or not found.maintenance:
        raise web.HTTPConflict(text=f"there is no maintenance {identifier} any more\n")
    return found


def _said(error: CommandError | web.HTTPBadRequest) -> str:
    return (error.text or "" if isinstance(error, web.HTTPBadRequest) else str(error)).strip()


# --- what the page shows ---


def _page(request: web.Request, form: Mapping[str, str], said: str = "", status: int = 200) -> web.Response:
    view = request.app[CONTROL]
    now = view.now()
    started = [one for one in view.state.silences.values() if one.maintenance]
    here = [one for one in started if one.active(now)]
    coming = [one for one in started if one.standing(now) is Standing.PENDING]
    windows = [_recurring(view, one, now) for one in view.setup.windows]
    changes = [one for one in view.changes.known if one.state.value == "running"]
    response = page(
        request,
        "maintenance.html",
        here=sorted(here, key=lambda one: one.ends_at),
        coming=sorted(coming, key=lambda one: one.starts_at),
        over=sorted((one for one in started if one.ends_at <= now), key=lambda one: -one.ends_at)[:MOST_OVER],
        windows=windows,
        open=len(here) + sum(one["span"] is not None for one in windows),
        changes=changes,
        overran=[one for one in changes if one.overran],
        covered=lambda matchers: covered(view.setup, matchers),
        field=lambda at: _field(view, at),
        form=FORM | dict(form),
        said=said,
    )
    response.set_status(status)
    return response


def _recurring(view: View, window: Window, now: float) -> dict[str, object]:
    """A window of the configuration: the span that holds, the next ones, and which checks it covers."""
    return {
        "window": window,
        "span": open_span(view.state, window, now),
        "held": window.spans.around(now),
        "next": list(islice((span for span in window.spans.after(now) if span[0] > now), NEXT_TIMES)),
    }


def _field(view: View, at: float) -> str:
    """A time as a form's field has it: in the platform's zone, to the minute."""
    return datetime.fromtimestamp(at, ZoneInfo(view.setup.timezone)).strftime("%Y-%m-%dT%H:%M")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
