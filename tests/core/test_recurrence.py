"""When maintenance windows are: spans that agree with each other and with the clocks, across clock changes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.local_time import MINUTES_A_DAY, local_time, merged
from wcr_watchd.core.recurrence import Interval, Once, Recurring, recurring, weekly

NEW_YORK = "America/New_York"
ZONES = (
    NEW_YORK,
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour
    "America/Havana",  # at midnight
    "Asia/Kathmandu",
    "UTC",
)
WEEK = 7 * MINUTES_A_DAY


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def weeks() -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    span = st.tuples(st.integers(0, WEEK - 1), st.integers(1, 2 * MINUTES_A_DAY)).map(lambda s: (s[0], s[0] + s[1]))
    return st.lists(span, min_size=1, max_size=4).map(merged).filter(lambda spans: spans != ((0, WEEK),))


def days() -> st.SearchStrategy[Interval]:
    day = st.integers(1, 31)
    return st.builds(
        Interval,
        timezone=st.sampled_from(ZONES),
        times=st.lists(
            st.tuples(st.integers(0, 1439), st.integers(1, 1440)).map(lambda t: (t[0], t[0] + t[1])),
            min_size=1,
            max_size=3,
        ).map(tuple),
        weekdays=st.frozensets(st.integers(0, 6), min_size=1, max_size=4),
        days_of_month=st.sampled_from([(), ((1, 7),), ((-7, -1),), ((13, 13), (20, 25))])
        | day.map(lambda d: ((d, 31),)),
        months=st.frozensets(st.integers(1, 12), min_size=0, max_size=6),
    )


windows = st.builds(weekly, weeks(), st.sampled_from(ZONES)) | st.lists(days(), min_size=1, max_size=2).map(
    lambda found: recurring(tuple(found))
)
moments = st.one_of(
    st.floats(at("2025-01-01T00:00+00:00"), at("2028-01-01T00:00+00:00")),
    st.sampled_from(
        [at("2026-03-08T06:59:00+00:00"), at("2026-11-01T05:30:00+00:00"), at("2026-10-25T00:30:00+00:00")]
    ),
)


@given(windows, moments)
def test_spans_are_in_order_and_do_not_touch(spans: Recurring, start: float) -> None:
    found = list(islice(spans.after(start), 6))
    assert all(begin < end for begin, end in found)
    assert all(first[1] < second[0] for first, second in pairwise(found))
    assert all(begin >= start for begin, _ in found)


@given(windows, moments, st.floats(0.0, 1.0, exclude_max=True))
def test_around_and_after_agree(spans: Recurring, start: float, part: float) -> None:
    for span in islice(spans.after(start), 4):
        begin, end = span
        inside = min(begin + part * (end - begin), end - 0.001)
        assert spans.around(begin) == spans.around(inside) == span
        assert spans.around(end) is None
        assert spans.around(begin - 0.001) is None
        assert next(iter(spans.after(begin))) == span
        assert next(iter(spans.after(begin + 0.001)), span) != span


@given(windows, moments)
def test_nothing_holds_between_two_spans(spans: Recurring, start: float) -> None:
    before = spans.around(start)
    end = before[1] if before else start
    following = next(iter(spans.after(end)), None)
    if following is not None:
        assert spans.around((end + following[0]) / 2) in (None, following)
        if before is None:
            assert spans.around(start) is None


@given(weeks(), st.sampled_from(ZONES), moments)
def test_a_window_holds_whenever_the_clocks_say_so(
    spans: tuple[tuple[int, int], ...], timezone: str, now: float
) -> None:
    """More may hold (between the two times that a clock shows the same), less never."""
    clock = local_time(now, ZoneInfo(timezone))
    minute = (clock.weekday() * MINUTES_A_DAY) + clock.hour * 60 + clock.minute
    shown = any(begin <= minute + shift < end for begin, end in spans for shift in (0, WEEK))
    if shown:
        assert weekly(spans, timezone).around(now) is not None


@given(st.integers(0, 6), st.integers(0, 1439), st.integers(1, 600), st.sampled_from(ZONES), moments)
def test_a_window_lasts_as_the_clocks_say(day: int, start: int, length: int, timezone: str, now: float) -> None:
    begin = day * MINUTES_A_DAY + start
    spans = weekly(((begin, begin + length),), timezone)
    zone = ZoneInfo(timezone)
    for first, last in islice(spans.after(now), 2):
        # No zone here moves its clocks by more than an hour.
        assert abs((last - first) - length * 60.0) <= 3_600.0
        shown = local_time(first, zone)
        meant = (shown.weekday() * MINUTES_A_DAY + shown.hour * 60 + shown.minute - begin) % WEEK
        assert meant <= 60  # at its time, or right after the gap that its time lies in


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends"),
    [
        # New York, 8 March 2026: 02:00 EST becomes 03:00 EDT
        ("2026-03-08T01:00", "2026-03-08T04:00", "2026-03-08T01:00-05:00", "2026-03-08T04:00-04:00"),
        ("2026-03-08T02:30", "2026-03-08T04:00", "2026-03-08T03:00-04:00", "2026-03-08T04:00-04:00"),
        ("2026-03-08T01:00", "2026-03-08T02:30", "2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"),
        ("2026-03-08T02:15", "2026-03-08T02:45", "2026-03-08T03:00-04:00", "2026-03-08T03:30-04:00"),
        # 1 November 2026: 02:00 EDT becomes 01:00 EST
        ("2026-11-01T01:00", "2026-11-01T02:00", "2026-11-01T01:00-04:00", "2026-11-01T02:00-05:00"),
        ("2026-11-01T00:30", "2026-11-01T01:30", "2026-11-01T00:30-04:00", "2026-11-01T01:30-05:00"),
        ("2026-11-01T01:15", "2026-11-01T01:45", "2026-11-01T01:15-04:00", "2026-11-01T01:45-05:00"),
        ("2026-11-01T01:30", "2026-11-01T04:00", "2026-11-01T01:30-04:00", "2026-11-01T04:00-05:00"),
    ],
)
def test_clock_changes(start: str, end: str, begins: str, ends: str) -> None:
    day = date.fromisoformat(start[:10])
    first, last = (datetime.fromisoformat(text) for text in (start, end))
    midnight = datetime.combine(day, time())
    minutes = tuple(int((moment - midnight) / timedelta(minutes=1)) for moment in (first, last))
    interval = Interval(NEW_YORK, times=((minutes[0], minutes[1]),), weekdays=frozenset((day.weekday(),)))
    spans = recurring((interval,))
    assert next(iter(spans.after(at(begins) - 3_600.0))) == (at(begins), at(ends))


def test_days_that_touch_are_one_span() -> None:
    weekdays = Interval(NEW_YORK, weekdays=frozenset(range(5)))
    spans = recurring((weekdays,))
    assert spans.around(at("2026-11-25T12:00-05:00")) == (at("2026-11-23T00:00-05:00"), at("2026-11-28T00:00-05:00"))


def test_the_clocks_of_several_places() -> None:
    kiritimati = Interval("Pacific/Kiritimati", times=((0, 120),), weekdays=frozenset((0,)))
    spans = recurring((kiritimati, Interval("Pacific/Niue", times=((120, 180),))))
    monday = at("2026-11-23T00:00+14:00")
    assert spans.around(monday) == (monday, monday + 7_200.0)
    here = at("2026-11-22T02:00-11:00")
    assert list(islice(spans.after(monday - 3_600.0), 3)) == [
        (monday, monday + 7_200.0),
        (here, here + 3_600.0),
        (here + 86_400.0, here + 90_000.0),
    ]


def test_what_never_comes_is_looked_for_in_vain() -> None:
    never = Interval("UTC", months=frozenset((2,)), days_of_month=((30, 31),))
    spans = recurring((never,))
    assert list(spans.after(at("2026-01-01T00:00+00:00"))) == []
    assert spans.around(at("2026-02-28T12:00+00:00")) is None


def test_once() -> None:
    once = Once(100.0, 200.0)
    assert [once.around(now) for now in (99.0, 100.0, 199.0, 200.0)] == [None, (100.0, 200.0), (100.0, 200.0), None]
    assert list(once.after(100.0)) == [(100.0, 200.0)]
    assert list(once.after(101.0)) == []
