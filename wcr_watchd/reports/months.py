"""The last thirteen months side by side: figures of each, and of what grows.

Figures come from the reports that are kept, as they were told then; else from the records, as far as these go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import Any

from wcr_watchd.core.handling import Handling
from wcr_watchd.core.local_time import months
from wcr_watchd.core.model import Labels
from wcr_watchd.core.report import Wanted
from wcr_watchd.core.units import Unit, format_part, format_value
from wcr_watchd.core.uptime import Uptime, total
from wcr_watchd.reports.reckoning import GROWING

MONTHS = 13
"""A year, and the same month of the year before."""
OF_A_KIND = 3
"""Resources of a kind that a month keeps, the fullest first: a machine has many disks."""
MOST_SHOWN = 8
"""Resources that are shown month by month."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much of a resource was in use in a month, on average; ``unit`` is that of the measurement."""

    check: str
    name: str
    labels: Labels
    unit: str
    mean: float

    @property
    def key(self) -> tuple[str, str, Labels]:
        """The same from month to month."""
        return self.check, self.name, self.labels

    @property
    def title(self) -> str:
        """``disk_used /data of host``."""
        return " ".join((self.name, *(value for _, value in self.labels), "of", self.check))

    @property
    def words(self) -> str:
        """``62.1 %``, ``4.1 GiB``."""
        return format_part(self.mean) if self.unit == Unit.RATIO else format_value(self.mean, Unit(self.unit))


@dataclass(frozen=True, slots=True)
class Figures:
    """A month in figures: shares 0-1, durations in seconds; None: not measured, or there was none.

    ``response`` is the mean of the checks' mean response times, ``growth`` the most important resources. Stakeholders
    read neither of the two, nor how incidents were handled.
    """

    availability: float | None = None
    availability_without_maintenance: float | None = None
    incidents: int | None = None
    acknowledge: float | None = None
    resolve: float | None = None
    response: float | None = None
    growth: tuple[Growth, ...] = ()


@dataclass(frozen=True, slots=True)
class Month:
    """A month, as in ``2026-11``, and its figures (None: not measured); ``later``: they come with the next reports."""

    name: str
    figures: Figures | None
    later: bool = False


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is known of earlier months by name, and those that are left for the next reports."""

    figures: Mapping[str, Figures] = field(default_factory=dict)
    later: frozenset[str] = frozenset()


def figures(
    uptimes: Iterable[Uptime], handled: Handling, speeds: Sequence[float], growth: Iterable[Growth]
) -> Figures | None:
    """The figures of a month from those of its checks; None when nothing was measured."""
    together = total(uptimes)
    if not together.watched:
        return None
    return Figures(
        together.share_with_planned,
        together.share,
        incidents=handled.incidents,
        acknowledge=handled.acknowledge,
        resolve=handled.resolve,
        response=sum(speeds) / len(speeds) if speeds else None,
        growth=chosen(growth),
    )


def public(one: Figures | None, outages: int) -> Figures | None:
    """What stakeholders read of a month: how available all was, and how often something was out."""
    return one and Figures(one.availability, one.availability_without_maintenance, incidents=outages)


def chosen(growth: Iterable[Growth]) -> tuple[Growth, ...]:
    """The most important ones: by kind, of each kind those with the most in use."""
    fullest = sorted(growth, key=lambda one: (-one.mean, one.key))
    return tuple(
        one for name, _ in GROWING for one in islice((known for known in fullest if known.name == name), OF_A_KIND)
    )


def spans(wanted: Wanted) -> list[tuple[str, float, float]]:
    """Name, start and end (epoch seconds) of the whole months that a report shows, the newest first."""
    middle = (wanted.since + wanted.until) / 2
    found = list(months(middle, wanted.timezone, MONTHS))
    # A report up to now has no whole month of its own: the one that goes on is left out.
    return found if is_whole(wanted) else [one for one in found if one[1] <= wanted.since]


def is_whole(wanted: Wanted) -> bool:
    """Whether a report is of a whole month."""
    begins = {round(start) for _, start, _ in months((wanted.since + wanted.until) / 2, wanted.timezone, MONTHS)}
    return round(wanted.since) in begins


def series(wanted: Wanted, own: Figures | None, earlier: Earlier) -> tuple[Month, ...]:
    """The months up to that of the report, oldest first; ``own`` are its own figures."""
    found = [Month(name, earlier.figures.get(name), name in earlier.later) for name, _, _ in spans(wanted)]
    if is_whole(wanted):
        found[0] = replace(found[0], figures=own, later=False)
    return tuple(reversed(found))


def grown(series: Sequence[Month]) -> list[tuple[Growth, dict[str, Growth]]]:
    """The resources of the newest month that knows some, each with what was in use by the name of the month."""
    newest = next((one.figures.growth for one in reversed(series) if one.figures and one.figures.growth), ())
    found = []
    for resource in sorted(newest, key=_by_turns(newest))[:MOST_SHOWN]:
        known = {
            month.name: one
            for month in series
            for one in (month.figures.growth if month.figures else ())
            if one.key == resource.key
        }
        found.append((resource, known))
    return found


def _by_turns(growth: Sequence[Growth]) -> Any:
    """First the fullest of every kind, then the second: three disks would leave no room for the database."""
    turn: dict[tuple[str, str, Labels], int] = {}
    seen: dict[str, int] = {}
    for one in growth:
        turn[one.key] = seen[one.name] = seen.get(one.name, 0) + 1
    return lambda one: turn[one.key]


def as_json(one: Figures | None) -> dict[str, Any] | None:
    """The figures for the JSON form of a report, from which later reports read them."""
    return None if one is None else asdict(one)


def from_json(document: Mapping[str, Any] | None) -> Figures | None:
    """The reverse; what other versions wrote beside it is passed over."""
    if not document:
        return None
    known = {one.name for one in fields(Figures)}
    growth = tuple(
        Growth(one["check"], one["name"], tuple((key, value) for key, value in one["labels"]), one["unit"], one["mean"])
        for one in document.get("growth", ())
    )
    return Figures(**{key: value for key, value in document.items() if key in known} | {"growth": growth})
