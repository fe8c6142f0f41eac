"""The page of the configuration: what is in force, since when, what is wrong with a newer one; the button to reload."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core import health
from wcr_watchd.core.access import Role
from wcr_watchd.core.setup import Escalation, Setup
from wcr_watchd.core.units import format_duration
from wcr_watchd.web.access.roles import needs
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/config"


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(f"{PATH}/reload", reload)


async def show(request: web.Request) -> web.Response:
    """What configuration is in force, and how the daemon is."""
    view = request.app[CONTROL]
    return page(
        request,
        "configuration.html",
        setup=view.setup,
        files=view.files,
        loaded_at=view.counters.reload_at,
        started_at=view.started_at,
        problems=view.reload_problems,
        warnings=view.warnings,
        parts=health.parts(view),
        counts=_counts(view.setup),
        policies=[
            (
                name,
                [(severity.word, _told(plan)) for severity, plan in sorted(policy.by_severity.items(), reverse=True)],
            )
            for name, policy in view.setup.policies.items()
        ],
    )


@needs(Role.ADMIN)
async def reload(request: web.Request) -> web.Response:
    """Read the configuration again, from the button; the page says what is wrong with it."""
    await request.app[CONTROL].reload()
    raise web.HTTPSeeOther(PATH)


def _counts(setup: Setup) -> list[tuple[str, int]]:
    return [
        ("checks", len(setup.checks)),
        ("channels", len(setup.channels)),
        ("policies", len(setup.policies)),
        ("contacts", len(setup.contacts)),
        ("on-call schedules", len(setup.on_call)),
        ("maintenance windows", len(setup.windows)),
    ]


def _told(plan: Escalation) -> str:
    """Who is told and when, in a sentence."""
    said = [", ".join(map(str, plan.tell)) or "nobody"]
    for step in plan.steps:
        more = ", ".join(map(str, step.tell)) or "nobody more"
        raised = f", as {step.raise_to.word}" if step.raise_to is not None else ""
        said.append(f"after {format_duration(step.after)} {more}{raised}")
    if plan.digest:
        said.append(f"together every {format_duration(plan.digest)}")
    if plan.repeat:
        said.append(f"again every {format_duration(plan.repeat)}")
    if plan.fallback:
        said.append(f"in their place {', '.join(map(str, plan.fallback))}")
    return "; ".join(said)
