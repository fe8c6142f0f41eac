"""Heartbeats: a job reports that it began, ended or failed, and silence is a failure. Pure, like the engine.

The meaning of every signal is that of the healthchecks ping API (https://healthchecks.io/docs/http_api/), so that
programs made for that can report here. When the next success is ``due`` is a matter of calendars and is given; None
means that none is. A deadline is the due time plus the ``grace`` period; a run that was started has the grace period
to end, whatever is due.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from typing import TypeAlias

BODY_LIMIT = 100_000
"""Bytes of a signal's body that are kept, as healthchecks does; the rest is dropped."""
KEPT_SIGNALS = 30
"""Signals of a job, with their bodies, that are kept in the records."""
SHOWN_SIGNALS = 3
"""Of these, the last ones are shown as evidence."""
LONGEST_AGENT = 200


class PingKind(StrEnum):
    """What a signal says."""

    SUCCESS = "success"
    START = "start"
    FAIL = "fail"
    LOG = "log"
    """Something to be kept, which changes nothing."""
    IGNORED = "ign"
    """Kept, and of no effect, as the check does not accept it."""


class Standing(StrEnum):
    """What the last signal that counted, or a deadline that passed, made of a job."""

    NEW = "new"
    """Never heard of: nothing is expected of it yet."""
    UP = "up"
    DOWN = "down"


class Phase(StrEnum):
    """How a job is at a point in time."""

    NEW = "new"
    UP = "up"
    LATE = "late"
    """Due, and within the grace period."""
    FAILED = "failed"
    OVERDUE = "overdue"
    """Down: the grace period is over."""
    HUNG = "hung"
    """Down: it was started and did not end within the grace period."""

    @property
    def is_down(self) -> bool:
        """Whether somebody must be told."""
        return self in (Phase.FAILED, Phase.OVERDUE, Phase.HUNG)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a check accepts. Words are looked for in the body, case and all, once any are given or ``else_fail`` is set.

    Of a ``paused`` one signals are kept and change nothing. ``most_jobs`` is how many jobs may announce themselves
    under it by a new name, ``forget_after`` after how many seconds of silence one of them is taken for gone.
    """

    grace: float
    post_only: bool = False
    paused: bool = False
    success_words: tuple[str, ...] = ()
    start_words: tuple[str, ...] = ()
    failure_words: tuple[str, ...] = ()
    else_fail: bool = False
    most_jobs: int = 0
    forget_after: float = inf


@dataclass(frozen=True, slots=True)
class Ping:
    """One signal as it came. ``number`` counts those of a job, ``job`` is empty where the check itself is the job."""

    kind: PingKind
    check: str = ""
    job: str = ""
    number: int = 0
    at: float = 0.0
    exit_status: int | None = None
    run_id: str = ""
    method: str = "GET"
    scheme: str = "http"
    remote: str = ""
    agent: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Door:
    """Whose signals arrive at an address; of a job that announces itself for the first time, ``known`` is False."""

    check: str
    job: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class Heard:
    """What is shown of one of the last signals; ``text`` is the end of its body, without secrets."""

    at: float
    kind: PingKind
    exit_status: int | None
    text: str


@dataclass(frozen=True, slots=True)
class HeartbeatState:
    """What is remembered of one job.

    ``last_at`` is when it last reported success or failure, ``started_at`` when the run began that is not over (None:
    none is going on), with its ``run_id``. ``duration`` is how long the last run took, where that is known (seconds).
    ``down_at`` is when it went down, and ``down_by`` how.
    """

    check: str
    job: str = ""
    standing: Standing = Standing.NEW
    count: int = 0
    last_at: float | None = None
    started_at: float | None = None
    run_id: str = ""
    duration: float | None = None
    exit_status: int | None = None
    down_at: float | None = None
    down_by: Phase | None = None
    heard: tuple[Heard, ...] = ()


JobKey: TypeAlias = tuple[str, str]
"""Check and job."""


class Book:
    """What is known of every job: filled by whoever takes the signals, read by the probes that judge them."""

    def __init__(self) -> None:
        self.kept = False
        """Whether signals are taken at all: not by a command that only carries checks out once."""
        self.states: dict[JobKey, HeartbeatState] = {}
        self.away: tuple[float, float] | None = None
        """From when to when nobody was there to take signals, last time."""

    def of(self, check: str, job: str = "") -> HeartbeatState:
        """What is known of a job."""
        return self.states.get((check, job)) or HeartbeatState(check, job)

    def jobs(self, check: str) -> tuple[HeartbeatState, ...]:
        """All jobs that announced themselves under a check, by name."""
        return tuple(state for (name, job), state in sorted(self.states.items()) if name == check and job)


def kind_of(terms: Terms, ping: Ping) -> PingKind:
    """What a signal means under these terms."""
    if (terms.post_only and ping.method != "POST") or terms.paused:
        return PingKind.IGNORED
    if not (terms.success_words or terms.start_words or terms.failure_words or terms.else_fail):
        return ping.kind
    text = ping.body.decode(errors="replace")
    for words, kind in (
        (terms.failure_words, PingKind.FAIL),
        (terms.success_words, PingKind.SUCCESS),
        (terms.start_words, PingKind.START),
    ):
        if any(word in text for word in words):
            return kind
    return PingKind.FAIL if terms.else_fail else PingKind.IGNORED


def take(state: HeartbeatState, ping: Ping, text: str = "") -> HeartbeatState:
    """The state after a signal; ``text`` is what may be shown of its body."""
    heard = (*state.heard, Heard(ping.at, ping.kind, ping.exit_status, text))[-SHOWN_SIGNALS:]
    state = replace(state, count=ping.number, heard=heard)
    if ping.kind is PingKind.START:
        return replace(state, started_at=ping.at, run_id=ping.run_id)
    if ping.kind in (PingKind.LOG, PingKind.IGNORED):
        return state
    failed = ping.kind is PingKind.FAIL
    ended = replace(
        _without_run(state, ping),
        standing=Standing.DOWN if failed else Standing.UP,
        last_at=ping.at,
        exit_status=ping.exit_status,
    )
    if failed and state.standing is Standing.DOWN:
        return replace(ended, down_by=Phase.FAILED)
    return replace(ended, down_at=ping.at if failed else None, down_by=Phase.FAILED if failed else None)


def _without_run(state: HeartbeatState, ping: Ping) -> HeartbeatState:
    """The state with its run ended, if it is that run which the signal ends."""
    state = replace(state, duration=None)
    if state.started_at is None:
        return state
    if state.run_id == ping.run_id:
        return replace(state, duration=ping.at - state.started_at, started_at=None, run_id="")
    # A failure ends whatever is going on, and who gives no run id has no other run; another run's success does not.
    if ping.kind is PingKind.FAIL or not ping.run_id:
        return replace(state, started_at=None, run_id="")
    return state


def deadline(state: HeartbeatState, due: float | None, grace: float) -> float | None:
    """When the job is down unless it is heard of before (epoch seconds; None: it is down already, or not expected)."""
    due = due if state.standing is Standing.UP else None
    started = state.started_at if state.standing is not Standing.DOWN else None
    times = [at for at in (due, started) if at is not None]
    return min(times) + grace if times else None


def lapse(state: HeartbeatState, due: float | None, grace: float, now: float) -> HeartbeatState:
    """The state with a deadline that has passed taken into account."""
    passed = deadline(state, due, grace)
    if passed is None or passed > now:
        return state
    hung = state.started_at is not None and state.started_at + grace == passed
    return replace(state, standing=Standing.DOWN, down_at=passed, down_by=Phase.HUNG if hung else Phase.OVERDUE)


def forgotten_at(state: HeartbeatState, forget_after: float) -> float:
    """When a job that is not heard of again is taken for gone (epoch seconds)."""
    return state.heard[-1].at + forget_after if state.heard else inf


def overdue(state: HeartbeatState, due: float | None, now: float) -> float | None:
    """For how many seconds a job is past due; None: it is not expected, or down for another reason."""
    if state.standing is Standing.DOWN or due is None:
        return None
    return max(0.0, now - due)


def phase(state: HeartbeatState, due: float | None, grace: float, now: float) -> Phase:
    """How the job is now."""
    if state.started_at is not None and now >= state.started_at + grace:
        return Phase.HUNG
    state = lapse(state, due, grace, now)
    if state.standing is Standing.DOWN:
        return state.down_by or Phase.FAILED
    if state.standing is Standing.NEW:
        return Phase.NEW
    return Phase.LATE if due is not None and now >= due else Phase.UP
