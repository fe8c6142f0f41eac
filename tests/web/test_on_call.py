"""Who is on call: page, API, and the calendar that people subscribe to."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.web.access import TOKEN
from tests.web.showcase import NOW
from tests.web.test_web import Served
from wcr_watchd.core.on_call import Layer, OnCallSchedule, Override, turns
from wcr_watchd.web.rota import calendar, names

DAY = 86_400.0


def unfolded(text: str) -> list[str]:
    """The content lines of a calendar (RFC 5545, 3.1)."""
    assert text.endswith("\r\n")
    lines = text[:-2].split("\r\n")
    assert max(len(line.encode()) for line in lines) <= 75
    return text[:-2].replace("\r\n ", "").split("\r\n")


def values(lines: list[str], name: str) -> list[str]:
    return [line.partition(":")[2] for line in lines if line.partition(":")[0] == name]


# --- the page ---


async def test_the_page_says_who_is_on_call_now_and_in_the_week(served: Served) -> None:
    status, page = await served.get("/on-call")
    assert status == 200
    assert "Nobody is on call in shop" in page
    ops, shop = page.split("<section>")[1:]
    assert "<strong>lead</strong>" in ops
    assert "until Tue 24 Nov 13:00, then kim and eve · rotation" in ops
    assert '<span class="quiet">00:00–09:00</span> second' in ops  # the week's first hand-over is today
    assert 'kim and eve <span class="quiet">(override)</span>' in ops
    assert ops.count('<span class="quiet">all day</span> lead') == 5
    assert "Nobody is on call from Mon 23 Nov 19:00 to Tue 24 Nov 09:00; from " in shop
    assert "62 times more" in shop
    assert shop.count("<tr>") == 7
    assert shop.count('all day</span> <strong class="nobody">nobody</strong>') == 2


async def test_every_page_leads_there_and_it_says_when_there_is_no_schedule(served: Served) -> None:
    assert '<a href="/on-call">' in (await served.get("/"))[1]
    served.control.setup = replace(served.control.setup, on_call={})
    assert "There is no on-call schedule" in (await served.get("/on-call"))[1]


async def test_the_page_with_somebody_in_every_schedule(served: Served) -> None:
    always = served.control.setup.on_call["ops"]
    served.control.setup = replace(served.control.setup, on_call={"a": replace(always, name="a"), "ops": always})
    assert "Somebody is on call in all 2 schedules" in (await served.get("/on-call"))[1]
    served.control.setup = replace(served.control.setup, on_call={"ops": replace(always, overrides=())})
    assert "lead on call</h1>" in (await served.get("/on-call"))[1]


async def test_a_schedule_that_never_changes_has_no_end(served: Served) -> None:
    forever = OnCallSchedule("ops", "UTC", (), (Override(0.0, 9e9, ("lead",)),))
    served.control.setup = replace(served.control.setup, on_call={"ops": forever})
    page = (await served.get("/on-call"))[1]
    assert "for the months ahead" in page
    row = json.loads((await served.get("/api/v1/on-call"))[1])["schedules"][0]
    assert (row["now"]["until"], row["now"]["next"]) == (None, None)


async def test_the_dashboard_shows_what_is_warned_of(served: Served) -> None:
    served.control.warnings = ("w.toml:3: on_call.ops: nobody is on call from now <b>",)
    assert "nobody is on call from now &lt;b&gt;" in (await served.get("/"))[1]
    assert json.loads((await served.get("/api/v1/status"))[1])["warnings"] == list(served.control.warnings)
    served.control.warnings *= 3
    page = (await served.get("/"))[1]
    assert '<a href="/config">3 warnings about the configuration</a>' in page, "they push nothing down that is wrong"
    assert (await served.get("/config"))[1].count("nobody is on call from now") == 3


async def test_a_change_of_layers_is_none_where_the_people_stay(served: Served) -> None:
    base = served.control.setup.on_call["shop"].layers[0]
    layers = (Layer("base", (("ann",),)), replace(base, rotation=(("ann",), ("ben",))))
    served.control.setup = replace(
        served.control.setup, on_call={"ops": OnCallSchedule("ops", "Europe/Berlin", layers)}
    )
    page = (await served.get("/on-call"))[1]
    assert "until Tue 24 Nov 09:00, then ben" in page
    assert page.count("all day</span> ann") == 5  # not on Tuesday and Thursday, when Ben has the office
    (row,) = json.loads((await served.get("/api/v1/on-call"))[1])["schedules"]
    assert (row["now"]["until"], row["now"]["next"]) == ("2026-11-24T08:00:00.000+00:00", ["ben"])
    assert {turn["why"] for turn in row["turns"]} == {"base", "layer <office>"}


def test_names_of_groups() -> None:
    assert [names(group) for group in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == ["", "a", "a and b", "a, b and c"]


# --- the API ---


async def test_the_api_says_who_is_on_call_now_and_for_a_week(served: Served) -> None:
    status, text = await served.get("/api/v1/on-call")
    found = json.loads(text)
    assert status == 200
    ops, shop = found["schedules"]
    assert (ops["name"], ops["timezone"]) == ("ops", "America/New_York")
    assert ops["now"] == {
        "contacts": ["lead"],
        "why": "rotation",
        "until": "2026-11-24T18:00:00.000+00:00",
        "next": ["kim", "eve"],
    }
    assert [turn["contacts"] for turn in ops["turns"]] == [["lead"], ["kim", "eve"], ["lead"], ["second"]]
    assert (ops["turns"][0]["start"], ops["turns"][-1]["end"]) == (found["from"], found["until"])
    assert ops["gaps"] == []
    assert shop["now"]["contacts"] == []
    assert [turn["contacts"] for turn in shop["turns"]][:2] == [[], ["ben"]]
    assert shop["gaps"][0] == {"start": found["from"], "end": "2026-11-24T08:00:00.000+00:00"}


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-11-30T09:00:00-05:00&until=2026-12-01T09:00:00-05:00",
        "from=2026-11-30T14:00:00%2B00:00&until=2026-12-01T14:00:00Z",
        "from=2026-11-30T14:00:00+00:00&until=2026-12-01T14:00:00+00:00",
        f"from={datetime(2026, 11, 30, 14, tzinfo=UTC).timestamp()}&until=1796133600",
    ],
)
async def test_any_span_can_be_asked_for(served: Served, query: str) -> None:
    found = json.loads((await served.get(f"/api/v1/on-call?{query}"))[1])
    assert (found["from"], found["until"]) == ("2026-11-30T14:00:00.000+00:00", "2026-12-01T14:00:00.000+00:00")
    assert [turn["contacts"] for turn in found["schedules"][0]["turns"]] == [["second"]]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=tomorrow", "is no time"),
        ("from=2026-11-30T09:00:00", "is no time; write 2026-12-24T18:00:00-05:00"),
        ("until=9999-12-31T23:00:00Z", "too far ahead"),
        ("from=1800-01-01T00:00:00Z", "too long ago"),
        ("from=nan", "is no time"),
        ("until=5", "must be after `from`"),
        ("until=2028-01-01T00:00:00Z", "by at most 92 days"),
        ("from=250000000000", "no schedule"),
    ],
)
async def test_what_cannot_be_asked_for(served: Served, query: str, said: str) -> None:
    status, text = await served.get(f"/api/v1/on-call?{query}")
    if said == "no schedule":  # the last moment there is can be asked about
        assert status == 200
    else:
        assert (status, said in json.loads(text)["detail"]) == (400, True)


# --- the calendar ---


async def test_the_calendar_holds_every_turn(served: Served) -> None:
    async with served.session.get(served.base + "/api/v1/on-call/ops.ics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
        lines = unfolded(await answer.text())
    assert lines[:3] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//wcr-watchd//on call//EN"]
    assert lines[-1] == "END:VCALENDAR"
    starts, ends = values(lines, "DTSTART"), values(lines, "DTEND")
    assert starts[1:] == ends[:-1]
    assert "20261124T180000Z" in starts
    assert len(set(values(lines, "UID"))) == len(starts) == lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT")
    assert set(values(lines, "SUMMARY")) == {
        "lead on call (ops)",
        "second on call (ops)",
        "kim and eve on call (ops)",
    }
    assert values(lines, "DTSTAMP")[0] == "20261123T180000Z"


async def test_gaps_stand_in_the_calendar_and_a_calendar_that_is_not_there_is_named(served: Served) -> None:
    assert "SUMMARY:NOBODY on call (shop)" in (await served.get("/api/v1/on-call/shop.ics"))[1]
    status, text = await served.get("/api/v1/on-call/shops.ics")
    assert (status, json.loads(text)["detail"]) == (
        404,
        "there is no on-call schedule 'shops'; there are: ops, shop",
    )


def test_odd_names_break_no_calendar() -> None:
    odd = "Ünï, the; second\\ one\nBEGIN:VEVENT " + "語" * 60
    schedule = OnCallSchedule("a.b", "UTC", (), (Override(NOW, NOW + DAY, (odd,)),))
    lines = unfolded(calendar(schedule, "prod", NOW))
    assert lines.count("BEGIN:VEVENT") == 3
    (summary,) = [one for one in values(lines, "SUMMARY") if not one.startswith("NOBODY")]
    assert summary == "Ünï\\, the\\; second\\\\ one\\nBEGIN:VEVENT " + "語" * 60 + " on call (a.b)"


def test_the_calendar_s_events_keep_their_names_through_the_day() -> None:
    """A calendar program that looks again later must find the same events, not others."""
    schedule = OnCallSchedule(
        "ops", "UTC", (), tuple(Override(NOW + n * DAY, NOW + n * DAY + 60, ("a",)) for n in range(3))
    )
    first, later = (values(unfolded(calendar(schedule, "prod", at)), "UID") for at in (NOW, NOW + 3_600))
    assert first == later
    assert len(first) == len(turns(schedule, NOW - 8 * DAY, NOW + 90 * DAY))


async def test_a_calendar_program_needs_the_key_of_its_calendar_alone(guarded: Served) -> None:
    path = "/api/v1/on-call/ops.ics"
    key = guarded.access.key_of(path)
    assert len(key) == 32
    assert (await guarded.get(path))[0] == 401
    assert (await guarded.get(f"{path}?key={key}"))[0] == 200
    assert (await guarded.get(f"{path}?key={key[:-1]}"))[0] == 401
    assert (await guarded.get(f"{path}?key="))[0] == 401
    assert (await guarded.get(f"/api/v1/on-call/shop.ics?key={key}"))[0] == 401
    assert (await guarded.get(f"/api/v1/status?key={key}"))[0] == 401
    assert (await guarded.get(f"/api/v1/status?key={guarded.access.key_of('/api/v1/status')}"))[0] == 401
    assert (await guarded.post(f"{path}?key={key}"))[0] == 401
    _, page = await guarded.get("/on-call", Authorization=f"Bearer {TOKEN}")
    assert f'href="{path}?key={key}"' in page
