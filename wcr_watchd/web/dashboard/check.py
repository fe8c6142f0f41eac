"""The page of one check: its latest observation with every measurement, its rules, its incidents."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core.model import Observation
from wcr_watchd.core.units import Unit, format_value
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.dashboard.overview import row_of
from wcr_watchd.web.health import CONTROL


def add_routes(app: web.Application) -> None:
    """Put the page's route into the application."""
    app.router.add_get("/checks/{name}", show)


async def show(request: web.Request) -> web.Response:
    """One check: its latest observation with every measurement, its rules, its incidents."""
    view = request.app[CONTROL]
    name = request.match_info["name"]
    if name not in view.setup.checks:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}\n")
    latest = view.latest.get(name)
    return page(
        request,
        "check.html",
        row=row_of(view, name),
        check=view.setup.checks[name],
        latest=latest,
        measurements=_measurements(view, latest),
        incidents=await view.store.incidents(check=name, limit=20),
    )


def _measurements(view: View, latest: Observation | None) -> list[tuple[str, str, str]]:
    """Name with labels, value for people, and help of every measurement."""
    if latest is None:
        return []
    specs = {spec.name: spec for spec in view.specs.get(latest.check, ())}
    return [
        (
            shapes.series_name(measured.name, measured.labels),
            format_value(measured.value, specs[measured.name].unit if measured.name in specs else Unit.COUNT),
            specs[measured.name].help if measured.name in specs else "",
        )
        for measured in latest.measurements
    ]
