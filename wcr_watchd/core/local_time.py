"""Wall-clock times of a place and the instants they mean, right across daylight-saving changes.

A local time that a clock change skips means the instant after the gap; one that comes twice means the first, where
nothing else is said.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import floor
from zoneinfo import ZoneInfo

MINUTES_A_DAY = 1_440
MINUTES_A_WEEK = 7 * MINUTES_A_DAY
WEEK = timedelta(weeks=1)

WeekSpans = tuple[tuple[int, int], ...]
"""Parts of the week as minutes since Monday 00:00 (start, end exclusive); an end beyond Sunday goes on with Monday."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - arithmetic with local times
_LONGEST_SHIFT = timedelta(days=1)
"""No zone ever moved its clocks by more (Samoa left out a whole day in 2011)."""


def local_time(at: float, zone: ZoneInfo) -> datetime:
    """What clocks of the zone show at an instant (epoch seconds), without zone."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def instant(local: datetime, zone: ZoneInfo, *, last: bool = False) -> float:
    """Epoch seconds of a local time without zone; with ``last`` one that comes twice means the second."""
    first = local.replace(tzinfo=zone, fold=0)
    before, after = first.utcoffset(), first.replace(fold=1).utcoffset()
    if before is None or after is None:  # no zone of the IANA data base is without an offset
        raise ValueError(f"{zone} has no offset at {local}")
    if before < after:
        return _end_of_gap((local - _EPOCH - after).total_seconds(), (local - _EPOCH - before).total_seconds(), zone)
    return (local - _EPOCH - (after if last else before)).total_seconds()


def _end_of_gap(earliest: float, latest: float, zone: ZoneInfo) -> float:
    """The instant between the two at which the clocks of the zone were moved."""
    old = datetime.fromtimestamp(earliest, UTC).astimezone(zone).utcoffset()
    before, after = floor(earliest), floor(latest) + 1
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return float(after)


def months(now: float, timezone: str, number: int, begins: int = 1) -> Iterator[tuple[str, float, float]]:
    """The last months, this one first: as in ``2026-11``, with start and end (epoch seconds).

    Those of a bill begin on any day, on the last one where a month has fewer, and are called after it: ``2026-11-15``.
    """
    zone = ZoneInfo(timezone)
    here = local_time(now, zone)
    month = here.year * 12 + here.month - 1
    if _begin(month, begins) > here:
        month -= 1
    for one in range(month, month - number, -1):
        start = _begin(one, begins)
        name = f"{start:%Y-%m}" if begins == 1 else f"{start:%Y-%m-%d}"
        yield name, instant(start, zone), instant(_begin(one + 1, begins), zone)


def _begin(month: int, day: int) -> datetime:
    year, number = divmod(month, 12)
    return datetime(year, number + 1, min(day, monthrange(year, number + 1)[1]))  # noqa: DTZ001 - a local date


def merged(spans: Iterable[tuple[int, int]]) -> WeekSpans:
    """The same parts of the week in order, with those that overlap or touch made one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted((start % MINUTES_A_WEEK, start % MINUTES_A_WEEK + end - start) for start, end in spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    while len(found) > 1 and found[-1][1] - MINUTES_A_WEEK >= found[0][0]:
        _, end = found.pop(0)
        found[-1] = (found[-1][0], max(found[-1][1], end + MINUTES_A_WEEK))
    if found and found[-1][1] - found[-1][0] >= MINUTES_A_WEEK:
        return ((0, MINUTES_A_WEEK),)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours that come again every week, on the wall clocks of a time zone; ``spans`` are as :func:`merged` gives."""

    timezone: str
    spans: WeekSpans

    def around(self, at: float) -> tuple[float, float] | None:
        """The span that holds at this time: start and end (exclusive), epoch seconds; None when there is none."""
        zone = ZoneInfo(self.timezone)
        now = local_time(at, zone)
        for start, end in self._weeks(now, now):
            if start - _LONGEST_SHIFT <= now <= end + _LONGEST_SHIFT:
                begins, ends = instant(start, zone), instant(end, zone)
                if begins <= at < ends:
                    return begins, ends
        return None

    def edges(self, start: float, end: float) -> Iterator[float]:
        """Every instant at which such a span begins or ends, between two times (and some beyond)."""
        zone = ZoneInfo(self.timezone)
        for begins, ends in self._weeks(local_time(start, zone), local_time(end, zone)):
            yield instant(begins, zone)
            yield instant(ends, zone)

    def _weeks(self, first: datetime, last: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The spans of all weeks that could matter between two local times, as local times."""
        monday = first.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=first.weekday()) - WEEK
        while monday <= last + WEEK:
            for start, end in self.spans:
                yield monday + timedelta(minutes=start), monday + timedelta(minutes=end)
            monday += WEEK
