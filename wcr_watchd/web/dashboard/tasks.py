"""The pages of tasks: what is due and overdue, how it went, signing off, running now."""

from __future__ import annotations

from collections.abc import Awaitable
from urllib.parse import quote

from aiohttp import web

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.task import TaskKind, TaskPhase, TaskView
from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/tasks"
CALENDAR = "/api/v1/tasks/due.ics"
AHEAD = 400 * 86_400.0
"""Seconds in which the next times are looked for."""
SHOWN_TIMES = 5
STATES = {
    TaskPhase.FAILED: "critical",
    TaskPhase.OVERDUE: "critical",
    TaskPhase.DUE: "warning",
    TaskPhase.SOON: "info",
    TaskPhase.RUNNING: "info",
    TaskPhase.WAITING: "ok",
}
"""How each phase looks, the most urgent first."""


def add_routes(app: web.Application) -> None:
    """Put the pages' routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_get(f"{PATH}/{{name}}", show_one)
    app.router.add_post(f"{PATH}/{{name}}/done", done)
    app.router.add_post(f"{PATH}/{{name}}/run", run)


async def show(request: web.Request) -> web.Response:
    """All tasks, the most urgent first, then by when they are due."""
    order = list(STATES)
    found = sorted(
        await request.app[CONTROL].tasks(), key=lambda one: (order.index(one.phase), one.due is None, one.due or 0.0)
    )
    late = [one for one in found if one.phase.is_down]
    due = [one for one in found if one.phase is TaskPhase.DUE]
    return page(
        request,
        "tasks.html",
        tasks=found,
        states=STATES,
        state="critical" if late else "warning" if due else "ok",
        sentence=_sentence(len(found), len(late), len(due)),
        calendar=f"{CALENDAR}?key={request.app[ACCESS].key_of(CALENDAR)}",
    )


async def show_one(request: web.Request) -> web.Response:
    """One task: what is to be done, when next, how it went the last times."""
    return await _page(request)


async def done(request: web.Request) -> web.Response:
    """Sign a task off, from its form: a note, and evidence a line each."""
    form = await request.post()
    evidence = [line.strip() for line in str(form.get("evidence", "")).splitlines() if line.strip()]
    command = request.app[CONTROL].sign_off_task(
        request.match_info["name"], request[VISITOR].name, str(form.get("note", "")).strip(), evidence
    )
    return await _carried_out(request, command)


async def run(request: web.Request) -> web.Response:
    """Have a task run out of turn, from its button."""
    return await _carried_out(request, request.app[CONTROL].run_task(request.match_info["name"], request[VISITOR].name))


async def _carried_out(request: web.Request, command: Awaitable[str]) -> web.Response:
    try:
        await command
    except CommandError as error:
        response = await _page(request, str(error))
        response.set_status(409)
        return response
    raise web.HTTPSeeOther(f"{PATH}/{quote(request.match_info['name'])}")


async def _page(request: web.Request, said: str = "") -> web.Response:
    view = request.app[CONTROL]
    task = await _task(request)
    times = await view.task_times(task.check, view.now() + AHEAD)
    return page(
        request,
        "task.html",
        task=task,
        state=STATES[task.phase],
        times=[at for at in times if at > (task.due or 0.0)][:SHOWN_TIMES],
        records=await view.task_records(task.check),
        is_run=task.kind is TaskKind.RUN,
        is_signed=task.kind is TaskKind.SIGNED,
        said=said,
    )


async def _task(request: web.Request) -> TaskView:
    name = request.match_info["name"]
    for task in await request.app[CONTROL].tasks():
        if name in (task.name, task.check):
            return task
    raise web.HTTPNotFound(text=f"there is no task named {name!r}; {PATH} lists all\n")


def _sentence(total: int, late: int, due: int) -> str:
    if not total:
        return "There is no task"
    if late:
        return f"{late} of {total} task{'s' if total > 1 else ''} {'is' if late == 1 else 'are'} overdue or failed"
    if due:
        return f"{due} of {total} task{'s' if total > 1 else ''} {'is' if due == 1 else 'are'} due"
    return f"All {total} tasks are in time" if total > 1 else "The one task is in time"
