"""The overview: what is wrong now, then every check by group, kept fresh by events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from wcr_watchd.core import health
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.units import format_value
from wcr_watchd.core.view import Touched, View
from wcr_watchd.web import shapes
from wcr_watchd.web.dashboard.layout import fragment, page, time_of_day
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import follow

ROWS_AT_A_TIME = 50
"""Rows rendered before others have their turn: a page of 10 000 checks takes a second, the event loop must not."""

HISTORY_BARS = 60
"""Runs that a history line has room for."""
MOST_VALUES = 4
"""Measurements that stand on the dashboard beside a check."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get("/", show)
    app.router.add_get("/live", live)


async def show(request: web.Request) -> web.Response:
    """Everything at a glance: open incidents, then all checks, the worst first."""
    view = request.app[CONTROL]
    names = sorted(view.setup.checks, key=lambda name: _urgency(view, name))
    setup, groups = view.setup, dict[str, list[str]]()
    for number, name in enumerate(names, start=1):
        row = fragment(view, "_row.html", row=row_of(view, name))
        groups.setdefault(setup.checks[name].group, []).append(row)
        if number % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
            if view.setup is not setup:
                raise web.HTTPFound("/")  # reloaded meanwhile: other checks, another page
    return page(request, "overview.html", groups=groups, header=_header(view), incidents=_incidents(view))


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events for the dashboard: fragments of the page by the id of the element they replace.

    After a reload of the configuration the page has other rows: ``reload`` makes the browser ask for it anew.
    """
    view = request.app[CONTROL]
    setup = view.setup

    def changed(batch: tuple[Touched, ...]) -> Iterator[tuple[str | None, str]]:
        if view.setup is not setup:
            return iter([("reload", "{}")])
        return ((None, html) for html in _fragments(view, batch))

    return await follow(request, [(None, _overview(view))], changed)


def _fragments(view: View, batch: tuple[Touched, ...]) -> Iterator[str]:
    """What of the page changed, in pieces that render quickly."""
    yield _overview(view)
    names = list(dict.fromkeys(change.check for change in batch if change.check))
    for at in range(0, len(names), ROWS_AT_A_TIME):
        some = [name for name in names[at : at + ROWS_AT_A_TIME] if name in view.setup.checks]
        rows = (fragment(view, "_row.html", row=row_of(view, name)) for name in some)
        yield "".join(row.replace("<a ", '<a hx-swap-oob="true" ', 1) for row in rows)


def _overview(view: View) -> str:
    """What stands above the list, as elements that take the place of those with their ids."""
    header = fragment(view, "_header.html", header=_header(view))
    incidents = fragment(view, "_incidents.html", incidents=_incidents(view))
    return (
        f'<div id="header" hx-swap-oob="innerHTML">{header}</div>'
        f'<div id="incidents" hx-swap-oob="innerHTML">{incidents}</div>'
    )


def _header(view: View) -> dict[str, Any]:
    """The one sentence that says how it is, and what is wrong with the daemon itself."""
    words = Counter(shapes.state_word(view.state.checks.get(name)) for name in view.setup.checks)
    worst = next((word for word in _WORST_FIRST if words[word]), "ok")
    return {
        "state": worst,
        "wrong": sum(words[word] for word in _NEED_ATTENTION),
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
        f"Maintenance {one.name} until {time_of_day(view, span[1])}" + (f": {one.comment}" if one.comment else "")
        for one, span in spans
        if span is not None
    ]
    held = [one for one in view.state.silences.values() if one.active(now)]
    started = [
        f"Maintenance by {one.author} until {time_of_day(view, one.ends_at)}"
        + (f": {one.comment}" if one.comment else "")
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


def row_of(view: View, name: str) -> dict[str, Any]:
    """What a row of the list shows of a check."""
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
