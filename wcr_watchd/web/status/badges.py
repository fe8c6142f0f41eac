"""Small pictures for other people's pages: a label and what is so (SVG 1.1), drawn here."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from wcr_watchd.core.status import WORDS, ComponentStatus, Condition, PublicStatus, overall
from wcr_watchd.core.units import format_value
from wcr_watchd.web.status.words import share

_COLOURS = {
    Condition.OPERATIONAL: "#17694a",
    Condition.MAINTENANCE: "#2457a6",
    Condition.UNKNOWN: "#555c66",
    Condition.DEGRADED: "#8a5000",
    Condition.PARTIAL: "#a3400a",
    Condition.MAJOR: "#a8211a",
}
_NEUTRAL = "#3b4a5a"
_NARROW, _WIDE = frozenset("fijlrt.,:;|!'()[] I1"), frozenset("mwMW%@")


def badges(status: PublicStatus) -> Iterator[tuple[str, str]]:
    """Path and picture of each badge."""
    condition, _ = overall(status)
    yield "badge/status.svg", badge("status", WORDS[condition], _COLOURS[condition])
    for one in status.components:
        yield f"badge/{one.id}.svg", badge(one.name, WORDS[one.condition], _COLOURS[one.condition])
        yield f"badge/{one.id}.uptime.svg", badge(f"uptime {len(one.days)} days", share(one.uptime), _shade(one))
        if one.chart is not None and one.chart.points:
            latest = format_value(one.chart.points[-1][1], one.chart.unit)
            yield f"badge/{one.id}.chart.svg", badge(one.chart.title.lower(), latest, _NEUTRAL)


def _shade(one: ComponentStatus) -> str:
    if one.uptime is None:
        return _COLOURS[Condition.UNKNOWN]
    if one.uptime >= 0.999:
        return _COLOURS[Condition.OPERATIONAL]
    return _COLOURS[Condition.DEGRADED if one.uptime >= 0.99 else Condition.MAJOR]


def badge(label: str, value: str, colour: str) -> str:
    """The picture; what it says is its title, too, for those who cannot see it."""
    left, right = _width(label), _width(value)
    said = escape(f"{label}: {value}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="22" role="img" aria-label="'
        f'{said.replace(chr(34), "&quot;")}"><title>{said}</title>'
        f'<rect width="{left + right}" height="22" rx="5" fill="#2b323b"/>'
        f'<path d="M{left} 0h{right - 5}a5 5 0 0 1 5 5v12a5 5 0 0 1-5 5h-{right - 5}z" fill="{colour}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="12" text-anchor="middle">'
        f'<text x="{left / 2:g}" y="15" textLength="{left - 16}">{escape(label)}</text>'
        f'<text x="{left + right / 2:g}" y="15" textLength="{right - 16}">{escape(value)}</text></g></svg>\n'
    )


def _width(text: str) -> int:
    """About how wide a text is in pixels at 12 px, with some room; the renderer fits it exactly."""
    return 16 + round(sum(4.4 if char in _NARROW else 11 if char in _WIDE else 7.6 for char in text))
