"""Reports in the API: the list, one of them in any form, and writing one now."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.report import Audience, Filed, ReportWish
from wcr_watchd.web import documents, shapes
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/reports"
ONE = PATH + "/{number:\\d{1,9}}"


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_post(PATH, write)
    app.router.add_get(ONE, head)
    app.router.add_get(ONE + "/{form:" + "|".join(documents.FORMS) + "}", whole)


def shape(one: Filed) -> shapes.Json:
    """A report without its contents."""
    document = one.document
    return {
        "number": one.number,
        "name": document.name,
        "kind": document.kind,
        "audience": document.audience,
        "scheduled": one.scheduled,
        "title": document.title,
        "summary": document.summary,
        "made_at": shapes.time_text(document.made_at),
        "since": shapes.time_text(document.since),
        "until": shapes.time_text(document.until),
        "forms": list(documents.FORMS),
    }


async def listed(request: web.Request) -> web.Response:
    """The reports that are kept, newest first: ``?name=…``."""
    found = await request.app[CONTROL].store.reports(name=request.query.get("name"))
    return web.json_response({"reports": [shape(one) for one in found]})


async def head(request: web.Request) -> web.Response:
    """What one report is about."""
    return web.json_response(shape(await documents.filed(request)))


async def whole(request: web.Request) -> web.Response:
    """One report as ``html``, ``txt``, ``json``, ``csv`` or ``pdf``."""
    return await documents.answer(request, (await documents.filed(request)).document, request.match_info["form"])


async def write(request: web.Request) -> web.Response:
    """Write a report now. JSON body: ``{"report": "weekly", "audience": "stakeholders", "send": true}``."""
    try:
        body = shapes.parsed(await request.read())
        wish = ReportWish(
            str(body["report"]), Audience(body["audience"]) if body.get("audience") else None, body.get("send") is True
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = 'write {"report": "weekly"}, and "audience": "team" or "stakeholders" if need be'
        raise web.HTTPBadRequest(text=text) from error
    return web.json_response(shape(await request.app[CONTROL].write_report(wish)))
