"""Reading what runs measured and found: from raw rows where there are few, from rollups where there are many."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from wcr_watchd.core.protocols import Point
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.store.codec import seconds
from wcr_watchd.store.database import Database, InThread, Row
from wcr_watchd.store.pack import PackedRow, newest_per_run, unpack, unpack_numbers
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, PackedRollup

Rollups = tuple[int, list[Row]]
"""The width of the buckets, and packed rows of them with their start."""


ROWS_AT_A_TIME = 10
"""Rows that a thread unpacks before others may have the interpreter: it would keep it for five milliseconds."""
POINTS_AT_A_TIME = 500
"""Likewise, points that are made."""

_NO_LIMIT = 1 << 31

Part = tuple[int, float, float, float, float]
"""When a bucket began (epoch ms), and of its values: how many, their sum, the least and the largest."""


@dataclass(slots=True)
class Course:
    """What was found of some series in a span of time (epoch ms)."""

    series: Sequence[int]
    since: int
    until: int
    found: dict[int, list[Part]] = field(default_factory=dict)

    def add_rollups(self, width: int, rows: Iterable[Row]) -> None:
        """Take in packed rows of buckets of this width."""
        for nth, (start, body) in enumerate(rows):
            if nth % ROWS_AT_A_TIME == 0:
                time.sleep(0)
            inside = self.since <= start and start + SPAN[width] <= self.until
            row = PackedRollup(body)
            for series in self.series:
                numbers, *rest = row.columns(series)
                parts = zip([start + number * width for number in numbers], *rest, strict=True)
                chosen = parts if inside else (one for one in parts if self.since - width < one[0] < self.until)
                self._parts(series).extend(chosen)

    def add_rows(self, rows: Iterable[PackedRow]) -> None:
        """Take in raw rows of one source; an infinite value is no point of a line."""
        for row in rows:
            if self.since <= row.at < self.until:
                for series in self.series:
                    if series in row.series and math.isfinite(value := row.values[row.series.index(series)]):
                        self._parts(series).append((row.at, 1, value, value, value))

    def points(self, series: int, limit: int) -> Sequence[Point]:
        """The course of a series in at most ``limit`` points, oldest first; neighbours are merged where it has more.

        A point made of several values stands at the time of the first one.
        """
        parts = sorted(self._parts(series))
        if not parts:
            return []
        time.sleep(0)
        starts, counts, totals, lows, highs = zip(*parts, strict=True)
        places: Sequence[int] = starts
        if len(set(starts)) > limit:
            since, span = self.since, self.until - self.since
            before_it = bisect_left(starts, since)
            places = [0] * before_it + [(start - since) * limit // span for start in starts[before_it:]]
        begins = [number for number, (before, place) in enumerate(pairwise(places), 1) if place != before]
        points: list[Point] = []
        for number, (a, b) in enumerate(pairwise([0, *begins, len(parts)])):
            if number % POINTS_AT_A_TIME == 0:
                time.sleep(0)
            count = sum(counts[a:b])
            points.append(
                Point(seconds(starts[a]), int(count), min(lows[a:b]), max(highs[a:b]), sum(totals[a:b]) / count)
            )
        return points

    def _parts(self, series: int) -> list[Part]:
        return self.found.setdefault(series, [])


Counted = tuple[int, int, Sequence[int]]
"""Start and width of a bucket (ms), and its runs that were up, down and unknown."""


@dataclass(slots=True)
class Tally:
    """How many runs of a check were up, down and unknown in a span of time (epoch ms), by start and width.

    Before and after each of ``cuts`` (epoch ms, in order), such as the beginning of planned maintenance, they are
    counted apart, as far as the records tell: ``to_cut`` are the buckets of a source in which one lies.
    """

    since: int
    until: int
    cuts: Sequence[int] = ()
    found: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    to_cut: list[Counted] = field(default_factory=list)

    def add_rollups(self, width: int, rows: Iterable[Row]) -> None:
        """Take in packed rows of buckets of this width; those in which a cut lies are put by, unless all was up."""
        for start, body in rows:
            for at, _, runs in buckets(body, start, width):
                if any(runs[1:]) and self._has_cut(at, width):
                    self.to_cut.append((at, width, runs))
                else:
                    self._add(at, width, runs)

    def add_rows(self, rows: Iterable[PackedRow]) -> None:
        """Take in raw rows of one source, five minutes at a time."""
        for row in rows:
            runs = [0, 0, 0]
            runs[row.outcome] = 1
            bucket = row.at // FIVE_MINUTES * FIVE_MINUTES
            number = bisect_right(self.cuts, row.at)
            start = max((bucket, *self.cuts[max(0, number - 1) : number]))
            end = min((bucket + FIVE_MINUTES, *self.cuts[number : number + 1]))
            self._add(start, end - start, runs)

    def add_cut(self, hour: Iterable[Counted], fine: Iterable[Counted], rows: Sequence[PackedRow]) -> None:
        """Take in the buckets of an hour of one source by the finest that is known of them all.

        ``fine`` are its five minutes and ``rows`` its runs, as far as they are kept.
        """
        known = list(fine)
        for at, width, runs in hour:
            finer = [one for one in known if at <= one[0] < at + width] if width > FIVE_MINUTES else []
            for start, length, counted in finer or [(at, width, runs)]:
                inside = [row for row in rows if start <= row.at < start + length]
                if self._has_cut(start, length) and len(inside) == sum(counted):
                    self.add_rows(inside)
                else:
                    self._add(start, length, counted)

    def outcomes(self) -> Sequence[Outcomes]:
        """What was found, oldest first."""
        return [Outcomes(seconds(at), width / 1000, *runs) for (at, width), runs in sorted(self.found.items())]

    def needs_runs(self, hour: int) -> bool:
        """Whether the five minutes of an hour are too coarse for what is cut in it."""
        return any(hour < cut < hour + HOUR and cut % FIVE_MINUTES for cut in self.cuts)

    def _has_cut(self, at: int, width: int) -> bool:
        number = bisect_right(self.cuts, at)
        return number < len(self.cuts) and self.cuts[number] < at + width

    def _add(self, at: int, width: int, runs: Sequence[int]) -> None:
        if self.since - width < at < self.until:
            known = self.found.setdefault((at, width), [0, 0, 0])
            known[:] = [a + b for a, b in zip(known, runs, strict=True)]


def buckets(body: bytes, start: int, width: int) -> Iterable[Counted]:
    """The buckets of a packed row that begins at ``start``."""
    return ((start + number * width, width, runs) for number, runs in PackedRollup(body).outcomes.items())


async def gather(database: Database, in_thread: InThread, into: Course | Tally, check: str, finest: int) -> None:
    """Read a check's rollups of this width and coarser ones, and the raw rows that are not in them."""
    for source, _ in await database.fetch("sources_of_check", check):
        rollups, rest = await read_rollups(database, into, source, finest)
        raw = await read_raw(database, source, rest, into.until, _NO_LIMIT)
        await in_thread(_adding(into, rollups, raw, source, rest))
        if isinstance(into, Tally):
            await _cut(database, in_thread, into, source)


def _adding(
    into: Course | Tally, rollups: Sequence[Rollups], raw: Sequence[bytes], source: int, raw_since: int
) -> Callable[[], None]:
    def add() -> None:
        for width, rows in rollups:
            into.add_rollups(width, rows)
        into.add_rows(row for row in rows_of(raw, source) if row.at >= raw_since)

    return add


async def _cut(database: Database, in_thread: InThread, tally: Tally, source: int) -> None:
    """Count what a cut lies in as finely as it is kept: an hour by five minutes, five minutes run by run."""
    coarse, tally.to_cut = tally.to_cut, []
    for hour in sorted({at // HOUR * HOUR for at, _, _ in coarse}):
        fine = await database.fetch("hour_row", hour, source)
        slots = await database.fetch("slots_of_hour", source, hour) if tally.needs_runs(hour) else []
        own = [one for one in coarse if hour <= one[0] < hour + HOUR]
        await in_thread(_cutting(tally, own, hour, fine, [row[0] for row in slots], source))


def _cutting(
    tally: Tally, coarse: Sequence[Counted], hour: int, fine: Sequence[Row], raw: Sequence[bytes], source: int
) -> Callable[[], None]:
    def cut() -> None:
        minutes = [one for (body,) in fine for one in buckets(body, hour, FIVE_MINUTES)]
        tally.add_cut(coarse, minutes, rows_of(raw, source))

    return cut


async def choose_width(database: Database, since: int, width: float) -> int:
    """The finest buckets worth reading when a point stands for ``width`` ms: 0 (raw), five minutes or an hour.

    Coarser ones are taken where the finer ones are no longer kept at ``since``.
    """
    [[first_raw]] = await database.fetch("first_slot")
    [[first_five_minutes]] = await database.fetch("first_rollup", FIVE_MINUTES)
    [[first_hours]] = await database.fetch("first_rollup", HOUR)
    if width < FIVE_MINUTES and not _is_gone(since, first_raw, first_five_minutes, HOUR):
        return 0
    if width < HOUR and not _is_gone(since, first_five_minutes, first_hours, DAY):
        return FIVE_MINUTES
    return HOUR


async def read_rollups(
    database: Database, course: Course | Tally, source: int, finest: int
) -> tuple[list[Rollups], int]:
    """Rows of rollups that make up the course, coarse ones first, and from when on raw rows have to (epoch ms)."""
    found: list[Rollups] = []
    position = course.since
    for width in (HOUR, FIVE_MINUTES):
        if finest >= width:
            span = SPAN[width]
            rows = await database.fetch("rollups", width, source, position // span * span, course.until, span)
            found.append((width, rows))
            position = max(position, rows[-1][0] + span) if rows else position
    return found, position


async def read_raw(database: Database, source: int, since: int, until: int, limit: int) -> list[bytes]:
    """Packed rows of a source that hold its newest ``limit`` runs since a time, and more.

    What came last is read first: what is filed meanwhile is then found twice rather than not at all.
    """
    bodies = []
    for number, oldest, sources in await database.fetch("recent_sources"):
        if oldest < until and source in unpack_numbers(sources):
            bodies += await database.fetch("recent_body", number)
    bodies += await database.fetch("slots", source, since, until, limit)
    return [row[0] for row in bodies]


def rows_of(bodies: Iterable[bytes], source: int) -> list[PackedRow]:
    """Unpack the rows of one source, by time."""
    return newest_per_run(row for body in bodies for row in unpack(body) if row.source == source)


def _is_gone(since: int, first_fine: int | None, first_coarse: int | None, span: int) -> bool:
    """Whether fine history at ``since`` was deleted already: there is older coarse history than fine."""
    if first_coarse is None:
        return False
    return first_fine is None or (first_coarse < first_fine // span * span and since < first_fine)
