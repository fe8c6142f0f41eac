"""Reports in the API: the list, one of them in any form, and writing one now."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.report import Audience, Filed, ReportWish
from wcr_watchd.web import documents, shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import reports as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import json_body
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/reports"
ONE = PATH + "/{number:\\d{1,9}}"


TAG = "reports"


class Listing(Query):
    """Which reports."""

    name: str | None = Field(None, description="Only those of this name.")


class Wish(By):
    """Which report is written."""

    report: str = Field(description="A configured report, or weekly, monthly, drill, or incident.")
    audience: Literal["team", "stakeholders"] | None = Field(None, description="For whom; default: as configured.")
    send: bool | None = Field(None, description="Whether it goes to whom it tells.")
    tell: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None, max_length=20, description="Whom it goes to in place of those: mail:ops."
    )
    incident: int | None = Field(None, ge=1, le=999_999_999, description="Which one, for the report incident.")


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


@operation(TAG, query=Listing, answer=models.Reports)
async def listed(request: web.Request) -> web.Response:
    """The reports that are kept, newest first: ``?name=…``."""
    found = await request.app[CONTROL].store.reports(name=request.query.get("name"))
    return web.json_response({"reports": [shape(one) for one in found]})


@operation(TAG, answer=models.Report)
async def head(request: web.Request) -> web.Response:
    """What one report is about."""
    return web.json_response(shape(await documents.filed(request)))


@operation(TAG, media="*/*")
async def whole(request: web.Request) -> web.Response:
    """One report as ``html``, ``txt``, ``json``, ``csv`` or ``pdf``."""
    return await documents.answer(request, (await documents.filed(request)).document, request.match_info["form"])


@operation(TAG, body=Wish, answer=models.Report)
async def write(request: web.Request) -> web.Response:
    """Write a report now. JSON body: ``{"report": "weekly", "audience": "stakeholders", "send": true}``."""
    body = await json_body(request)
    audience = Audience(body["audience"]) if body.get("audience") else None
    tell = tuple(body.get("tell") or ())
    wish = ReportWish(body["report"], audience, body.get("send") is True, body.get("incident") or 0, tell)
    return web.json_response(shape(await request.app[CONTROL].write_report(wish)))
