"""Rollups against brute force."""

from __future__ import annotations

import json
import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.store.pack import PackedRow, newest_per_run, pack, unpack
from wcr_watchd.store.rollup import (
    DAY,
    FIVE_MINUTES,
    HOUR,
    PackedRollup,
    bin_of,
    decode,
    encode,
    quantile,
    roll_up_day,
    roll_up_hour,
)

START = 1_790_000_000_000 // DAY * DAY
finite = st.floats(min_value=-1e12, max_value=1e12)


def row(at: int, series: dict[int, float], outcome: int = 0) -> PackedRow:
    return PackedRow(1, at, 0.1, outcome, "", "fine", list(series), list(series.values()), None)


def rows_within(span: int) -> st.SearchStrategy[list[PackedRow]]:
    one = st.builds(
        row,
        st.integers(START, START + span - 1),
        st.dictionaries(st.integers(1, 3), finite | st.sampled_from([math.inf, math.nan])),
        st.integers(0, 2),
    )
    return st.lists(one, max_size=60, unique_by=lambda row: row.at)


def brute_force(rows: list[PackedRow], series: int, width: int) -> dict[int, list[float]]:
    """The finite values of a series by number of their bucket."""
    values: dict[int, list[float]] = {}
    for one in rows:
        if series in one.series:
            value = one.values[one.series.index(series)]
            if math.isfinite(value):
                values.setdefault((one.at - START) // width, []).append(value)
    return values


def assert_same(body: bytes, rows: list[PackedRow], width: int) -> None:
    for series in (1, 2, 3):
        expected = brute_force(rows, series, width)
        columns = PackedRollup(body).columns(series)
        buckets = {number: bucket for number, *bucket in zip(*columns, strict=True)}
        assert buckets.keys() == expected.keys()
        for number, values in expected.items():
            count, total, low, high = buckets[number]
            assert count == len(values)
            assert low == pytest.approx(min(values), rel=1e-8)
            assert high == pytest.approx(max(values), rel=1e-8)
            # A sum of large values of both signs may cancel out; its error is that of the largest part.
            largest = max(abs(value) for value in values)
            assert total == pytest.approx(sum(values), rel=1e-8, abs=largest * len(values) * 1e-8)


@given(rows_within(HOUR))
def test_an_hour_in_five_minute_buckets(rows: list[PackedRow]) -> None:
    body = encode(roll_up_hour(START, rows))
    assert_same(body, rows, FIVE_MINUTES)
    runs: dict[int, list[int]] = {}
    for one in rows:
        runs.setdefault((one.at - START) // FIVE_MINUTES, [0, 0, 0])[one.outcome] += 1
    assert decode(body).outcomes == runs


@given(rows_within(DAY))
def test_a_day_in_hours_is_what_its_hours_were(rows: list[PackedRow]) -> None:
    by_hour: dict[int, list[PackedRow]] = {}
    for one in rows:
        by_hour.setdefault(one.at // HOUR * HOUR, []).append(one)
    hours = [(start, decode(encode(roll_up_hour(start, within)))) for start, within in by_hour.items()]
    body = encode(roll_up_day(START, hours))
    assert_same(body, rows, HOUR)
    day = decode(body)
    assert sum(sum(runs) for runs in day.outcomes.values()) == len(rows)
    for series in day.series:
        for number, bucket in day.series[series].items():
            assert sum(day.sketches[series][number].values()) == bucket.count


def test_sketches_of_earlier_versions_are_read() -> None:
    """They were objects, by the number of the hour and that of the bin."""

    def packed(document: object) -> bytes:
        return zlib.compress(json.dumps(document).encode())

    columns = packed([[0, 5], [3, 1], [0.3, 0.2], [0.1, 0.2], [0.1, 0.2]])
    sketches = packed({"0": {"976": 2, "-3": 1}, "5": {"983": 1}})
    head = packed([{"0": [3, 0, 0], "5": [1, 0, 0]}, [7], [len(columns), len(sketches)]])
    body = b"".join((len(head).to_bytes(4), head, columns, sketches))
    assert decode(body).sketches == {7: {0: {976: 2, -3: 1}, 5: {983: 1}}}
    assert PackedRollup(body).sketch_columns(7) == [[0, 5], [2, 1], [976, -3, 983], [2, 1, 1]]
    assert decode(encode(decode(body))) == decode(body)


@given(st.lists(st.floats(min_value=-1e9, max_value=1e9), min_size=1), st.floats(0, 1))
def test_a_quantile_is_off_by_five_percent_at_most(values: list[float], q: float) -> None:
    sketch: dict[int, int] = {}
    for value in values:
        sketch[bin_of(value)] = sketch.get(bin_of(value), 0) + 1
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    assert quantile(sketch, q) == pytest.approx(exact, rel=0.05, abs=1e-9)


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="without values"):
        quantile({}, 0.5)


@given(
    st.lists(
        st.builds(
            PackedRow,
            st.integers(1, 2**31),
            st.integers(0, 2**45),
            st.floats(allow_nan=False),
            st.integers(0, 2),
            st.text(),
            st.text(),
            st.lists(st.integers(1, 2**31)),
            st.lists(st.floats(allow_nan=False)),
            st.none() | st.dictionaries(st.text(), st.text()),
        )
    )
)
def test_packed_rows_keep_everything(rows: list[PackedRow]) -> None:
    assert unpack(pack(rows)) == rows


def test_a_run_that_was_stored_twice_is_one_run() -> None:
    first, second = row(START, {1: 1.0}), row(START + 1, {1: 2.0})
    assert newest_per_run([second, first, second]) == [first, second]
