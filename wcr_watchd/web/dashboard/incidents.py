"""The list of incidents: what happened, narrowed by state, severity, check, group, tag, words and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = "/incidents"
AT_A_TIME = 50
STATES: Final[Mapping[str, tuple[IncidentState, ...]]] = {
    "": (),
    "open": (IncidentState.OPEN,),
    "acknowledged": (IncidentState.ACKNOWLEDGED,),
    "quiet": (IncidentState.SUPPRESSED, IncidentState.SILENCED, IncidentState.MAINTENANCE),
    "unresolved": tuple(state for state in IncidentState if state is not IncidentState.RESOLVED),
    "resolved": (IncidentState.RESOLVED,),
}
WORDS = {
    "": "any",
    "unresolved": "not over",
    "open": "open",
    "acknowledged": "acknowledged",
    "quiet": "nobody is told",
    "resolved": "over",
}
FIELDS = ("state", "severity", "check", "group", "tag", "text", "since", "until")
DAY = 86_400.0


def add_routes(app: web.Application) -> None:
    """Put the page's route into the application."""
    app.router.add_get(PATH, show)


async def show(request: web.Request) -> web.Response:
    """The incidents that the form asks for, newest first, some at a time."""
    view = request.app[CONTROL]
    form = {name: request.query.get(name, "").strip() for name in FIELDS}
    said, wanted = "", Wanted()
    try:
        wanted = _wanted(view, form)
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


def _wanted(view: View, form: Mapping[str, str]) -> Wanted:
    """What the form asks for. Raises ``ValueError`` with what would be right."""
    if form["state"] not in STATES:
        raise ValueError(f"the state {form['state']!r} is none of {', '.join(filter(None, STATES))}")
    try:
        severity = Severity.of(form["severity"]) if form["severity"] else Severity.OK
    except KeyError:
        raise ValueError(f"the severity {form['severity']!r} is none of info, warning, critical") from None
    zone = ZoneInfo(view.setup.timezone)
    wanted = Wanted(_checks(view, form), STATES[form["state"]], severity, form["text"][:200])
    if form["since"]:
        wanted = replace(wanted, since=shapes.moment(form["since"], zone))
    if form["until"]:
        # A day ends when the next one begins.
        whole_day = DAY if len(form["until"]) == len("2026-11-28") else 0.0
        wanted = replace(wanted, until=shapes.moment(form["until"], zone) + whole_day)
    return wanted


def _checks(view: View, form: Mapping[str, str]) -> frozenset[str] | None:
    """The checks of a name, group and tag; None when none of these is asked for."""
    if not (form["check"] or form["group"] or form["tag"]):
        return None
    if form["check"] and not (form["group"] or form["tag"]):
        return frozenset((form["check"],))  # also one that is no longer configured
    return frozenset(
        check.name
        for check in view.setup.checks.values()
        if form["check"] in ("", check.name)
        and form["group"] in ("", check.group)
        and (not form["tag"] or form["tag"] in check.tags)
    )
