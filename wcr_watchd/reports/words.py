"""Figures as words that all reports share."""

from __future__ import annotations

from wcr_watchd.core.units import Unit, format_value


def share(value: float | None) -> str:
    """A share with as many digits as tell it from all: ``100 %``, ``99.98 %``; never rounded up to all."""
    if value is None:
        return "–"
    if value >= 1.0:
        return "100 %"
    return f"{min(value * 100, 99.99):.2f} %"


def percent(value: float) -> str:
    """A share in three digits; one below all is not rounded up to all either."""
    said = format_value(value, Unit.RATIO)
    return share(value) if value < 1.0 and said == "100 %" else said


def counted(count: int, one: str, many: str = "") -> str:
    """``1 outage``, ``2 outages``."""
    return f"{count} {one if count == 1 else many or one + 's'}"
