"""Tasks: work that recurs, run by the daemon or signed off by a person; when it is due, and what became of it.

Pure, like the engine. When it is next ``due`` after it was settled is a matter of calendars and is given; None means
that it is not due again. A task is watched like everything else: a check of type ``task`` tells how it stands, and the
engine makes of that what it makes of any observation. A job that reports by itself has a check of type ``heartbeat``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.heartbeat import Ping, PingKind
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.units import format_duration

PREFIX = "task."
"""The check of ``[task.NAME]`` is called ``task.NAME``."""
KEPT_RECORDS = 100
"""Ends of a task that are kept in the records."""
OUTPUT_LIMIT = 16 * 1024
"""Characters from the end of what a run wrote that are kept."""
SHOWN_OUTPUT = 1_000
"""Of these, the last ones are shown as evidence."""
LONGEST_NOTE = 4_000
MOST_EVIDENCE = 20
LONGEST_EVIDENCE = 1_000
CLOCK_WRONG = 86_400.0
"""Seconds from which on a time that is ahead was told by a clock that was wrong."""
_LOOK_AHEAD = 8 * 86_400.0
"""Seconds in which every window of a week opens at least once."""


class TaskKind(StrEnum):
    """How it becomes known that a task is done."""

    RUN = "run"
    """The daemon carries it out."""
    REPORTED = "reported"
    """The job says so by a heartbeat."""
    SIGNED = "signed"
    """A person signs it off."""


class TaskOutcome(StrEnum):
    """How one turn of a task ended."""

    DONE = "done"
    FAILED = "failed"
    MISSED = "missed"
    """Its time passed without a start, and it is not made up for."""
    INTERRUPTED = "interrupted"
    """The daemon ended while it ran."""


class TaskPhase(StrEnum):
    """How a task stands at a point in time."""

    WAITING = "waiting"
    SOON = "soon"
    """Not due yet, and to be reminded of."""
    DUE = "due"
    """Due, and within the grace period."""
    RUNNING = "running"
    OVERDUE = "overdue"
    FAILED = "failed"

    @property
    def is_down(self) -> bool:
        """Whether somebody must do something about it."""
        return self in (TaskPhase.OVERDUE, TaskPhase.FAILED)


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """What is expected of a task.

    It may be ``grace`` seconds late, and is reminded of ``remind`` seconds before it is due. A run begins only in the
    ``window``, where there is one. Without ``catch_up`` a run that has not begun when the grace period is over is left
    out. With ``drifting`` it is due so long after it was last done; else by the calendar, whenever it was done.
    ``needs_evidence`` says that no sign-off is taken without some.
    """

    kind: TaskKind
    grace: float
    remind: float = 0.0
    window: Hours | None = None
    catch_up: bool = True
    drifting: bool = False
    needs_evidence: bool = False


@dataclass(frozen=True, slots=True)
class TaskCommand:
    """What the daemon runs: a program with its arguments (no shell), and under what limits.

    ``user`` is whose rights it has (empty: the daemon's), ``time_limit`` how many seconds it may take, ``retries`` how
    often it is tried again, ``retry_after`` so many seconds. ``nice`` and ``io_class`` (empty: the usual) make way for
    others. ``environment`` is all that it gets; it may hold secrets.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    folder: str = "/"
    user: str = ""
    time_limit: float = 3_600.0
    retries: int = 0
    retry_after: float = 300.0
    nice: int = 0
    io_class: str = ""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One end of a task. ``number`` counts those of a task; times are epoch seconds, ``due`` is when it had been due.

    ``by`` is who signed it off or had it run (empty: the schedule), ``evidence`` what shows it: links, names of files,
    ticket numbers. ``text`` says in a line what became of it, ``output`` is the end of what a run wrote.
    """

    task: str
    number: int
    outcome: TaskOutcome
    at: float
    due: float | None = None
    started_at: float | None = None
    by: str = ""
    note: str = ""
    evidence: tuple[str, ...] = ()
    exit_status: int | None = None
    attempts: int = 0
    text: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class TaskState:
    """What is remembered of a task.

    It is due after ``settled_at``: when its last turn was settled, at first when it became known. ``schedule`` is when
    it is due in words; empty while it is not configured. ``failed`` says that its last run did not end well.
    ``started_at`` is when the run began that is going on (None: none is), ``started_by`` who wanted it, ``process``
    what tells its process from others. ``count`` is the number of its last record, ``last`` that record. ``missed`` is
    how often in a row its turn was left out since it was last done.
    """

    task: str
    settled_at: float
    schedule: str = ""
    count: int = 0
    failed: bool = False
    started_at: float | None = None
    started_by: str = ""
    process: str = ""
    last_success_at: float | None = None
    duration: float | None = None
    last: TaskRecord | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as readers see it, of whatever kind.

    ``check`` is its check, ``schedule`` when it is due in words. ``due`` is when it is due now or next (epoch seconds),
    ``deadline`` when it is overdue. ``phase`` is how it stands, ``summary`` that in a sentence. ``incident`` is what it
    follows (0: nothing; then it recurs).
    """

    name: str
    check: str
    kind: TaskKind
    about: str
    schedule: str
    owner: str
    tags: tuple[str, ...]
    runbook: str
    phase: TaskPhase
    summary: str
    due: float | None
    deadline: float | None
    started_at: float | None
    last_success_at: float | None
    duration: float | None
    last: TaskRecord | None
    incident: int = 0


class TaskBook:
    """What is known of every task: filled by whoever has them run and signed off, read by the probes that judge."""

    def __init__(self) -> None:
        self.kept = False
        """Whether tasks are looked after at all: not by a command that only carries checks out once."""
        self.states: dict[str, TaskState] = {}


def name_of(check: str) -> str:
    """What the task of this check is called."""
    return check.removeprefix(PREFIX)


def mark_of_run(state: TaskState) -> str:
    """What tells the run that is going on from every other one of this machine."""
    return f"{state.task}@{state.started_at!r}"


# --- when -------------------------------------------------------------------------------------------------------------


def opens(window: Hours | None, at: float) -> float:
    """When the window is open first, at this time or later; without one, at once."""
    if window is None or window.around(at) is not None:
        return at
    coming = sorted(edge for edge in window.edges(at, at + _LOOK_AHEAD) if edge > at)
    return next(edge for edge in coming if window.around(edge) is not None)


def reckoned_from(state: TaskState) -> float:
    """From when on its next turn is reckoned (epoch seconds): of one that runs from its start, for that one is on."""
    return state.settled_at if state.started_at is None else max(state.settled_at, state.started_at)


def deadline(terms: TaskTerms, due: float | None) -> float | None:
    """When a task that is due then is overdue (epoch seconds); time outside its window does not count."""
    return None if due is None else opens(terms.window, due) + terms.grace


def starts(state: TaskState, terms: TaskTerms, due: float | None, now: float) -> float | None:
    """When the next run is to begin (epoch seconds), now or later; None: nothing is to be run, or it is running."""
    if terms.kind is not TaskKind.RUN or due is None or state.started_at is not None:
        return None
    return opens(terms.window, max(due, now))


def is_missed(state: TaskState, terms: TaskTerms, due: float | None, now: float) -> bool:
    """Whether the turn that is due is left out, as it is too late for it."""
    late = deadline(terms, due)
    return starts(state, terms, due, now) is not None and not terms.catch_up and late is not None and now >= late


def phase(state: TaskState, terms: TaskTerms, due: float | None, now: float) -> TaskPhase:
    """How the task stands now. What runs is overdue when its next turn is, which waits for its end."""
    late = deadline(terms, due)
    if state.failed:
        return TaskPhase.FAILED
    if state.started_at is not None:
        return TaskPhase.OVERDUE if late is not None and now >= late else TaskPhase.RUNNING
    if due is None or late is None or now < due - terms.remind:
        return TaskPhase.WAITING
    if now < due:
        return TaskPhase.SOON
    return TaskPhase.OVERDUE if now >= late else TaskPhase.DUE


def next_edge(terms: TaskTerms, due: float | None, now: float) -> float | None:
    """When the task will stand otherwise by itself (epoch seconds); None: it will not."""
    if due is None:
        return None
    edges = (due - terms.remind, due, opens(terms.window, due) + terms.grace)
    return min((edge for edge in edges if edge > now), default=None)


# --- what happens to it -----------------------------------------------------------------------------------------------


def configured(state: TaskState | None, check: str, schedule: str, now: float) -> TaskState:
    """The state of a task that is configured like this: one that is new, or newly scheduled, counts from now on."""
    if state is None:
        return TaskState(check, now, schedule)
    return state if state.schedule == schedule else replace(state, settled_at=now, schedule=schedule)


def not_ahead(state: TaskState, terms: TaskTerms, now: float) -> TaskState:
    """The state, counting from now where it counts from a time that never was: the clock was ahead and is set right.

    It would not be due before that time comes. A sign-off may be for a coming time, within that of the reminder.
    """
    ahead = state.settled_at > now + terms.remind + CLOCK_WRONG
    return replace(state, settled_at=now) if ahead else state


def begun(state: TaskState, by: str, now: float) -> TaskState:
    """A run of it begins."""
    return replace(state, started_at=now, started_by=by)


def ended(state: TaskState, record: TaskRecord, duration: float) -> TaskState:
    """A run of it has ended, well or not: that turn is settled, and all that became due up to its start."""
    begun_at = state.settled_at if record.started_at is None else record.started_at
    failed = record.outcome is TaskOutcome.FAILED
    return replace(
        _recorded(state, record),
        settled_at=max(state.settled_at, begun_at),
        failed=failed,
        started_at=None,
        started_by="",
        process="",
        last_success_at=state.last_success_at if failed else record.at,
        duration=duration,
        missed=0,
    )


def missed(state: TaskState, record: TaskRecord) -> TaskState:
    """A turn of it is left out."""
    return replace(_recorded(state, record), settled_at=record.at, missed=state.missed + 1)


def interrupted(state: TaskState, record: TaskRecord) -> TaskState:
    """A run of it ended with the daemon: the turn is still due."""
    return replace(_recorded(state, record), started_at=None, started_by="", process="")


def signed_off(state: TaskState, terms: TaskTerms, record: TaskRecord) -> TaskState:
    """A person has done it. Done within the time of its reminder, it is done for the coming time.

    Raises :class:`CommandError` when the sign-off does not say enough, or too much.
    """
    _check_sign_off(terms, record)
    early = record.due is not None and record.at < record.due <= record.at + terms.remind
    settled = record.due if early and not terms.drifting and record.due is not None else record.at
    return replace(_recorded(state, record), settled_at=settled, failed=False, last_success_at=record.at, missed=0)


def _check_sign_off(terms: TaskTerms, record: TaskRecord) -> None:
    if not record.by.strip():
        raise CommandError("a sign-off needs a name: who has done it?")
    if terms.needs_evidence and not record.evidence:
        raise CommandError("this task is not signed off without evidence: name a link, a file or a ticket (--evidence)")
    if len(record.note) > LONGEST_NOTE:
        raise CommandError(f"the note has {len(record.note)} characters; at most {LONGEST_NOTE} are kept")
    if len(record.evidence) > MOST_EVIDENCE or any(len(one) > LONGEST_EVIDENCE for one in record.evidence):
        raise CommandError(f"at most {MOST_EVIDENCE} pieces of evidence of {LONGEST_EVIDENCE} characters are kept")


def _recorded(state: TaskState, record: TaskRecord) -> TaskState:
    return replace(state, count=record.number, last=replace(record, output=record.output[-SHOWN_OUTPUT:]))


def reported(ping: Ping) -> TaskRecord | None:
    """What a signal of a job says of a task that reports by itself; None: nothing of an end."""
    if ping.kind not in (PingKind.SUCCESS, PingKind.FAIL):
        return None
    outcome = TaskOutcome.DONE if ping.kind is PingKind.SUCCESS else TaskOutcome.FAILED
    return TaskRecord(
        ping.check,
        ping.number,
        outcome,
        ping.at,
        exit_status=ping.exit_status,
        text="reported by its job",
        output=ping.body.decode(errors="replace")[-OUTPUT_LIMIT:],
    )


# --- in words ---------------------------------------------------------------------------------------------------------


def told(state: TaskState, terms: TaskTerms, due: float | None, now: float, timezone: str) -> str:
    """How the task stands, in a sentence; ``timezone`` is that of its schedule."""
    last = _last_done(state, now)
    when = "" if due is None else clock_time(due, timezone, now)
    match phase(state, terms, due, now):
        case TaskPhase.FAILED:
            failed = state.last.text if state.last is not None else "its last run failed"
            again = f"; runs again at {when}" if due is not None and state.started_at is None else ""
            return f"{failed}; {last}{again}"
        case TaskPhase.RUNNING:
            return f"{_runs_since(state, now)}; {last}"
        case TaskPhase.OVERDUE if state.started_at is not None:
            return f"{_runs_since(state, now)}, and was due again at {when}; {last}"
        case TaskPhase.OVERDUE:
            ever = last if state.last_success_at is not None else "it never was"
            return f"was due at {when} and is not done; {ever}"
        case TaskPhase.DUE:
            if terms.kind is TaskKind.RUN and (begins := opens(terms.window, now)) > now:
                opening = clock_time(begins, timezone, now)
                return f"is due since {when}, and waits for its window, open from {opening}; {last}"
            late = clock_time(deadline(terms, due) or now, timezone, now)
            return f"is due since {when}, and has until {late}; {last}"
        case TaskPhase.SOON:
            return f"is due at {when}; {last}"
        case _:
            return f"{last}, due at {when}" if when else f"{last}, and not due again"


def _runs_since(state: TaskState, now: float) -> str:
    return f"runs since {format_duration(max(0.0, now - (state.started_at or now)))}"


def _last_done(state: TaskState, now: float) -> str:
    missed = {0: "", 1: ", missed once since"}.get(state.missed, f", missed {state.missed} times since")
    if state.last_success_at is None:
        return f"not done yet{missed.removesuffix(' since')}"
    ago = now - state.last_success_at
    return f"last done {format_duration(ago)} ago{missed}" if ago >= 1 else "done just now"


def evidence(state: TaskState, timezone: str, now: float) -> dict[str, str]:
    """What shows how its last turn ended: who signed it off and with what, or what the run wrote."""
    last = state.last
    if last is None:
        return {}
    status = "" if last.exit_status is None else f", exit status {last.exit_status}"
    by = f" by {last.by}" if last.by else ""
    lines = (last.note, *last.evidence, last.output.strip()[-SHOWN_OUTPUT:])
    text = "\n".join(line for line in lines if line) or last.text or "(said no more)"
    return {f"{last.outcome} {clock_time(last.at, timezone, now)}{by}{status}": text}
