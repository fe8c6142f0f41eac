"""The last thirteen months side by side: this one, and those whose reports are kept, as they were told then.

A year of rollups of hundreds of checks would take longer than the whole report. A month without a kept report was not
measured, as far as this can tell, and is shown as that: not as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wcr_watchd.core.report import Wanted
from wcr_watchd.core.status_days import months
from wcr_watchd.core.uptime import total
from wcr_watchd.reports.facts import LIMITED, Facts

MONTHS = 13
"""A year, and the same month of the year before."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A month in figures: shares 0-1, durations in seconds; None: not measured, or there was none.

    ``response`` is the mean of the checks' mean response times, ``fullest`` what 95 % of the values of the fullest
    resource were below. Stakeholders read neither of the last three, nor how incidents were handled.
    """

    availability: float | None = None
    availability_without_maintenance: float | None = None
    incidents: int | None = None
    acknowledge: float | None = None
    resolve: float | None = None
    response: float | None = None
    fullest: float | None = None


@dataclass(frozen=True, slots=True)
class Month:
    """A month, as in ``2026-11``, and its figures (None: not measured)."""

    name: str
    figures: Figures | None


def figures(facts: Facts, *, internal: bool) -> Figures | None:
    """The figures of the report's own month; None when nothing was measured."""
    together = total(one.uptime for one in facts.checks)
    if not together.watched:
        return None
    shares = together.share_with_planned, together.share
    if not internal:
        return Figures(*shares, incidents=sum(one.outages for one in facts.checks))
    speeds = [one.speed.mean for one in facts.checks if one.speed]
    return Figures(
        *shares,
        incidents=facts.handling.incidents,
        acknowledge=facts.handling.acknowledge,
        resolve=facts.handling.resolve,
        response=sum(speeds) / len(speeds) if speeds else None,
        fullest=max((one.p95 for one in facts.resources if one.name in LIMITED), default=None),
    )


def series(wanted: Wanted, now: Figures | None, kept: Iterable[Mapping[str, Any]]) -> tuple[Month, ...]:
    """The months up to that of the report, oldest first; ``kept`` are the JSON forms of earlier reports.

    Of several reports of a month the last one given counts.
    """
    middle = (wanted.since + wanted.until) / 2
    begins = {round(start): name for name, start, _ in months(middle, wanted.timezone, MONTHS)}
    known: dict[str, Figures | None] = {}
    for one in kept:
        name = begins.get(round(one.get("since", 0)))
        if name is not None and one.get("figures"):
            known[name] = Figures(**one["figures"])
    own = begins.get(round(wanted.since))
    if own is not None:
        known[own] = now
    # A report up to now has no whole month of its own: the one that goes on is left out.
    names = [name for start, name in begins.items() if own is not None or start <= wanted.since]
    return tuple(Month(name, known.get(name)) for name in reversed(names))


def as_json(one: Figures | None) -> dict[str, Any] | None:
    """The figures for the JSON form of a report, from which later reports read them."""
    return None if one is None else asdict(one)
