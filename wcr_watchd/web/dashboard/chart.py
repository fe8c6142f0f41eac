"""What a measurement's chart is drawn from: its course by columns, the rules' lines, and what happened meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile
from statistics import median
from typing import Any

from aiohttp import web

from wcr_watchd.core.dependencies import ancestors
from wcr_watchd.core.model import Labels, MeasurementSpec
from wcr_watchd.core.mute import facts_of_check
from wcr_watchd.core.protocols import Point
from wcr_watchd.core.setup import Check
from wcr_watchd.core.silence import Window, covers
from wcr_watchd.core.thresholds import thresholds
from wcr_watchd.core.units import Unit, format_value
from wcr_watchd.core.uptime import Span
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes
from wcr_watchd.web.health import CONTROL

PATH = "/checks/{name}/chart"
SPANS = {"1h": 3_600.0, "6h": 21_600.0, "24h": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0, "1y": 31_536_000.0}
"""The spans that a chart is offered for, seconds by name."""
WORDS = {"1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "1y": "1 year"}
USUAL = "24h"
SHORTEST, LONGEST = 60.0, 3 * 31_536_000.0
POINTS = 1_000
"""Points of one series at most."""
MOST_SERIES = 8
"""Series of one measurement (its label sets) in a chart; more lines than that nobody tells apart."""
MOST_MARKS = 200
MOST_WINDOWS = 400
"""Times of one planned window that are looked up."""
DIGITS = 5
"""Significant digits that are sent of a value."""
HOLE = 2.5
"""Intervals without a value from which on a line is interrupted."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """The course of one series, in points."""

    labels: Labels
    points: Sequence[Point]


def add_routes(app: web.Application) -> None:
    """Put the route of the data into the application."""
    app.router.add_get(PATH, show)


async def show(request: web.Request) -> web.Response:
    """The data of one measurement's chart: ``?measurement=…&span=24h``, or ``since`` and ``until`` (epoch seconds)."""
    view = request.app[CONTROL]
    name = request.match_info["name"]
    spec = next((one for one in view.specs.get(name, ()) if one.name == request.query.get("measurement")), None)
    if name not in view.setup.checks or spec is None:
        raise web.HTTPNotFound(text=f"there is no such measurement of {name!r}; its page lists all\n")
    check = view.setup.checks[name]
    since, until = asked(request, view.now())
    figures = await course(view, check, spec, since, until)
    document: Json = {
        "measurement": spec.name,
        "unit": spec.unit.value,
        "since": since,
        "until": until,
        "thresholds": [
            {
                "value": one.value,
                "severity": one.severity.word,
                "text": f"{one.severity.word} {one.symbol} {format_value(one.value, spec.unit)}",
            }
            for one in thresholds(check.rules, spec.name)
        ],
        "marks": await marks(view, check, since, until),
    }
    # A thousand points of eight series are half a megabyte of text to write.
    text = await asyncio.to_thread(lambda: json.dumps(document | _drawn(figures, spec, check.every)))
    response = web.Response(
        body=text.encode(), content_type="application/json", headers={"Cache-Control": "no-store"}, zlib_executor_size=1
    )
    response.enable_compression()
    return response


def _drawn(figures: Sequence[Figure], spec: MeasurementSpec, every: float) -> Json:
    times, columns = table(figures, every)
    names = [shapes.series_name("", figure.labels).strip("{}") or spec.name for figure in figures]
    return {
        "times": times,
        "series": [{"name": name, **column} for name, column in zip(names, columns, strict=True)],
    }


def asked(request: web.Request, now: float) -> Span:
    """The span of time that a request asks for. Raises ``HTTPBadRequest`` with what would be right."""
    query = request.query
    if "since" in query or "until" in query:
        try:
            since, until = (shapes.moment(query[key]) for key in ("since", "until"))
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{error}; give since and until\n") from error
        until = min(until, now)
        if not SHORTEST <= until - since <= LONGEST:
            raise web.HTTPBadRequest(text="since must be a minute to three years before until\n")
        return since, until
    span = query.get("span", USUAL)
    if span not in SPANS:
        raise web.HTTPBadRequest(text=f"span {span!r} is unknown; there are {', '.join(SPANS)}\n")
    return now - SPANS[span], now


async def course(view: View, check: Check, spec: MeasurementSpec, since: float, until: float) -> list[Figure]:
    """The courses of a measurement's series, as many as a chart can hold."""
    labels = series_of(view, check.name, spec)[:MOST_SERIES]
    wanted = [(spec.name, one) for one in labels]
    found = await view.store.courses(check.name, wanted, since=since, until=until, points=POINTS)
    return [Figure(one, points) for one, points in zip(labels, found, strict=True)]


def series_of(view: View, check: str, spec: MeasurementSpec) -> list[Labels]:
    """The label sets that the newest observation has of a measurement."""
    latest = view.latest.get(check)
    there = [one.labels for one in latest.measurements if one.name == spec.name] if latest else []
    return list(dict.fromkeys(there)) or ([()] if not spec.labels else [])


def table(figures: Sequence[Figure], usual: float) -> tuple[list[int], list[Json]]:
    """The times of all points, and by series the columns ``mean``, ``min`` and ``max``; None where nothing is known.

    A hole much longer than ``usual`` (seconds between two points) has a row of its own, so that no line crosses it.
    """
    times = sorted({round(point.at) for figure in figures for point in figure.points})
    steps = [after - before for before, after in pairwise(times)]
    limit = HOLE * max(usual, median(steps) if steps else 0.0)
    holes = [before + 1 for before, step in zip(times, steps, strict=False) if step > limit]
    rows = sorted({*times, *holes})
    return rows, [_columns(figure.points, rows) for figure in figures]


def _columns(points: Iterable[Point], rows: Sequence[int]) -> Json:
    by_time = {round(point.at): point for point in points}
    found = [by_time.get(at) for at in rows]
    columns: Json = {"mean": [None if one is None else _short(one.mean) for one in found]}
    if any(one is not None and one.count > 1 for one in found):
        columns["min"] = [None if one is None else _short(one.minimum) for one in found]
        columns["max"] = [None if one is None else _short(one.maximum) for one in found]
    return columns


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# --- what happened meanwhile ---


async def marks(view: View, check: Check, since: float, until: float) -> list[Json]:
    """Incidents of the check, planned windows and silences that cover it, changes and what became different."""
    incidents = await view.store.incidents(check=check.name, since=since, limit=MOST_MARKS)
    found = [
        _mark(
            "incident",
            one.opened_at,
            one.resolved_at or view.now(),
            f"#{one.id} {one.peak.word}: {one.summary}",
            f"/incidents/{one.id}",
            one.peak.word,
        )
        for one in incidents
        if one.opened_at < until
    ]
    found += [_mark("window", *span, name) for name, span in await windows(view, check, since, until)]
    own = {check.name, *ancestors(view.setup, check.name)}
    for mark in await view.marks(since, until):
        if not mark.concerns(own):
            continue
        url = f"/changes/{mark.change}" if mark.change else ""
        end = mark.until or (min(until, view.now()) if mark.change else mark.at)
        found.append(_mark("change", mark.at, end, mark.text, url))
    return sorted(found, key=lambda one: float(one["from"]))[-MOST_MARKS:]


def _mark(kind: str, start: float, end: float, text: str, url: str = "", severity: str = "") -> Json:
    return {"kind": kind, "from": round(start), "until": round(end), "text": text, "url": url, "severity": severity}


async def windows(view: View, check: Check, since: float, until: float) -> list[tuple[str, Span]]:
    """The planned windows and silences that cover a check, in words, as the present configuration has them."""
    facts = facts_of_check(view.setup, check)
    planned = [one for one in view.setup.windows if covers(one.matchers, facts)]
    held = [one for one in view.state.silences.values() if covers(one.matchers, facts)]
    # Finding when something recurs takes a while: not on the event loop.
    found = await asyncio.to_thread(
        lambda: [(f"maintenance {one.name}", span) for one in planned for span in _spans(one, since, until)]
    )
    for one in held:
        if one.starts_at < until and one.ends_at > since:
            kind = "maintenance started" if one.maintenance else "silenced"
            found.append((f"{kind} by {one.author}", (one.starts_at, one.ends_at)))
    return found


def _spans(window: Window, since: float, until: float) -> list[Span]:
    running = window.spans.around(since)
    coming = takewhile(lambda span: span[0] < until, window.spans.after(since))
    return list(dict.fromkeys((*([running] if running else []), *islice(coming, MOST_WINDOWS))))


def rows_of(figures: Sequence[Figure], spec: MeasurementSpec, since: float, until: float, rows: int) -> list[Json]:
    """A chart in figures, for reading without it: least, mean and largest value of even parts of the time."""
    parts: dict[tuple[int, Labels], list[Point]] = {}
    for figure in figures:
        for point in figure.points:
            part = min(rows - 1, max(0, int((point.at - since) / (until - since) * rows)))
            parts.setdefault((part, figure.labels), []).append(point)
    return [
        _row(spec.unit, since + (until - since) * part / rows, *parts[part, labels], labels=labels)
        for part, labels in sorted(parts)
    ]


def _row(unit: Unit, at: float, *points: Point, labels: Labels) -> Json:
    count = sum(point.count for point in points)
    return {
        "at": at,
        "labels": shapes.series_name("", labels).strip("{}"),
        "minimum": format_value(min(point.minimum for point in points), unit),
        "mean": format_value(sum(point.mean * point.count for point in points) / count, unit),
        "maximum": format_value(max(point.maximum for point in points), unit),
        "count": count,
    }
