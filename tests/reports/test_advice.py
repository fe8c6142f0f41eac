"""What is recommended: each rule with records that call for it, and with records that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.reports.past import BEGIN, DAY, SUBJECTS, fill
from tests.reports.past import wanted as of_the_past
from tests.store.samples import an_incident
from wcr_watchd.core.forecast import Ahead, Reach
from wcr_watchd.core.model import Incident
from wcr_watchd.core.uptime import Uptime
from wcr_watchd.reports.advice import ALERTS_A_DAY, DISK_FULL, NOISY, advice
from wcr_watchd.reports.ahead import Forecast
from wcr_watchd.reports.costs import Cost
from wcr_watchd.reports.facts import ChannelFacts, CheckFacts, Facts, Resource, gather
from wcr_watchd.reports.months import Growth


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A week in which nothing happened, and of which nothing follows but that the disk fills up."""
    path = tmp_path_factory.mktemp("past") / "watchd.db"
    asyncio.run(fill(path))
    since = BEGIN + 8 * DAY
    subjects = tuple(one for one in SUBJECTS if one.name != "cost-hosting")
    week = replace(
        of_the_past(path), before=since - 7 * DAY, since=since, until=since + 7 * DAY, planned=(), subjects=subjects
    )
    return gather(week)


def said(facts: Facts) -> list[str]:
    return [one for one in advice(facts) if not one.startswith("Make room: disk_used /data")]


def incidents(number: int, check: str = "site", **changes: object) -> tuple[Incident, ...]:
    return tuple(an_incident(one, check, BEGIN + 9 * DAY + one, **changes) for one in range(number))


def of(facts: Facts, name: str, change: Callable[[CheckFacts], CheckFacts]) -> Facts:
    return replace(facts, checks=tuple(change(one) if one.subject.name == name else one for one in facts.checks))


def test_of_a_calm_week_nothing_follows(calm: Facts) -> None:
    assert said(calm) == []


def resource(facts: Facts, **changes: object) -> Facts:
    [memory] = [one for one in facts.resources if one.name == "memory_used"]
    changed: Resource = replace(memory, **changes)  # type: ignore[arg-type]
    return replace(facts, resources=(changed,))


def test_room_is_made_where_it_is_short_or_will_be(calm: Facts) -> None:
    [disk] = [one for one in advice(calm) if one.startswith("Make room")]
    assert disk.endswith("; at this growth it is full in about 29 d")
    assert advice(resource(calm, p95=0.85)) == []
    assert "memory_used of host was at 86 % or more" in advice(resource(calm, p95=0.86))[0]
    assert advice(resource(calm, name="disk_used", p95=DISK_FULL)) == []
    assert advice(resource(calm, name="disk_used", p95=DISK_FULL + 0.01))
    assert advice(resource(calm, name="cpu_used", p95=0.99)) == [], "a processor does not fill up"


def test_alerts_are_calmed_where_there_are_too_many(calm: Facts) -> None:
    enough = int(7 * ALERTS_A_DAY)
    many = incidents(enough // 2) + incidents(enough - enough // 2, "api")
    assert not [one for one in said(replace(calm, incidents=many)) if one.startswith("Calm")]
    assert [
        one for one in said(replace(calm, incidents=(*many, *incidents(1)))) if one.startswith("Calm the alerts: 5.1")
    ]
    assert said(replace(calm, incidents=incidents(NOISY - 1))) == []
    assert said(replace(calm, incidents=incidents(NOISY)))[0].startswith(f"Look at site: {NOISY} incidents")
    assert said(replace(calm, incidents=incidents(1, flapping=True)))[0].startswith("Come and go: site")


@pytest.mark.parametrize(
    ("rule", "is_near"),
    [
        ("response_time > 300ms for 5m", True),
        ("response_time > 10s", False),
        ("response_time > 100ms", False),  # it fires already
        ("response_time >= 310ms until response_time < 200ms", True),
        ("connect_time > 300ms", False),
        ("down", False),
    ],
)
def test_a_threshold_is_near_when_the_slowest_runs_come_close(calm: Facts, rule: str, is_near: bool) -> None:
    [api] = [one for one in calm.checks if one.subject.name == "api"]
    assert api.speed is not None
    assert 0.25 < api.speed.p99 < 0.3
    facts = of(calm, "api", lambda one: replace(one, subject=replace(one.subject, rules=(("warning", rule),))))
    assert bool([one for one in said(facts) if one.startswith("Look at what gets slow")]) is is_near


def test_what_was_not_watched_is_named(calm: Facts) -> None:
    week = 7 * DAY

    def unseen(share: float) -> Callable[[CheckFacts], CheckFacts]:
        return lambda one: replace(
            one, unwatched=share * week, uptime=replace(one.uptime, up=(1 - share) * week, unwatched=share * week)
        )

    assert said(of(calm, "site", unseen(0.05))) == []
    assert said(of(calm, "site", unseen(0.06))) == [
        "Not watched for a part of the time: site (6 %); see why they are unknown"
    ]


def test_of_the_minutes_of_a_start_nothing_follows(calm: Facts) -> None:
    """A check that began three minutes ago was "not watched for a part of the time (92 %)"."""
    begun = of(calm, "site", lambda one: replace(one, unwatched=170.0, uptime=Uptime(up=10.0, unwatched=170.0)))
    assert said(begun) == []


def test_a_channel_that_loses_messages_is_mended(calm: Facts) -> None:
    assert said(replace(calm, channels=(ChannelFacts("mail", 5, 0),))) == []
    assert said(replace(calm, channels=(ChannelFacts("mail", 5, 1),))) == [
        "Mend the channel mail: 1 message could not be delivered"
    ]


def test_of_what_failed_runbook_and_owner_are_written_down(calm: Facts) -> None:
    failed = of(calm, "api", lambda one: replace(one, incidents=1))
    assert said(failed) == ["Write down the runbook of what failed: api"]
    assert said(of(calm, "site", lambda one: replace(one, incidents=1))) == [
        "Write down the owner of what failed: site"
    ]


def test_a_limit_that_is_met_within_three_months_is_told(calm: Facts) -> None:
    until = calm.wanted.until
    growth = Growth("db", "database_size", (), "bytes", 40 * 2.0**30)

    def meets(in_days: float, now: float = 41 * 2.0**30) -> list[str]:
        met = Reach(until + in_days * DAY, until + in_days * DAY / 2, None)
        return said(replace(calm, forecasts=(Forecast(growth, now, None, 50 * 2.0**30, met),)))

    assert meets(40) == ["Make room: at this growth database_size of db is at 50 GiB in about 40 d (20 d to never)"]
    assert meets(91) == []
    assert meets(0, 51 * 2.0**30) == [], "a rule says so already"


def test_a_budget_that_will_not_do_is_told(calm: Facts) -> None:
    end = datetime(2026, 11, 30, tzinfo=UTC).timestamp() + DAY
    spent = Cost("hosting", "spent", 1.0, 100.0, month="2026-11", foreseen=Ahead(end, 150, 145, 160), limit=140.0)

    def passes(at: float | None) -> list[str]:
        return said(replace(calm, costs=(replace(spent, met=Reach(at, at, at)),)))

    assert passes(end - 2.5 * DAY) == [
        "Mind the budget: spent of hosting: November 2026 about 150.00 (145.00 to 160.00), passes 140 about 28 Nov"
    ]
    assert passes(end + DAY) == []
    assert passes(None) == []
