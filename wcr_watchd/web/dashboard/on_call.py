"""The page of the on-call schedules: who is on call now and next, and when nobody is."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from aiohttp import web

from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.rota import Rota, rota


def add_routes(app: web.Application) -> None:
    """Put the page's route into the application."""
    app.router.add_get("/on-call", show)


async def show(request: web.Request) -> web.Response:
    """Who is on call now and in the next days, and when nobody is."""
    schedules = list(request.app[CONTROL].setup.on_call.values())
    now = request.app[CONTROL].now()
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
