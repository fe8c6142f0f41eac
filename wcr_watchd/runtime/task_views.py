"""Tasks as readers see them, of whatever kind: one that the desk looks after, and one that its job reports."""

from __future__ import annotations

from wcr_watchd.core import heartbeat, task
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Phase, Standing
from wcr_watchd.core.heartbeat_words import told
from wcr_watchd.core.protocols import Awaiting, Recurring
from wcr_watchd.core.run import Shared
from wcr_watchd.core.setup import Check
from wcr_watchd.core.task import TaskKind, TaskOutcome, TaskPhase, TaskRecord, TaskState, TaskView, name_of

_PHASES = {
    Phase.NEW: TaskPhase.WAITING,
    Phase.UP: TaskPhase.WAITING,
    Phase.LATE: TaskPhase.DUE,
    Phase.FAILED: TaskPhase.FAILED,
    Phase.OVERDUE: TaskPhase.OVERDUE,
    Phase.HUNG: TaskPhase.OVERDUE,
}


def view(
    check: Check, probe: Recurring, state: TaskState, due: float | None, now: float, timezone: str = ""
) -> TaskView:
    """A task that the daemon runs or a person does; ``timezone`` is for the words, default: that of its schedule."""
    terms = probe.terms
    return TaskView(
        name=name_of(check.name),
        check=check.name,
        kind=terms.kind,
        about=probe.about,
        schedule=check.target,
        owner=check.owner,
        tags=check.tags,
        runbook=check.runbook,
        phase=task.phase(state, terms, due, now),
        summary=probe.told(state, due, now, timezone),
        due=due,
        deadline=task.deadline(terms, due),
        started_at=state.started_at,
        last_success_at=state.last_success_at,
        duration=state.duration,
        last=state.last,
    )


async def reported_view(check: Check, probe: Awaiting, shared: Shared, timezone: str, now: float) -> TaskView:
    """A task that its job reports; ``timezone`` is for the words."""
    book = shared.get(Book)
    state = book.of(check.name)
    try:
        due = await probe.due(state, shared)
    except ScheduleError:  # its check says so
        due = None
    stands = heartbeat.phase(state, due, probe.terms.grace, now)
    running = state.started_at is not None and not stands.is_down
    return TaskView(
        name=name_of(check.name),
        check=check.name,
        kind=TaskKind.REPORTED,
        about="",
        schedule=check.target,
        owner=check.owner,
        tags=check.tags,
        runbook=check.runbook,
        phase=TaskPhase.RUNNING if running else _PHASES[stands],
        summary=told(state, due, probe.terms.grace, now, timezone, book.away),
        due=due,
        deadline=None if due is None else due + probe.terms.grace,
        started_at=state.started_at,
        last_success_at=state.last_at if state.standing is Standing.UP else None,
        duration=state.duration,
        last=_last_report(state),
    )


def _last_report(state: HeartbeatState) -> TaskRecord | None:
    if state.last_at is None:
        return None
    outcome = TaskOutcome.DONE if state.standing is Standing.UP else TaskOutcome.FAILED
    said = next((heard.text for heard in reversed(state.heard) if heard.at == state.last_at), "")
    return TaskRecord(
        state.check, state.count, outcome, state.last_at, exit_status=state.exit_status, text="reported", output=said
    )
