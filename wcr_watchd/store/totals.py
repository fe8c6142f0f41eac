"""Sums over long spans out of the rollups: runs by outcome, and how the values of a series are distributed.

Of each packed row only what is asked for is read: most of it is other series, and a month of 500 checks is 15 000 rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import inf
from operator import truediv
from typing import NamedTuple

from wcr_watchd.store.pack import PackedRow
from wcr_watchd.store.rollup import (
    DAY,
    FIVE_MINUTES,
    HOUR,
    SPAN,
    Bucket,
    PackedRollup,
    RowRuns,
    Sketch,
    bin_of,
    quantile,
    value_of,
)

Runs = Sequence[int]
"""Runs that were up, down and unknown."""
_DIGITS = 3
"""To how many digits shares are told apart: a thousand values at most."""


@dataclass(slots=True)
class Distribution:
    """All values of a series in a span: count, sum, extremes, and what there is for the quantiles.

    That is a sketch, or for shares ``points``: how many values were about so much.
    """

    bucket: Bucket = field(default_factory=Bucket)
    sketch: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    points: defaultdict[float, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def has_quantiles(self) -> bool:
        """Whether it was read with what they need."""
        return bool(self.sketch or self.points)

    def quantile(self, q: float) -> float:
        """The value below which the share ``q`` (0-1) of the values lies, within 5 %, and within what was seen.

        That of a share is exact where an hour's values are alike.
        """
        found = self._point(q) if self.points else quantile(self.sketch, q)
        return min(max(found, self.bucket.minimum), self.bucket.maximum)

    def _point(self, q: float) -> float:
        rank = q * (sum(self.points.values()) - 1)
        seen, value = 0, 0.0
        for value in sorted(self.points):
            seen += self.points[value]
            if seen > rank:
                break
        return value

    def add_sketch(self, bins: Iterable[int], counts: Iterable[int]) -> None:
        """Count so many values of each bin."""
        into = self.sketch
        for number, count in zip(bins, counts, strict=True):
            into[number] += count

    def add_points(self, columns: Sequence[Sequence[float]], sketch: Sketch) -> None:
        """Count the values of an hour: buckets of it (numbers, counts, sums, minima, maxima), and its sketch.

        Values of one bin are told better by the means of their buckets than by its middle, which is up to 5 % away.
        """
        _, counts, totals, lows, highs = columns
        if len(sketch) == 1:
            for count, total in zip(counts, totals, strict=True):
                self.points[round(total / count, _DIGITS)] += int(count)
            return
        low, high = min(lows), max(highs)
        for number, times in sketch.items():
            self.points[round(min(max(value_of(number), low), high), _DIGITS)] += times


@dataclass(slots=True)
class DayBucket(Bucket):
    """The values of a series in a day, and the means of its quietest and its busiest hour."""

    quietest: float = inf
    busiest: float = -inf

    def add_hours(self, means: Iterable[float]) -> None:
        """Take in the means of hours whose values are counted."""
        known = tuple(means)
        self.quietest = min(self.quietest, *known)
        self.busiest = max(self.busiest, *known)

    def join(self, other: DayBucket) -> None:
        """Take in another part of the day."""
        self.merge(other)
        self.add_hours((other.quietest, other.busiest))


class Span(NamedTuple):
    """From when to before when (epoch ms)."""

    since: int
    until: int

    def has(self, at: int) -> bool:
        """Whether a bucket that begins then belongs to it."""
        return self.since <= at < self.until

    def meets(self, at: int, width: int) -> bool:
        """Whether a bucket that begins then and is so wide (ms) has a part in it."""
        return self.since - width < at < self.until


class WantedSeries(NamedTuple):
    """What is read of a row: series by their numbers, which of them are ``shares``, and whether with quantiles."""

    series: Collection[int]
    shares: Collection[int] = ()
    sketches: bool = True


@dataclass(slots=True)
class Totals:
    """What is known of one check: its runs, and of each wanted series the values.

    ``days`` are the runs of whole days by the start of each (epoch ms), ``hours`` those of hours of which no whole day
    is known, ``minutes`` those of five minutes of which no hour is, and ``parts`` those of hours that were cut, by
    start and width. ``daily`` has the values of each series by the start of the (UTC) day. ``raw`` are
    those of hours that are not rolled up, by series and hour.
    """

    days: dict[int, RowRuns] = field(default_factory=dict)
    hours: dict[int, Runs] = field(default_factory=dict)
    minutes: dict[int, Runs] = field(default_factory=dict)
    parts: dict[tuple[int, int], Runs] = field(default_factory=dict)
    values: dict[int, Distribution] = field(default_factory=dict)
    daily: dict[int, dict[int, DayBucket]] = field(default_factory=dict)
    raw: dict[tuple[int, int], Bucket] = field(default_factory=dict)

    def runs(self) -> Iterator[tuple[int, Runs]]:
        """All runs, by the start of the bucket (epoch ms) that they are in."""
        for start, row in self.days.items():
            for number, runs in row.buckets.items():
                yield start + number * HOUR, runs
        yield from self.hours.items()
        yield from self.minutes.items()
        yield from ((start, runs) for (start, _), runs in self.parts.items())

    def of_hour(self, hour: int) -> Iterator[Runs]:
        """All runs of an hour."""
        day = self.days.get(hour // DAY * DAY)
        if day is not None and (number := hour % DAY // HOUR) in day.buckets:
            yield day.buckets[number]
        if hour in self.hours:
            yield self.hours[hour]
        yield from (self.minutes[at] for at in range(hour, hour + HOUR, FIVE_MINUTES) if at in self.minutes)

    def cut(self, hour: int, parts: Mapping[tuple[int, int], Runs]) -> None:
        """Put the parts of an hour into its place, if they are all of it."""
        if sum(map(sum, parts.values())) != sum(map(sum, self.of_hour(hour))):
            return
        if (day := self.days.pop(hour // DAY * DAY, None)) is not None:
            for number, runs in day.buckets.items():
                self.add_runs(hour // DAY * DAY + number * HOUR, HOUR, runs)
        self.hours.pop(hour, None)
        for start in [one for one in self.minutes if one // HOUR * HOUR == hour]:
            del self.minutes[start]
        self.parts.update(parts)

    def add_runs(self, start: int, width: int, runs: Runs) -> None:
        """Count runs of the bucket of ``width`` (ms) at ``start``."""
        into = self.minutes if width < HOUR else self.hours
        known = into.get(start)
        into[start] = runs if known is None else [a + b for a, b in zip(known, runs, strict=True)]

    def add_value(self, series: int, at: int, value: float, *, is_share: bool) -> None:
        """Count one value of a time (epoch ms)."""
        found = self.values.setdefault(series, Distribution())
        found.bucket.add(value)
        if is_share:
            found.points[round(value, _DIGITS)] += 1
        else:
            found.sketch[bin_of(value)] += 1
        self.raw.setdefault((series, at // HOUR * HOUR), Bucket()).add(value)

    def fold_raw(self) -> None:
        """Count what was not rolled up for the days that it is of; after the last of it."""
        for (series, hour), bucket in self.raw.items():
            day = self.daily.setdefault(series, {}).setdefault(hour // DAY * DAY, DayBucket())
            day.merge(bucket)
            day.add_hours((bucket.mean,))
        self.raw.clear()

    def add_row(self, row: bytes, start: int, width: int, wanted: WantedSeries, span: Span) -> None:
        """Take in a packed row beginning at ``start`` with buckets of ``width`` (ms), as far as it lies in ``span``.

        Without its sketches that takes a third of the time, and there are no quantiles.
        """
        packed = PackedRollup(row)
        is_whole = span.since <= start and start + SPAN[width] <= span.until
        self._add_row_runs(packed.runs, start, width, span, is_day=is_whole and width == HOUR)
        for identity in wanted.series:
            columns = packed.columns(identity)
            if not is_whole:
                columns = _inside(columns, start, width, span)
            if columns[0]:
                self._add_columns(identity, start, width, columns)
                if wanted.sketches:
                    self._add_sketches(packed, identity, columns, start, width, span, wanted)

    def _add_row_runs(self, row: RowRuns, start: int, width: int, span: Span, *, is_day: bool) -> None:
        if is_day and start not in self.days:
            self.days[start] = row
            return
        if is_day:  # seen from another place as well
            other = self.days.pop(start)
            for number, runs in other.buckets.items():
                self.add_runs(start + number * width, width, runs)
        for number, runs in row.buckets.items():
            if span.meets(start + number * width, width):
                self.add_runs(start + number * width, width, runs)

    def _add_columns(self, series: int, start: int, width: int, columns: Sequence[Sequence[float]]) -> None:
        _, counts, totals, lows, highs = columns
        bucket = Bucket(int(sum(counts)), sum(totals), min(lows), max(highs))
        self.values.setdefault(series, Distribution()).bucket.merge(bucket)
        day = self.daily.setdefault(series, {}).setdefault(start // DAY * DAY, DayBucket())
        day.merge(bucket)
        day.add_hours(map(truediv, totals, counts) if width == HOUR else (bucket.mean,))

    def _add_sketches(
        self,
        packed: PackedRollup,
        series: int,
        columns: Sequence[Sequence[float]],
        start: int,
        width: int,
        span: Span,
        wanted: WantedSeries,
    ) -> None:
        into = self.values[series]
        if series not in wanted.shares and span.since <= start and start + SPAN[width] <= span.until:
            _, _, bins, counts = packed.sketch_columns(series)
            into.add_sketch(bins, counts)
            return
        for number, sketch in packed.sketches(series).items():
            if not span.has(start + number * HOUR) and width == HOUR:
                continue
            if series in wanted.shares:
                into.add_points(columns if width < HOUR else _of(columns, number), sketch)
            else:
                into.add_sketch(sketch.keys(), sketch.values())


def _of(columns: Sequence[Sequence[float]], number: int) -> Sequence[Sequence[float]]:
    """The columns of one bucket alone."""
    at = columns[0].index(number)
    return [column[at : at + 1] for column in columns]


def _inside(columns: list[list[float]], start: int, width: int, span: Span) -> list[list[float]]:
    """The columns without the buckets that do not begin in the span."""
    inside = [span.has(start + int(number) * width) for number in columns[0]]
    return [list(compress(column, inside)) for column in columns]


def add_raw(totals: Totals, row: PackedRow, wanted: WantedSeries) -> None:
    """Take one observation in that no rollup has yet."""
    runs = [0, 0, 0]
    runs[row.outcome] = 1
    totals.add_runs(row.at // FIVE_MINUTES * FIVE_MINUTES, FIVE_MINUTES, runs)
    for identity, value in zip(row.series, row.values, strict=True):
        if identity in wanted.series and value - value == 0:  # neither infinite nor undefined
            totals.add_value(identity, row.at, value, is_share=identity in wanted.shares)
