"""Months of a calendar and of a bill, across changes of the clocks, short months and a leap day."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.simulation.calendar_year import FIRST, LAST, ZONES, midnight
from wcr_watchd.core.local_time import months


def shown(at: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize("begins", [1, 2, 15, 28, 29, 30, 31])
@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_every_moment_of_a_year_is_in_one_month_that_begins_at_a_local_midnight(zone: ZoneInfo, begins: int) -> None:
    """Through a year with both changes of the clocks and a leap day: what is expected goes by its days."""
    expected = ""
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=number)
        tomorrow = day + timedelta(days=1)
        if day.day == begins or (day.day < begins and tomorrow.day == 1):
            expected = str(day)
        for at in (midnight(day, zone), midnight(tomorrow, zone) - 1.0):
            [(name, start, end), (_, _, before)] = months(at, zone.key, 2, begins)
            assert start <= at < end
            assert before == start, "they follow each other without a gap"
            assert shown(start, zone).endswith("00:00")
            assert not expected or shown(start, zone).startswith(expected), shown(at, zone)
            assert expected.startswith(name) or not expected


def test_lengths_and_names() -> None:
    berlin, now = ZoneInfo("Europe/Berlin"), datetime(2028, 4, 2, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    of_bill = list(months(now, berlin.key, 4, 31))
    assert [name for name, _, _ in of_bill] == ["2028-03-31", "2028-02-29", "2028-01-31", "2027-12-31"]
    hours = [round((end - start) / 3_600.0) for _, start, end in of_bill]
    assert hours == [30 * 24, 31 * 24 - 1, 29 * 24, 31 * 24], "the clocks went forward on 26 March"
    assert [name for name, _, _ in months(now, berlin.key, 2)] == ["2028-04", "2028-03"]
