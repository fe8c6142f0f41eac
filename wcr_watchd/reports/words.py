"""Figures as words that all reports share."""

from __future__ import annotations

from wcr_watchd.core.units import format_availability

LEAST_UNWATCHED = 3_600.0
"""Seconds without a watch that are worth a word."""


def share(value: float | None) -> str:
    """An availability, as everywhere; a dash where nobody watched."""
    return "–" if value is None else format_availability(value)


def counted(count: int, one: str, many: str = "") -> str:
    """``1 outage``, ``2 outages``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
