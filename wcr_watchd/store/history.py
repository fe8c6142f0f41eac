"""Reading a measurement's course: from raw rows where there are few, from rollups where there are many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wcr_watchd.core.protocols import Point
from wcr_watchd.store.codec import seconds
from wcr_watchd.store.database import Database, Row
from wcr_watchd.store.pack import PackedRow, newest_per_run, unpack, unpack_numbers
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, Bucket, buckets_of

Rollups = tuple[int, list[Row]]
"""The width of the buckets, and packed rows of them with their start."""


@dataclass(slots=True)
class Course:
    """What was found of one series in a span of time (epoch ms), by time."""

    series: int
    since: int
    until: int
    found: dict[int, Bucket] = field(default_factory=dict)

    def add_rollups(self, width: int, rows: Iterable[Row]) -> None:
        """Take in packed rows of buckets of this width."""
        for start, body in rows:
            for number, bucket in buckets_of(body, self.series).items():
                at = start + number * width
                if self.since - width < at < self.until:
                    self._add(at, bucket)

    def add_rows(self, rows: Iterable[PackedRow]) -> None:
        """Take in raw rows of one source; an infinite value is no point of a line."""
        for row in rows:
            if self.since <= row.at < self.until and self.series in row.series:
                value = row.values[row.series.index(self.series)]
                if math.isfinite(value):
                    self._add(row.at, Bucket(1, value, value, value))

    def points(self, limit: int) -> Sequence[Point]:
        """The course in at most ``limit`` points, oldest first; neighbours are merged when there are more."""
        buckets = sorted(self.found.items())
        if len(buckets) > limit:
            buckets = self._merged(buckets, limit)
        return tuple(
            Point(seconds(at), bucket.count, bucket.minimum, bucket.maximum, bucket.mean) for at, bucket in buckets
        )

    def _merged(self, buckets: Iterable[tuple[int, Bucket]], limit: int) -> list[tuple[int, Bucket]]:
        merged: dict[int, tuple[int, Bucket]] = {}
        for at, bucket in buckets:
            part = max(0, (at - self.since) * limit // (self.until - self.since))
            merged.setdefault(part, (at, Bucket()))[1].merge(bucket)
        return list(merged.values())

    def _add(self, at: int, bucket: Bucket) -> None:
        self.found.setdefault(at, Bucket()).merge(bucket)


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


async def read_rollups(database: Database, course: Course, source: int, finest: int) -> tuple[list[Rollups], int]:
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
