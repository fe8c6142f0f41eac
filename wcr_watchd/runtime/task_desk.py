"""Tasks: begun when they are due, signed off when somebody says so, and remembered.

Each is judged by its own check; here the check is only run as soon as there is something new to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Never, Protocol

import structlog

from wcr_watchd.core import task
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import CommandError, ScheduleError
from wcr_watchd.core.heartbeat import Book
from wcr_watchd.core.protocols import Awaiting, Probe, Recurring
from wcr_watchd.core.report import Upcoming
from wcr_watchd.core.run import Shared
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.task import (
    TaskBook,
    TaskCommand,
    TaskKind,
    TaskOutcome,
    TaskPhase,
    TaskRecord,
    TaskState,
    TaskView,
    name_of,
)
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.schedule_words import plain
from wcr_watchd.kit.strays import Strays
from wcr_watchd.kit.subprocess import mark_of
from wcr_watchd.kit.threads import Threads
from wcr_watchd.runtime.task_run import ENDS_WITHIN, carry_out, seconds_until
from wcr_watchd.runtime.task_views import reported_view, view

log = structlog.get_logger(__name__)

LOOK_AGAIN = 60.0
"""Seconds after which it is looked at in any case: the wall clock may have been set."""
LOOK_FOR_ORPHANS = 2.0
"""Seconds between looks at whether a run that an earlier life left behind has ended: each reads all of /proc."""
MOST_AT_A_TIME = 6
"""Runs that the schedule begins beside each other: after a time without the daemon all that was due is due at once."""
LOOK_FOR_ROOM = 5.0
"""Seconds after which it is looked whether there is room for one more."""
INTERRUPTED = "the daemon ended while it ran"
_NOT_STORED = "; it is not stored yet, as the store refuses, and is kept in memory until it does"
LISTED_TIMES = 60
"""Times of one task that are listed at most: what comes every week is seen for more than a year."""


class Records(Protocol):
    """Where it is stored what became of tasks."""

    def task_is(self, state: TaskState, record: TaskRecord | None = None) -> None:
        """Remember how a task stands."""
        ...

    async def flush(self) -> bool:
        """Store what waits; whether it is stored."""
        ...


class TaskDesk:
    """Looks after the tasks of the configuration in force.

    ``book`` holds what is known of them, ``run_soon`` has a check run out of turn, ``redact`` takes secrets out of what
    a run wrote.
    """

    def __init__(
        self,
        book: TaskBook,
        records: Records,
        clock: Clock,
        shared: Shared,
        redact: Callable[[str], str],
        run_soon: Callable[[str, float], None],
    ) -> None:
        self._book = book
        self._records = records
        self._clock = clock
        self._shared = shared
        self._redact = redact
        self._run_soon = run_soon
        self._probes: dict[str, Recurring] = {}
        self._reported: dict[str, Awaiting] = {}
        self._edges: dict[str, float] = {}
        self._looked_at = 0.0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, str] = {}
        self._changed = asyncio.Event()
        book.kept = True

    def replace(self, probes: Mapping[str, Probe]) -> None:
        """Look after these from now on; what runs goes on, a task that is new or newly scheduled counts from now."""
        self._probes = {name: probe for name, probe in probes.items() if isinstance(probe, Recurring)}
        self._reported = {
            name: probe
            for name, probe in probes.items()
            if name.startswith(task.PREFIX) and isinstance(probe, Awaiting)
        }
        for name, probe in self._probes.items():
            self._keep(task.configured(self._book.states.get(name), name, probe.target, self._clock.now()))
        for name in [name for name in self._book.states if name not in self._probes]:
            self._keep(replace(self._book.states[name], schedule=""))
        self._edges = dict.fromkeys(self._probes, 0.0)
        self._changed.set()

    def _keep(self, state: TaskState) -> None:
        if state != self._book.states.get(state.task):
            self._records.task_is(state)

    # --- what is asked ---

    async def run_now(self, name: str, by: str) -> str:
        """Have a task run out of turn, also outside its window; returns a sentence. Raises ``CommandError``."""
        check = self._check_of(name)
        probe = self._probes.get(check)
        if probe is None or probe.command is None:
            raise CommandError(
                f"the daemon does not run {name_of(check)}: "
                + ("its job reports by itself" if probe is None else "a person does it; see `wcr-watchd task done`")
            )
        if check in self._running or check in self._wanted:
            raise CommandError(f"{name_of(check)} is running; it never runs beside itself")
        self._wanted[check] = by
        self._edges[check] = 0.0
        self._changed.set()
        return f"{name_of(check)} is begun; `wcr-watchd task list {name_of(check)}` shows what becomes of it"

    async def sign_off(self, name: str, by: str, note: str = "", evidence: Sequence[str] = ()) -> str:
        """Somebody has done a task; returns a sentence. Raises ``CommandError`` when that cannot be taken."""
        check = self._check_of(name)
        probe = self._probes.get(check)
        if probe is None:
            raise CommandError(f"{name_of(check)} is not signed off: its job reports by itself")
        if check in self._running:
            raise CommandError(f"{name_of(check)} is running; sign it off when that is over")
        state, now = self._book.states[check], self._clock.now()
        record = TaskRecord(
            task=check,
            number=state.count + 1,
            outcome=TaskOutcome.DONE,
            at=now,
            due=await self._due(check, probe),
            by=by,
            note=note.strip(),
            evidence=tuple(one.strip() for one in evidence if one.strip()),
            text=f"signed off by {by}",
        )
        if state is not self._book.states[check]:
            raise CommandError(f"somebody else changed {name_of(check)} just now; look again")
        self._take(task.signed_off(state, probe.terms, record), record)
        following = await self._due(check, probe)
        again = "it is not due again" if following is None else f"due again in {format_duration(following - now)}"
        stored = await self._records.flush()
        return f"{name_of(check)} is done, signed off by {by}; {again}" + ("" if stored else _NOT_STORED)

    async def views(self, setup: Setup, timezone: str = "") -> tuple[TaskView, ...]:
        """Every task as it stands now, in the order of the configuration.

        Times in words are of that zone, else of that of the task's schedule.
        """
        found = []
        for name, check in setup.checks.items():
            if name in self._probes:
                due = await self._due(name, self._probes[name])
                state, now = self._book.states[name], self._clock.now()
                found.append(view(check, self._probes[name], state, due, now, timezone))
            elif name in self._reported:
                now, zone = self._clock.now(), timezone or setup.timezone
                found.append(await reported_view(check, self._reported[name], self._shared, zone, now))
        return tuple(found)

    async def times(self, check: str, until: float) -> tuple[float, ...]:
        """When a task is due from now until then, the first may have passed; at most a few dozen times.

        Of what its job reports it is the next time only: the one after that counts from when it reports.
        """
        probe = self._probes.get(check)
        if probe is None:
            return await self._report_due(check, until)
        found: list[float] = []
        due = await self._due(check, probe)
        while due is not None and due < until and len(found) < LISTED_TIMES:
            found.append(due)
            try:
                due = None if probe.terms.drifting else await probe.due(due, self._shared)
            except ScheduleError:
                break
        return tuple(found)

    async def _report_due(self, check: str, until: float) -> tuple[float, ...]:
        probe = self._reported.get(check)
        try:
            due = None if probe is None else await probe.due(self._shared.get(Book).of(check), self._shared)
        except ScheduleError:
            return ()
        return () if due is None or due >= until else (due,)

    async def coming(self, setup: Setup, until: float) -> tuple[Upcoming, ...]:
        """What people have to do until then, and what they should have done, for a report."""
        found = []
        for one in await self.views(setup):
            if one.kind is TaskKind.SIGNED:
                who = f" ({one.owner})" if one.owner else ""
                overdue = ", overdue" if one.phase is TaskPhase.OVERDUE else ""
                times = await self.times(one.check, until)
                found += [Upcoming(at, "task", f"{one.name}{who}, {plain(one.schedule)}{overdue}") for at in times]
        return tuple(found)

    def _check_of(self, name: str) -> str:
        for check in (task.PREFIX + name, name):
            if check in self._probes or check in self._reported:
                return check
        raise CommandError(f"there is no task {name!r}; `wcr-watchd task list` shows all")

    # --- looking after them ---

    async def serve(self) -> Never:
        """Begin what is due, and have judged what passed. Runs until cancelled; what runs then is ended."""
        async with asyncio.TaskGroup() as runs:
            for state in list(self._book.states.values()):
                if state.started_at is not None:
                    self._running[state.task] = runs.create_task(self._outlast(state), name=f"task {state.task}")
            while True:
                self._changed.clear()
                wait = await self._look(runs)
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    pass

    async def _look(self, runs: asyncio.TaskGroup) -> float:
        """Look at every task that may stand otherwise by now; returns the seconds until the next one."""
        now = self._clock.now()
        if now < self._looked_at:  # the clock was set back: what was reckoned ahead is no guide any more
            self._edges = dict.fromkeys(self._edges, 0.0)
        self._looked_at = now
        for check in [check for check, at in self._edges.items() if at <= now]:
            await self._look_at(check, runs)
        return seconds_until(min(self._edges.values(), default=None), self._clock.now(), LOOK_AGAIN)

    async def _look_at(self, check: str, runs: asyncio.TaskGroup) -> None:
        probe = self._probes.get(check)
        if probe is None:
            return
        self._keep(task.not_ahead(self._book.states[check], probe.terms, self._clock.now()))
        due, now = await self._due(check, probe), self._clock.now()
        state, terms = self._book.states[check], probe.terms
        by = self._wanted.pop(check, None)
        starts = task.starts(state, terms, due, now)
        self._run_soon(check, 0.0)
        if by is None and task.is_missed(state, terms, due, now):
            self._miss(state, due)
            return
        if probe.command is not None and check not in self._running and (by is not None or starts == now):
            if by is None and len(self._running) >= MOST_AT_A_TIME:
                self._edges[check] = now + LOOK_FOR_ROOM
            else:
                self._begin(check, probe.command, due, by or "", runs)
            return
        edges = (task.next_edge(terms, due, now), starts)
        following = min((at for at in edges if at is not None and at > now), default=inf)
        self._edges[check] = now + LOOK_AGAIN if due is None else following

    def _miss(self, state: TaskState, due: float | None) -> None:
        text = "its time passed while it could not begin, and it is not made up for"
        record = TaskRecord(state.task, state.count + 1, TaskOutcome.MISSED, self._clock.now(), due, text=text)
        log.warning("a task was missed", task=name_of(state.task))
        self._take(task.missed(state, record), record)

    def _begin(self, check: str, command: TaskCommand, due: float | None, by: str, runs: asyncio.TaskGroup) -> None:
        state = task.begun(self._book.states[check], by, self._clock.now())
        self._take(state)
        log.info("a task begins", task=name_of(check), by=by or "schedule")
        self._running[check] = runs.create_task(self._run(state, command, due), name=f"task {check}")

    async def _outlast(self, state: TaskState) -> None:
        """Wait for a run of a life of this daemon that was killed: it may go on, and never runs beside itself.

        Nobody of that life ends it when it takes too long: it has its time limit once more, from now on.
        """
        since, text = self._clock.monotonic(), INTERRUPTED
        strays, threads = Strays(task.mark_of_run(state), state.process), self._shared.get(Threads)
        try:
            while await strays.any(threads):
                probe = self._probes.get(state.task)
                limit = probe.command.time_limit if probe is not None and probe.command is not None else inf
                if self._clock.monotonic() - since >= limit:
                    await strays.end(threads, ENDS_WITHIN)
                    text = f"{INTERRUPTED}; it went on for another {format_duration(limit)} and was ended"
                await asyncio.sleep(LOOK_FOR_ORPHANS)
        finally:
            del self._running[state.task]
        self._interrupt(self._book.states[state.task], text)

    async def _run(self, begun: TaskState, command: TaskCommand, due: float | None) -> None:
        since = self._clock.monotonic()
        try:
            end = await carry_out(
                command,
                task.mark_of_run(begun),
                self._shared,
                self._redact,
                self._noting(begun.task),
                lambda: self._may_begin(begun),
            )
        except asyncio.CancelledError:
            self._interrupt(self._book.states[begun.task])
            raise
        finally:
            del self._running[begun.task]
        record = TaskRecord(
            task=begun.task,
            number=begun.count + 1,
            outcome=TaskOutcome.DONE if end.last.well else TaskOutcome.FAILED,
            at=self._clock.now(),
            due=due,
            started_at=begun.started_at,
            by=begun.started_by,
            exit_status=end.last.status,
            attempts=end.attempts,
            text=end.last.text,
            output=end.last.output,
        )
        log.info("a task ended", task=name_of(begun.task), outcome=record.outcome.value, said=record.text)
        self._take(task.ended(self._book.states[begun.task], record, self._clock.monotonic() - since), record)

    def _may_begin(self, begun: TaskState) -> bool:
        """Whether an attempt may begin now: in its window, or when a person wants it."""
        probe, now = self._probes.get(begun.task), self._clock.now()
        return bool(begun.started_by) or probe is None or task.opens(probe.terms.window, now) == now

    def _noting(self, check: str) -> Callable[[int], None]:
        return lambda process: self._records.task_is(replace(self._book.states[check], process=mark_of(process)))

    def _interrupt(self, state: TaskState, text: str = INTERRUPTED) -> None:
        now = self._clock.now()
        record = TaskRecord(
            state.task, state.count + 1, TaskOutcome.INTERRUPTED, now, started_at=state.started_at, text=text
        )
        log.warning("a task was interrupted", task=name_of(state.task))
        self._take(task.interrupted(state, record), record)

    def _take(self, state: TaskState, record: TaskRecord | None = None) -> None:
        self._records.task_is(state, record)
        self._edges[state.task] = 0.0
        self._changed.set()
        self._run_soon(state.task, 0.0)

    async def _due(self, check: str, probe: Recurring) -> float | None:
        try:
            return await probe.due(task.reckoned_from(self._book.states[check]), self._shared)
        except ScheduleError as error:  # the check's own run says so, too
            log.error("it cannot be told when a task is due", task=name_of(check), error=str(error))
            return None
