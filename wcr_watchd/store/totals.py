"""Sums over long spans out of the rollups: runs by outcome, and how the values of a series are distributed.

Of each packed row only what is asked for is read: most of it is other series, and a month of 500 checks is 15 000 rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wcr_watchd.store.pack import PackedRow
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR, SPAN, Bucket, PackedRollup, bin_of, quantile

Runs = list[int]
"""Runs that were up, down and unknown."""


@dataclass(slots=True)
class Distribution:
    """All values of a series in a span: count, sum, extremes, and a sketch for the quantiles."""

    bucket: Bucket = field(default_factory=Bucket)
    sketch: dict[str, int] = field(default_factory=dict)
    """By the number of the bin as it stands in the JSON: turning millions of them into numbers takes long."""

    def quantile(self, q: float) -> float:
        """The value below which the share ``q`` (0-1) of the values lies, within 5 %, and within what was seen."""
        sketch = {int(number): count for number, count in self.sketch.items()}
        return min(max(quantile(sketch, q), self.bucket.minimum), self.bucket.maximum)


class Span(NamedTuple):
    """From when to before when (epoch ms)."""

    since: int
    until: int

    def has(self, at: int) -> bool:
        """Whether a bucket that begins then belongs to it."""
        return self.since <= at < self.until


@dataclass(slots=True)
class Totals:
    """What is known of one check: runs by the start of each bucket (epoch ms), and of each wanted series.

    ``daily`` has the values of each series by the start of the (UTC) day.
    """

    runs: dict[int, Runs] = field(default_factory=dict)
    values: dict[int, Distribution] = field(default_factory=dict)
    daily: dict[int, dict[int, Bucket]] = field(default_factory=dict)

    def add_runs(self, start: int, runs: Sequence[int]) -> None:
        """Count runs of the bucket at ``start``."""
        known = self.runs.get(start)
        self.runs[start] = list(runs) if known is None else [a + b for a, b in zip(known, runs, strict=True)]

    def add_value(self, series: int, day: int, value: float) -> None:
        """Count one value."""
        found = self.values.setdefault(series, Distribution())
        found.bucket.add(value)
        number = str(bin_of(value))
        found.sketch[number] = found.sketch.get(number, 0) + 1
        self.daily.setdefault(series, {}).setdefault(day, Bucket()).add(value)

    def add_row(
        self, row: bytes, start: int, width: int, wanted: Collection[int], span: Span, *, sketches: bool
    ) -> None:
        """Take in a packed row beginning at ``start`` with buckets of ``width`` (ms), as far as it lies in ``span``.

        Without its ``sketches`` that takes a third of the time, and there are no quantiles.
        """
        packed = PackedRollup(row)
        for number, runs in packed.outcomes.items():
            if span.has(at := start + number * width):
                self.add_runs(at, runs)
        whole = span.since <= start and start + SPAN[width] <= span.until
        for identity in wanted:
            columns = list(zip(*packed.columns(identity), strict=True))
            if not whole:
                columns = [one for one in columns if span.has(start + int(one[0]) * width)]
            if columns:
                self._add_columns(identity, start // DAY * DAY, columns)
                if sketches:
                    self._add_sketches(identity, packed.sketches(identity), start, span)

    def _add_columns(self, series: int, day: int, columns: Sequence[tuple[float, ...]]) -> None:
        _, counts, totals, lows, highs = zip(*columns, strict=True)
        bucket = Bucket(int(sum(counts)), sum(totals), min(lows), max(highs))
        self.values.setdefault(series, Distribution()).bucket.merge(bucket)
        self.daily.setdefault(series, {}).setdefault(day, Bucket()).merge(bucket)

    def _add_sketches(self, series: int, sketches: Mapping[str, Mapping[str, int]], start: int, span: Span) -> None:
        into = self.values[series].sketch
        for number, sketch in sketches.items():
            if span.has(start + int(number) * HOUR):
                for place, count in sketch.items():
                    into[place] = into.get(place, 0) + count


def add_raw(totals: Totals, row: PackedRow, wanted: Collection[int]) -> None:
    """Take one observation in that no rollup has yet."""
    runs = [0, 0, 0]
    runs[row.outcome] = 1
    totals.add_runs(row.at // FIVE_MINUTES * FIVE_MINUTES, runs)
    day = row.at // DAY * DAY
    for identity, value in zip(row.series, row.values, strict=True):
        if identity in wanted and value - value == 0:  # neither infinite nor undefined
            totals.add_value(identity, day, value)
