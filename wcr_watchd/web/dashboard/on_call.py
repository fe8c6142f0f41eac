"""The page of the on-call schedules: who is on call now and next, and when nobody is."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiohttp import web

from wcr_watchd.core.contacts import task_of, verifications
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.dashboard.tasks import STATES
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.rota import Rota, rota

PATH = "/on-call"
MAX_NOTE = 4_000


def add_routes(app: web.Application) -> None:
    """Put the page's route into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/verified", verified)


async def show(request: web.Request) -> web.Response:
    """Who is on call now and in the next days, and when nobody is; and who can still be reached."""
    return await _page(request)


async def verified(request: web.Request) -> web.Response:
    """Say that a contact was reached and answered, from the button beside their name."""
    form = await request.post()
    name, note = str(form.get("contact", "")), str(form.get("note", "")).strip()[:MAX_NOTE]
    try:
        await request.app[CONTROL].sign_off_task(task_of(name), request[VISITOR].name, note)
    except CommandError as error:
        response = await _page(request, str(error))
        response.set_status(409)
        return response
    raise web.HTTPSeeOther(f"{PATH}#contacts")


async def _page(request: web.Request, said: str = "") -> web.Response:
    view = request.app[CONTROL]
    schedules = list(view.setup.on_call.values())
    now = view.now()
    rotas = await asyncio.to_thread(lambda: [rota(schedule, now) for schedule in schedules])
    feeds = [_feed(request, schedule.name) for schedule in schedules]
    nobody = [one.name for one in rotas if not one.who]
    return page(
        request,
        "on_call.html",
        rotas=list(zip(rotas, feeds, strict=True)),
        state="critical" if nobody else ("ok" if rotas else "new"),
        sentence=_on_call_sentence(rotas, nobody),
        look_ahead=round(LOOK_AHEAD / 86_400),
        contacts=list(verifications(view.setup, await view.tasks())),
        states=STATES,
        said=said,
    )


def _on_call_sentence(rotas: list[Rota], nobody: list[str]) -> str:
    if nobody:
        return f"Nobody is on call in {', '.join(nobody)}"
    if not rotas:
        return "There is no on-call schedule"
    return f"{rotas[0].who} on call" if len(rotas) == 1 else f"Somebody is on call in all {len(rotas)} schedules"


def _feed(request: web.Request, name: str) -> str:
    """The address of a schedule's calendar, with the key that a calendar program needs."""
    path = f"/api/v1/on-call/{name}.ics"
    return f"{quote(path)}?key={request.app[ACCESS].key_of(path)}"
