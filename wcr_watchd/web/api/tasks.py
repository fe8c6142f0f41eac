"""The JSON API of tasks: what is due, how it went, signing off, running now; and the calendar of what is due."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.guidance import runbook_address
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.task import KEPT_RECORDS, TaskKind, TaskView
from wcr_watchd.core.view import View
from wcr_watchd.kit.schedule_words import plain
from wcr_watchd.web import icalendar, shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import tasks as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import by, json_body
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.icalendar import Entry

PATH = "/api/v1/tasks"
CALENDAR_AHEAD = 400 * 86_400.0
"""Seconds: what comes once a year is in it."""
SHOWN_FOR = 1_800.0
"""Seconds that an entry of the calendar takes; a due date has no length, and some programs do not show that."""


TAG = "tasks"


class SignOff(By):
    """What is said of it."""

    note: str | None = Field(None, description="What was done.")
    evidence: list[str] | None = Field(None, description="What shows it, such as links.")


class Words(Query):
    """How it is told."""

    timezone: str | None = Field(None, description="Zone of the times in `summary`; default: that of the schedule.")


class Calendar(Query):
    """Which tasks."""

    all: str | None = Field(None, description="1: also what runs by itself.")
    key: str | None = Field(None, description="What opens it to a program that cannot show a token.")


def add_routes(app: web.Application) -> None:
    """Put the routes of tasks into the application."""
    app.router.add_get(PATH, tasks)
    app.router.add_get(f"{PATH}/due.ics", calendar)
    app.router.add_get(f"{PATH}/{{name}}", one)
    app.router.add_post(f"{PATH}/{{name}}/done", done)
    app.router.add_post(f"{PATH}/{{name}}/run", run)


@operation(TAG, query=Words, answer=models.Tasks)
async def tasks(request: web.Request) -> web.Response:
    """Every task as it stands now."""
    found = await request.app[CONTROL].tasks(_timezone(request))
    return web.json_response({"tasks": [shapes.task(one) for one in found]})


@operation(TAG, query=Words, answer=models.TaskDetails)
async def one(request: web.Request) -> web.Response:
    """One task, with how it ended the last times and when it is due next."""
    view = request.app[CONTROL]
    found = await _task(view, request.match_info["name"], _timezone(request))
    times = await view.task_times(found.check, view.now() + CALENDAR_AHEAD)
    records = await view.task_records(found.check)
    body = shapes.task(found)
    body["times"] = [shapes.time_text(at) for at in times]
    body["history"] = [shapes.task_record(record) for record in records[:KEPT_RECORDS]]
    return web.json_response(body)


@operation(TAG, body=SignOff, answer=Done)
async def done(request: web.Request) -> web.Response:
    """Sign a task off. JSON body: ``{"by": name, "note": text, "evidence": [text, …]}``, all of it optional."""
    body = await json_body(request)
    note, evidence = body.get("note") or "", body.get("evidence") or []
    if not isinstance(note, str) or not isinstance(evidence, list) or not all(isinstance(one, str) for one in evidence):
        raise web.HTTPBadRequest(text='write {"note": "text", "evidence": ["https://…", …]}')
    said = await request.app[CONTROL].sign_off_task(request.match_info["name"], by(request, body), note, evidence)
    return web.json_response({"done": said})


@operation(TAG, body=By, answer=Done)
async def run(request: web.Request) -> web.Response:
    """Have a task run out of turn; answers as soon as it is begun. JSON body: ``{"by": name}``."""
    said = await request.app[CONTROL].run_task(request.match_info["name"], by(request, await json_body(request)))
    return web.json_response({"done": said})


@operation(TAG, query=Calendar, media="text/calendar")
async def calendar(request: web.Request) -> web.Response:
    """When tasks for people are due, as a calendar to subscribe to (RFC 5545); ``?all=1`` also what runs by itself."""
    view = request.app[CONTROL]
    entries: list[Entry] = []
    for found in await view.tasks():
        if found.kind is TaskKind.SIGNED or request.query.get("all"):
            times = await view.task_times(found.check, view.now() + CALENDAR_AHEAD)
            entries += (_entry(view.setup, found, at) for at in times)
    text = icalendar.write(f"Tasks of {view.setup.name}", "tasks", sorted(entries, key=_start), view.now())
    return web.Response(text=text, content_type="text/calendar", charset="utf-8")


def _start(entry: Entry) -> float:
    return entry.start


def _entry(setup: Setup, found: TaskView, at: float) -> Entry:
    who = f" ({found.owner})" if found.owner else ""
    return Entry(
        uid=f"{at:.0f}-{quote(found.check)}@{quote(setup.name)}",
        start=at,
        end=at + SHOWN_FOR,
        summary=f"{found.name}{who}",
        description="\n".join(filter(None, (found.about, runbook_address(setup, found.runbook), _when(found)))),
    )


def _when(found: TaskView) -> str:
    """How often it comes; nothing of what comes once."""
    return "" if found.incident else plain(found.schedule)


def _timezone(request: web.Request) -> str:
    name = request.query.get("timezone", "")
    try:
        return name and ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise web.HTTPBadRequest(text=f"{name!r} is no time zone; write an IANA name such as Europe/Berlin") from None


async def _task(view: View, name: str, timezone: str) -> TaskView:
    found: list[Any] = [one for one in await view.tasks(timezone) if name in (one.name, one.check)]
    if not found:
        raise web.HTTPNotFound(text=f"there is no task {name!r}; GET {PATH} lists all")
    task: TaskView = found[0]
    return task
