"""The part of the JSON API that is about updates in progress and the log of modifications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.changes import Outcome
from wcr_watchd.core.view import Changes
from wcr_watchd.web import changes as words
from wcr_watchd.web import quiet
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import changes as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import by, json_body, moment, number_of
from wcr_watchd.web.health import CONTROL

MAX_ROWS = 1_000
DAY = 86_400.0
LONGEST_NOTE = 1_000


TAG = "changes"


class Listing(Query):
    """Which changes."""

    all: str | None = Field(None, description="1: also those of the past.")
    since: str | None = Field(None, description="Of the past, those that began then or later, in epoch seconds.")
    limit: str | None = Field(None, description=f"So many at most, up to {MAX_ROWS}.")


class Between(Query):
    """From when to when."""

    since: str | None = Field(None, description="RFC 3339 or epoch seconds.")
    until: str | None = Field(None, description="RFC 3339 or epoch seconds; default: now.")
    limit: str | None = Field(None, description=f"So many at most, up to {MAX_ROWS}.")


class Prepared(By):
    """What is changed, by a plan or by a category and what it covers."""

    plan: str | None = Field(None, description="A configured change.")
    category: str | None = Field(None, description="A category, in place of a plan.")
    title: str | None = Field(None, description="What it is about.")
    version: str | None = Field(None, description="The version that is to run afterwards; staging must run it.")
    check: str | list[str] | None = Field(None, description="A check, or several.")
    tag: str | list[str] | None = Field(None, description="All checks with this tag.")
    matchers: str | list[str] | None = Field(None, description="Matchers that must all hold.")
    for_: str | None = Field(None, alias="for", description="How long its window is open, such as 1h.")
    override: str | None = Field(None, description="Why it is started although its checklist is not done.")


class Text(By):
    """What is said about it."""

    text: str | None = Field(None, description="A note, or what was done.")
    step: int | None = Field(None, description="The step of the checklist, from 1.")
    for_: str | None = Field(None, alias="for", description="For how long, such as 30m.")
    override: str | None = Field(None, description="Why it goes on although something is not done.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    one = f"{prefix}/changes/{{number:\\d{{1,9}}}}"
    app.router.add_get(f"{prefix}/changes", changes)
    app.router.add_post(f"{prefix}/changes", prepare)
    app.router.add_post(f"{prefix}/changes/start", start)
    app.router.add_get(one, change)
    app.router.add_post(f"{one}/start", start_prepared)
    app.router.add_post(f"{one}/extend", extend)
    app.router.add_post(f"{one}/tell", tell)
    app.router.add_post(f"{one}/tick", tick)
    app.router.add_post(f"{one}/notes", note)
    app.router.add_post(f"{one}/abandon", abandon)
    app.router.add_post(f"{one}/verify", verify)
    app.router.add_post(f"{one}/finish", finish)
    app.router.add_get(f"{prefix}/modifications", modifications)
    app.router.add_post(f"{prefix}/modifications", modified)
    app.router.add_get(f"{prefix}/marks", marks)


@operation(TAG, query=Listing, answer=models.Changes)
async def changes(request: web.Request) -> web.Response:
    """Changes that are not over and, with ``?all=1``, those of the past (``?since=…&limit=…``), newest first."""
    view, query = request.app[CONTROL], request.query
    if query.get("all", "") in {"1", "true", "yes"}:
        limit = int(min(MAX_ROWS, max(1, number_of(query.get("limit"), 100))))
        found = await view.store.changes(since=number_of(query.get("since"), 0.0), limit=limit)
    else:
        found = [one for one in view.changes.known if not one.state.over]
    return web.json_response({"changes": [words.summary(one) for one in found]})


@operation(TAG, answer=models.ChangeDetails)
async def change(request: web.Request) -> web.Response:
    """One change with its checklist and log."""
    view = request.app[CONTROL]
    return web.json_response(words.change(view, await view.changes.change(_number(request))))


@operation(TAG, body=Prepared, answer=models.ChangeOutcome)
async def prepare(request: web.Request) -> web.Response:
    """Begin the checklist of a change.

    JSON body: ``{"plan": name, "title": …, "version": …, "for": "1h", "by": …}``, or ``category`` with ``check``,
    ``tag`` and ``matchers`` in place of ``plan``.
    """
    view, body = request.app[CONTROL], await json_body(request)
    return _answer(request, await view.changes.prepare(words.wish(view, body), by(request, body)))


@operation(TAG, body=Prepared, answer=models.ChangeOutcome)
async def start(request: web.Request) -> web.Response:
    """Start the prepared change of a plan, or a new one; the body is as for preparing, with ``override``: a reason."""
    view, body = request.app[CONTROL], await json_body(request)
    override = str(body.get("override") or "")[:LONGEST_NOTE]
    return _answer(request, await view.changes.start(words.wish(view, body), by(request, body), override))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def start_prepared(request: web.Request) -> web.Response:
    """Start a prepared change. JSON body: ``{"override": reason, "by": …}``."""
    return await _do(request, lambda desk, number, by, body: desk.start_prepared(number, by, _text(body, "override")))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def extend(request: web.Request) -> web.Response:
    """Keep its window open for longer. JSON body: ``{"for": "30m", "by": …}``."""
    return await _do(
        request, lambda desk, number, by, body: desk.extend(number, quiet.length(str(body.get("for", ""))), by)
    )


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def tell(request: web.Request) -> web.Response:
    """Tell those who must know that it is about to come."""
    return await _do(request, lambda desk, number, by, body: desk.tell(number, by))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def tick(request: web.Request) -> web.Response:
    """Say that a step is done. JSON body: ``{"step": number from 1, "text": …, "by": …}``."""

    def asked(desk: Changes, number: int, by: str, body: dict[str, Any]) -> Awaitable[Outcome]:
        step = body.get("step")
        if not isinstance(step, int):
            raise web.HTTPBadRequest(text='say which step: "step": 1')
        return desk.tick(number, step, by, _text(body, "text"))

    return await _do(request, asked)


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def note(request: web.Request) -> web.Response:
    """Write something into its log. JSON body: ``{"text": …, "by": …}``."""
    return await _do(request, lambda desk, number, by, body: desk.note(number, by, _text(body, "text")))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def abandon(request: web.Request) -> web.Response:
    """Give a prepared change up. JSON body: ``{"text": why, "by": …}``."""
    return await _do(request, lambda desk, number, by, body: desk.abandon(number, by, _text(body, "text")))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def verify(request: web.Request) -> web.Response:
    """Run its checks now, and compare with before it began."""
    return await _do(request, lambda desk, number, by, body: desk.verify(number, by))


@operation(TAG, body=Text, answer=models.ChangeOutcome)
async def finish(request: web.Request) -> web.Response:
    """Switch maintenance mode off, run its checks, close its window. JSON body: ``{"override": reason, "by": …}``."""
    return await _do(request, lambda desk, number, by, body: desk.finish(number, by, _text(body, "override")))


@operation(TAG, query=Between, answer=models.Modifications)
async def modifications(request: web.Request) -> web.Response:
    """What became different: ``?since=…&until=…&limit=…`` (RFC 3339 or epoch seconds), newest first."""
    view, query = request.app[CONTROL], request.query
    until = moment(query.get("until"), view.now() + 1.0)
    since = moment(query.get("since"), until - 7 * DAY)
    limit = int(min(MAX_ROWS, max(1, number_of(query.get("limit"), 200))))
    found = await view.store.modifications(since=since, until=until, limit=limit)
    return web.json_response({"modifications": [words.modification(one) for one in found]})


@operation(TAG, body=Text, answer=Done)
async def modified(request: web.Request) -> web.Response:
    """Write into the log of modifications what somebody did. JSON body: ``{"text": …, "by": …}``."""
    body = await json_body(request)
    await request.app[CONTROL].modified(by(request, body), _text(body, "text"))
    return web.json_response({"done": "noted in the log of modifications"})


@operation(TAG, query=Between, answer=models.Marks)
async def marks(request: web.Request) -> web.Response:
    """Changes and modifications to mark on charts: ``?since=…&until=…``, oldest first."""
    view, query = request.app[CONTROL], request.query
    until = moment(query.get("until"), view.now() + 1.0)
    found = await view.marks(moment(query.get("since"), until - DAY), until)
    return web.json_response({"marks": words.marks(found)})


async def _do(
    request: web.Request, command: Callable[[Changes, int, str, dict[str, Any]], Awaitable[Outcome]]
) -> web.Response:
    body = await json_body(request)
    desk = request.app[CONTROL].changes
    return _answer(request, await command(desk, _number(request), by(request, body), body))


def _answer(request: web.Request, came: Outcome) -> web.Response:
    return web.json_response(words.outcome(request.app[CONTROL], came))


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


def _text(body: dict[str, Any], key: str) -> str:
    return str(body.get(key) or "")[:LONGEST_NOTE]
