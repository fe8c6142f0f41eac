"""Sums over long spans out of the rollups: runs by outcome, and how the values of a series are distributed.

Of each packed row only what is asked for is read: most of it is other series, and a month of 500 checks is 15 000 rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import NamedTuple

from wcr_watchd.store.pack import PackedRow
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, Bucket, PackedRollup, bin_of, quantile

Runs = list[int]
"""Runs that were up, down and unknown."""


@dataclass(slots=True)
class Distribution:
    """All values of a series in a span: count, sum, extremes, and a sketch for the quantiles."""

    bucket: Bucket = field(default_factory=Bucket)
    sketch: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))

    def quantile(self, q: float) -> float:
        """The value below which the share ``q`` (0-1) of the values lies, within 5 %, and within what was seen."""
        return min(max(quantile(self.sketch, q), self.bucket.minimum), self.bucket.maximum)


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


@dataclass(slots=True)
class Totals:
    """What is known of one check: runs by the start of each bucket (epoch ms), and of each wanted series.

    ``daily`` has the values of each series by the start of the (UTC) day.
    """

    runs: dict[int, Runs] = field(default_factory=dict)
    values: dict[int, Distribution] = field(default_factory=dict)
    daily: dict[int, dict[int, Bucket]] = field(default_factory=dict)

    def add_runs(self, start: int, runs: Runs) -> None:
        """Count runs of the bucket at ``start``."""
        known = self.runs.get(start)
        self.runs[start] = runs if known is None else [a + b for a, b in zip(known, runs, strict=True)]

    def add_value(self, series: int, day: int, value: float) -> None:
        """Count one value."""
        found = self.values.setdefault(series, Distribution())
        found.bucket.add(value)
        found.sketch[bin_of(value)] += 1
        self.daily.setdefault(series, {}).setdefault(day, Bucket()).add(value)

    def add_row(
        self, row: bytes, start: int, width: int, wanted: Collection[int], span: Span, *, sketches: bool
    ) -> None:
        """Take in a packed row beginning at ``start`` with buckets of ``width`` (ms), as far as it lies in ``span``.

        Without its ``sketches`` that takes a third of the time, and there are no quantiles.
        """
        packed = PackedRollup(row)
        whole = span.since <= start and start + SPAN[width] <= span.until
        found = {start + number * width: runs for number, runs in packed.outcomes.items()}
        if whole and found.keys().isdisjoint(self.runs):
            self.runs |= found
        else:
            for at, runs in found.items():
                if span.meets(at, width):
                    self.add_runs(at, runs)
        for identity in wanted:
            columns = packed.columns(identity)
            if not whole:
                columns = _inside(columns, start, width, span)
            if columns[0]:
                self._add_columns(identity, start // DAY * DAY, columns)
                if sketches and whole:
                    _, _, bins, counts = packed.sketch_columns(identity)
                    self._add_sketch(identity, bins, counts)
                elif sketches:
                    for number, sketch in packed.sketches(identity).items():
                        if span.has(start + number * HOUR):
                            self._add_sketch(identity, sketch.keys(), sketch.values())

    def _add_columns(self, series: int, day: int, columns: Sequence[Sequence[float]]) -> None:
        _, counts, totals, lows, highs = columns
        bucket = Bucket(int(sum(counts)), sum(totals), min(lows), max(highs))
        self.values.setdefault(series, Distribution()).bucket.merge(bucket)
        self.daily.setdefault(series, {}).setdefault(day, Bucket()).merge(bucket)

    def _add_sketch(self, series: int, bins: Iterable[int], counts: Iterable[int]) -> None:
        into = self.values[series].sketch
        for number, count in zip(bins, counts, strict=True):
            into[number] += count


def _inside(columns: list[list[float]], start: int, width: int, span: Span) -> list[list[float]]:
    """The columns without the buckets that do not begin in the span."""
    inside = [span.has(start + int(number) * width) for number in columns[0]]
    return [list(compress(column, inside)) for column in columns]


def add_raw(totals: Totals, row: PackedRow, wanted: Collection[int]) -> None:
    """Take one observation in that no rollup has yet."""
    runs = [0, 0, 0]
    runs[row.outcome] = 1
    totals.add_runs(row.at // FIVE_MINUTES * FIVE_MINUTES, runs)
    day = row.at // DAY * DAY
    for identity, value in zip(row.series, row.values, strict=True):
        if identity in wanted and value - value == 0:  # neither infinite nor undefined
            totals.add_value(identity, day, value)
