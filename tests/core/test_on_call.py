"""Who is on call when: tables for what people expect, properties for every schedule, in zones that move clocks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.local_time import MINUTES_A_DAY, MINUTES_A_WEEK, Hours, instant, local_time, merged
from wcr_watchd.core.on_call import (
    NOBODY,
    Duty,
    Layer,
    OnCallSchedule,
    Override,
    Turn,
    by_people,
    first_handover,
    gaps,
    on_call_at,
    turns,
    weekly,
)

HOUR = 3_600.0
DAY = 24 * HOUR
NEW_YORK = weekly("ops", "America/New_York", ("lead", "second"), 0, time(9, 0))
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo")
"""Lord Howe moves its clocks by half an hour, Cairo at midnight, St John's once did at 00:01."""


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def said(schedule: OnCallSchedule, start: str, end: str) -> list[tuple[str, str]]:
    """Turns as local time and names."""
    zone = ZoneInfo(schedule.timezone)
    return [
        (datetime.fromtimestamp(turn.start, zone).isoformat(timespec="minutes"), "+".join(turn.contacts))
        for turn in turns(schedule, at(start), at(end))
    ]


# --- the simple form ---


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-11-23T08:59:59-05:00", "2026-11-23T09:00:00-05:00"),
        ("2027-03-15T08:59:59-04:00", "2027-03-15T09:00:00-04:00"),  # the day after clocks went forward
        ("2026-11-02T08:59:59-05:00", "2026-11-02T09:00:00-05:00"),  # the day after they went back
    ],
)
def test_turns_change_at_the_local_hour_also_around_dst(before: str, after: str) -> None:
    people = {on_call_at(NEW_YORK, at(before)).contacts, on_call_at(NEW_YORK, at(after)).contacts}
    assert people == {("lead",), ("second",)}


def test_a_turn_lasts_a_week() -> None:
    monday = at("2026-11-23T09:00:00-05:00")
    assert len({on_call_at(NEW_YORK, monday + hours * HOUR) for hours in range(7 * 24)}) == 1


def test_weeks_are_counted_from_the_first_monday_of_1970() -> None:
    """A promise: what it was before there were layers, it is."""
    schedule = weekly("ops", "UTC", ("a", "b", "c"), 4, time(17, 30))
    assert on_call_at(schedule, at("1970-01-09T17:30:00+00:00")).contacts == ("a",)
    assert on_call_at(schedule, at("2026-11-28T12:00:00+00:00")).contacts == (("a", "b", "c")[2968 % 3],)


def test_a_handover_in_the_hour_that_comes_twice_happens_once() -> None:
    schedule = weekly("ops", "America/New_York", ("lead", "second"), 6, time(1, 30))
    found = said(schedule, "2026-10-31T12:00:00-04:00", "2026-11-02T12:00:00-05:00")
    assert [start for start, _ in found] == ["2026-10-31T12:00-04:00", "2026-11-01T01:30-04:00"]


def test_a_handover_in_the_hour_that_is_left_out_happens_right_after() -> None:
    schedule = weekly("ops", "America/New_York", ("lead", "second"), 6, time(2, 30))
    found = said(schedule, "2027-03-13T12:00:00-05:00", "2027-03-14T12:00:00-04:00")
    assert [start for start, _ in found] == ["2027-03-13T12:00-05:00", "2027-03-14T03:00-04:00"]


# --- layers, hours, overrides ---


def office(zone: str = "UTC") -> Hours:
    return Hours(zone, merged((day * MINUTES_A_DAY + 540, day * MINUTES_A_DAY + 1020) for day in range(5)))


def test_the_top_layer_that_has_somebody_wins() -> None:
    schedule = OnCallSchedule(
        "ops",
        "Europe/Berlin",
        (
            Layer("base", (("night",),)),
            Layer(
                "office",
                (("ann",), ("ben",)),
                turn=DAY,
                first=first_handover(0, time(9)),
                hours=office("Europe/Berlin"),
            ),
        ),
        (Override(at("2026-11-27T12:00:00+01:00"), at("2026-11-27T13:00:00+01:00"), ("eve", "kim")),),
    )
    found = said(schedule, "2026-11-26T12:00:00+01:00", "2026-11-30T12:00:00+01:00")
    assert [start for start, _ in found] == [
        "2026-11-26T12:00+01:00",
        "2026-11-26T17:00+01:00",
        "2026-11-27T09:00+01:00",
        "2026-11-27T12:00+01:00",
        "2026-11-27T13:00+01:00",
        "2026-11-27T17:00+01:00",
        "2026-11-30T09:00+01:00",
    ]
    thursday, _, friday, lunch, again, weekend, monday = (who for _, who in found)
    assert {thursday, friday} == {"ann", "ben"}
    assert (lunch, again, weekend) == ("eve+kim", friday, "night")
    assert monday == thursday  # the turns of Saturday and Sunday passed unseen
    assert on_call_at(schedule, at("2026-11-27T12:30:00+01:00")) == Duty(("eve", "kim"), "override")
    assert on_call_at(schedule, at("2026-11-28T12:30:00+01:00")) == Duty(("night",), "base")


def test_of_two_overrides_the_later_written_wins() -> None:
    overrides = (Override(0.0, 100.0, ("ann",)), Override(50.0, 60.0, ("ben",)))
    found = turns(OnCallSchedule("ops", "UTC", (), overrides), 0.0, 200.0)
    assert [(turn.start, turn.contacts) for turn in found] == [
        (0.0, ("ann",)),
        (50.0, ("ben",)),
        (60.0, ("ann",)),
        (100.0, ()),
    ]


def test_before_its_start_a_layer_has_nobody() -> None:
    layer = Layer("new", (("ann",), ("ben",)), first=datetime.fromisoformat("2026-12-07T09:00"), starts=True)
    schedule = OnCallSchedule("ops", "UTC", (layer,))
    assert said(schedule, "2026-12-01T00:00:00+00:00", "2026-12-20T00:00:00+00:00") == [
        ("2026-12-01T00:00+00:00", ""),
        ("2026-12-07T09:00+00:00", "ann"),
        ("2026-12-14T09:00+00:00", "ben"),
    ]
    (gap,) = gaps(schedule, at("2026-12-01T00:00:00+00:00"), at("2026-12-20T00:00:00+00:00"))
    assert (gap.end, gap.why) == (at("2026-12-07T09:00:00+00:00"), NOBODY)


def test_turns_of_twelve_hours_keep_to_the_wall_clock() -> None:
    layer = Layer("day and night", (("day",), ("night",)), turn=12 * HOUR, first=first_handover(0, time(9)))
    found = said(
        OnCallSchedule("ops", "Europe/Berlin", (layer,)), "2026-10-24T09:00:00+02:00", "2026-10-25T21:00:00+01:00"
    )
    assert [start for start, _ in found] == [
        "2026-10-24T09:00+02:00",
        "2026-10-24T21:00+02:00",
        "2026-10-25T09:00+01:00",
    ]


def test_turns_of_an_hour_when_clocks_move() -> None:
    layer = Layer("hourly", (("a",), ("b",), ("c",), ("d",)), turn=HOUR, first=first_handover(0, time(0)))
    schedule = OnCallSchedule("ops", "America/New_York", (layer,))
    forward = said(schedule, "2027-03-14T01:00:00-05:00", "2027-03-14T04:00:00-04:00")
    assert [start[11:] for start, _ in forward] == ["01:00-05:00", "03:00-04:00"]
    back = said(schedule, "2026-11-01T00:00:00-04:00", "2026-11-01T03:00:00-05:00")
    assert [start[11:] for start, _ in back] == ["00:00-04:00", "01:00-04:00", "02:00-05:00"]


def test_turns_of_the_same_people_can_be_joined() -> None:
    found = [Turn(0, 1, ("a",), "x"), Turn(1, 2, ("a",), "y"), Turn(2, 3, (), "z"), Turn(3, 4, ("a",), "x")]
    assert by_people(found) == [Turn(0, 2, ("a",), "x"), Turn(2, 3, (), "z"), Turn(3, 4, ("a",), "x")]


def test_nothing_in_no_time() -> None:
    assert turns(NEW_YORK, 5.0, 5.0) == []
    assert turns(NEW_YORK, 5.0, 4.0) == []


# --- parts of the week ---


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 10), (10, 20)], ((0, 20),)),
        ([(5, 20), (0, 10)], ((0, 20),)),
        ([(MINUTES_A_WEEK - 10, MINUTES_A_WEEK + 10)], ((MINUTES_A_WEEK - 10, MINUTES_A_WEEK + 10),)),
        ([(0, 20), (MINUTES_A_WEEK - 10, MINUTES_A_WEEK + 10)], ((MINUTES_A_WEEK - 10, MINUTES_A_WEEK + 20),)),
        ([(0, MINUTES_A_WEEK)], ((0, MINUTES_A_WEEK),)),
        ([(100, 100 + MINUTES_A_WEEK), (5, 10)], ((0, MINUTES_A_WEEK),)),
        ([(MINUTES_A_WEEK + 5, MINUTES_A_WEEK + 10)], ((5, 10),)),
    ],
)
def test_parts_of_the_week_that_touch_are_one(
    spans: list[tuple[int, int]], expected: tuple[tuple[int, int], ...]
) -> None:
    assert merged(spans) == expected


minutes = st.integers(0, MINUTES_A_WEEK - 1)
week_spans = st.lists(st.tuples(minutes, st.integers(1, MINUTES_A_WEEK)), min_size=1, max_size=6).map(
    lambda pairs: [(start, start + length) for start, length in pairs]
)


@given(week_spans)
def test_merging_keeps_every_minute(spans: list[tuple[int, int]]) -> None:
    def covered(parts: object) -> set[int]:
        return {minute % MINUTES_A_WEEK for start, end in parts for minute in range(start, end)}  # type: ignore[attr-defined]

    found = merged(spans)
    assert covered(found) == covered(spans)
    assert all(end < start for (_, end), (start, _) in pairwise(found))


# --- every schedule ---

zones = st.sampled_from(ZONES)
instants = st.floats(at("2006-01-01T00:00:00+00:00"), at("2030-01-01T00:00:00+00:00"))
names = st.sampled_from(["ann", "ben", "eve", "kim"])
groups = st.lists(names, min_size=1, max_size=2, unique=True).map(tuple)
around_clock_changes = st.sampled_from(
    [
        at(day + "T00:00:00+00:00")
        for day in ("2026-03-08", "2026-11-01", "2026-10-25", "2027-03-28", "2026-04-04", "2026-10-03")
    ]
).flatmap(lambda midnight: st.floats(midnight - 2 * DAY, midnight + 3 * DAY))
moments = around_clock_changes | instants


@st.composite
def layers(draw: st.DrawFn, zone: str) -> Layer:
    first = first_handover(draw(st.integers(0, 6)), draw(st.times()).replace(second=0, microsecond=0))
    starts = draw(st.booleans())
    return Layer(
        name=draw(st.sampled_from(["base", "top"])),
        rotation=tuple(draw(st.lists(groups, min_size=1, max_size=4))),
        turn=draw(st.sampled_from([HOUR, 7 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY, 14 * DAY])),
        first=first + timedelta(days=20_500) if starts else first,
        starts=starts,
        hours=Hours(zone, merged(draw(week_spans))) if draw(st.booleans()) else None,
    )


@st.composite
def schedules(draw: st.DrawFn, near: float) -> OnCallSchedule:
    zone = draw(zones)
    times = st.tuples(st.floats(near - 10 * DAY, near + 10 * DAY), st.floats(60.0, 5 * DAY))
    overrides = [Override(start, start + length, draw(groups)) for start, length in draw(st.lists(times, max_size=3))]
    return OnCallSchedule("ops", zone, tuple(draw(st.lists(layers(zone), max_size=3))), tuple(overrides))


schedules_at = moments.flatmap(lambda start: st.tuples(schedules(start), st.just(start), st.floats(1.0, 20 * DAY)))


@given(schedules_at, st.lists(st.floats(0.0, 1.0), min_size=5, max_size=20))
def test_turns_tile_time_and_agree_with_every_instant(
    case: tuple[OnCallSchedule, float, float], places: list[float]
) -> None:
    schedule, start, length = case
    end = start + length
    found = turns(schedule, start, end)
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(turn.start < turn.end for turn in found)
    for before, after in pairwise(found):
        assert before.end == after.start
        assert (before.contacts, before.why) != (after.contacts, after.why)
    for turn in found:
        inside = [min(turn.start + place * (turn.end - turn.start), turn.end) for place in places]
        for moment in (turn.start, *(one for one in inside if one < turn.end), max(turn.start, turn.end - 1e-3)):
            assert on_call_at(schedule, moment) == Duty(turn.contacts, turn.why)
    assert gaps(schedule, start, end) == [turn for turn in found if not turn.contacts]


@given(
    moments.flatmap(lambda start: st.tuples(schedules(start), st.just(start))),
    st.floats(1.0, 9 * DAY),
    st.floats(1.0, 9 * DAY),
)
def test_looking_in_two_steps_shows_the_same(case: tuple[OnCallSchedule, float], first: float, second: float) -> None:
    schedule, start = case
    middle, end = start + first, start + first + second
    parts = turns(schedule, start, middle) + turns(schedule, middle, end)
    joined = [parts[0]]
    for turn in parts[1:]:
        last = joined[-1]
        if (last.contacts, last.why) == (turn.contacts, turn.why):
            joined[-1] = type(turn)(last.start, turn.end, turn.contacts, turn.why)
        else:
            joined.append(turn)
    assert joined == turns(schedule, start, end)


@given(zones, moments)
def test_an_instant_comes_back_from_its_local_time_or_is_the_second_of_two(zone: str, moment: float) -> None:
    whole, place = float(int(moment)), ZoneInfo(zone)
    back = instant(local_time(whole, place), place)
    assert back <= whole
    assert local_time(back, place) == local_time(whole, place)


@given(zones, moments, st.integers(0, 7200))
def test_later_on_the_clock_is_never_earlier(zone: str, moment: float, seconds: int) -> None:
    place = ZoneInfo(zone)
    local = local_time(float(int(moment)), place)
    assert instant(local, place) <= instant(local + timedelta(seconds=seconds), place)


@pytest.mark.parametrize(
    ("zone", "local", "meant"),
    [
        ("America/New_York", "2027-03-14T02:30", "2027-03-14T07:00:00+00:00"),
        ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30:00+00:00"),
        ("Europe/Berlin", "2027-03-28T02:00", "2027-03-28T01:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-05T01:40", "2026-04-04T14:40:00+00:00"),
        ("Africa/Cairo", "2026-04-24T00:30", "2026-04-23T22:00:00+00:00"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00+00:00"),
        ("UTC", "2026-11-28T12:00", "2026-11-28T12:00:00+00:00"),
    ],
)
def test_times_that_do_not_exist_or_exist_twice(zone: str, local: str, meant: str) -> None:
    assert instant(datetime.fromisoformat(local), ZoneInfo(zone)) == at(meant)
