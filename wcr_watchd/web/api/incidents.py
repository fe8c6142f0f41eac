"""Incidents in the API: what is and was wrong, who was told, and what people do about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aiohttp import web
from pydantic import Field

from wcr_watchd.core import review
from wcr_watchd.core.follow_up import end_of_day
from wcr_watchd.core.model import Incident
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.review import LONGEST_TEXT
from wcr_watchd.web import incident_search, investigation, reasons, shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import incidents as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import Paged, limit_of
from wcr_watchd.web.api.problems import ProblemError
from wcr_watchd.web.api.requests import by, duration_of, json_body
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/incidents"
ONE = PATH + "/{number:\\d{1,9}}"
TAG = "incidents"
MAX_NOTE = 4_000
"""Characters of a note in a timeline."""
USUAL = 100


class Listing(Paged):
    """Which incidents."""

    open: str | None = Field(None, description="1: only those that are not over.")
    state: Literal["open", "acknowledged", "quiet", "unresolved", "resolved"] | None = Field(
        None, description="Only those in this state; quiet: nobody is told."
    )
    severity: Literal["info", "warning", "critical"] | None = Field(
        None, description="Only those that were at least so severe at their worst."
    )
    check: str | None = Field(None, description="Only those of this check.")
    group: str | None = Field(None, description="Only those of checks in this group.")
    tag: str | None = Field(None, description="Only those of checks with this tag.")
    q: str | None = Field(None, description="Only those with this text in check, subject or summary.")
    since: str | None = Field(None, description="Only those that were open then or later; RFC 3339 or epoch seconds.")
    until: str | None = Field(None, description="Only those that began before; likewise, or a day, which counts.")


class Asked(Query):
    """Whom the question is about."""

    contact: str | None = Field(None, description="A contact; without one: anybody.")


class Acknowledgement(By):
    """How an incident is taken."""

    for_: str | None = Field(None, alias="for", description="For how long, such as 2h; default: until it is over.")
    sticky: bool | None = Field(None, description="Whether it stays when the incident gets worse.")


class Note(By):
    """A note."""

    text: str = Field(description="What to note.")


class Written(By):
    """What people make of an incident; what is not given stays as it is."""

    root_cause: str | None = Field(None, max_length=LONGEST_TEXT, description="What was at the bottom of it.")
    impact: str | None = Field(None, max_length=LONGEST_TEXT, description="Whom it hit, and how.")
    resolution: str | None = Field(None, max_length=LONGEST_TEXT, description="What ended it.")
    prevention: str | None = Field(None, max_length=LONGEST_TEXT, description="What keeps it from coming back.")


class Owner(By):
    """Who works on it."""

    owner: str = Field(description="Who works on it; empty: nobody.")


class FollowUp(By):
    """Something to do after an incident."""

    text: str = Field(description="What is to be done.")
    owner: str = Field(description="Who does it.")
    due: str = Field(description="Until when: a date such as 2026-12-10.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_get(ONE, incident)
    app.router.add_get(f"{ONE}/why", why)
    app.router.add_get(f"{ONE}/causes", causes)
    app.router.add_get(f"{ONE}/similar", similar)
    app.router.add_get(f"{ONE}/review", reviewed)
    app.router.add_put(f"{ONE}/review", write_review)
    app.router.add_post(f"{ONE}/acknowledge", acknowledge)
    app.router.add_post(f"{ONE}/resolve", resolve)
    app.router.add_post(f"{ONE}/notes", note)
    app.router.add_post(f"{ONE}/owner", assign)
    app.router.add_post(f"{ONE}/follow-ups", follow_up)


@operation(TAG, query=Listing, answer=models.Incidents)
async def listed(request: web.Request) -> web.Response:
    """Incidents, newest first.

    At most `limit` of them; `next` is the `cursor` of those that follow, and null at the end.
    """
    query, limit = request.query, limit_of(request, USUAL)
    cursor = query.get("cursor")
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
        raise ProblemError(422, f"query.cursor: {cursor!r} is none of ours; take `next` of the answer before")
    view = request.app[CONTROL]
    found = await view.store.find_incidents(_wanted(request), before=int(cursor) if cursor else 0, limit=limit + 1)
    following = str(found[limit - 1].id) if len(found) > limit else None
    # What is not over may have moved on since it was stored.
    shown = [shapes.incident(view.state.incidents.get(one.id, one)) for one in found[:limit]]
    return web.json_response({"incidents": shown, "next": following})


def _wanted(request: web.Request) -> Wanted:
    asked = dict(request.query)
    if asked.get("open", "") in {"1", "true", "yes"}:
        asked.setdefault("state", "unresolved")
    try:
        return incident_search.wanted(request.app[CONTROL], asked | {"text": asked.get("q", "")})
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


@operation(TAG, answer=models.IncidentDetails)
async def incident(request: web.Request) -> web.Response:
    """One incident with its timeline and what became of its notifications."""
    view, found = request.app[CONTROL], await _found(request)
    body = shapes.incident(found)
    body["timeline"] = [shapes.event(one) for one in await view.store.events(found.id)]
    body["notifications"] = [shapes.delivery(row) for row in await view.store.deliveries(incident=found.id)]
    return web.json_response(body)


@operation(TAG, query=Asked, answer=models.Why)
async def why(request: web.Request) -> web.Response:
    """Why ``?contact=…`` (or, without one, anybody) was or was not told of an incident, step by step."""
    view, found = request.app[CONTROL], await _found(request)
    answer = await reasons.answer(view, found, request.query.get("contact", ""))
    return web.json_response({"incident": shapes.incident(found)} | reasons.answer_json(answer))


@operation(TAG, answer=models.Causes)
async def causes(request: web.Request) -> web.Response:
    """What may be the cause of an incident, the likeliest first: what failed or was changed around its beginning."""
    found = await investigation.causes(request.app[CONTROL], await _found(request))
    return web.json_response({"causes": [shapes.cause(one) for one in found]})


@operation(TAG, answer=models.Similar)
async def similar(request: web.Request) -> web.Response:
    """Earlier incidents of the same check and subject, those in the same words first; how each ended, what was noted.

    `recent` is how many such incidents, with this one, began in the 90 days up to it.
    """
    found, recent = await investigation.earlier(request.app[CONTROL], await _found(request))
    return web.json_response({"similar": [shapes.earlier(one) for one in found], "recent": recent})


@operation(TAG, answer=models.Review)
async def reviewed(request: web.Request) -> web.Response:
    """The review of an incident: what was recorded, and what people wrote about it; `markdown` is all of it as text."""
    view = request.app[CONTROL]
    facts, written = await investigation.reviewed(view, await _found(request))
    text = review.markdown(facts, written, view.setup.timezone)
    return web.json_response(shapes.review(facts, written) | {"markdown": text})


@operation(TAG, body=Written, answer=Done)
async def write_review(request: web.Request) -> web.Response:
    """Write the review of an incident. JSON body: any of ``root_cause``, ``impact``, ``resolution``, ``prevention``."""
    control, found, body = request.app[CONTROL], await _found(request), await json_body(request)
    known = await control.store.review(found.id) or review.Review(found.id)
    texts = {name: body[name].strip() for name in review.TEXTS if body.get(name) is not None}
    written = replace(known, **texts, by=by(request, body), at=control.now())
    return web.json_response({"done": await control.review(written)})


@operation(TAG, body=Acknowledgement, answer=Done)
async def acknowledge(request: web.Request) -> web.Response:
    """Take an incident: reminders and escalation stop.

    JSON body: ``{"by": name, "for": "2h", "sticky": true}``; without ``by`` the visitor's own name, without ``for``
    until it is over or gets worse; a sticky one stays when it gets worse.
    """
    body = await json_body(request)
    control = request.app[CONTROL]
    until = control.now() + duration_of(body["for"]) if body.get("for") else None
    sentence = await control.acknowledge(
        int(request.match_info["number"]), by(request, body), until=until, sticky=body.get("sticky") is True
    )
    return web.json_response({"done": sentence})


@operation(TAG, body=By, answer=Done)
async def resolve(request: web.Request) -> web.Response:
    """End an incident by hand; it goes on if its check still fails. JSON body: ``{"by": name}``."""
    body = await json_body(request)
    sentence = await request.app[CONTROL].resolve(int(request.match_info["number"]), by(request, body))
    return web.json_response({"done": sentence})


@operation(TAG, body=Note, answer=Done)
async def note(request: web.Request) -> web.Response:
    """Add a note to an incident's timeline. JSON body: ``{"text": …, "by": name}``."""
    body = await json_body(request)
    text = str(body.get("text", ""))[:MAX_NOTE]
    sentence = await request.app[CONTROL].note(int(request.match_info["number"]), by(request, body), text)
    return web.json_response({"done": sentence})


@operation(TAG, body=Owner, answer=Done)
async def assign(request: web.Request) -> web.Response:
    """Say who works on an incident. JSON body: ``{"owner": name, "by": name}``; an empty owner is nobody."""
    body = await json_body(request)
    owner = str(body.get("owner", ""))[:80]
    sentence = await request.app[CONTROL].assign(int(request.match_info["number"]), owner, by(request, body))
    return web.json_response({"done": sentence})


@operation(TAG, body=FollowUp, answer=Done)
async def follow_up(request: web.Request) -> web.Response:
    """Plan something to do after an incident, which becomes a task. JSON body: ``{"text", "owner", "due": date}``."""
    control, body = request.app[CONTROL], await json_body(request)
    due = end_of_day(body["due"], control.setup.timezone)
    number = int(request.match_info["number"])
    said = await control.follow_up(number, body["text"], body["owner"], due, by(request, body))
    return web.json_response({"done": said})


async def _found(request: web.Request) -> Incident:
    view, number = request.app[CONTROL], int(request.match_info["number"])
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}")
    return found
