"""Silences and maintenance in the API."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from wcr_watchd.web import quiet, shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import quiet as models
from wcr_watchd.web.api.models.common import Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import by, json_body
from wcr_watchd.web.health import CONTROL

TAG = "silences and maintenance"


class Listing(Query):
    """Which ones."""

    all: str | None = Field(None, description="1: also those that are over, for five days.")


class Wanted(By):
    """What is silenced, for how long and why."""

    check: str | list[str] | None = Field(None, description="A check, or several; * stands for any part of a name.")
    tag: str | list[str] | None = Field(None, description="All checks with this tag, or one of these.")
    matchers: str | list[str] | None = Field(None, description='Matchers such as group="web"; all must hold.')
    for_: str | None = Field(None, alias="for", description="For how long, such as 2h.")
    starts_at: str | None = Field(None, description="RFC 3339; default: now.")
    ends_at: str | None = Field(None, description="RFC 3339, in place of `for`.")
    comment: str | None = Field(None, description="Why.")
    id: str | None = Field(None, description="The silence that is changed; default: a new one.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/silences", silences)
    app.router.add_post(f"{prefix}/silences", silence)
    app.router.add_delete(f"{prefix}/silences/{{id}}", expire)
    app.router.add_get(f"{prefix}/maintenance", maintenance)
    app.router.add_post(f"{prefix}/maintenance", start_maintenance)
    app.router.add_delete(f"{prefix}/maintenance/{{id}}", stop_maintenance)


@operation(TAG, query=Listing, answer=models.Silences)
async def silences(request: web.Request) -> web.Response:
    """Silences that hold or are to come; ``?all=1`` also those that are over, for five days."""
    found = quiet.silences(request.app[CONTROL], all_=bool(request.query.get("all")), maintenance=False)
    return web.json_response({"silences": found})


@operation(TAG, body=Wanted, answer=models.Silenced)
async def silence(request: web.Request) -> web.Response:
    """Silence what matchers cover.

    JSON body: ``{"matchers": 'group="web"', "check": "api", "tag": "eu", "for": "2h", "comment": …, "by": name}``;
    ``starts_at`` and ``ends_at`` (RFC 3339) take the place of now and ``for``; ``id`` changes the silence of this id.
    """
    return await _silence(request, maintenance=False)


@operation(TAG, body=Wanted, answer=models.Silenced)
async def start_maintenance(request: web.Request) -> web.Response:
    """Start maintenance: as a silence, but announced work; the body is the same."""
    return await _silence(request, maintenance=True)


async def _silence(request: web.Request, *, maintenance: bool) -> web.Response:
    body = await json_body(request)
    control = request.app[CONTROL]
    wanted = quiet.wanted(control, body, by(request, body), maintenance=maintenance)
    changes = quiet.known_id(control, str(body["id"])) if body.get("id") else ""
    holds, sentence = await control.silence(wanted, changes)
    return web.json_response({"done": sentence, "silence": shapes.silence(holds, control.now())})


@operation(TAG, answer=Done)
async def expire(request: web.Request) -> web.Response:
    """End a silence now; the first characters of its id will do."""
    control = request.app[CONTROL]
    return web.json_response({"done": await control.expire(quiet.known_id(control, request.match_info["id"]))})


@operation(TAG, query=Listing, answer=models.Maintenance)
async def maintenance(request: web.Request) -> web.Response:
    """Planned windows with the next times, and maintenance that was started by hand (``?all=1``: also what is over)."""
    view = request.app[CONTROL]
    started = quiet.silences(view, all_=bool(request.query.get("all")), maintenance=True)
    return web.json_response({"windows": [shapes.window(view, one) for one in view.setup.windows], "started": started})


@operation(TAG, body=By, answer=Done)
async def stop_maintenance(request: web.Request) -> web.Response:
    """End started maintenance (by its id) or a planned window for this time (by its name)."""
    control, name = request.app[CONTROL], request.match_info["id"]
    if any(window.name == name for window in control.setup.windows):
        return web.json_response({"done": await control.stop_window(name, by(request, await json_body(request)))})
    return web.json_response({"done": await control.expire(quiet.known_id(control, name))})
