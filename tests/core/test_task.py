"""Tasks: when they begin, are reminded of and are overdue; what a run and a sign-off make of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core import task
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.task import TaskKind, TaskOutcome, TaskPhase, TaskRecord, TaskState, TaskTerms

NEW_YORK = ZoneInfo("America/New_York")
HOUR, DAY = 3_600.0, 86_400.0
TUESDAY_3_TO_5 = Hours("America/New_York", ((1_440 + 180, 1_440 + 300),))
DUE = datetime(2026, 3, 10, 9, tzinfo=NEW_YORK).timestamp()
NEW = TaskState("task.x", DUE - 7 * DAY)
SIGNED = TaskTerms(TaskKind.SIGNED, grace=DAY, remind=DAY)
RUN = TaskTerms(TaskKind.RUN, grace=HOUR)


def at(text: str) -> float:
    """Epoch seconds of a time in New York."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def end(state: TaskState, outcome: TaskOutcome, when: float, **more: object) -> TaskRecord:
    return replace(TaskRecord(state.task, state.count + 1, outcome, when), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "stands"),
    [
        (DUE - DAY - 1, TaskPhase.WAITING),
        (DUE - DAY, TaskPhase.SOON),
        (DUE - 1, TaskPhase.SOON),
        (DUE, TaskPhase.DUE),
        (DUE + DAY - 1, TaskPhase.DUE),
        (DUE + DAY, TaskPhase.OVERDUE),
        (DUE + 900 * DAY, TaskPhase.OVERDUE),
    ],
)
def test_due_reminder_overdue(now: float, stands: TaskPhase) -> None:
    assert task.phase(NEW, SIGNED, DUE, now) is stands
    assert task.phase(NEW, SIGNED, None, now) is TaskPhase.WAITING


@given(st.integers(-3 * 86_400_000, 3 * 86_400_000))
def test_nothing_changes_between_two_edges(milliseconds: int) -> None:
    now = DUE + milliseconds / 1_000
    edge = task.next_edge(SIGNED, DUE, now)
    if edge is None:
        assert task.phase(NEW, SIGNED, DUE, now + 1e9) is task.phase(NEW, SIGNED, DUE, now)
    else:
        assert edge > now
        assert task.phase(NEW, SIGNED, DUE, (now + edge) / 2) is task.phase(NEW, SIGNED, DUE, now)
        assert task.phase(NEW, SIGNED, DUE, edge) is not task.phase(NEW, SIGNED, DUE, now)


@pytest.mark.parametrize(
    ("asked", "opens"),
    [
        ("2026-03-10T03:00", "2026-03-10T03:00"),
        ("2026-03-10T04:59", "2026-03-10T04:59"),
        ("2026-03-10T05:00", "2026-03-17T03:00"),
        ("2026-03-05T12:00", "2026-03-10T03:00"),  # the clocks go forward in between
        ("2026-10-28T12:00", "2026-11-03T03:00"),  # and back
        ("2028-02-29T02:59", "2028-02-29T03:00"),  # a Tuesday that comes every 28 years
    ],
)
def test_a_run_waits_for_its_window(asked: str, opens: str) -> None:
    terms = replace(RUN, window=TUESDAY_3_TO_5)
    assert task.starts(NEW, terms, at(asked), at(asked) - HOUR) == at(opens)
    assert task.deadline(terms, at(asked)) == at(opens) + HOUR


def test_a_window_in_the_gap_of_the_clocks_opens_after_it() -> None:
    window = Hours("America/New_York", ((6 * 1_440 + 120, 6 * 1_440 + 240),))  # Sunday 02:00-04:00
    assert task.opens(window, at("2026-03-07T12:00")) == at("2026-03-08T03:00")


def test_what_is_past_begins_now_and_what_runs_does_not_begin() -> None:
    assert task.starts(NEW, RUN, DUE, DUE + 5 * DAY) == DUE + 5 * DAY
    assert task.starts(task.begun(NEW, "", DUE), RUN, DUE, DUE + 5 * DAY) is None
    assert task.starts(NEW, SIGNED, DUE, DUE) is None
    assert task.starts(NEW, RUN, None, DUE) is None


def test_what_is_not_made_up_for_is_left_out_after_its_grace() -> None:
    lax = replace(RUN, catch_up=False)
    assert not task.is_missed(NEW, lax, DUE, DUE + HOUR - 1)
    assert task.is_missed(NEW, lax, DUE, DUE + HOUR)
    assert not task.is_missed(NEW, RUN, DUE, DUE + 30 * DAY)
    assert not task.is_missed(NEW, lax, None, DUE)
    left = task.missed(NEW, end(NEW, TaskOutcome.MISSED, DUE + HOUR))
    assert (left.settled_at, left.failed, left.last_success_at, left.missed) == (DUE + HOUR, False, None, 1)


def test_turns_that_were_left_out_are_counted_until_it_is_done() -> None:
    left = task.missed(task.missed(NEW, end(NEW, TaskOutcome.MISSED, DUE)), end(NEW, TaskOutcome.MISSED, DUE))
    running = task.begun(left, "", DUE)
    assert task.interrupted(running, end(running, TaskOutcome.INTERRUPTED, DUE)).missed == 2
    assert task.ended(running, end(running, TaskOutcome.DONE, DUE), 1.0).missed == 0
    assert task.signed_off(left, RUN, end(left, TaskOutcome.DONE, DUE, by="ann")).missed == 0


def test_a_run_settles_what_was_due_up_to_its_start() -> None:
    running = task.begun(NEW, "ann", DUE + 5)
    assert task.reckoned_from(running) == DUE + 5
    assert task.phase(running, RUN, DUE + DAY, DUE + DAY) is TaskPhase.RUNNING
    done = task.ended(running, end(running, TaskOutcome.DONE, DUE + 65, started_at=DUE + 5), 60.0)
    assert (done.settled_at, done.started_at, done.last_success_at, done.duration) == (DUE + 5, None, DUE + 65, 60.0)
    assert task.phase(done, RUN, DUE + DAY, DUE + 66) is TaskPhase.WAITING


def test_a_run_that_is_on_when_its_next_turn_is_overdue_is_told() -> None:
    """A nightly backup that takes more than a day keeps fewer nights, and none of its runs is late or fails."""
    running = task.begun(NEW, "", DUE)
    following = DUE + DAY
    assert task.phase(running, RUN, following, following + HOUR - 1) is TaskPhase.RUNNING
    assert task.next_edge(RUN, following, following) == following + HOUR
    assert task.phase(running, RUN, following, following + HOUR) is TaskPhase.OVERDUE
    assert task.told(running, RUN, following, following + HOUR, "America/New_York") == (
        "runs since 1 d 1 h, and was due again at 09:00 EDT; not done yet"
    )
    assert task.starts(running, RUN, following, following + HOUR) is None, "never beside itself"
    done = task.ended(running, end(running, TaskOutcome.DONE, following + 2 * HOUR, started_at=DUE), 26 * HOUR)
    assert task.reckoned_from(done) == DUE, "so the turn that waited is due"


def test_a_failure_holds_until_a_run_or_a_sign_off_ends_it() -> None:
    failed = task.ended(NEW, end(NEW, TaskOutcome.FAILED, DUE + 9, started_at=DUE, text="/x ended with status 2"), 9.0)
    assert task.phase(failed, RUN, DUE + DAY, DUE + 10) is TaskPhase.FAILED
    assert task.told(failed, RUN, DUE + DAY, DUE + 10, "America/New_York") == (
        "/x ended with status 2; not done yet; runs again at Mar 11 09:00 EDT"
    )
    again = task.begun(failed, "", DUE + DAY)
    assert task.phase(again, RUN, DUE + DAY, DUE + DAY) is TaskPhase.FAILED
    well = task.ended(again, end(again, TaskOutcome.DONE, DUE + DAY, started_at=DUE + DAY), 1.0)
    assert task.phase(well, RUN, DUE + 2 * DAY, DUE + DAY) is TaskPhase.WAITING
    by_hand = task.signed_off(failed, RUN, end(failed, TaskOutcome.DONE, DUE + 99, by="ann"))
    assert not by_hand.failed


def test_a_run_cut_off_by_the_end_of_the_daemon_is_still_due() -> None:
    running = task.begun(NEW, "", DUE)
    left = task.interrupted(running, end(running, TaskOutcome.INTERRUPTED, DUE + 20))
    assert (left.settled_at, left.started_at, left.count) == (NEW.settled_at, None, 1)
    assert task.starts(left, RUN, DUE, DUE + 30) == DUE + 30


def test_a_sign_off_in_the_time_of_its_reminder_is_for_the_coming_time() -> None:
    early = task.signed_off(NEW, SIGNED, end(NEW, TaskOutcome.DONE, DUE - 3, by="ann", due=DUE))
    assert (early.settled_at, early.last_success_at) == (DUE, DUE - 3)
    earlier = task.signed_off(NEW, SIGNED, end(NEW, TaskOutcome.DONE, DUE - 2 * DAY, by="ann", due=DUE))
    assert earlier.settled_at == DUE - 2 * DAY
    late = task.signed_off(NEW, SIGNED, end(NEW, TaskOutcome.DONE, DUE + 20 * DAY, by="ann", due=DUE))
    assert late.settled_at == DUE + 20 * DAY
    drifting = replace(SIGNED, drifting=True)
    assert task.signed_off(NEW, drifting, end(NEW, TaskOutcome.DONE, DUE - 3, by="ann", due=DUE)).settled_at == DUE - 3


def test_a_sign_off_that_says_too_little_or_too_much() -> None:
    strict = replace(SIGNED, needs_evidence=True)
    for terms, record in (
        (SIGNED, end(NEW, TaskOutcome.DONE, DUE, by=" ")),
        (strict, end(NEW, TaskOutcome.DONE, DUE, by="ann")),
        (SIGNED, end(NEW, TaskOutcome.DONE, DUE, by="ann", note="x" * 4_001)),
        (SIGNED, end(NEW, TaskOutcome.DONE, DUE, by="ann", evidence=("x",) * 21)),
    ):
        with pytest.raises(CommandError):
            task.signed_off(NEW, terms, record)
    task.signed_off(NEW, strict, end(NEW, TaskOutcome.DONE, DUE, by="ann", evidence=("https://wiki/1",)))


def test_how_it_stands_in_words() -> None:
    def said(now: float, state: TaskState = NEW, terms: TaskTerms = SIGNED) -> str:
        return task.told(state, terms, DUE, now, "America/New_York")

    assert said(DUE - 5 * DAY) == "not done yet, due at Mar 10 09:00 EDT"
    assert said(DUE - 200 * DAY) == "not done yet, due at Mar 10 2026 09:00 EDT"
    assert said(DUE - HOUR) == "is due at 09:00 EDT; not done yet"
    assert said(DUE + HOUR) == "is due since 09:00 EDT, and has until Mar 11 09:00 EDT; not done yet"
    windowed = replace(RUN, window=TUESDAY_3_TO_5)
    assert said(DUE + HOUR, NEW, windowed) == (
        "is due since 09:00 EDT, and waits for its window, open from Mar 17 03:00 EDT; not done yet"
    )
    assert said(DUE + 2 * DAY) == "was due at Mar 10 09:00 EDT and is not done; it never was"
    known = replace(NEW, last_success_at=DUE - 30 * DAY)
    assert said(DUE + 2 * DAY, known) == "was due at Mar 10 09:00 EDT and is not done; last done 32 d ago"
    missed = task.missed(known, end(known, TaskOutcome.MISSED, DUE))
    assert said(DUE - 5 * DAY, missed) == "last done 25 d ago, missed once since, due at Mar 10 09:00 EDT"
    assert said(DUE - 5 * DAY, replace(NEW, missed=2)) == "not done yet, missed 2 times, due at Mar 10 09:00 EDT"
    assert said(DUE + 90, task.begun(known, "", DUE), RUN) == "runs since 1 min 30 s; last done 30 d ago"
    assert task.told(known, SIGNED, None, DUE, "UTC") == "last done 30 d ago, and not due again"


def test_what_shows_how_it_ended() -> None:
    assert task.evidence(NEW, "UTC", DUE) == {}
    record = end(NEW, TaskOutcome.DONE, DUE, by="ann", due=DUE, note="restored", evidence=("https://wiki/1",))
    assert task.evidence(task.signed_off(NEW, SIGNED, record), "UTC", DUE) == {
        "done 13:00 UTC by ann": "restored\nhttps://wiki/1"
    }
    failed = end(NEW, TaskOutcome.FAILED, DUE, started_at=DUE, exit_status=3, output="a\nb\n")
    assert task.evidence(task.ended(NEW, failed, 1.0), "UTC", DUE) == {"failed 13:00 UTC, exit status 3": "a\nb"}
