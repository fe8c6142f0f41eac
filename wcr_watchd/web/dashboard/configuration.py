"""The page of the configuration: what is in force, since when, what is wrong with a newer one; the button to reload."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core import health
from wcr_watchd.core.access import Role
from wcr_watchd.web import configured
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
        counts=configured.counts(view.setup),
        policies=configured.policies(view.setup),
    )


@needs(Role.ADMIN)
async def reload(request: web.Request) -> web.Response:
    """Read the configuration again, from the button; the page says what is wrong with it."""
    await request.app[CONTROL].reload()
    raise web.HTTPSeeOther(PATH)
