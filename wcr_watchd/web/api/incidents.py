"""Incidents in the API: what is and was wrong, who was told, and what people do about it."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.model import Incident
from wcr_watchd.web import reasons, shapes
from wcr_watchd.web.api import models
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import Paged, limit_of
from wcr_watchd.web.api.problems import ProblemError
from wcr_watchd.web.api.requests import by, duration_of, json_body, number_of
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
    check: str | None = Field(None, description="Only those of this check.")
    since: str | None = Field(None, description="Only those that were open then or later, in epoch seconds.")


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


class Owner(By):
    """Who works on it."""

    owner: str = Field(description="Who works on it; empty: nobody.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_get(ONE, incident)
    app.router.add_get(f"{ONE}/why", why)
    app.router.add_post(f"{ONE}/acknowledge", acknowledge)
    app.router.add_post(f"{ONE}/resolve", resolve)
    app.router.add_post(f"{ONE}/notes", note)
    app.router.add_post(f"{ONE}/owner", assign)


@operation(TAG, query=Listing, answer=models.Incidents)
async def listed(request: web.Request) -> web.Response:
    """Incidents, newest first.

    At most `limit` of them; `next` is the `cursor` of those that follow, and null at the end.
    """
    query, limit = request.query, limit_of(request, USUAL)
    cursor = query.get("cursor")
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
        raise ProblemError(422, f"query.cursor: {cursor!r} is none of ours; take `next` of the answer before")
    found = await request.app[CONTROL].store.incidents(
        check=query.get("check"),
        open_only=query.get("open", "") in {"1", "true", "yes"},
        since=number_of(query.get("since"), 0.0),
        before=int(cursor) if cursor else None,
        limit=limit + 1,
    )
    following = str(found[limit - 1].id) if len(found) > limit else None
    return web.json_response({"incidents": [shapes.incident(one) for one in found[:limit]], "next": following})


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


@operation(TAG, body=Acknowledgement, answer=models.Done)
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


@operation(TAG, body=By, answer=models.Done)
async def resolve(request: web.Request) -> web.Response:
    """End an incident by hand; it goes on if its check still fails. JSON body: ``{"by": name}``."""
    body = await json_body(request)
    sentence = await request.app[CONTROL].resolve(int(request.match_info["number"]), by(request, body))
    return web.json_response({"done": sentence})


@operation(TAG, body=Note, answer=models.Done)
async def note(request: web.Request) -> web.Response:
    """Add a note to an incident's timeline. JSON body: ``{"text": …, "by": name}``."""
    body = await json_body(request)
    text = str(body.get("text", ""))[:MAX_NOTE]
    sentence = await request.app[CONTROL].note(int(request.match_info["number"]), by(request, body), text)
    return web.json_response({"done": sentence})


@operation(TAG, body=Owner, answer=models.Done)
async def assign(request: web.Request) -> web.Response:
    """Say who works on an incident. JSON body: ``{"owner": name, "by": name}``; an empty owner is nobody."""
    body = await json_body(request)
    owner = str(body.get("owner", ""))[:80]
    sentence = await request.app[CONTROL].assign(int(request.match_info["number"]), owner, by(request, body))
    return web.json_response({"done": sentence})


async def _found(request: web.Request) -> Incident:
    view, number = request.app[CONTROL], int(request.match_info["number"])
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}")
    return found
