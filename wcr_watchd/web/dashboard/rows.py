"""What one row of the overview shows of a check."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from wcr_watchd.core.model import Observation
from wcr_watchd.core.units import Unit, format_value
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes

HISTORY_BARS = 60
"""Runs that a history line has room for."""
MOST_VALUES = 4
"""Measurements that stand on the dashboard beside a check."""


def row_of(view: View, name: str) -> dict[str, Any]:
    """What a row of the list shows of a check."""
    state = view.state.checks.get(name)
    latest = view.latest.get(name)
    return {
        "id": "check-" + name,
        "name": name,
        "probe": view.setup.checks[name].probe,
        "target": view.setup.checks[name].target,
        "state": shapes.state_word(state),
        "summary": latest.summary if latest else (state.summary if state else "waiting for the first result"),
        "since": state.since if state and state.outcome else None,
        "last_at": latest.at if latest else None,
        "measured": _latest_values(view, name, latest),
        "line": history_line(view.recent(name)),
    }


def history_line(recent: tuple[tuple[float, float | None], ...]) -> dict[str, Any]:
    """A line of how long the last runs took, against the slowest; a run that was not up is a full bar.

    The newest is at the right edge, however many there are. ``fine`` and ``bad`` are SVG path data,
    ``runs`` is their number.
    """
    recent = recent[-HISTORY_BARS:]
    first = HISTORY_BARS - len(recent)
    slowest = max((duration for _, duration in recent if duration is not None), default=0.0) or 1.0
    fine, bad = [], []
    for is_up, some in groupby(enumerate(recent, start=first), key=lambda run: run[1][1] is not None):
        if is_up:
            points = [f"{at * 2 + 1} {18 - 15 * (duration or 0.0) / slowest:.0f}" for at, (_, duration) in some]
            fine.append(f"M{points[0]}L{' '.join(points)}")
        else:
            bad += [f"M{at * 2 + 1} 20v-20" for at, _ in some]
    return {"fine": "".join(fine), "bad": "".join(bad), "runs": len(recent)}


def _latest_values(view: View, name: str, latest: Observation | None) -> str:
    """The few measurements that tell most, on one line: what the rules look at first, one of each topic."""
    if latest is None:
        return ""
    minded: set[str] = set()
    for rule in view.setup.checks[name].rules:
        minded.update(rule.names, (track.name for track in rule.windows))
    plain = {one.name: one.value for one in latest.measurements if not one.labels}
    known = (spec for spec in view.specs.get(name, ()) if spec.name in plain)
    specs = [spec for spec in known if not spec.counter and spec.unit is not Unit.TIMESTAMP]  # a date is no quantity
    chosen: dict[str, str] = {}
    for spec in sorted(specs, key=lambda spec: spec.name not in minded):
        if len(chosen) < MOST_VALUES:
            chosen.setdefault(spec.topic or spec.name, f"{spec.name} {format_value(plain[spec.name], spec.unit)}")
    return " · ".join(chosen.values())
