"""The API of Alertmanager under ``/api/v2``: Prometheus sends its alerts here, amtool asks and silences.

Paths, parameters and shapes are those of Alertmanager's OpenAPI document
(https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml). What is open of our own checks is served as
alerts, too, with ``alertname`` for the check's name, so that one tool sees and silences both.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from wcr_watchd.core import alerts as core
from wcr_watchd.core.errors import CommandError, MatcherError
from wcr_watchd.core.matchers import checked, matchers_of
from wcr_watchd.core.model import Alert, Incident, IncidentState
from wcr_watchd.core.mute import facts_of
from wcr_watchd.core.setup import AlertSettings
from wcr_watchd.core.silence import KEPT, Facts, Matcher, Operator, Silence, Standing, covers
from wcr_watchd.core.view import View
from wcr_watchd.core.work import check_of
from wcr_watchd.web import shapes
from wcr_watchd.web.access.gate import ALERTS_PATH
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.health import CONTROL

PREFIX = ALERTS_PATH.rstrip("/")
MAX_BODY = 4 * 1024 * 1024
MAX_ALERTS = 10_000
"""Alerts in one request; Prometheus sends at most a few hundred."""
AT_A_TIME = 50
"""Incidents that are put into an answer before the loop may go on with other things."""
NOT_SET = "0001-01-01T00:00:00"
"""How a Go program writes a time that is not set."""


class RefusedError(Exception):
    """A request that cannot be done; Alertmanager answers with the reason as a JSON text."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    router = app.router
    router.add_get(f"{PREFIX}/status", status)
    router.add_get(f"{PREFIX}/receivers", receivers)
    router.add_get(f"{PREFIX}/alerts", alerts)
    router.add_post(f"{PREFIX}/alerts", take_alerts)
    router.add_get(f"{PREFIX}/alerts/groups", groups)
    router.add_get(f"{PREFIX}/silences", silences)
    router.add_post(f"{PREFIX}/silences", put_silence)
    router.add_get(f"{PREFIX}/silence/{{id}}", silence)
    router.add_delete(f"{PREFIX}/silence/{{id}}", expire)


def refused(error: RefusedError) -> web.Response:
    """The answer to a request that cannot be done."""
    return web.json_response(str(error), status=error.status)


def _settings(request: web.Request) -> AlertSettings:
    settings = request.app[CONTROL].setup.alerts
    if settings is None:
        raise RefusedError("alerts are not taken here: set enabled = true in [alerts]", 404)
    return settings


# --- what is asked --------------------------------------------------------------------------------------------------


async def status(request: web.Request) -> web.Response:
    """Version, uptime, and a configuration with as much as tools want to read of it."""
    _settings(request)
    view = request.app[CONTROL]
    names = list(view.setup.policies)
    original = {"route": {"receiver": names[0]}, "receivers": [{"name": name} for name in names]}
    version = {"branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": ""}
    return web.json_response(
        {
            "cluster": {"status": "disabled", "peers": []},
            "config": {"original": json.dumps(original)},
            "uptime": _time(view.started_at),
            "versionInfo": version | {"version": f"wcr-watchd {view.version}"},
        }
    )


async def receivers(request: web.Request) -> web.Response:
    """The escalation policies, which take the place of receivers."""
    _settings(request)
    return web.json_response([{"name": name} for name in request.app[CONTROL].setup.policies])


async def alerts(request: web.Request) -> web.Response:
    """What is open: ``?filter=…`` (matchers), ``active``, ``silenced``, ``inhibited``, ``receiver``."""
    _settings(request)
    return web.json_response(await _shown(request))


async def groups(request: web.Request) -> web.Response:
    """The same, by policy and group."""
    _settings(request)
    found: dict[tuple[str, str, str], list[shapes.Json]] = {}
    for alert in await _shown(request):
        labels = alert["labels"]
        label = "group" if labels.get("group") else "alertname"
        found.setdefault((alert["receivers"][0]["name"], label, labels.get(label, "")), []).append(alert)
    return web.json_response(
        [
            {"labels": {label: value} if value else {}, "receiver": {"name": receiver}, "alerts": some}
            for (receiver, label, value), some in sorted(found.items())
        ]
    )


async def _shown(request: web.Request) -> list[shapes.Json]:
    """What the query asks for, put together a few at a time so that the loop goes on."""
    view, query = request.app[CONTROL], request.query
    wanted = _filter(request)
    receiver = _pattern(query.get("receiver", ""))
    hidden = {
        state
        for name, state in (("active", "active"), ("silenced", "silenced"), ("inhibited", "inhibited"))
        if query.get(name, "true") == "false"
    }
    found = []
    for number, incident in enumerate(tuple(view.state.incidents.values()), start=1):
        if number % AT_A_TIME == 0:
            await asyncio.sleep(0)
        facts = facts_of(view.setup, check_of(view.setup, incident), incident)
        by = [one.id for one in view.state.silences.values() if one.active(view.now()) and covers(one.matchers, facts)]
        if _reasons(incident, by) & hidden or not all(matcher.holds(facts) for matcher in wanted):
            continue
        shape = _alert(view, incident, facts, by)
        if receiver is None or receiver.fullmatch(shape["receivers"][0]["name"]):
            found.append(shape)
    return found


def _reasons(incident: Incident, silences: Collection[str]) -> set[str]:
    """By which of the query's switches an incident is hidden; one that was acknowledged may be silenced as well."""
    found = {"inhibited"} if incident.state is IncidentState.SUPPRESSED else set[str]()
    if silences or incident.state in (IncidentState.SILENCED, IncidentState.MAINTENANCE):
        found.add("silenced")
    return found or {"active"}


def _alert(view: View, incident: Incident, facts: Facts, by: Collection[str]) -> shapes.Json:
    """An incident that these silences cover as a ``gettableAlert``."""
    labels = dict(incident.alert.labels) if incident.alert else _labels(facts)
    annotations = dict(incident.alert.annotations) if incident.alert else {"summary": incident.summary}
    now = view.now()
    muted = [incident.muted_by] if incident.state.muted and not by else []
    inhibited = muted if incident.state is IncidentState.SUPPRESSED else []
    own_page = f"{view.setup.public_url.rstrip('/')}/incidents/{incident.id}"
    ends_at = incident.alert.ends_at if incident.alert else now + 300.0
    return {
        "annotations": annotations,
        "endsAt": _time(ends_at),
        "fingerprint": fingerprint(labels),
        "receivers": [{"name": check_of(view.setup, incident).policy or "none"}],
        "startsAt": _time(incident.alert.starts_at if incident.alert else incident.opened_at),
        "status": {
            "inhibitedBy": inhibited,
            "mutedBy": [] if inhibited else muted,
            "silencedBy": [*by],
            "state": "suppressed" if incident.state.muted or by else "active",
        },
        "updatedAt": _time(incident.alert.updated_at if incident.alert else incident.changed_at),
        "generatorURL": incident.alert.generator if incident.alert else own_page,
        "labels": labels,
    }


def _labels(facts: Facts) -> dict[str, str]:
    """What is known of a check's incident as labels; of several values the first, with the rest after commas."""
    return {name: ",".join(values) for name, values in facts.items() if any(values)}


def fingerprint(labels: dict[str, str]) -> str:
    """What tells a set of labels from others: the FNV-1a hash that Prometheus and Alertmanager use."""
    found = 0xCBF29CE484222325
    text = b"".join(name.encode() + b"\xff" + labels[name].encode() + b"\xff" for name in sorted(labels))
    for byte in text:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return f"{found:016x}"


# --- alerts that are sent ---------------------------------------------------------------------------------------------


async def take_alerts(request: web.Request) -> web.Response:
    """Take alerts. As in Alertmanager those that are right are taken although others are not, which is a 400 then."""
    settings = _settings(request)
    control = request.app[CONTROL]
    sent = await _json(request)
    if not isinstance(sent, list) or len(sent) > MAX_ALERTS:
        raise RefusedError(f"the body must be a JSON list of at most {MAX_ALERTS} alerts")
    right: list[Alert] = []
    wrong: list[str] = []
    for one in sent:
        try:
            right.append(alert_of(one, control.now(), settings.resolve_timeout))
        except (RefusedError, CommandError) as error:
            wrong.append(str(error))
    try:
        await control.alerts(right)
    except CommandError as error:
        wrong.append(str(error))
    if wrong:
        raise RefusedError("; ".join(dict.fromkeys(wrong)))
    return web.Response(status=200)


def alert_of(sent: Any, now: float, timeout: float) -> Alert:
    """A ``postableAlert``. Raises :class:`RefusedError` and :class:`CommandError` when it is none."""
    if not isinstance(sent, dict):
        raise RefusedError("an alert must be a JSON object")
    generator = sent.get("generatorURL") or ""
    return core.received(
        _texts(sent.get("labels"), "labels"),
        _texts(sent.get("annotations"), "annotations"),
        _moment(sent.get("startsAt"), "startsAt"),
        _moment(sent.get("endsAt"), "endsAt"),
        generator if isinstance(generator, str) else "",
        now,
        timeout,
    )


def _texts(value: Any, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise RefusedError(f"{what} must be an object of texts")
    return value


def _moment(value: Any, what: str) -> float | None:
    if value is None or value == "" or str(value).startswith(NOT_SET):
        return None
    try:
        return shapes.moment(str(value))
    except ValueError as error:
        raise RefusedError(f"{what}: {error}") from error


# --- silences ---------------------------------------------------------------------------------------------------------


async def silences(request: web.Request) -> web.Response:
    """All silences, those that hold first: ``?filter=…``."""
    _settings(request)
    view = request.app[CONTROL]
    wanted, now = _filter(request), view.now()
    order = {Standing.ACTIVE: 0, Standing.PENDING: 1, Standing.EXPIRED: 2}
    # Maintenance is remembered for longer than a silence, for what was planned: an Alertmanager would not show it.
    known = (one for one in view.state.silences.values() if one.ends_at > now - KEPT)
    found = sorted(known, key=lambda one: (order[one.standing(now)], one.ends_at))
    matching = (one for one in found if all(matcher.holds(_matched(one)) for matcher in wanted))
    return web.json_response([_silence(one, now) for one in matching])


def _matched(one: Silence) -> Facts:
    return {matcher.name: (matcher.value,) for matcher in one.matchers}


async def silence(request: web.Request) -> web.Response:
    """One silence."""
    _settings(request)
    view = request.app[CONTROL]
    return web.json_response(_silence(_known(view, request.match_info["id"]), view.now()))


async def expire(request: web.Request) -> web.Response:
    """End a silence now."""
    _settings(request)
    control = request.app[CONTROL]
    await control.expire(_known(control, request.match_info["id"]).id)
    return web.Response(status=200)


async def put_silence(request: web.Request) -> web.Response:
    """Add a silence, or change the one whose ``id`` is given."""
    _settings(request)
    control = request.app[CONTROL]
    asked = await _json(request)
    if not isinstance(asked, dict) or not isinstance(asked.get("matchers"), list):
        raise RefusedError("a silence is a JSON object with matchers")
    if not asked["matchers"]:
        raise RefusedError("matchers in body should have at least 1 items", 422)
    now = control.now()
    starts_at, ends_at = _moment(asked.get("startsAt"), "startsAt"), _moment(asked.get("endsAt"), "endsAt")
    if ends_at is None:
        raise RefusedError("endsAt is missing")
    before = _known(control, str(asked["id"])) if asked.get("id") else None
    wanted = Silence(
        id=str(uuid4()),
        matchers=tuple(matcher_of(one) for one in asked["matchers"]),
        # A silence from now on is asked for a moment before it arrives.
        starts_at=starts_at if before and starts_at is not None else max(now, starts_at or now),
        ends_at=ends_at,
        author=str(asked.get("createdBy") or request[VISITOR].name)[:80],
        comment=str(asked.get("comment") or "")[:1_000],
        updated_at=now,
        maintenance=before.maintenance if before else False,
    )
    try:
        holds, _ = await control.silence(wanted, before.id if before else "")
    except CommandError as error:
        raise RefusedError(str(error)) from error
    return web.json_response({"silenceID": holds.id})


def matcher_of(asked: Any) -> Matcher:
    """A ``matcher``. Raises :class:`RefusedError` when it is none."""
    if not isinstance(asked, dict) or not all(isinstance(asked.get(key), str) for key in ("name", "value")):
        raise RefusedError("a matcher has name, value, isRegex and isEqual")
    equal, regex = asked.get("isEqual", True) is not False, asked.get("isRegex") is True
    operator = {
        (True, False): Operator.EQUAL,
        (False, False): Operator.NOT_EQUAL,
        (True, True): Operator.MATCHES,
        (False, True): Operator.MATCHES_NOT,
    }[equal, regex]
    try:
        return checked(Matcher(asked["name"], operator, asked["value"]))
    except MatcherError as error:
        raise RefusedError(error.reason) from error


def _silence(one: Silence, now: float) -> shapes.Json:
    """A silence as a ``gettableSilence``."""
    return {
        "id": one.id,
        "status": {"state": one.standing(now).value},
        "updatedAt": _time(one.updated_at),
        "comment": one.comment,
        "createdBy": one.author,
        "startsAt": _time(one.starts_at),
        "endsAt": _time(one.ends_at),
        "matchers": [
            {
                "name": matcher.name,
                "value": matcher.value,
                "isRegex": matcher.operator in (Operator.MATCHES, Operator.MATCHES_NOT),
                "isEqual": matcher.operator in (Operator.EQUAL, Operator.MATCHES),
            }
            for matcher in one.matchers
        ],
    }


# --- small things -----------------------------------------------------------------------------------------------------


def _known(view: View, identifier: str) -> Silence:
    found = view.state.silences.get(identifier)
    if found is None:
        raise RefusedError(f"silence {identifier} not found", 404)
    return found


def _filter(request: web.Request) -> tuple[Matcher, ...]:
    texts: Iterable[str] = request.query.getall("filter", [])
    try:
        # amtool passes "owner=" on as it was typed: what has no such label.
        return matchers_of(f'{text}""' if text.endswith(("=", "~")) else text for text in texts)
    except MatcherError as error:
        raise RefusedError(f"filter, column {error.column + 1}: {error.reason}") from error


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(checked(Matcher("receiver", Operator.MATCHES, text)).value) if text else None
    except MatcherError as error:
        raise RefusedError(error.reason) from error


async def _json(request: web.Request) -> Any:
    try:
        return shapes.parsed(await request.clone(client_max_size=MAX_BODY).read())
    except ValueError as error:
        raise RefusedError(f"the body is not JSON: {error}") from error


def _time(at: float) -> str:
    """RFC 3339 in UTC with a Z, as Go programs write it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
