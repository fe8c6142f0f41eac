"""The daemon itself in the API: how it is now, and reading its configuration again."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.model import Severity
from wcr_watchd.web import configured, shapes
from wcr_watchd.web.access.roles import Role, needs
from wcr_watchd.web.api.models import about as models
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.problems import ProblemError
from wcr_watchd.web.health import CONTROL

TAG = "about"


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/status", status)
    app.router.add_get(f"{prefix}/configuration", configuration)
    app.router.add_post(f"{prefix}/reload", reload)


@operation(TAG, answer=models.Status)
async def status(request: web.Request) -> web.Response:
    """How it is now: counts by severity and outcome, and open incidents."""
    view = request.app[CONTROL]
    rows = [shapes.check(view, name) for name in view.setup.checks]
    by_severity = {severity.word: sum(row["severity"] == severity.word for row in rows) for severity in Severity}
    by_outcome = {name: sum(row["outcome"] == name for row in rows) for name in ("up", "down", "unknown")}
    return web.json_response(
        {
            "watchd": view.setup.name,
            "location": view.setup.location,
            "version": view.version,
            "started_at": shapes.time_text(view.started_at),
            "now": shapes.time_text(view.now()),
            "checks": {"total": len(rows), **by_outcome},
            "severity": by_severity,
            "incidents": [shapes.incident(found) for found in view.state.incidents.values()],
            "reload_problems": list(view.reload_problems),
            "warnings": list(view.warnings),
        }
    )


@operation(TAG, answer=models.Configuration)
async def configuration(request: web.Request) -> web.Response:
    """Which configuration is in force since when, and what is wrong with a newer one.

    ``/checks/{name}/settings`` has the effective settings of a check.
    """
    view = request.app[CONTROL]
    return web.json_response(
        {
            "files": list(view.files),
            "loaded_at": shapes.time_text(view.counters.reload_at),
            "started_at": shapes.time_text(view.started_at),
            "problems": list(view.reload_problems),
            "warnings": list(view.warnings),
            "counts": dict(configured.counts(view.setup)),
            "policies": [
                {"name": name, "plans": [{"severity": severity, "tells": said} for severity, said in plans]}
                for name, plans in configured.policies(view.setup)
            ],
        }
    )


@needs(Role.ADMIN)
@operation(TAG, answer=models.Reloaded)
async def reload(request: web.Request) -> web.Response:
    """Read the configuration again; 422 with every problem when it is refused and the old one goes on."""
    problems = await request.app[CONTROL].reload()
    if problems:
        said = f"the new configuration has {len(problems)} problems and is refused; the old one goes on"
        raise ProblemError(422, said, problems=list(problems))
    return web.json_response({"problems": []})
