"""The knowledge folder in the API: runbooks, vendors, risks and articles, all of them or those that help."""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.guidance import checks_of, guidance_for_check, guidance_for_incident
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.work import check_of
from wcr_watchd.web import shapes
from wcr_watchd.web.api.models import knowledge as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import Paged, page_of
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/knowledge"
TAG = "knowledge"


class Listing(Paged):
    """Which entries."""

    kind: str | None = Field(None, description="Only runbook, vendor, risk or article.")
    q: str | None = Field(None, description="Only those with this text in name, title, owner or text.")
    due: str | None = Field(None, description="1: only those that are to be read, for the first time or again.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_get(PATH + "/{name}", entry)
    app.router.add_get("/api/v1/checks/{name}/guidance", of_check)
    app.router.add_get("/api/v1/incidents/{number:\\d{1,9}}/guidance", of_incident)


@operation(TAG, query=Listing, answer=models.Knowledge)
async def listed(request: web.Request) -> web.Response:
    """The entries of the knowledge folder by title, without their texts, and what is wrong with its files.

    At most `limit` of them; `next` is the `cursor` of those that follow, and null at the end.
    """
    view = request.app[CONTROL]
    book, asked = view.setup.knowledge, request.query
    text, now = asked.get("q", ""), view.now()
    kinds = [kind for kind in EntryKind if asked.get("kind", kind.value) == kind.value]
    only_due = asked.get("due", "") in {"1", "true", "yes"}
    found = await asyncio.to_thread(lambda: [one for one in book.of(*kinds) if one.holds(text)])
    wanted = [one for one in found if not only_due or one.due_at <= now]
    some, following = page_of(request, wanted, lambda one: one.name)
    return web.json_response(
        {
            "folder": book.folder,
            "entries": [shapes.entry(one, now) for one in some],
            "problems": [str(problem) for problem in book.problems],
            "next": following,
        }
    )


@operation(TAG, answer=models.EntryDetails)
async def entry(request: web.Request) -> web.Response:
    """One entry with its text as Markdown, and the checks that it is about."""
    view, name = request.app[CONTROL], request.match_info["name"]
    found = view.setup.knowledge.entries.get(name)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no {name!r} in the knowledge folder; GET {PATH} lists what there is")
    checks = await asyncio.to_thread(checks_of, view.setup, found)
    return web.json_response(shapes.entry(found, view.now()) | {"text": found.text, "checks": checks})


@operation(TAG, answer=models.Guidance)
async def of_check(request: web.Request) -> web.Response:
    """What is written down about a check: what to do, whom to ask, which risks and articles there are."""
    view, name = request.app[CONTROL], request.match_info["name"]
    check = view.setup.checks.get(name)
    if check is None:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}; `wcr-watchd list` shows all")
    return web.json_response(shapes.guidance(guidance_for_check(view.setup, check), check.runbook, view.now()))


@operation(TAG, answer=models.Guidance)
async def of_incident(request: web.Request) -> web.Response:
    """What is written down about an incident: what to do, whom to ask, which risks and articles there are."""
    view, number = request.app[CONTROL], int(request.match_info["number"])
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}; `wcr-watchd incidents --all` lists them")
    check = check_of(view.setup, found)
    known = guidance_for_incident(view.setup, check, found)
    return web.json_response(shapes.guidance(known, check.runbook, view.now()))
