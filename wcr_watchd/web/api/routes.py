"""The JSON API under ``/api/v1``: what the dashboard, the command line and scripts use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from wcr_watchd.core.errors import ChannelError, CommandError, StoreError, UnitError
from wcr_watchd.core.model import DeliveryState, Severity
from wcr_watchd.core.outlook import outlook
from wcr_watchd.core.units import parse_duration
from wcr_watchd.core.view import DrillWish, Touched, View
from wcr_watchd.web import quiet, reasons, rota, shapes
from wcr_watchd.web.access.roles import VISITOR, Role, needs
from wcr_watchd.web.api.requests import by, json_body, moment, number_of
from wcr_watchd.web.compatible import alertmanager
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import follow

MAX_ROWS = 1_000
MAX_NOTE = 4_000
"""Characters of a note in a timeline."""
DAY = 86_400.0
FASTEST_DRILL = 10_000.0
LONGEST_OUTLOOK = 7 * DAY
"""Seconds for which a trial incident is thought through at most."""
LONGEST_LOOK = 92 * DAY
"""Seconds of on-call turns in one answer at most."""


def add_routes(app: web.Application) -> None:
    """Put the API's routes into the application."""
    prefix = "/api/v1"
    app.router.add_get(f"{prefix}/status", status)
    app.router.add_get(f"{prefix}/checks", checks)
    app.router.add_get(f"{prefix}/checks/{{name}}", check)
    app.router.add_get(f"{prefix}/checks/{{name}}/history", history)
    app.router.add_get(f"{prefix}/checks/{{name}}/pings", pings)
    app.router.add_post(f"{prefix}/checks/{{name}}/run", run_check)
    app.router.add_post(f"{prefix}/checks/{{name}}/accept", accept)
    app.router.add_get(f"{prefix}/incidents", incidents)
    app.router.add_get(f"{prefix}/incidents/{{number:\\d{{1,9}}}}", incident)
    app.router.add_get(f"{prefix}/incidents/{{number:\\d{{1,9}}}}/why", why)
    app.router.add_get(f"{prefix}/policy/test", policy_test)
    app.router.add_post(f"{prefix}/drills", start_drill)
    app.router.add_get(f"{prefix}/drills/{{number:\\d{{1,9}}}}", drill)
    app.router.add_post(f"{prefix}/drills/{{number:\\d{{1,9}}}}/stop", stop_drill)
    app.router.add_post(f"{prefix}/incidents/{{number:\\d{{1,9}}}}/acknowledge", acknowledge)
    app.router.add_post(f"{prefix}/incidents/{{number:\\d{{1,9}}}}/resolve", resolve)
    app.router.add_post(f"{prefix}/incidents/{{number:\\d{{1,9}}}}/notes", note)
    app.router.add_post(f"{prefix}/incidents/{{number:\\d{{1,9}}}}/owner", assign)
    app.router.add_get(f"{prefix}/deliveries", deliveries)
    app.router.add_get(f"{prefix}/dead-letters", dead_letters)
    app.router.add_post(f"{prefix}/dead-letters/resend", resend)
    app.router.add_post(f"{prefix}/dead-letters/discard", discard)
    app.router.add_post(f"{prefix}/channels/{{name}}/test", notify_test)
    app.router.add_get(f"{prefix}/on-call", on_call)
    app.router.add_get(f"{prefix}/on-call/{{name}}.ics", calendar)
    app.router.add_post(f"{prefix}/reload", reload)
    app.router.add_get(f"{prefix}/events", events)
    app.router.add_get(f"{prefix}/silences", silences)
    app.router.add_post(f"{prefix}/silences", silence)
    app.router.add_delete(f"{prefix}/silences/{{id}}", expire)
    app.router.add_get(f"{prefix}/maintenance", maintenance)
    app.router.add_post(f"{prefix}/maintenance", start_maintenance)
    app.router.add_delete(f"{prefix}/maintenance/{{id}}", stop_maintenance)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what is wrong in JSON to a program, never with a traceback."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except alertmanager.RefusedError as error:
        return alertmanager.refused(error)
    except CommandError as error:
        return web.json_response({"error": str(error)}, status=409)
    except ChannelError as error:
        return web.json_response({"error": error.summary, "reason": error.reason}, status=502)
    except StoreError as error:
        return web.json_response({"error": str(error)}, status=503)
    except web.HTTPException as error:
        if error.status < 400 or error.content_type == "application/json":
            raise
        return web.json_response({"error": (error.text or error.reason).strip()}, status=error.status)


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


async def checks(request: web.Request) -> web.Response:
    """Every check as it stands now."""
    view = request.app[CONTROL]
    return web.json_response({"checks": [shapes.check(view, name) for name in view.setup.checks]})


async def check(request: web.Request) -> web.Response:
    """One check with its rules, latest observation and incidents."""
    view = request.app[CONTROL]
    name = _check_name(request)
    latest = view.latest.get(name)
    body = shapes.check(view, name)
    body["rules"] = [{"severity": rule.severity.word, "rule": rule.text} for rule in view.setup.checks[name].rules]
    body["latest"] = shapes.observation(view.setup, latest) if latest else None
    body["recent"] = [[at, duration] for at, duration in view.recent(name)]
    found = await view.store.incidents(check=name, limit=20)
    body["history"] = [shapes.incident(one) for one in found]
    return web.json_response(body)


async def history(request: web.Request) -> web.Response:
    """The course of one measurement: ``?measurement=…&since=…&until=…`` (epoch seconds), labels likewise."""
    view = request.app[CONTROL]
    name = _check_name(request)
    query = dict(request.query)
    measurement = query.pop("measurement", "")
    if not measurement:
        raise web.HTTPBadRequest(text="say which measurement: ?measurement=response_time")
    until = number_of(query.pop("until", None), view.now())
    since = number_of(query.pop("since", None), until - 86_400)
    points = int(min(MAX_ROWS, max(1, number_of(query.pop("points", None), 300))))
    found = await view.store.history(
        name, measurement, tuple(sorted(query.items())), since=since, until=until, points=points
    )
    rows = [[p.at, p.mean, p.minimum, p.maximum, p.count] for p in found]
    return web.json_response({"check": name, "measurement": measurement, "points": rows})


async def pings(request: web.Request) -> web.Response:
    """The last signals of a heartbeat, newest first, with what the job said."""
    found = await request.app[CONTROL].pings(_check_name(request))
    return web.json_response({"pings": [shapes.ping(one) for one in found]})


async def run_check(request: web.Request) -> web.Response:
    """Run a check out of turn; answers with what it found, which counts like any other run."""
    view = request.app[CONTROL]
    seen = await view.run_now(_check_name(request))
    return web.json_response(
        shapes.observation(view.setup, seen) | {"severity": shapes.check(view, seen.check)["severity"]}
    )


async def accept(request: web.Request) -> web.Response:
    """Run a check and take what it finds as being right from now on; answers with what it found.

    JSON body: ``{"by": name}``.
    """
    view = request.app[CONTROL]
    seen = await view.accept(_check_name(request), by(request, await json_body(request)))
    return web.json_response(
        shapes.observation(view.setup, seen) | {"severity": shapes.check(view, seen.check)["severity"]}
    )


async def incidents(request: web.Request) -> web.Response:
    """Incidents, newest first: ``?open=1``, ``?check=…``, ``?since=…``, ``?limit=…``."""
    view = request.app[CONTROL]
    query = request.query
    found = await view.store.incidents(
        check=query.get("check"),
        open_only=query.get("open", "") in {"1", "true", "yes"},
        since=number_of(query.get("since"), 0.0),
        limit=int(min(MAX_ROWS, max(1, number_of(query.get("limit"), 100)))),
    )
    return web.json_response({"incidents": [shapes.incident(one) for one in found]})


async def incident(request: web.Request) -> web.Response:
    """One incident with its timeline and what became of its notifications."""
    view = request.app[CONTROL]
    number = int(request.match_info["number"])
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}")
    body = shapes.incident(found)
    body["timeline"] = [shapes.event(one) for one in await view.store.events(number)]
    body["notifications"] = [shapes.delivery(row) for row in await view.store.deliveries(incident=number)]
    return web.json_response(body)


async def why(request: web.Request) -> web.Response:
    """Why ``?contact=…`` (or, without one, anybody) was or was not told of an incident, step by step."""
    view = request.app[CONTROL]
    number = int(request.match_info["number"])
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise web.HTTPNotFound(text=f"there is no incident #{number}")
    answer = await reasons.answer(view, found, request.query.get("contact", ""))
    return web.json_response({"incident": shapes.incident(found)} | reasons.answer_json(answer))


async def policy_test(request: web.Request) -> web.Response:
    """Who would be told of an incident: ``?check=…&severity=critical&at=…&for=1d``; nobody is."""
    view, query = request.app[CONTROL], request.query
    name, severity = query.get("check", ""), query.get("severity", "critical")
    reasons.must_be_configured(view, name)
    if severity not in ("info", "warning", "critical"):
        raise web.HTTPBadRequest(text=f"there is no severity {severity!r}; write info, warning or critical")
    at, lasts = moment(query.get("at"), view.now()), min(_duration(query.get("for", "1d")), LONGEST_OUTLOOK)
    setup, silences = view.setup, tuple(view.state.silences.values())
    found = await asyncio.to_thread(outlook, setup, setup.checks[name], Severity.of(severity), at, at + lasts, silences)
    return web.json_response(reasons.outlook_json(found, name, severity))


async def start_drill(request: web.Request) -> web.Response:
    """Rehearse an escalation; acknowledging the drill's number as an incident's answers it.

    JSON body: ``{"policy": "default", "severity": "critical", "contact": name, "speed": 60, "wait": "5m", "by": …}``.
    """
    body = await json_body(request)
    severity, speed = str(body.get("severity", "critical")), body.get("speed", 1.0)
    if severity not in ("info", "warning", "critical"):
        raise web.HTTPBadRequest(text=f"there is no severity {severity!r}; write info, warning or critical")
    if not isinstance(speed, int | float) or not 0 < speed <= FASTEST_DRILL:
        raise web.HTTPBadRequest(text=f"speed must be a number above 0, at most {FASTEST_DRILL:.0f}")
    wish = DrillWish(
        policy=str(body.get("policy", "default")),
        severity=Severity.of(severity),
        by=by(request, body),
        contact=str(body.get("contact", "")),
        speed=float(speed),
        wait=_duration(body.get("wait", "5m")),
    )
    return web.json_response(shapes.drill(request.app[CONTROL].start_drill(wish)))


async def drill(request: web.Request) -> web.Response:
    """How a drill goes or went."""
    return web.json_response(shapes.drill(request.app[CONTROL].drill(int(request.match_info["number"]))))


async def stop_drill(request: web.Request) -> web.Response:
    """End a drill before its time."""
    return web.json_response(shapes.drill(request.app[CONTROL].stop_drill(int(request.match_info["number"]))))


async def acknowledge(request: web.Request) -> web.Response:
    """Take an incident: reminders and escalation stop.

    JSON body: ``{"by": name, "for": "2h", "sticky": true}``; without ``by`` the visitor's own name, without ``for``
    until it is over or gets worse; a sticky one stays when it gets worse.
    """
    body = await json_body(request)
    control = request.app[CONTROL]
    until = control.now() + _duration(body["for"]) if body.get("for") else None
    sentence = await control.acknowledge(
        int(request.match_info["number"]), by(request, body), until=until, sticky=body.get("sticky") is True
    )
    return web.json_response({"done": sentence})


async def resolve(request: web.Request) -> web.Response:
    """End an incident by hand; it goes on if its check still fails. JSON body: ``{"by": name}``."""
    body = await json_body(request)
    sentence = await request.app[CONTROL].resolve(int(request.match_info["number"]), by(request, body))
    return web.json_response({"done": sentence})


async def note(request: web.Request) -> web.Response:
    """Add a note to an incident's timeline. JSON body: ``{"text": …, "by": name}``."""
    body = await json_body(request)
    text = str(body.get("text", ""))[:MAX_NOTE]
    sentence = await request.app[CONTROL].note(int(request.match_info["number"]), by(request, body), text)
    return web.json_response({"done": sentence})


async def assign(request: web.Request) -> web.Response:
    """Say who works on an incident. JSON body: ``{"owner": name, "by": name}``; an empty owner is nobody."""
    body = await json_body(request)
    owner = str(body.get("owner", ""))[:80]
    sentence = await request.app[CONTROL].assign(int(request.match_info["number"]), owner, by(request, body))
    return web.json_response({"done": sentence})


def _duration(text: object) -> float:
    try:
        return parse_duration(str(text))
    except UnitError as error:
        raise web.HTTPBadRequest(text=f"{error}; write for example 2h") from error


async def silences(request: web.Request) -> web.Response:
    """Silences that hold or are to come; ``?all=1`` also those that are over, for five days."""
    found = quiet.silences(request.app[CONTROL], all_=bool(request.query.get("all")), maintenance=False)
    return web.json_response({"silences": found})


async def silence(request: web.Request) -> web.Response:
    """Silence what matchers cover.

    JSON body: ``{"matchers": 'group="web"', "check": "api", "tag": "eu", "for": "2h", "comment": …, "by": name}``;
    ``starts_at`` and ``ends_at`` (RFC 3339) take the place of now and ``for``; ``id`` changes the silence of this id.
    """
    return await _silence(request, maintenance=False)


async def start_maintenance(request: web.Request) -> web.Response:
    """Start maintenance: as a silence, but announced work; the body is the same."""
    return await _silence(request, maintenance=True)


async def _silence(request: web.Request, *, maintenance: bool) -> web.Response:
    body = await json_body(request)
    control = request.app[CONTROL]
    wanted = quiet.wanted(control, body, by(request, body), maintenance=maintenance)
    changes = quiet.known_id(control, str(body["id"])) if body.get("id") else ""
    holds, sentence = await control.silence(wanted, changes)
    return web.json_response({"done": sentence, "silence": shapes.silence(holds, control.now())})


async def expire(request: web.Request) -> web.Response:
    """End a silence now; the first characters of its id will do."""
    control = request.app[CONTROL]
    return web.json_response({"done": await control.expire(quiet.known_id(control, request.match_info["id"]))})


async def maintenance(request: web.Request) -> web.Response:
    """Planned windows with the next times, and maintenance that was started by hand (``?all=1``: also what is over)."""
    view = request.app[CONTROL]
    started = quiet.silences(view, all_=bool(request.query.get("all")), maintenance=True)
    return web.json_response({"windows": [shapes.window(view, one) for one in view.setup.windows], "started": started})


async def stop_maintenance(request: web.Request) -> web.Response:
    """End started maintenance (by its id) or a planned window for this time (by its name)."""
    control, name = request.app[CONTROL], request.match_info["id"]
    if any(window.name == name for window in control.setup.windows):
        return web.json_response({"done": await control.stop_window(name, by(request, await json_body(request)))})
    return web.json_response({"done": await control.expire(quiet.known_id(control, name))})


async def deliveries(request: web.Request) -> web.Response:
    """The newest notifications and where they stand."""
    rows = await request.app[CONTROL].store.deliveries(limit=100)
    return web.json_response({"deliveries": [shapes.delivery(row) for row in rows]})


async def dead_letters(request: web.Request) -> web.Response:
    """Messages that could not be delivered, newest first: why, and how often they were tried."""
    rows = await request.app[CONTROL].store.deliveries(states=(DeliveryState.FAILED,), limit=MAX_ROWS)
    return web.json_response({"dead_letters": [shapes.dead_letter(row) for row in rows]})


async def resend(request: web.Request) -> web.Response:
    """Send messages of the dead-letter list again. JSON body: ``{"ids": [id, …]}`` or ``{"all": true}``."""
    sentence = await request.app[CONTROL].resend(_chosen(await json_body(request)))
    return web.json_response({"done": sentence})


async def discard(request: web.Request) -> web.Response:
    """Take messages off the dead-letter list. JSON body as for sending again, and ``by``."""
    body = await json_body(request)
    by = str(body.get("by") or request[VISITOR].name)[:80]
    return web.json_response({"done": await request.app[CONTROL].discard(_chosen(body), by)})


def _chosen(body: dict[str, Any]) -> list[str] | None:
    """Ids out of a body; None for all."""
    ids = body.get("ids")
    if body.get("all") is True and ids is None:
        return None
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise web.HTTPBadRequest(text='say which messages: {"ids": ["…"]}, or {"all": true}')
    return ids


async def notify_test(request: web.Request) -> web.Response:
    """Send a test message over a channel. JSON body: ``{"who": contact or schedule}`` where the channel needs one."""
    body = await json_body(request)
    receipt = await request.app[CONTROL].notify_test(request.match_info["name"], str(body.get("who", "")))
    return web.json_response({"done": receipt})


async def on_call(request: web.Request) -> web.Response:
    """Who is on call now, and from when to when: ``?from=…&until=…`` (RFC 3339 or epoch seconds; default: 7 days)."""
    view = request.app[CONTROL]
    now = view.now()
    start = moment(request.query.get("from"), now)
    until = moment(request.query.get("until"), start + 7 * DAY)
    if not start < until <= start + LONGEST_LOOK:
        raise web.HTTPBadRequest(text=f"`until` must be after `from`, by at most {LONGEST_LOOK / DAY:.0f} days")
    schedules = list(view.setup.on_call.values())
    found = await asyncio.to_thread(lambda: [shapes.on_call(one, now, start, until) for one in schedules])
    return web.json_response(
        {"now": shapes.time_text(now), "from": shapes.time_text(start), "until": shapes.time_text(until)}
        | {"schedules": found}
    )


async def calendar(request: web.Request) -> web.Response:
    """An on-call schedule as a calendar to subscribe to (RFC 5545)."""
    view = request.app[CONTROL]
    schedule = view.setup.on_call.get(request.match_info["name"])
    if schedule is None:
        known = ", ".join(view.setup.on_call) or "none"
        raise web.HTTPNotFound(text=f"there is no on-call schedule {request.match_info['name']!r}; there are: {known}")
    text = await asyncio.to_thread(rota.calendar, schedule, view.setup.name, view.now())
    return web.Response(text=text, content_type="text/calendar", charset="utf-8")


@needs(Role.ADMIN)
async def reload(request: web.Request) -> web.Response:
    """Read the configuration again; 422 with every problem when it is refused and the old one goes on."""
    problems = await request.app[CONTROL].reload()
    return web.json_response({"problems": list(problems)}, status=422 if problems else 200)


async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: ``check`` with a check as it stands now, ``incident`` likewise."""
    view = request.app[CONTROL]

    def changed(batch: tuple[Touched, ...]) -> Iterator[tuple[str, str]]:
        for change in batch:
            kind, body = _change(view, change)
            if kind:
                yield kind, json.dumps(body)

    return await follow(request, [("hello", "{}")], changed, view.touched())


def _change(view: View, change: Touched) -> tuple[str, shapes.Json]:
    if change.incident:
        found = view.state.incidents.get(change.incident)
        gone = {"id": change.incident, "check": change.check, "state": "resolved"}
        return "incident", shapes.incident(found) if found else gone
    if change.check in view.setup.checks:
        recent = view.recent(change.check)
        return "check", shapes.check(view, change.check) | {"recent": [list(run) for run in recent[-1:]]}
    return "", {}


def _check_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if name not in request.app[CONTROL].setup.checks:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}; `wcr-watchd list` shows all")
    return name
