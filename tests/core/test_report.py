"""What a report covers, also across clock changes and leap days, and what it needs of the setup."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.core.world import check, setup
from wcr_watchd.core.local_time import MINUTES_A_DAY
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.recurrence import weekly
from wcr_watchd.core.report import (
    Audience,
    Planned,
    ReportKind,
    ReportPlan,
    chosen,
    period,
    planned,
    public_name,
    public_subjects,
    upcoming,
)
from wcr_watchd.core.silence import Silence, Window
from wcr_watchd.core.status import Component, StatusPage

NEW_YORK = "America/New_York"


def at(text: str, zone: str = NEW_YORK) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("kind", "now", "expected"),
    [
        (ReportKind.WEEKLY, "2026-11-30 09:00", ("2026-11-16 00:00", "2026-11-23 00:00", "2026-11-30 00:00")),
        (ReportKind.WEEKLY, "2026-11-29 23:59", ("2026-11-09 00:00", "2026-11-16 00:00", "2026-11-23 00:00")),
        # The clocks went back on 1 November: that week had 169 hours.
        (ReportKind.WEEKLY, "2026-11-02 09:00", ("2026-10-19 00:00", "2026-10-26 00:00", "2026-11-02 00:00")),
        (ReportKind.MONTHLY, "2026-12-01 09:00", ("2026-10-01 00:00", "2026-11-01 00:00", "2026-12-01 00:00")),
        (ReportKind.MONTHLY, "2028-03-01 09:00", ("2028-01-01 00:00", "2028-02-01 00:00", "2028-03-01 00:00")),
        (ReportKind.DRILL, "2027-01-01 09:00", ("2026-07-01 00:00", "2026-10-01 00:00", "2027-01-01 00:00")),
        (ReportKind.DRILL, "2026-11-29 23:59", ("2026-04-01 00:00", "2026-07-01 00:00", "2026-10-01 00:00")),
        (ReportKind.MONTHLY, "2027-01-15 09:00", ("2026-11-01 00:00", "2026-12-01 00:00", "2027-01-01 00:00")),
    ],
)
def test_the_last_whole_period(kind: ReportKind, now: str, expected: tuple[str, ...]) -> None:
    assert period(kind, NEW_YORK, at(now), whole=True) == tuple(map(at, expected))


def test_a_week_with_a_clock_change_has_an_hour_more() -> None:
    _, since, until = period(ReportKind.WEEKLY, NEW_YORK, at("2026-11-02 09:00"), whole=True)
    assert (until - since) / 3_600 == 169


@pytest.mark.parametrize(
    ("kind", "now", "begin"),
    [
        (ReportKind.WEEKLY, "2026-11-28 15:30", "2026-11-21 15:30"),
        (ReportKind.MONTHLY, "2026-11-28 15:30", "2026-10-28 15:30"),
        (ReportKind.MONTHLY, "2027-03-31 08:00", "2027-02-28 08:00"),
        (ReportKind.MONTHLY, "2027-01-05 08:00", "2026-12-05 08:00"),
        (ReportKind.DRILL, "2027-01-05 08:00", "2026-10-05 08:00"),
        (ReportKind.DRILL, "2026-05-31 08:00", "2026-02-28 08:00"),
    ],
)
def test_up_to_now(kind: ReportKind, now: str, begin: str) -> None:
    _, since, until = period(kind, NEW_YORK, at(now), whole=False)
    assert (since, until) == (at(begin), at(now))


def test_a_plan_is_about_what_its_matchers_cover() -> None:
    both = setup(replace(check("api"), tags=("web",)), check("disk"))
    plan = ReportPlan("weekly", ReportKind.WEEKLY, Audience.TEAM, "0 9 * * 1", "UTC")
    assert [one.name for one in chosen(both, plan)] == ["api", "disk"]
    narrow = replace(plan, matchers=parse_matchers('tag="web"'))
    assert [one.name for one in chosen(both, narrow)] == ["api"]


def test_what_was_planned_is_what_lies_in_the_period() -> None:
    tuesday = weekly((((MINUTES_A_DAY + 180), (MINUTES_A_DAY + 300)),), "UTC")
    window = Window("weekly", tuesday, parse_matchers('check=~"api|disk"'), (), "updates", "Tue 03:00-05:00", "UTC")
    known = replace(setup(check("api"), check("other")), windows=(window,))
    by_hand = Silence(
        "abcd",
        parse_matchers('check="other"'),
        at("2026-11-25 01:00", "UTC"),
        at("2026-11-25 02:00", "UTC"),
        "ann",
        "disk",
        0.0,
        maintenance=True,
    )
    quiet = replace(by_hand, id="efgh", maintenance=False)
    silences = {one.id: one for one in (by_hand, quiet)}
    found = planned(known, silences, at("2026-11-24 04:00", "UTC"), at("2026-12-01 00:00", "UTC"))
    assert found == (
        Planned("weekly", ("api",), ((at("2026-11-24 03:00", "UTC"), at("2026-11-24 05:00", "UTC")),)),  # open already
        Planned("by hand", ("other",), ((by_hand.starts_at, by_hand.ends_at),)),
    )
    ahead = upcoming(known, at("2026-11-24 04:00", "UTC"))
    assert [one.at for one in ahead] == [at("2026-12-01 03:00", "UTC"), at("2026-12-08 03:00", "UTC")]
    assert "updates" in ahead[0].text


def test_stakeholders_read_no_name_of_a_machine() -> None:
    known = replace(setup(check("api")), name="db7.corp.internal")
    page = StatusPage("Example", ())
    assert public_name(known, page, "db7.corp.internal") == public_name(known, page, "other") == "Example"
    assert public_name(known, None, "db7.corp.internal") == "Status"
    assert public_name(replace(known, name="db7"), None, "db7.corp.internal") == "Status"
    assert public_name(replace(known, name="Shop"), None, "db7.corp.internal") == "Shop"


def test_stakeholders_read_the_names_of_the_status_page() -> None:
    web = replace(check("web"), tags=("shop", "front"))
    known = setup(replace(check("api"), tags=("shop",)), web, replace(check("host-7"), group="Machine room"))
    page = StatusPage(
        "Status",
        (
            Component("shop", "Shop", parse_matchers("tag=shop")),
            Component("front", "Front door", parse_matchers("tag=front")),
        ),
    )
    found = public_subjects(known, page, list(known.checks.values()), {})
    assert [(one.name, one.group) for one in found] == [("api", "Shop"), ("web", "Shop"), ("web", "Front door")]
