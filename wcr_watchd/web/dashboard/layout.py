"""What all pages share: the frame, the templates and what browsers are told to allow.

Scripts and styles come from our own files only (Content Security Policy level 3), so nothing injected can run.
Without JavaScript the pages work and are as fresh as the last reload.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from wcr_watchd.core.units import format_duration
from wcr_watchd.core.view import View
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.assets import asset
from wcr_watchd.web.health import CONTROL

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that a browser says "Origin: null" when our own button is pressed.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_environment = Environment(
    loader=PackageLoader("wcr_watchd.web.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["asset"] = asset


def page(request: web.Request, template: str, **values: Any) -> web.Response:
    """A rendered page."""
    view = request.app[CONTROL]
    text = _environment.get_template(template).render(
        watchd=view.setup.name,
        location=view.setup.location,
        timezone=view.setup.timezone,
        version=view.version,
        inside=VISITOR in request,
        visitor=request.get(VISITOR),
        shows_on_call=bool(view.setup.on_call) and VISITOR in request,
        time=lambda at: time_of_day(view, at),
        ago=lambda at: format_duration(max(0.0, view.now() - at)),
        duration=format_duration,
        **values,
    )
    response = web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


def fragment(view: View, template: str, **values: Any) -> str:
    """A rendered piece of a page."""
    return _environment.get_template(template).render(time=lambda at: time_of_day(view, at), **values)


def time_of_day(view: View, at: float) -> str:
    """Local time of the platform: the clock alone today, else with the date."""
    zone = ZoneInfo(view.setup.timezone)
    moment = datetime.fromtimestamp(at, UTC).astimezone(zone)
    today = datetime.fromtimestamp(view.now(), UTC).astimezone(zone).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
