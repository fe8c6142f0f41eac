"""People in the API: who is on call, who would be told, and rehearsing it."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.contacts import task_of, verifications
from wcr_watchd.core.drill_report import DrillWish
from wcr_watchd.core.model import Severity
from wcr_watchd.core.outlook import outlook
from wcr_watchd.web import reasons, rota, shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import people as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import by, duration_of, json_body, moment
from wcr_watchd.web.health import CONTROL

TAG = "people"
DAY = 86_400.0
FASTEST_DRILL = 10_000.0
LONGEST_OUTLOOK = 7 * DAY
"""Seconds for which a trial incident is thought through at most."""
LONGEST_LOOK = 92 * DAY
"""Seconds of on-call turns in one answer at most."""


class Look(Query):
    """From when to when."""

    from_: str | None = Field(None, alias="from", description="RFC 3339 or epoch seconds; default: now.")
    until: str | None = Field(None, description="RFC 3339 or epoch seconds; default: seven days after `from`.")


class Trial(Query):
    """The incident that is thought through."""

    check: str = Field(description="The check.")
    severity: Literal["info", "warning", "critical"] = Field("critical", description="How bad it is.")
    at: str | None = Field(None, description="When it begins, RFC 3339 or epoch seconds; default: now.")
    for_: str | None = Field(None, alias="for", description="How long it lasts, such as 4h; default: 1d.")


class Rehearsal(By):
    """What is rehearsed."""

    policy: str | None = Field(None, description="The policy; default: default.")
    severity: Literal["info", "warning", "critical"] | None = Field(None, description="How bad; default: critical.")
    contact: str | None = Field(None, description="Only for this contact.")
    speed: float | None = Field(None, gt=0, le=FASTEST_DRILL, description="How much faster than in earnest.")
    wait: str | None = Field(None, description="How long an answer is waited for at the end, such as 5m.")


class Verified(By):
    """How a contact was verified."""

    note: str | None = Field(None, description="How they were reached, what changed.")


class Key(Query):
    """What opens a calendar to a program that cannot show a token."""

    key: str | None = Field(None, description="The key that stands in the address on the page.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/on-call", on_call)
    app.router.add_get(f"{prefix}/on-call/{{name}}.ics", calendar)
    app.router.add_get(f"{prefix}/contacts", contacts)
    app.router.add_post(f"{prefix}/contacts/{{name}}/verified", verified)
    app.router.add_get(f"{prefix}/policy/test", policy_test)
    app.router.add_post(f"{prefix}/drills", start_drill)
    app.router.add_get(f"{prefix}/drills/{{number:\\d{{1,9}}}}", drill)
    app.router.add_post(f"{prefix}/drills/{{number:\\d{{1,9}}}}/stop", stop_drill)


@operation(TAG, query=Look, answer=models.OnCall)
async def on_call(request: web.Request) -> web.Response:
    """Who is on call now, and from when to when: ``?from=…&until=…`` (RFC 3339 or epoch seconds; default: 7 days)."""
    view = request.app[CONTROL]
    now = view.now()
    start = moment(request.query.get("from"), now)
    until = moment(request.query.get("until"), start + 7 * DAY)
    if not start < until <= start + LONGEST_LOOK:
        raise web.HTTPBadRequest(text=f"`until` must be after `from`, by at most {LONGEST_LOOK / DAY:.0f} days")
    schedules = list(view.setup.on_call.values())
    found = await asyncio.to_thread(lambda: [shapes.on_call(one, now, start, until) for one in schedules])
    return web.json_response(
        {"now": shapes.time_text(now), "from": shapes.time_text(start), "until": shapes.time_text(until)}
        | {"schedules": found}
    )


@operation(TAG, query=Key, media="text/calendar")
async def calendar(request: web.Request) -> web.Response:
    """An on-call schedule as a calendar to subscribe to (RFC 5545)."""
    view = request.app[CONTROL]
    schedule = view.setup.on_call.get(request.match_info["name"])
    if schedule is None:
        known = ", ".join(view.setup.on_call) or "none"
        raise web.HTTPNotFound(text=f"there is no on-call schedule {request.match_info['name']!r}; there are: {known}")
    text = await asyncio.to_thread(rota.calendar, schedule, view.setup.name, view.now())
    return web.Response(text=text, content_type="text/calendar", charset="utf-8")


@operation(TAG, answer=models.Contacts)
async def contacts(request: web.Request) -> web.Response:
    """Every contact: by which kinds of address they are told, and when they were verified last."""
    view = request.app[CONTROL]
    found = verifications(view.setup, await view.tasks())
    return web.json_response({"contacts": [shapes.verification(one) for one in found]})


@operation(TAG, body=Verified, answer=Done)
async def verified(request: web.Request) -> web.Response:
    """Say that a contact was reached by each of their ways, and answered.

    JSON body: ``{"by": name, "note": text}``. It signs the task `verify-NAME` off.
    """
    control, name, body = request.app[CONTROL], request.match_info["name"], await json_body(request)
    if name not in control.setup.contacts:
        known = ", ".join(control.setup.contacts) or "none"
        raise web.HTTPNotFound(text=f"there is no contact {name!r}; there are: {known}")
    said = await control.sign_off_task(task_of(name), by(request, body), body.get("note") or "")
    return web.json_response({"done": said})


@operation(TAG, query=Trial, answer=models.Outlook)
async def policy_test(request: web.Request) -> web.Response:
    """Who would be told of an incident: ``?check=…&severity=critical&at=…&for=1d``; nobody is."""
    view, query = request.app[CONTROL], request.query
    name, severity = query.get("check", ""), query.get("severity", "critical")
    reasons.must_be_configured(view, name)
    at, lasts = moment(query.get("at"), view.now()), min(duration_of(query.get("for", "1d")), LONGEST_OUTLOOK)
    setup, silences = view.setup, tuple(view.state.silences.values())
    found = await asyncio.to_thread(outlook, setup, setup.checks[name], Severity.of(severity), at, at + lasts, silences)
    return web.json_response(reasons.outlook_json(found, name, severity))


@operation(TAG, body=Rehearsal, answer=models.Drill)
async def start_drill(request: web.Request) -> web.Response:
    """Rehearse an escalation; acknowledging the drill's number as an incident's answers it.

    JSON body: ``{"policy": "default", "severity": "critical", "contact": name, "speed": 60, "wait": "5m", "by": …}``.
    """
    body = await json_body(request)
    wish = DrillWish(
        policy=body.get("policy") or "default",
        severity=Severity.of(body.get("severity") or "critical"),
        by=by(request, body),
        contact=body.get("contact") or "",
        speed=float(body.get("speed") or 1.0),
        wait=duration_of(body.get("wait") or "5m"),
    )
    return web.json_response(shapes.drill(request.app[CONTROL].start_drill(wish)))


@operation(TAG, answer=models.Drill)
async def drill(request: web.Request) -> web.Response:
    """How a drill goes or went."""
    return web.json_response(shapes.drill(request.app[CONTROL].drill(int(request.match_info["number"]))))


@operation(TAG, answer=models.Drill)
async def stop_drill(request: web.Request) -> web.Response:
    """End a drill before its time."""
    return web.json_response(shapes.drill(request.app[CONTROL].stop_drill(int(request.match_info["number"]))))
