"""The pages: dashboard, one check, one incident, on call, sign-in; rendered on the server, kept fresh by events.

A page is one round trip: style and script stand in it. Both are ours alone, named to the browser by their hash
(Content Security Policy level 3), so nothing injected can run. Without JavaScript the pages work and are as
fresh as the last reload.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from wcr_watchd.core import health
from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.core.view import Change, View
from wcr_watchd.web import shapes
from wcr_watchd.web.access import COOKIE, SESSION_SECONDS, VISITOR, Access
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import follow
from wcr_watchd.web.rota import Rota, rota

ACCESS = web.AppKey("access", Access)
ROWS_AT_A_TIME = 50
"""Rows rendered before others have their turn: a page of 10 000 checks takes a second, the event loop must not."""

HISTORY_BARS = 60
"""Runs that a history line has room for."""
MOST_VALUES = 4
"""Measurements that stand on the dashboard beside a check."""

_TEMPLATES = files("wcr_watchd.web") / "templates"
STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
SCRIPT = (_TEMPLATES / "live.js").read_text(encoding="utf-8")
FAVICON = (_TEMPLATES / "favicon.svg").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


SECURITY_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that a browser says "Origin: null" when our own button is pressed.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_environment = Environment(
    loader=PackageLoader("wcr_watchd.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def add_routes(app: web.Application) -> None:
    """Put the pages' routes into the application."""
    app.router.add_get("/", dashboard)
    app.router.add_get("/live", live)
    app.router.add_get("/checks/{name}", check_page)
    app.router.add_get("/on-call", on_call_page)
    app.router.add_get("/sign-in", sign_in_page)
    app.router.add_post("/sign-in", sign_in)
    app.router.add_post("/sign-out", sign_out)
    app.router.add_get("/favicon.svg", favicon)


async def dashboard(request: web.Request) -> web.Response:
    """Everything at a glance: open incidents, then all checks, the worst first."""
    view = request.app[CONTROL]
    names = sorted(view.setup.checks, key=lambda name: _urgency(view, name))
    setup, groups = view.setup, dict[str, list[tuple[str, str]]]()
    for number, name in enumerate(names, start=1):
        row = _row_id(name), _fragment(view, "_row.html", row=_row(view, name))
        groups.setdefault(setup.checks[name].group, []).append(row)
        if number % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
            if view.setup is not setup:
                raise web.HTTPFound("/")  # reloaded meanwhile: other checks, another page
    return page(request, "dashboard.html", groups=groups, header=_header(view), incidents=_incidents(view))


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events for the dashboard: fragments of the page by the id of the element they replace.

    After a reload of the configuration the page has other rows: ``reload`` makes the browser ask for it anew.
    """
    view = request.app[CONTROL]
    setup = view.setup

    def changed(batch: tuple[Change, ...]) -> Iterator[tuple[str | None, str]]:
        if view.setup is not setup:
            return iter([("reload", "{}")])
        return ((None, json.dumps(fragments)) for fragments in _fragments(view, batch))

    return await follow(request, [(None, json.dumps(_overview(view)))], changed)


async def check_page(request: web.Request) -> web.Response:
    """One check: its latest observation with every measurement, its rules, its incidents."""
    view = request.app[CONTROL]
    name = request.match_info["name"]
    if name not in view.setup.checks:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}\n")
    latest = view.latest.get(name)
    return page(
        request,
        "check.html",
        row=_row(view, name),
        check=view.setup.checks[name],
        latest=latest,
        measurements=_measurements(view, latest),
        incidents=await view.store.incidents(check=name, limit=20),
    )


async def on_call_page(request: web.Request) -> web.Response:
    """Who is on call now and in the next days, and when nobody is."""
    schedules = list(request.app[CONTROL].setup.on_call.values())
    now = request.app[CONTROL].now()
    rotas = await asyncio.to_thread(lambda: [rota(schedule, now) for schedule in schedules])
    feeds = [_feed(request, schedule.name) for schedule in schedules]
    nobody = [one.name for one in rotas if not one.who]
    return page(
        request,
        "on_call.html",
        rotas=list(zip(rotas, feeds, strict=True)),
        state="critical" if nobody else ("ok" if rotas else "new"),
        sentence=_on_call_sentence(rotas, nobody),
        look_ahead=round(LOOK_AHEAD / 86_400),
    )


def _on_call_sentence(rotas: list[Rota], nobody: list[str]) -> str:
    if nobody:
        return f"Nobody is on call in {', '.join(nobody)}"
    if not rotas:
        return "There is no on-call schedule"
    return f"{rotas[0].who} on call" if len(rotas) == 1 else f"Somebody is on call in all {len(rotas)} schedules"


def _feed(request: web.Request, name: str) -> str:
    """The address of a schedule's calendar, with the key that a calendar program needs where there is a token."""
    path = f"/api/v1/on-call/{name}.ics"
    key = request.app[ACCESS].key_of(path)
    return f"{quote(path)}?key={key}" if key else quote(path)


async def sign_in_page(request: web.Request) -> web.Response:
    """The form that asks for the token."""
    return page(request, "sign_in.html", failed=False)


async def sign_in(request: web.Request) -> web.Response:
    """Check the token and start a session."""
    form = await request.post()
    cookie = request.app[ACCESS].sign_in(str(form.get("token", "")))
    if cookie is None:
        response = page(request, "sign_in.html", failed=True)
        response.set_status(403)
        return response
    answer = web.Response(status=303, headers={"Location": "/"})
    secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="Lax", secure=secure)
    return answer


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    request.app[ACCESS].sign_out(request)
    answer = web.Response(status=303, headers={"Location": "/sign-in"})
    answer.del_cookie(COOKIE)
    return answer


async def favicon(request: web.Request) -> web.Response:
    """The picture in the browser's tab."""
    return web.Response(text=FAVICON, content_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


def page(request: web.Request, template: str, **values: Any) -> web.Response:
    """A rendered page."""
    view = request.app[CONTROL]
    text = _environment.get_template(template).render(
        style=STYLE,
        script=SCRIPT,
        watchd=view.setup.name,
        location=view.setup.location,
        timezone=view.setup.timezone,
        version=view.version,
        inside=VISITOR in request,
        shows_on_call=bool(view.setup.on_call) and VISITOR in request,
        signed_in=bool(request.app[ACCESS].token) and VISITOR in request,
        time=lambda at: _time(view, at),
        ago=lambda at: format_duration(max(0.0, view.now() - at)),
        duration=format_duration,
        **values,
    )
    response = web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


def _fragment(view: View, template: str, **values: Any) -> str:
    return _environment.get_template(template).render(time=lambda at: _time(view, at), **values)


def _fragments(view: View, batch: tuple[Change, ...]) -> Iterator[dict[str, str]]:
    """What of the page changed, in pieces that render quickly."""
    yield _overview(view)
    names = list(dict.fromkeys(change.check for change in batch if change.check))
    for at in range(0, len(names), ROWS_AT_A_TIME):
        some = [name for name in names[at : at + ROWS_AT_A_TIME] if name in view.setup.checks]
        yield {_row_id(name): _fragment(view, "_row.html", row=_row(view, name)) for name in some}


def _overview(view: View) -> dict[str, str]:
    return {
        "header": _fragment(view, "_header.html", header=_header(view)),
        "incidents": _fragment(view, "_incidents.html", incidents=_incidents(view)),
    }


def _header(view: View) -> dict[str, Any]:
    """The one sentence that says how it is, and what is wrong with the daemon itself."""
    words = Counter(shapes.state_word(view.state.checks.get(name)) for name in view.setup.checks)
    worst = next((word for word in _WORST_FIRST if words[word]), "ok")
    return {
        "state": worst,
        "counts": [f"{words[word]} {word}" for word in (*_WORST_FIRST, "new", "ok") if words[word]],
        "sentence": _sentence(words, len(health.waiting_for_first_result(view))),
        "reload_problems": view.reload_problems,
        "quiet": _quiet(view),
        "warnings": view.warnings,
        "ailing": [part for part in health.parts(view) if not part.ok],
        "store_mended": view.counters.store_mended,
        "dead_letters": view.counters.dead_letters,
    }


def _quiet(view: View) -> list[str]:
    """What is silenced or worked on now, each in a sentence."""
    now = view.now()
    spans = [(one, open_span(view.state, one, now)) for one in view.setup.windows]
    planned = [
        f"Maintenance {one.name} until {_time(view, span[1])}" + (f": {one.comment}" if one.comment else "")
        for one, span in spans
        if span is not None
    ]
    held = [one for one in view.state.silences.values() if one.active(now)]
    started = [
        f"Maintenance by {one.author} until {_time(view, one.ends_at)}" + (f": {one.comment}" if one.comment else "")
        for one in held
        if one.maintenance
    ]
    silences = sum(not one.maintenance for one in held)
    counted = [f"{silences} silence{'s' if silences > 1 else ''}"] if silences else []
    return [*planned, *started, *counted]


_NEED_ATTENTION = ("critical", "warning", "info")
_WORST_FIRST = (*_NEED_ATTENTION, "confirming", "down", "unknown")


def _sentence(words: Counter[str], unseen: int) -> str:
    total = words.total()
    checks = "check" if total == 1 else "checks"
    bad = sum(words[word] for word in _NEED_ATTENTION)
    if not total:
        return "Nothing is watched yet"
    if bad:
        return f"{bad} of {total} {checks} need{'s' if bad == 1 else ''} attention"
    if words["confirming"]:
        return f"{words['confirming']} of {total} {checks} failed just now; trying again"
    if words["down"]:
        return f"No problem by the rules; {words['down']} of {total} {checks} {_is(words['down'])} down"
    if words["unknown"]:
        return f"No problem found; {words['unknown']} of {total} {checks} could not tell"
    if unseen:
        return f"{total - unseen} of {total} {checks} looked at so far, all fine"
    return f"All {total} {checks} are fine" if total > 1 else "The one check is fine"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _incidents(view: View) -> list[Any]:
    return sorted(view.state.incidents.values(), key=lambda found: (-found.severity, found.opened_at))


def _urgency(view: View, name: str) -> tuple[str, int, bool, str]:
    state = view.state.checks.get(name)
    severity = state.severity if state else Severity.OK
    uncertain = state is None or state.outcome is not Outcome.UP
    return view.setup.checks[name].group, -severity, not uncertain, name


def _row(view: View, name: str) -> dict[str, Any]:
    state = view.state.checks.get(name)
    latest = view.latest.get(name)
    return {
        "id": _row_id(name),
        "name": name,
        "probe": view.setup.checks[name].probe,
        "target": view.setup.checks[name].target,
        "state": shapes.state_word(state),
        "summary": latest.summary if latest else (state.summary if state else "waiting for the first result"),
        "since": state.since if state and state.outcome else None,
        "last_at": latest.at if latest else None,
        "measured": _latest_values(view, name, latest),
        "line": _history_line(view.recent(name)),
    }


def _row_id(name: str) -> str:
    return "check-" + name


def _history_line(recent: tuple[tuple[float, float | None], ...]) -> dict[str, Any]:
    """Bars of the last runs, high by duration against the slowest; a run that was not up is a full bar.

    The newest is at the right edge, however many there are. ``fine`` and ``bad`` are SVG path data,
    ``runs`` is their number.
    """
    recent = recent[-HISTORY_BARS:]
    first = HISTORY_BARS - len(recent)
    slowest = max((duration for _, duration in recent if duration is not None), default=0.0) or 1.0
    fine, bad = [], []
    for at, (_, duration) in enumerate(recent, start=first):
        if duration is None:
            bad.append(f"M{at * 2 + 1} 20v-20")
        else:
            fine.append(f"M{at * 2 + 1} 20v-{2.0 + 14.0 * duration / slowest:.1f}")
    return {"fine": "".join(fine), "bad": "".join(bad), "runs": len(recent)}


def _latest_values(view: View, name: str, latest: Observation | None) -> str:
    """The few measurements that tell most, on one line: what the rules look at first, one of each topic."""
    if latest is None:
        return ""
    minded: set[str] = set()
    for rule in view.setup.checks[name].rules:
        minded.update(rule.names, (track.name for track in rule.windows))
    plain = {one.name: one.value for one in latest.measurements if not one.labels}
    specs = [spec for spec in view.specs.get(name, ()) if spec.name in plain and not spec.counter]
    chosen: dict[str, str] = {}
    for spec in sorted(specs, key=lambda spec: spec.name not in minded):
        if len(chosen) < MOST_VALUES:
            chosen.setdefault(spec.topic or spec.name, f"{spec.name} {format_value(plain[spec.name], spec.unit)}")
    return " · ".join(chosen.values())


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


def _time(view: View, at: float) -> str:
    """Local time of the platform: the clock alone today, else with the date."""
    zone = ZoneInfo(view.setup.timezone)
    moment = datetime.fromtimestamp(at, UTC).astimezone(zone)
    today = datetime.fromtimestamp(view.now(), UTC).astimezone(zone).date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")
