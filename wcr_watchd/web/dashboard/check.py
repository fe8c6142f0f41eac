"""The page of one check: its verdict and why, charts, availability, its place among others, and what one can do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.forecast import FORESEEN
from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome
from wcr_watchd.core.prospect import Prospect
from wcr_watchd.core.setup import Check
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.core.verdict import standings
from wcr_watchd.core.view import Touched, View
from wcr_watchd.web import quiet, shapes
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.availability import availability
from wcr_watchd.web.dashboard import chart
from wcr_watchd.web.dashboard.layout import page, time_of_day
from wcr_watchd.web.dashboard.rows import row_of
from wcr_watchd.web.guidance import shown_guidance
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import CHANGED, Event, follow
from wcr_watchd.web.prospects import limit_text, prospects, when

PATH = "/checks/{name}"
OPEN_CHARTS = 4
"""Charts that are drawn when the page opens; the others are when somebody opens them."""
FIGURES = 24
"""Rows of a chart as a table."""
MOST_INCIDENTS = 20
PHASE = "response_phase"
"""The measurement that tells how long each step of a run took."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_get(f"{PATH}/live", live)
    app.router.add_get(f"{PATH}/now", now)
    app.router.add_post(f"{PATH}/run", run)
    app.router.add_post(f"{PATH}/silence", silence)


async def show(request: web.Request) -> web.Response:
    """The check as it is; ``?span=…`` for the charts, ``?figures=…`` for one of them as a table."""
    return await _page(request)


async def now(request: web.Request) -> web.Response:
    """The head of the page alone, which an open page asks for after every run: it costs next to nothing."""
    view, check = request.app[CONTROL], _check(request)
    return page(request, "_check_now.html", **await _head(view, check))


async def run(request: web.Request) -> web.Response:
    """Run the check now, from its button; the page says what it found."""
    control, name = request.app[CONTROL], request.match_info["name"]
    try:
        seen = await control.run_now(name)
    except CommandError as error:
        return await _page(request, said=str(error), status=409)
    return await _page(request, ran=seen)


async def silence(request: web.Request) -> web.Response:
    """Silence the check for a time, from the form on its page."""
    control, name = request.app[CONTROL], request.match_info["name"]
    form = {key: str(value) for key, value in (await request.post()).items()}
    asked = {"for": form.get("for", ""), "comment": form.get("comment", ""), "matchers": [f'check="{name}"']}
    try:
        wanted = quiet.wanted(control, asked, request[VISITOR].name, maintenance=form.get("kind") == "maintenance")
        await control.silence(wanted)
    except (CommandError, web.HTTPBadRequest) as error:
        said = error.text or "" if isinstance(error, web.HTTPBadRequest) else str(error)
        return await _page(request, said=said.strip(), form=form, status=400)
    raise web.HTTPSeeOther(request.path.removesuffix("/silence"))


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: ``changed`` at once and whenever the check has a new result or an incident of it moved."""
    name = request.match_info["name"]

    def changed(batch: Sequence[Touched]) -> Iterator[Event]:
        if any(one.check == name for one in batch):
            yield CHANGED

    return await follow(request, [CHANGED], changed, request.app[CONTROL].touched())


async def _page(
    request: web.Request,
    *,
    status: int = 200,
    said: str = "",
    ran: Observation | None = None,
    form: Mapping[str, str] | None = None,
) -> web.Response:
    view, check = request.app[CONTROL], _check(request)
    name, latest = check.name, view.latest.get(check.name)
    span = request.query.get("span", chart.USUAL)
    since, until = chart.asked(request, view.now())
    shown = list(_measured(view, check, latest))
    response = page(
        request,
        "check.html",
        **await _head(view, check),
        latest=latest,
        measurements=shown,
        span=span,
        spans=chart.WORDS,
        figures=await _figures(request, view, check, since, until),
        availability=await availability(view, check),
        foretold=[_foretold(one, view.now(), view.setup.timezone) for one in await prospects(view, check)],
        incidents=await view.store.incidents(check=name, limit=MOST_INCIDENTS),
        parents=[(one, shapes.state_word(view.state.checks.get(one))) for one in check.depends_on],
        children=[
            (one.name, shapes.state_word(view.state.checks.get(one.name)))
            for one in view.setup.checks.values()
            if name in one.depends_on
        ],
        pings=await view.pings(name) if check.probe == "heartbeat" else (),
        settings=await asyncio.to_thread(view.settings, name),
        guidance=await shown_guidance(view.setup, check),
        said=said,
        ran=ran,
        silencing=form is not None,
        form={"for": "2h", "comment": "", "kind": "silence", **(form or {})},
    )
    response.set_status(status)
    return response


def _check(request: web.Request) -> Check:
    name = request.match_info["name"]
    check = request.app[CONTROL].setup.checks.get(name)
    if check is None:
        raise web.HTTPNotFound(text=f"there is no check named {name!r}\n")
    return check


async def _head(view: View, check: Check) -> dict[str, Any]:
    """What the head of the page shows: how the check is, why, and how the last run went."""
    latest, state = view.latest.get(check.name), view.state.checks.get(check.name)
    return {
        "row": row_of(view, check.name),
        "check": check,
        "sentence": _sentence(check.name, state, latest, check),
        "standings": standings(check, state),
        "held": await chart.windows(view, check, view.now(), view.now() + 1.0),
        "phases": _phases(latest),
    }


def _sentence(name: str, state: CheckState | None, latest: Observation | None, check: Check) -> str:
    """How it is and why, in one sentence."""
    word = shapes.state_word(state)
    worst = next((one for one in standings(check, state) if one.fires), None)
    if worst is not None and word == worst.severity.word:
        return f"{name} is {word}: {worst.because}"
    if word == "ok" and latest is not None and latest.outcome is Outcome.UP:
        return f"{name} is up"
    return f"{name} has no result yet" if state is None or state.outcome is None else f"{name} is {word}"


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of a run in the bar: where it begins and how wide it is (0-100), and how long it took."""

    name: str
    start: float
    width: float
    took: str


def _phases(latest: Observation | None) -> list[Phase]:
    """The steps of the last run, one after the other; none when it has only one or none."""
    steps = (
        [(dict(one.labels).get("phase", ""), one.value) for one in latest.measurements if one.name == PHASE]
        if latest
        else []
    )
    total = sum(value for _, value in steps)
    found, at = [], 0.0
    for name, value in steps:
        share = 100 * value / total if total else 0.0
        found.append(Phase(name.replace("_", " "), at, share, format_duration(value)))
        at += share
    return found if total and len(found) > 1 else []


@dataclass(frozen=True, slots=True)
class Shown:
    """A measurement on the page: its values now by labels, and whether its chart is open from the start."""

    spec: MeasurementSpec
    values: tuple[tuple[str, str], ...]
    open: bool


def _measured(view: View, check: Check, latest: Observation | None) -> Iterator[Shown]:
    """Every measurement, those that rules look at first."""
    values: dict[str, list[tuple[str, str]]] = {}
    units = {spec.name: spec.unit for spec in view.specs.get(check.name, ())}
    for one in latest.measurements if latest else ():
        label = ", ".join(value for _, value in one.labels)
        unit = units.get(one.name, Unit.COUNT)
        moment = unit is Unit.TIMESTAMP and 0 <= one.value <= shapes.LATEST
        shown = time_of_day(view, one.value) if moment else format_value(one.value, unit)
        values.setdefault(one.name, []).append((label, shown))
    minded = {name for rule in check.rules for name in (*rule.names, *(track.name for track in rule.windows))}
    specs = [spec for spec in view.specs.get(check.name, ()) if spec.name in values]
    for number, spec in enumerate(sorted(specs, key=lambda spec: (spec.name not in minded, spec.counter))):
        yield Shown(spec, tuple(values[spec.name]), number < OPEN_CHARTS)


def _foretold(one: Prospect, at: float, timezone: str) -> tuple[str, str, str, str, float | None]:
    """A row of what is foretold: of what, now, the limit, when in words, and when (None: that tells nothing)."""
    met = one.met.expected if one.met else None
    date = met if met is not None and at < met <= at + FORESEEN else None
    name = shapes.series_name(one.measurement, one.labels)
    return name, format_value(one.now, one.unit), limit_text(one), when(one, at, timezone), date


async def _figures(request: web.Request, view: View, check: Check, since: float, until: float) -> dict[str, Any] | None:
    """The course of one measurement as a table, where it is asked for."""
    asked = request.query.get("figures")
    spec = next((one for one in view.specs.get(check.name, ()) if one.name == asked), None)
    if spec is None:
        return None
    found = await chart.course(view, check, spec, since, until)
    return {"spec": spec, "rows": chart.rows_of(found, spec, since, until, FIGURES)}
