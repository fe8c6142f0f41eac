"""What signals and silence make of a job, in whatever order they come; the cases are in tests/cases/test_ping.py."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core import heartbeat
from wcr_watchd.core.heartbeat import HeartbeatState, Phase, Ping, PingKind, Standing, Terms
from wcr_watchd.core.heartbeat_words import evidence, told

PERIOD, GRACE = 100.0, 10.0
RUNS = st.sampled_from(["", "r1", "r2"])
SIGNALS = st.lists(st.tuples(st.floats(0, 60), st.sampled_from(PingKind), RUNS), max_size=30)
NOW = 1_795_421_520.0


def due(state: HeartbeatState) -> float | None:
    return None if state.last_at is None else state.last_at + PERIOD


def follow(signals: list[tuple[float, PingKind, str]], state: HeartbeatState | None = None) -> HeartbeatState:
    """The state after signals, each so many seconds after the one before."""
    state, at = state or HeartbeatState("job"), 0.0
    for number, (pause, kind, run) in enumerate(signals, start=1):
        at += pause
        state = heartbeat.lapse(state, due(state), GRACE, at)
        state = heartbeat.take(state, Ping(kind, "job", number=number, at=at, run_id=run))
    return state


@given(SIGNALS, st.floats(0, 1_000))
def test_it_goes_down_exactly_at_its_deadline(signals: list[tuple[float, PingKind, str]], later: float) -> None:
    state = follow(signals)
    ends = heartbeat.deadline(state, due(state), GRACE)
    now = sum(pause for pause, _, _ in signals) + later
    down = heartbeat.phase(state, due(state), GRACE, now).is_down
    if state.standing is Standing.DOWN:
        assert down
        assert ends is None
    else:
        assert down == (ends is not None and now >= ends)


@given(SIGNALS, st.floats(0, 1_000))
def test_looking_more_often_changes_nothing(signals: list[tuple[float, PingKind, str]], later: float) -> None:
    state = follow(signals)
    now = sum(pause for pause, _, _ in signals) + later
    seen = heartbeat.lapse(state, due(state), GRACE, now)
    assert heartbeat.lapse(seen, due(seen), GRACE, now + 1_000) == seen or seen.standing is not Standing.DOWN
    for phase_now in (heartbeat.phase(one, due(one), GRACE, now).is_down for one in (state, seen)):
        assert phase_now == heartbeat.phase(state, due(state), GRACE, now).is_down


@given(SIGNALS, st.sampled_from([PingKind.LOG, PingKind.IGNORED]))
def test_what_is_only_kept_changes_nothing_else(signals: list[tuple[float, PingKind, str]], kind: PingKind) -> None:
    before = follow(signals)
    after = heartbeat.take(before, Ping(kind, "job", number=99, at=1e9))
    assert replace(after, count=before.count, heard=before.heard) == before


@given(SIGNALS)
def test_a_success_makes_it_up_and_a_failure_down(signals: list[tuple[float, PingKind, str]]) -> None:
    before = follow(signals)
    for kind, standing in ((PingKind.SUCCESS, Standing.UP), (PingKind.FAIL, Standing.DOWN)):
        assert heartbeat.take(before, Ping(kind, "job", number=99, at=1e6)).standing is standing


@given(SIGNALS)
def test_its_memory_is_bounded(signals: list[tuple[float, PingKind, str]]) -> None:
    state = follow(signals)
    assert len(state.heard) == min(len(signals), heartbeat.SHOWN_SIGNALS)
    assert state.count == len(signals)


def test_a_failure_while_it_is_down_keeps_since_when() -> None:
    state = follow([(0.0, PingKind.SUCCESS, ""), (200.0, PingKind.FAIL, "")])
    assert (state.down_at, state.down_by) == (PERIOD + GRACE, Phase.FAILED)


def test_words_of_the_body_decide_once_there_are_any() -> None:
    terms = Terms(GRACE, success_words=("done",), failure_words=("ERROR",))
    assert heartbeat.kind_of(terms, Ping(PingKind.SUCCESS, body=b"done, with ERROR")) is PingKind.FAIL
    assert heartbeat.kind_of(terms, Ping(PingKind.FAIL, body=b"done")) is PingKind.SUCCESS
    assert heartbeat.kind_of(terms, Ping(PingKind.FAIL, body=b"\xff")) is PingKind.IGNORED
    assert heartbeat.kind_of(Terms(GRACE), Ping(PingKind.FAIL, body=b"done")) is PingKind.FAIL


def said(signals: list[tuple[float, PingKind, str]], later: float, text: str = "") -> str:
    """The sentence about a job whose signals began at :data:`NOW`."""
    state, at = HeartbeatState("job"), NOW
    for number, (pause, kind, run) in enumerate(signals, start=1):
        at += pause
        ping = Ping(kind, "job", number=number, at=at, run_id=run, exit_status=3 if kind is PingKind.FAIL else None)
        state = heartbeat.take(heartbeat.lapse(state, due(state), GRACE, at), ping, text)
    return told(state, due(state) if state.standing is Standing.UP else None, GRACE, at + later, "UTC")


def test_what_is_told_at_three_in_the_morning() -> None:
    success, start, fail = PingKind.SUCCESS, PingKind.START, PingKind.FAIL
    assert "nothing was ever heard" in said([], 0)
    assert said([(0, start, "")], 4) == "its first run began 4 s ago"
    assert said([(0, start, "")], 0) == "its first run began just now"
    assert said([(0, success, "")], 50) == "last heard of 50 s ago, due again at 08:13 UTC"
    assert said([(0, success, "")], 105) == "was due 5 s ago, and has until 08:13 UTC"
    assert (
        said([(0, success, "")], 300) == "was due at 08:13 UTC and is not heard of within 10 s; last heard of 5 min ago"
    )
    assert said([(0, success, ""), (5, start, "")], 60).startswith("a run began 1 min ago and did not end within 10 s")
    failure = said([(0, fail, "")], 60, "dumping…\npg_dump: error: connection refused\n")
    assert failure == "the job reported a failure with exit status 3 1 min ago: pg_dump: error: connection refused"


def test_who_was_away_says_so() -> None:
    state = HeartbeatState("job", standing=Standing.UP, last_at=NOW)
    due_at, now = NOW + PERIOD, NOW + 3_600
    for away, says in (
        ((due_at - 60, due_at - 5), "away from 08:12 UTC to 08:13 UTC, so its signal may have been lost"),
        ((due_at + 5, due_at + 600), "may have been lost"),
        ((NOW, due_at - 50), ""),
        ((due_at + 50, due_at + 600), ""),
        (None, ""),
    ):
        words = told(state, due_at, GRACE, now, "UTC", away)
        assert says in words
        assert ("lost" in words) == bool(says)


def test_the_last_signals_are_evidence() -> None:
    state = heartbeat.take(HeartbeatState("job"), Ping(PingKind.START, number=1, at=NOW))
    state = heartbeat.take(state, Ping(PingKind.FAIL, number=2, at=NOW + 60, exit_status=3), "disk full")
    shown = evidence(state, NOW + 61, "UTC")
    assert list(shown.items()) == [
        ("fail 08:13 UTC, exit status 3", "disk full"),
        ("start 08:12 UTC", "(said no more)"),
    ]
