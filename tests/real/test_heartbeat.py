"""Heartbeats: how what a job reported is judged; and the calendars, against systemd and cron's own rules."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.heartbeat import Book, Heard, HeartbeatState, Phase, PingKind, Standing
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit import calendars
from wcr_watchd.kit.calendars import read_schedule
from wcr_watchd.kit.shared import SharedHelpers

KEY = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"
PING_KEY = "jHq2mWc0Zr8Lk4Xv9TnB1s"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
DAILY: dict[str, Any] = {"key": KEY, "period": "1d", "grace": "1h", "timezone": "UTC"}


@pytest.fixture
def book(shared: SharedHelpers) -> Book:
    """What the daemon knows."""
    found = shared.get(Book)
    found.kept = True
    return found


def knows(book: Book, check: str = "check", job: str = "", **how: Any) -> None:
    book.states[check, job] = HeartbeatState(check, job, **how)


# --- one job ----------------------------------------------------------------------------------------------------------


async def test_a_job_in_time_is_up_and_measured(observe: Observe, book: Book) -> None:
    knows(book, standing=Standing.UP, last_at=NOW - 3_600, duration=42.5, exit_status=0, count=7, started_at=NOW - 60)
    seen = await observe("heartbeat", started=NOW, **DAILY)
    assert seen.outcome is Outcome.UP
    assert seen.summary == "last heard of 1 h ago, due again at Jan 16 11:00 UTC"
    assert measured(seen, "age") == 3_600
    assert measured(seen, "overdue") == 0
    assert measured(seen, "run_time") == 42.5
    assert measured(seen, "running") == 60
    assert measured(seen, "exit_status") == 0
    assert measured(seen, "signals") == 7


async def test_late_within_grace_is_up_and_says_how_late(observe: Observe, book: Book) -> None:
    knows(book, standing=Standing.UP, last_at=NOW - 86_400 - 600)
    seen = await observe("heartbeat", started=NOW, **DAILY)
    assert seen.outcome is Outcome.UP
    assert "was due 10 min ago, and has until 12:50 UTC" in seen.summary
    assert measured(seen, "overdue") == 600


@pytest.mark.parametrize(
    ("known", "reason", "says"),
    [
        ({"standing": Standing.UP, "last_at": NOW - 100_000}, "overdue", "is not heard of within 1 h"),
        (
            {"standing": Standing.DOWN, "last_at": NOW - 100_000, "down_at": NOW - 10_000, "down_by": Phase.OVERDUE},
            "overdue",
            "was due at 08:13 UTC",
        ),
        ({"started_at": NOW - 3_600}, "hung", "a run began 1 h ago and did not end within 1 h"),
        (
            {
                "standing": Standing.DOWN,
                "last_at": NOW - 60,
                "down_at": NOW - 60,
                "down_by": Phase.FAILED,
                "exit_status": 2,
                "heard": (Heard(NOW - 60, PingKind.FAIL, 2, "tar: /srv: Cannot open\n"),),
            },
            "failed",
            "exit status 2 1 min ago: tar: /srv: Cannot open",
        ),
    ],
)
async def test_what_did_not_go_well_is_down(
    observe: Observe,
    book: Book,
    known: dict[str, Any],
    reason: str,
    says: str,
) -> None:
    knows(book, **known)
    seen = await observe("heartbeat", started=NOW, **DAILY)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason)
    assert says in seen.summary


async def test_nothing_is_expected_before_the_first_signal(observe: Observe, book: Book) -> None:
    seen = await observe("heartbeat", started=NOW, **DAILY)
    assert seen.outcome is Outcome.UP
    assert names(seen) == {"signals"}


async def test_a_paused_one_expects_nothing(observe: Observe, book: Book) -> None:
    knows(book, standing=Standing.UP, last_at=NOW - 1e6)
    seen = await observe("heartbeat", started=NOW, paused=True, **DAILY)
    assert seen.outcome is Outcome.UP
    assert seen.summary.startswith("paused")


async def test_without_the_daemon_nothing_is_known(observe: Observe) -> None:
    for kind, options in (("heartbeat", DAILY), ("heartbeats", {"ping_key": PING_KEY})):
        seen = await observe(kind, **options)
        assert seen.outcome is Outcome.UNKNOWN
        assert "wcr-watchd status" in seen.summary


async def test_without_systemd_a_calendar_event_is_unknown(
    shared: SharedHelpers,
    book: Book,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knows(book, standing=Standing.UP, last_at=NOW - 60)
    probe = probe_of("heartbeat", {"key": KEY, "schedule": "daily"})
    monkeypatch.setattr(calendars, "ANALYZE", "no-such-program")
    seen = await carry_out(probe, new_run(shared, started=NOW))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "schedule")
    assert "no-such-program" in seen.summary


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"period": "1d"}, "needs a `key`"),
        ({"key": KEY}, "needs either `period` or `schedule`"),
        ({"key": KEY, "period": "1d", "schedule": "0 2 * * *"}, "needs either `period` or `schedule`"),
        ({"key": KEY.upper(), "period": "1d"}, "UUID in lower case"),
        ({"ping_key": "short", "period": "1d"}, "16 to 64"),
        ({"key": KEY, "schedule": "0 99 * * *"}, "Bad hour"),
        ({"key": KEY, "schedule": "whenever"}, "neither a cron expression"),
        ({"key": KEY, "schedule": "0 2 * * *", "timezone": "Mars/Base"}, "no time zone"),
        ({"key": KEY, "period": "0s"}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        probe_of("heartbeat", options)


# --- jobs that announce themselves ------------------------------------------------------------------------------------


async def test_each_job_is_judged_for_itself(observe: Observe, book: Book) -> None:
    knows(book, job="good", standing=Standing.UP, last_at=NOW - 60, duration=5.0)
    knows(book, job="late", standing=Standing.UP, last_at=NOW - 100_000)
    knows(book, job="hung", started_at=NOW - 3_600)
    knows(book, check="another", job="x", started_at=0.0)
    seen = await observe("heartbeats", started=NOW, ping_key=PING_KEY)
    assert seen.outcome is Outcome.UP
    assert seen.summary == "2 of 3 jobs did not run well: hung, late"
    assert {job: measured(seen, "broken", job=job) for job in ("good", "late", "hung")} == {
        "good": 0,
        "late": 1,
        "hung": 1,
    }
    assert measured(seen, "jobs") == 3
    assert measured(seen, "age", job="good") == 60
    assert measured(seen, "run_time", job="good") == 5
    assert "did not end within 1 h" in seen.evidence["hung"]


async def test_a_job_that_is_gone_for_good_is_no_trouble_any_more(observe: Observe, book: Book) -> None:
    for job, days in (("gone", 31), ("silent", 29)):
        heard = (Heard(NOW - days * 86_400, PingKind.SUCCESS, None, ""),)
        knows(book, job=job, standing=Standing.UP, last_at=NOW - days * 86_400, heard=heard)
    seen = await observe("heartbeats", started=NOW, ping_key=PING_KEY)
    assert (measured(seen, "broken", job="gone"), measured(seen, "broken", job="silent")) == (0, 1)


# --- calendars --------------------------------------------------------------------------------------------------------


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("0 2 * * *", "America/New_York", "2026-01-15T06:58:00Z", "2026-01-15T07:00:00Z"),
        ("0 2 * * *", "America/New_York", "2026-01-15T07:00:00Z", "2026-01-16T07:00:00Z"),
        # 02:00 does not come on this day; cron runs such a job right after the gap.
        ("0 2 * * *", "America/New_York", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"),
        ("15 * * * *", "Europe/Riga", "2023-10-29T00:55:00Z", "2023-10-29T01:15:00Z"),
        ("02:00", "America/New_York", "2026-01-15T06:58:00Z", "2026-01-15T07:00:00Z"),
        ("02:00 UTC", "America/New_York", "2026-01-15T01:00:00Z", "2026-01-15T02:00:00Z"),
        ("Mon..Fri 09:00", "Europe/Berlin", "2026-01-16T08:00:00Z", "2026-01-19T08:00:00Z"),
        ("*-*~1 04:00", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T04:00:00Z"),
        ("02:00\n18:30", "UTC", "2026-01-15T12:00:00Z", "2026-01-15T18:30:00Z"),
    ],
)
async def test_when_it_is_next(shared: SharedHelpers, schedule: str, zone: str, after: str, expected: str) -> None:
    assert await read_schedule(schedule, zone).after(at(after), shared) == at(expected)


async def test_what_never_comes_again_is_not_due(shared: SharedHelpers) -> None:
    assert await read_schedule("2020-01-01 00:00", "UTC").after(NOW, shared) is None


async def test_systemd_is_asked_once_for_the_same(shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = read_schedule("daily", "UTC")
    first = await calendar.after(NOW, shared)
    monkeypatch.setattr(calendars, "ANALYZE", "no-such-program")
    assert await calendar.after(NOW, shared) == first
    with pytest.raises(ScheduleError):
        await calendar.after(NOW + 1, shared)


async def test_cancelling_the_question_leaves_nothing_behind(shared: SharedHelpers) -> None:
    before = asyncio.all_tasks()
    asking = asyncio.create_task(read_schedule("daily", "UTC").after(NOW, shared))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()
    assert asyncio.all_tasks() <= before


def test_a_schedule_is_bounded() -> None:
    with pytest.raises(ScheduleError, match="1 to 20"):
        read_schedule(["daily"] * 21, "UTC")
