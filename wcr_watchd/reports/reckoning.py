"""What a report reads of a check, and how runs become uptime: for its own time and for earlier months alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from math import inf
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import instant, local_time
from wcr_watchd.core.report import Subject, Wanted
from wcr_watchd.core.units import Unit
from wcr_watchd.core.uptime import WHOLE, Span, Uptime, edges, gathered, total, uptimes
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR
from wcr_watchd.store.totals import Totals

SPEED = ("response_time", "latency")
"""Measurements that say how quick something is; the first that a check has is reported."""
LIMITED = ("disk_used", "inodes_used", "memory_used", "swap_used", "connections_used", "conntrack_used")
"""Shares of something that runs out; forecast against all of it."""
LOAD = ("cpu_used", *LIMITED)
GROWING = (
    *(("disk_used", Unit.RATIO), ("database_size", Unit.BYTES), ("memory_used", Unit.RATIO)),
    *(("connections_used", Unit.RATIO), ("network_sent", Unit.BYTES_PER_SECOND), ("requests", Unit.PER_SECOND)),
    *(("network_received", Unit.BYTES_PER_SECOND), ("total_size", Unit.BYTES), ("cpu_used", Unit.RATIO)),
)
"""What is watched for growth from month to month, the most important first; the unit tells namesakes apart."""
_HOUR = HOUR / 1000
UNIT_OF = {name: unit.value for name, unit in GROWING}


def speed_of(one: Subject) -> frozenset[str]:
    """The measurement that tells how quick a check is; none where it has none."""
    known = {name for name, _ in one.measures}
    return frozenset([next(name for name in SPEED if name in known)] if known & set(SPEED) else ())


def growing_of(one: Subject) -> frozenset[str]:
    """Those of its measurements that are watched for growth."""
    return frozenset(name for name, unit in one.measures if UNIT_OF.get(name) == unit)


def planned_for(wanted: Wanted) -> Mapping[str, Sequence[Span]]:
    """When there was planned maintenance, by check."""
    found: dict[str, list[Span]] = {}
    for one in wanted.planned:
        for name in one.checks:
            found.setdefault(name, []).extend(one.spans)
    return found


def cuts_for(wanted: Wanted) -> Mapping[str, Sequence[float]]:
    """Where planned maintenance began and ended, by check: what ran before and after is told apart."""
    return {name: edges(spans) for name, spans in planned_for(wanted).items()}


def reckoned(totals: Totals, every: float, since: float, until: float, planned: Iterable[Span]) -> Uptime:
    """How available a check was that runs ``every`` so many seconds, from its runs by hour.

    By hours, as the store has them for everybody else: so it is the number that the objectives and the page of the
    check show for the same time.
    """
    return total(by_parts(totals, every, (since, until), planned))


def by_parts(totals: Totals, every: float, times: Sequence[float], planned: Iterable[Span]) -> list[Uptime]:
    """Likewise between each two of ``times`` (epoch seconds, in order)."""
    return uptimes(gathered(sorted(_spans(totals, every)), every), every, times, planned)


def days_of(wanted: Wanted) -> list[float]:
    """Where the days of a report begin and end: at the same time of the day by its clocks, however long a day is."""
    zone, found = ZoneInfo(wanted.timezone), [wanted.since]
    begin, day = local_time(wanted.since, zone), 1
    while (at := instant(begin + timedelta(days=day), zone)) < wanted.until - 1:
        found.append(at)
        day += 1
    return [*found, wanted.until]


def _spans(totals: Totals, every: float) -> Iterator[tuple[float, float, Sequence[int]]]:
    """Start, width (seconds) and runs of what is counted apart: a day in which all was well is one.

    The hour that goes on is told by five minutes: it has not had all of its runs yet, and what confirmed a failure
    would count as runs that were due.
    """
    some = {start // DAY for start in (*totals.hours, *totals.minutes, *(start for start, _ in totals.parts))}
    enough = WHOLE * _HOUR / every if every < _HOUR else inf
    hours = dict(totals.hours)
    for start, row in totals.days.items():
        if row.least >= enough and len(row.buckets) == DAY // HOUR and start // DAY not in some:
            yield start / 1000, DAY / 1000, (row.up, 0, 0)
        else:
            for number, runs in row.buckets.items():
                hour = start + number * HOUR
                hours[hour] = _together(runs, hours.get(hour))
    for start, runs in totals.minutes.items():
        hour = start // HOUR * HOUR
        if hour in hours:  # another place is further with its rollups
            hours[hour] = _together(runs, hours[hour])
        else:
            yield start / 1000, FIVE_MINUTES / 1000, runs
    for start, runs in hours.items():
        yield start / 1000, _HOUR, runs
    for (start, width), runs in totals.parts.items():
        yield start / 1000, width / 1000, runs


def _together(runs: Sequence[int], others: Sequence[int] | None) -> Sequence[int]:
    return runs if others is None else [a + b for a, b in zip(runs, others, strict=True)]
