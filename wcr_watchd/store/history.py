"""Reading a measurement's course: from raw rows where there are few, from rollups where there are many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wcr_watchd.core.protocols import Point
from wcr_watchd.store.codec import seconds
from wcr_watchd.store.database import Database, Row
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, Bucket, buckets_of, unpack_measurements


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

    def add_readings(self, rows: Iterable[Row]) -> None:
        """Take in raw rows. A run that was stored twice counts once; an infinite value is no point of a line."""
        readings = {}
        for at, series, values in rows:
            numbers, floats = unpack_measurements(series, values)
            if self.series in numbers:
                readings[at] = floats[numbers.index(self.series)]
        for at, value in readings.items():
            if math.isfinite(value):
                self._add(at, Bucket(1, value, value, value))

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


async def read_course(database: Database, course: Course, source: int, finest: int) -> list[tuple[int, list[Row]]]:
    """Rows that make up the course, by bucket width (0: raw): coarse ones first, finer ones for what is not in them."""
    found: list[tuple[int, list[Row]]] = []
    position = course.since
    for width in (HOUR, FIVE_MINUTES):
        if finest >= width:
            span = SPAN[width]
            rows = await database.fetch("rollups", width, source, position // span * span, course.until, span)
            found.append((width, rows))
            position = max(position, rows[-1][0] + span) if rows else position
    found.append((0, await database.fetch("readings", source, position, course.until)))
    return found


def _is_gone(since: int, first_fine: int | None, first_coarse: int | None, span: int) -> bool:
    """Whether fine history at ``since`` was deleted already: there is older coarse history than fine."""
    if first_coarse is None:
        return False
    return first_fine is None or (first_coarse < first_fine // span * span and since < first_fine)
