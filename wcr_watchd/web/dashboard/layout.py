"""What all pages share: the frame and the templates.

Without JavaScript the pages work and are as fresh as the last reload.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wcr_watchd.core.access import Role
from wcr_watchd.core.objectives import budget_left, promised
from wcr_watchd.core.units import format_availability, format_duration, format_part
from wcr_watchd.core.view import View
from wcr_watchd.kit.schedule_words import plain
from wcr_watchd.web.access.roles import VISITOR, Visitor, needed
from wcr_watchd.web.dashboard.assets import asset
from wcr_watchd.web.guidance import runbook_href
from wcr_watchd.web.health import CONTROL

NAVIGATION: Final = (
    ("/", "Overview"),
    ("/incidents", "Incidents"),
    ("/silences", "Silences"),
    ("/maintenance", "Maintenance"),
    ("/on-call", "On call"),
    ("/objectives", "Objectives"),
    ("/tasks", "Tasks"),
    ("/changes", "Changes"),
    ("/reports", "Reports"),
    ("/knowledge", "Knowledge"),
    ("/channels", "Channels"),
    ("/status-posts", "Status page"),
    ("/config", "Configuration"),
    ("/audit", "Audit log"),
)
"""The pages that the frame leads to, in this order; those that are there and that the visitor may read are shown."""
COMPRESS_ASIDE = 8 * 1024
"""Bytes from which a page is compressed in a thread."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A page that the navigation leads to, and the role that may read it."""

    path: str
    title: str
    role: Role


MENU = web.AppKey("menu", tuple[Entry, ...])

_environment = Environment(
    loader=PackageLoader("wcr_watchd.web.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["asset"] = asset
_environment.filters["runbook"] = runbook_href
_environment.filters["availability"] = format_availability
_environment.filters["part"] = format_part
_environment.filters["promised"] = promised
_environment.filters["budget_left"] = budget_left
_environment.filters["schedule"] = plain


def set_up(app: web.Application) -> None:
    """Let the pages' frame lead to the pages that the application has by now."""
    handlers = {route.resource.canonical: route.handler for route in app.router.routes() if route.resource}
    app[MENU] = tuple(
        Entry(path, title, needed("GET", handlers[path])) for path, title in NAVIGATION if path in handlers
    )


def warm_up() -> None:
    """Compile all templates, which takes a quarter of a second: for a thread, before somebody waits for a page."""
    for name in _environment.list_templates():
        _environment.get_template(name)


def page(request: web.Request, template: str, **values: Any) -> web.Response:
    """A rendered page."""
    view = request.app[CONTROL]
    visitor = request.get(VISITOR)
    text = _environment.get_template(template).render(
        watchd=view.setup.name,
        location=view.setup.location,
        timezone=view.setup.timezone,
        version=view.version,
        visitor=visitor,
        may_act=visitor is not None and visitor.may_act,
        may_administer=visitor is not None and visitor.may_administer,
        menu=_menu(request, visitor),
        time=lambda at: time_element(view, at),
        ago=lambda at: format_duration(max(0.0, view.now() - at)),
        duration=format_duration,
        **values,
    )
    response = web.Response(
        body=text.encode(),
        content_type="text/html",
        charset="utf-8",
        zlib_executor_size=COMPRESS_ASIDE,
    )
    response.enable_compression()
    return response


def _menu(request: web.Request, visitor: Visitor | None) -> list[tuple[Entry, bool]]:
    """What the visitor may read, and whether it is, or holds, the page that is shown."""
    shown = [entry for entry in request.app[MENU] if visitor is not None and visitor.role >= entry.role]
    return [
        (entry, request.path == entry.path or (entry.path != "/" and request.path.startswith(entry.path + "/")))
        for entry in shown
    ]


def fragment(view: View, template: str, **values: Any) -> str:
    """A rendered piece of a page."""
    return _environment.get_template(template).render(time=lambda at: time_element(view, at), **values)


def time_element(view: View, at: float) -> Markup:
    """A point in time for people: the platform's clock, the exact time in UTC and there when one points at it.

    A script puts the clock of the viewer's own zone in its place.
    """
    moment = datetime.fromtimestamp(at, UTC)
    local = moment.astimezone(ZoneInfo(view.setup.timezone))
    exact = f"{moment:%Y-%m-%d %H:%M:%S} UTC · {local:%Y-%m-%d %H:%M:%S %Z} ({view.setup.timezone})"
    shown = time_of_day(view, at)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(f"{moment:%Y-%m-%dT%H:%M:%SZ}", exact, shown)


def time_of_day(view: View, at: float) -> str:
    """Local time of the platform: the clock alone today, else with the date."""
    zone = ZoneInfo(view.setup.timezone)
    moment = datetime.fromtimestamp(at, UTC).astimezone(zone)
    today = datetime.fromtimestamp(view.now(), UTC).astimezone(zone).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
