"""The pages of changes: what is under way, one change with its checklist, and what became different."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from wcr_watchd.core.announcements import covered
from wcr_watchd.core.changes import Change, ChangeState, Outcome, Phase
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.view import Changes
from wcr_watchd.web import changes as words
from wcr_watchd.web import quiet
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/changes"
ONE = f"{PATH}/{{number:\\d{{1,9}}}}"
LONGEST_NOTE = 1_000
SHOWN = 30
"""Changes of the past on the page."""
LOG_DAYS = 7
LOG_ROWS = 200
HEADINGS = {Phase.PRE: "Before", Phase.DURING: "During", Phase.POST: "After"}

Form = Mapping[str, str]
Command = Callable[[Changes, int, str, Form], Awaitable[Outcome]]

COMMANDS: Mapping[str, Command] = {
    "start": lambda desk, number, who, form: desk.start_prepared(number, who, form.get("text", "")),
    "verify": lambda desk, number, who, _: desk.verify(number, who),
    "finish": lambda desk, number, who, form: desk.finish(number, who, form.get("text", "")),
    "tell": lambda desk, number, who, _: desk.tell(number, who),
    "abandon": lambda desk, number, who, form: desk.abandon(number, who, form.get("text", "")),
    "note": lambda desk, number, who, form: desk.note(number, who, form.get("text", "")),
    "extend": lambda desk, number, who, form: desk.extend(number, quiet.length(form.get("for", "")), who),
    "tick": lambda desk, number, who, form: desk.tick(number, _step(form), who, form.get("text", "")),
}
"""What the buttons and forms of a change ask for."""


def add_routes(app: web.Application) -> None:
    """Put the pages' routes into the application."""
    app.router.add_get(PATH, show_all)
    app.router.add_post(PATH, prepare)
    app.router.add_get(ONE, show)
    for name in COMMANDS:
        app.router.add_post(f"{ONE}/{name}", command)


async def show_all(request: web.Request) -> web.Response:
    """The changes that are prepared or run, those of the past, and the log of modifications."""
    return await _all(request)


async def prepare(request: web.Request) -> web.Response:
    """Begin the checklist of a change, from the form; with what is wrong beside it when that cannot be done."""
    control, form = request.app[CONTROL], await _form(request)
    try:
        came = await control.changes.prepare(words.wish(control, form), request[VISITOR].name)
    except (CommandError, web.HTTPBadRequest) as error:
        response = await _all(request, form, _said(error))
        response.set_status(400)
        return response
    raise web.HTTPSeeOther(f"{PATH}/{came.change.id}")


async def show(request: web.Request) -> web.Response:
    """One change: its checklist, what was found, and its log."""
    try:
        return _one(request, await request.app[CONTROL].changes.change(_number(request)))
    except CommandError as error:
        raise web.HTTPNotFound(text=f"{error}\n") from error


async def command(request: web.Request) -> web.Response:
    """Carry out what a button or form of a change asks for; says beside it when that cannot be done."""
    desk, form, number = request.app[CONTROL].changes, await _form(request), _number(request)
    asked = COMMANDS[request.path.rpartition("/")[2]]
    try:
        await asked(desk, number, request[VISITOR].name, form)
    except (CommandError, web.HTTPBadRequest) as error:
        try:
            response = _one(request, await desk.change(number), _said(error))
        except CommandError as missing:
            raise web.HTTPNotFound(text=f"{missing}\n") from missing
        response.set_status(409)
        return response
    raise web.HTTPSeeOther(f"{PATH}/{number}")


async def _all(request: web.Request, form: Form | None = None, said: str = "") -> web.Response:
    view = request.app[CONTROL]
    now = view.now()
    past = [one for one in await view.store.changes(limit=SHOWN) if one.state.over]
    log = await view.store.modifications(since=now - LOG_DAYS * 86_400.0, until=now + 1.0, limit=LOG_ROWS)
    return page(
        request,
        "changes.html",
        current=[one for one in view.changes.known if not one.state.over],
        past=past,
        log=log,
        plans=list(view.setup.changes.values()),
        form={"plan": "", "title": "", "version": "", "for": "", **(form or {})},
        said=said,
        tone=_tone,
    )


def _one(request: web.Request, found: Change, said: str = "") -> web.Response:
    view = request.app[CONTROL]
    why_not = view.changes.why_not(found)
    steps = [
        (number, step, done, why)
        for number, ((step, done), why) in enumerate(zip(found.steps, why_not, strict=True), 1)
    ]
    return page(
        request,
        "change.html",
        change=found,
        covered=covered(view.setup, found.plan.matchers),
        state=found.state.value,
        tone=_tone(found),
        phases=[(title, [one for one in steps if one[1].phase is phase]) for phase, title in HEADINGS.items()],
        bad=[one for one in found.verified if not one.good],
        worse=[one for one in found.compared if one.finding.value == "worse"],
        said=said,
    )


def _tone(found: Change) -> str:
    """The look of a change's state."""
    if found.state is ChangeState.RUNNING:
        return "warning" if found.overran else "info"
    return "ok" if found.state is ChangeState.FINISHED else "new"


async def _form(request: web.Request) -> dict[str, str]:
    return {key: str(value).strip()[:LONGEST_NOTE] for key, value in (await request.post()).items()}


def _step(form: Form) -> int:
    text = form.get("step", "")
    if not text.isdecimal():
        raise web.HTTPBadRequest(text="say which step")
    return int(text[:6])


def _said(error: CommandError | web.HTTPBadRequest) -> str:
    return (error.text or "" if isinstance(error, web.HTTPBadRequest) else str(error)).strip()


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])
