"""The list of incidents: what happened, narrowed by state, severity, check, group, tag, words and time."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from wcr_watchd.core.protocols import Wanted
from wcr_watchd.web import incident_search
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/incidents"
AT_A_TIME = 50
WORDS = {
    "": "any",
    "unresolved": "not over",
    "open": "open",
    "acknowledged": "acknowledged",
    "quiet": "nobody is told",
    "resolved": "over",
}
FIELDS = ("state", "severity", "check", "group", "tag", "text", "since", "until")


def add_routes(app: web.Application) -> None:
    """Put the page's route into the application."""
    app.router.add_get(PATH, show)


async def show(request: web.Request) -> web.Response:
    """The incidents that the form asks for, newest first, some at a time."""
    view = request.app[CONTROL]
    form = {name: request.query.get(name, "").strip() for name in FIELDS}
    said, wanted = "", Wanted()
    try:
        wanted = incident_search.wanted(view, form)
        before = int(request.query.get("before", "0"))
    except ValueError as error:
        said, before = str(error), 0
    found = list(await view.store.find_incidents(wanted, before=before, limit=AT_A_TIME + 1)) if not said else []
    # What is not over may have moved on since it was stored.
    shown = [view.state.incidents.get(one.id, one) for one in found[:AT_A_TIME]]
    kept = {name: value for name, value in form.items() if value}
    checks = view.setup.checks.values()
    response = page(
        request,
        "incidents.html",
        incidents=shown,
        form=form,
        words=WORDS,
        said=said,
        narrowed=bool(kept),
        before=before,
        first=f"?{urlencode(kept)}",
        older=f"?{urlencode(kept | {'before': shown[-1].id})}" if len(found) > AT_A_TIME else "",
        groups=sorted({check.group for check in checks if check.group}),
        tags=sorted({tag for check in checks for tag in check.tags}),
    )
    if said:
        response.set_status(400)
    return response
