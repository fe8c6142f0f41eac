"""The part of the JSON API that is about objectives: availability, error budgets, burn rates."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.handling import Handling
from wcr_watchd.core.objectives import Budget, Objective
from wcr_watchd.core.view import View
from wcr_watchd.web.api.models import objectives as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.handled import handled
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.shapes import Json, time_text


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get("/api/v1/objectives", objectives)
    app.router.add_get("/api/v1/objectives/{name}/days", days)


@operation("objectives", answer=models.Objectives)
async def objectives(request: web.Request) -> web.Response:
    """Every objective with its availability, what is left of its error budget, and how fast that goes."""
    view = request.app[CONTROL]
    rows = [
        _row(view, one, await view.objectives.budget(one), await handled(view, one))
        for one in view.setup.objectives.values()
    ]
    return web.json_response({"objectives": rows})


@operation("objectives", answer=models.ObjectiveDays)
async def days(request: web.Request) -> web.Response:
    """An objective day by day over its period: availability, the share of the budget that went, and what was left.

    Times without a run count as unwatched; shares are from 0 to 1, `left` is negative when more is used than there was.
    """
    view, name = request.app[CONTROL], request.match_info["name"]
    objective = view.setup.objectives.get(name)
    if objective is None:
        raise web.HTTPNotFound(text=f"there is no objective {name!r}")
    rows = [
        {
            "start": time_text(one.start),
            "end": time_text(one.end),
            "availability": one.budget.availability,
            "availability_with_planned": one.budget.availability_with_planned,
            "down": one.budget.down,
            "watched": one.budget.watched,
            "unwatched": one.budget.unwatched,
            "used": one.used,
            "left": one.left,
        }
        for one in await view.objectives.days(objective)
    ]
    return web.json_response({"name": name, "days": rows})


def _row(view: View, objective: Objective, budget: Budget, found: Handling) -> Json:
    since, end = objective.span(view.now())
    return {
        "name": objective.name,
        "comment": objective.comment,
        "checks": list(objective.checks),
        "target": objective.target,
        "period": end - since,
        "month_begins": objective.month_begins or None,
        "since": time_text(since),
        "availability": budget.availability,
        "availability_with_planned": budget.availability_with_planned,
        "down": budget.down,
        "watched": budget.watched,
        "unwatched": budget.unwatched,
        "budget_left": budget.left,
        "incidents": found.incidents,
        "mean_time_to_acknowledge": found.acknowledge,
        "mean_time_to_resolve": found.resolve,
        "mean_time_between_failures": found.between,
        "burn_rates": [{"window": window, "rate": rate} for window, rate in view.objectives.rates(objective)],
    }
