"""A course as a picture (SVG) for the page; its colours are the page's."""

from __future__ import annotations

from itertools import pairwise

from wcr_watchd.core.status import Chart
from wcr_watchd.core.units import format_value

WIDTH, HEIGHT = 600, 80
_EDGE = 3


def in_words(chart: Chart) -> str:
    """What the picture shows, for those who cannot see it."""
    if not chart.points:
        return f"{chart.title} of the last day: nothing was measured"
    values = [value for _, value in chart.points]
    low, high, last = (format_value(value, chart.unit) for value in (min(values), max(values), values[-1]))
    return f"{chart.title} of the last day: between {low} and {high}, {last} now"


def path(chart: Chart, end: float, seconds: float) -> str:
    """The line's path data over the last ``seconds`` until ``end``, from 0 at the foot; a hole is no line."""
    if not chart.points:
        return ""
    top = max(value for _, value in chart.points) or 1.0
    gap = 2.5 * seconds / 96
    spots = [
        (at, WIDTH * (1 - (end - at) / seconds), HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * max(0.0, value) / top)
        for at, value in chart.points
        if end - seconds <= at <= end
    ]
    if not spots:
        return ""
    said = [f"M{spots[0][1]:.1f} {spots[0][2]:.1f}"]
    said += [f"{'M' if now[0] - before[0] > gap else 'L'}{now[1]:.1f} {now[2]:.1f}" for before, now in pairwise(spots)]
    return "".join(said)
