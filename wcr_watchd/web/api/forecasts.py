"""The part of the JSON API that is about forecasts: when what rules foretell comes."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.prospect import Prospect
from wcr_watchd.core.thresholds import limits
from wcr_watchd.web import shapes
from wcr_watchd.web.api.models import forecasts as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.paging import Paged, page_of
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.prospects import prospects, when

PATH = "/api/v1/forecasts"


class Listing(Paged):
    """Of which checks; ``limit`` and ``cursor`` count checks."""

    check: str | None = Field(None, description="Only of this check.")


def add_routes(app: web.Application) -> None:
    """Put the route into the application."""
    app.router.add_get(PATH, forecasts)


@operation("forecasts", query=Listing, answer=models.Forecasts)
async def forecasts(request: web.Request) -> web.Response:
    """When each measurement that a rule has a forecast of meets the limit of that rule, with a 95 % interval.

    `forecast(disk_used, 7d) > 100%` foretells disks, so this tells when they are full, from the last thirty days.
    What begins again every month (costs, traffic) is foretold until then.
    """
    view, asked = request.app[CONTROL], request.query.get("check")
    if asked is not None and asked not in view.setup.checks:
        raise web.HTTPNotFound(text=f"there is no check named {asked!r}; `wcr-watchd list` shows all")
    checks = [one for one in view.setup.checks.values() if asked in (None, one.name) and limits(one.rules)]
    some, following = page_of(request, checks, lambda check: check.name)
    zone = view.setup.timezone
    rows = [_row(check.name, one, view.now(), zone) for check in some for one in await prospects(view, check)]
    return web.json_response({"forecasts": rows, "next": following})


def _row(check: str, one: Prospect, now: float, timezone: str) -> shapes.Json:
    met = one.met
    return {
        "check": check,
        "measurement": one.measurement,
        "labels": dict(one.labels),
        "unit": one.unit.value,
        "symbol": ">" if one.rises else "<",
        "limit": one.limit,
        "now": one.now,
        "known": met is not None,
        "expected": _time(met.expected) if met else None,
        "earliest": _time(met.earliest) if met else None,
        "latest": _time(met.latest) if met else None,
        "begins_again": _time(one.begins_again),
        "when": when(one, now, timezone),
    }


def _time(at: float | None) -> str | None:
    """A time that a calendar can tell; None for those after its end."""
    return None if at is None or at > shapes.LATEST else shapes.time_text(at)
