"""Checks in the API: how they are, how they went, running one now."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase

from aiohttp import web
from pydantic import ConfigDict, Field

from wcr_watchd.core.view import View
from wcr_watchd.web import shapes
from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import checks as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import MOST, Paged, page_of
from wcr_watchd.web.api.requests import by, json_body, number_of
from wcr_watchd.web.availability import availability
from wcr_watchd.web.health import CONTROL

PATH = "/api/v1/checks"
ONE = PATH + "/{name}"
TAG = "checks"


class Listing(Paged):
    """Which checks."""

    state: str | None = Field(None, description="Only those in this state: ok, warning, critical, unknown …")
    severity: str | None = Field(None, description="Only those of this severity.")
    outcome: str | None = Field(None, description="Only those whose last run was up, down or unknown.")
    group: str | None = Field(None, description="Only those of this group.")
    tag: str | None = Field(None, description="Only those with this tag.")
    type: str | None = Field(None, description="Only those of this probe type.")
    name: str | None = Field(None, description="Only those with this name; * stands for any part of it.")
    q: str | None = Field(None, description="Only those with this text in name, target or summary.")


class Course(Query):
    """Which course; further parameters are labels of the series, such as mount=/data."""

    model_config = ConfigDict(extra="allow")

    measurement: str = Field(min_length=1, description="The measurement.")
    since: str | None = Field(None, description="Epoch seconds; default: a day before `until`.")
    until: str | None = Field(None, description="Epoch seconds; default: now.")
    points: str | None = Field(None, description=f"Points at most, up to {MOST}.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, listed)
    app.router.add_get(ONE, check)
    app.router.add_get(f"{ONE}/history", history)
    app.router.add_get(f"{ONE}/availability", available)
    app.router.add_get(f"{ONE}/settings", settings)
    app.router.add_get(f"{ONE}/pings", pings)
    app.router.add_post(f"{ONE}/run", run_check)
    app.router.add_post(f"{ONE}/accept", accept)


@operation(TAG, query=Listing, answer=models.Checks)
async def listed(request: web.Request) -> web.Response:
    """Checks as they stand now, in the order of the configuration.

    At most `limit` of them; `next` is the `cursor` of those that follow, and null at the end.
    """
    view = request.app[CONTROL]
    names = [name for name in view.setup.checks if _wanted(view, name, request)]
    some, following = page_of(request, names, lambda name: name)
    return web.json_response({"checks": [shapes.check(view, name) for name in some], "next": following})


def _wanted(view: View, name: str, request: web.Request) -> bool:
    asked, known = request.query, view.setup.checks[name]
    if (glob := asked.get("name")) is not None and not fnmatchcase(name, glob):
        return False
    given = {"group": known.group, "type": known.probe}
    if any(key in asked and asked[key] != value for key, value in given.items()):
        return False
    if "tag" in asked and asked["tag"] not in known.tags:
        return False
    if not asked.keys() & {"state", "severity", "outcome", "q"}:
        return True
    row = shapes.check(view, name)
    if any(key in asked and asked[key] != row[key] for key in ("state", "severity", "outcome")):
        return False
    text = asked.get("q", "").casefold()
    return any(text in str(row[key]).casefold() for key in ("name", "target", "summary"))


@operation(TAG, answer=models.CheckDetails)
async def check(request: web.Request) -> web.Response:
    """One check with its rules, latest observation and incidents."""
    view = request.app[CONTROL]
    name = _check_name(request)
    latest = view.latest.get(name)
    body = shapes.check(view, name)
    body["rules"] = [{"severity": rule.severity.word, "rule": rule.text} for rule in view.setup.checks[name].rules]
    body["latest"] = shapes.observation(view.setup, latest) if latest else None
    body["recent"] = [[at, duration] for at, duration in view.recent(name)]
    found = await view.store.incidents(check=name, limit=20)
    body["history"] = [shapes.incident(one) for one in found]
    return web.json_response(body)


@operation(TAG, query=Course, answer=models.History)
async def history(request: web.Request) -> web.Response:
    """The course of one measurement: ``?measurement=…&since=…&until=…`` (epoch seconds), labels likewise."""
    view = request.app[CONTROL]
    name = _check_name(request)
    query = dict(request.query)
    measurement = query.pop("measurement", "")
    if not measurement:
        raise web.HTTPBadRequest(text="say which measurement: ?measurement=response_time")
    until = number_of(query.pop("until", None), view.now())
    since = number_of(query.pop("since", None), until - 86_400)
    points = int(min(MOST, max(1, number_of(query.pop("points", None), 300))))
    found = await view.store.history(
        name, measurement, tuple(sorted(query.items())), since=since, until=until, points=points
    )
    rows = [[p.at, p.mean, p.minimum, p.maximum, p.count] for p in found]
    return web.json_response({"check": name, "measurement": measurement, "points": rows})


@operation(TAG, answer=models.Availability)
async def available(request: web.Request) -> web.Response:
    """How much of the last 24 hours, 7, 30 and 90 days a check was up: seconds, and shares from 0 to 1.

    `share` leaves planned maintenance out, `share_with_planned` counts it; `unwatched` time counts in neither.
    """
    view = request.app[CONTROL]
    name = _check_name(request)
    rows = [
        {
            "span": length,
            "share": one.share,
            "share_with_planned": one.share_with_planned,
            "up": one.up,
            "down": one.down,
            "planned": one.planned_up + one.planned_down,
            "unwatched": one.unwatched,
        }
        for _, one, length in await availability(view, view.setup.checks[name])
    ]
    return web.json_response({"check": name, "spans": rows})


@operation(TAG, answer=models.Settings)
async def settings(request: web.Request) -> web.Response:
    """The effective settings of a check as TOML, with where each comes from; secrets are hidden."""
    name = _check_name(request)
    toml = await asyncio.to_thread(request.app[CONTROL].settings, name)
    return web.json_response({"check": name, "toml": toml})


@operation(TAG, answer=models.Pings)
async def pings(request: web.Request) -> web.Response:
    """The last signals of a heartbeat, newest first, with what the job said."""
    found = await request.app[CONTROL].pings(_check_name(request))
    return web.json_response({"pings": [shapes.ping(one) for one in found]})


@operation(TAG, answer=models.Ran)
async def run_check(request: web.Request) -> web.Response:
    """Run a check out of turn; answers with what it found, which counts like any other run."""
    view = request.app[CONTROL]
    seen = await view.run_now(_check_name(request))
    return web.json_response(
        shapes.observation(view.setup, seen) | {"severity": shapes.check(view, seen.check)["severity"]}
    )


@operation(TAG, body=By, answer=models.Ran)
async def accept(request: web.Request) -> web.Response:
    """Run a check and take what it finds as being right from now on; answers with what it found.

    JSON body: ``{"by": name}``.
    """
    view = request.app[CONTROL]
    seen = await view.accept(_check_name(request), by(request, await json_body(request)))
    return web.json_response(
        shapes.observation(view.setup, seen) | {"severity": shapes.check(view, seen.check)["severity"]}
    )


def _check_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if name not in request.app[CONTROL].setup.checks:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}; `wcr-watchd list` shows all")
    return name
