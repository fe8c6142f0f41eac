"""From observation to events, stored before anybody is told: the engine's decisions put into effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Protocol

import structlog

from wcr_watchd.core import alerts, announcements, commands, engine, notices
from wcr_watchd.core.changes import Change
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.connectivity import as_seen
from wcr_watchd.core.errors import CommandError, StoreDamagedError, StoreError
from wcr_watchd.core.heartbeat import HeartbeatState, JobKey, Ping
from wcr_watchd.core.life import Finding
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import Alert, Event, EventKind, Incident, Notification, Observation, Outcome
from wcr_watchd.core.modifications import KnownFacts, Modification
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.rules import History
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.task import TaskRecord, TaskState
from wcr_watchd.core.view import CheckCounters, Counters, Touched
from wcr_watchd.runtime import keeper, refill
from wcr_watchd.runtime.keeper import Keeper, Waiting
from wcr_watchd.runtime.live import RecentRuns, Touches

log = structlog.get_logger(__name__)

AT_A_TIME = 50
"""Alerts taken, or incidents ticked, before the loop may go on with other things; a few milliseconds."""


class Outbox(keeper.Outbox, Protocol):
    """Where notifications go."""

    def heed(self, is_muted: Callable[[int], bool]) -> None:
        """Ask this from now on whether nobody is to be told of an incident."""
        ...


class Monitor:
    """Holds the engine's state, feeds it, and sees that what it decides is stored, told and shown.

    ``run_soon(check, delay)`` asks the scheduler for another run; ``outbox`` delivers; ``memories`` is what
    probes keep from run to run, ``heartbeats`` what is known of jobs that report by themselves, ``tasks`` of tasks.
    """

    def __init__(
        self,
        setup: Setup,
        state: State,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        counters: Counters,
        run_soon: Callable[[str, float], None],
        memories: Mapping[str, str] = MappingProxyType({}),
        heartbeats: MutableMapping[JobKey, HeartbeatState] | None = None,
        tasks: MutableMapping[str, TaskState] | None = None,
        changes: Iterable[Change] = (),
        facts: Iterable[KnownFacts] = (),
    ) -> None:
        self.setup = setup
        self.state = state
        self.latest: dict[str, Observation] = {}
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._counters = counters
        self._run_soon = run_soon
        self._memories = memories
        self._heartbeats = {} if heartbeats is None else heartbeats
        self._tasks = {} if tasks is None else tasks
        self._changes = {one.id: one for one in changes if not one.state.over}
        self._facts = {one.check: one for one in facts}
        self._recent = RecentRuns()
        self._touches = Touches()
        self._keeper = Keeper(store, outbox, clock, counters, self._remember_all)
        self._deadlines: list[tuple[float, int]] = []
        self._deadline_added = asyncio.Event()
        for incident in state.incidents.values():
            self._watch_deadline(incident)
        outbox.heed(lambda incident: engine.is_muted(self.setup, self.state, incident, clock.now()))

    def receive(self, observation: Observation) -> None:
        """Take an observation in: decide, remember, owe what follows."""
        observation = as_seen(self.setup, self.state, observation)
        if observation.check not in self.setup.checks:  # removed by a reload while it ran
            return
        before = self.state.checks.get(observation.check)
        decision = engine.observe(self.setup, self.state, observation, self._clock.now())
        self.latest[observation.check] = observation
        self._recent.note(observation)
        self._count(observation, decision)
        self._keeper.waiting.observations.append(observation)
        if observation.memory is not None:
            self._keeper.waiting.memories[observation.check] = observation.memory
        after = decision.check
        if after is not None and _differs(before, after):
            self._keeper.waiting.states[after.check] = after
        self._take(decision)
        self._touches.announce(Touched(check=observation.check))

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        """Acknowledge an incident; returns a sentence, once it is stored. Raises ``CommandError`` if it cannot be."""
        now, latest = self._clock.now(), self._latest_of(incident)
        done = commands.acknowledge(self.setup, self.state, incident, by, now, latest, until=until, sticky=sticky)
        ends = f" until {clock_time(until, self.setup.timezone, now)}" if until is not None else ""
        about = f"incident #{incident} ({done.incidents[0].check})"
        return await self._carry_out(done, f"{about} is acknowledged by {by}{ends}; reminders and escalation stop")

    async def resolve(self, incident: int, by: str) -> str:
        """End an incident by hand; returns a sentence. Raises ``CommandError`` when that cannot be done."""
        now, latest = self._clock.now(), self._latest_of(incident)
        done = commands.resolve(self.setup, self.state, incident, by, now, latest)
        return await self._carry_out(
            done, f"incident #{incident} is ended by {by}; it goes on if its check still fails"
        )

    async def note(self, incident: Incident, by: str, text: str) -> str:
        """Add a note to an incident's timeline; returns a sentence. Raises ``CommandError`` for an empty one."""
        done = commands.note(self.setup, self.state, incident, by, text, self._clock.now())
        return await self._carry_out(done, f"noted in the timeline of incident #{incident.id}")

    async def assign(self, incident: int, owner: str, by: str) -> str:
        """Say who works on an incident; returns a sentence. Raises ``CommandError`` when there is no such one."""
        done = commands.assign(self.setup, self.state, incident, owner, by, self._clock.now())
        return await self._carry_out(done, f"incident #{incident} is now with {owner or 'nobody'}")

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a silence in force, or change the one named; returns the one that holds, and a sentence."""
        now = self._clock.now()
        if changes:
            done = commands.change_silence(self.setup, self.state, changes, wanted, now)
        else:
            done = commands.silence(self.setup, self.state, wanted, now)
        holds = done.silences[-1]
        kind = "maintenance" if holds.maintenance else "silence"
        begins = f"from {clock_time(holds.starts_at, self.setup.timezone, now)} " if holds.starts_at > now else ""
        ends = clock_time(holds.ends_at, self.setup.timezone, now)
        none = commands.covers_nothing(self.setup, self.state, holds.matchers)
        doubt = "; it covers no check and no open incident now: is it misspelt?" if none else ""
        return holds, await self._carry_out(done, f"{kind} {holds.id} is in force {begins}until {ends}{doubt}")

    async def expire(self, identifier: str) -> str:
        """End a silence now; returns a sentence. Raises ``CommandError`` when there is no such one."""
        done = commands.expire(self.setup, self.state, identifier, self._clock.now())
        return await self._carry_out(done, f"{identifier} is over; what is still broken is told")

    async def alerts(self, sent: Sequence[Alert]) -> None:
        """Take alerts of Prometheus, and return once they are stored. Raises ``CommandError`` when one is not taken."""
        refused: CommandError | None = None
        for number, alert in enumerate(sent, start=1):
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
            try:
                self._take(alerts.take(self.setup, self.state, alert, self._clock.now()))
            except CommandError as error:
                refused = error
        await self.flush()
        if refused is not None:
            raise refused

    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        """A job is in this state from now on, by a signal or (None) because none came; :meth:`flush` stores it."""
        key = (state.check, state.job)
        self._heartbeats[key] = self._keeper.waiting.heartbeats[key] = state
        if ping is not None:
            self._keeper.waiting.pings.append(ping)

    def task_is(self, state: TaskState, record: TaskRecord | None = None) -> None:
        """A task is in this state from now on, by such an end of it (None: by none).

        It is stored at once: a run that is not known after a kill would run beside itself.
        """
        self._tasks[state.task] = self._keeper.waiting.tasks[state.task] = state
        if record is not None:
            self._keeper.waiting.task_records.append(record)
        self._keeper.hurry()
        self._touches.announce(Touched(state.task))

    def keep_change(self, change: Change) -> None:
        """A change stands like this from now on; :meth:`flush` stores it."""
        self._keeper.waiting.changes[change.id] = change
        self._changes[change.id] = change
        for number in [one.id for one in self._changes.values() if one.state.over and one.id != change.id]:
            del self._changes[number]
        self._keeper.hurry()
        self._touches.announce(Touched())

    def modified(self, modifications: Iterable[Modification], known: KnownFacts | None = None) -> None:
        """Something became different, and a check knows these facts from now on; stored with the next flush."""
        self._keeper.waiting.modifications.extend(modifications)
        if known is not None:
            self._facts[known.check] = self._keeper.waiting.facts[known.check] = known

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Owe messages about no incident."""
        self._take(engine.Decision(notifications=tuple(notifications)))

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        """Open an incident of the daemon itself, unless it is open."""
        self._take(notices.trouble(self.setup, self.state, subject, finding, confirmed, self._clock.now()))

    def trouble_over(self, subject: str, why: str) -> None:
        """End that incident, if it is open."""
        self._take(notices.trouble_over(self.setup, self.state, subject, why, self._clock.now()))

    async def stop_window(self, name: str, by: str) -> str:
        """End a planned window for this time; returns a sentence. Raises ``CommandError`` when it is not open."""
        done = commands.stop_window(self.setup, self.state, name, by, self._clock.now())
        return await self._carry_out(done, f"maintenance {name} is over for this time; what is still broken is told")

    def pass_edges(self, since: float) -> None:
        """Announce the windows that are due since then (epoch seconds), and take note of those that began or ended."""
        now = self._clock.now()
        passed = announcements.edges(self.setup, since, now)
        for edge in passed:
            what = "maintenance begins" if edge.begins else "maintenance ends"
            log.info(what, window=edge.window.name, comment=edge.window.comment)
        decision = commands.look_again(self.setup, self.state, now) if passed else engine.Decision()
        planned = announcements.announcements(self.setup, since, now)
        self._take(replace(decision, notifications=(*decision.notifications, *planned)))
        if passed:
            self._touches.announce(Touched())

    def absent(self, since: float, why: str) -> None:
        """Nobody was watching since then (epoch seconds): nothing is confirmed by that, and a long time is told."""
        self.look_first(since)
        now = self._clock.now()
        self._take(alerts.renewed(self.setup, self.state, now))
        self._take(notices.absence(self.setup, self.state, since, now, why))

    def look_first(self, since: float) -> None:
        """Nobody was watching since then: of what was known before, nothing is told until it was looked at again."""
        now = self._clock.now()
        if now - since <= notices.CONFIRMS_NOTHING:
            return
        for known in notices.unconfirmed(self.state):
            self.state.checks[known.check] = known
            self._keeper.waiting.states[known.check] = known
        self.state.looks_until = now + notices.FRESH_LOOK
        self._take(notices.looked_at_first(self.state, self.state.looks_until))

    def take_number(self) -> int:
        """The number of something that is acknowledged like an incident and is none: a drill."""
        number = self.state.next_incident
        self.state.next_incident += 1
        return number

    def channel_fails(self, channel: str, why: str) -> None:
        """A channel's canary was not accepted: somebody must know before a message is lost."""
        self._take(notices.channel_fails(self.setup, self.state, channel, why, self._clock.now()))

    def channel_delivers(self, channel: str, why: str) -> None:
        """A channel delivers again, or is not looked after any more."""
        self._take(notices.channel_delivers(self.setup, self.state, channel, why, self._clock.now()))

    def report_fails(self, report: str, why: str) -> None:
        """A report cannot be written."""
        self._take(notices.report_fails(self.setup, self.state, report, why, self._clock.now()))

    def report_is_written(self, report: str) -> None:
        """A report could be written."""
        self._take(notices.report_is_written(self.setup, self.state, report, self._clock.now()))

    def hand_over(self, schedule: str, people: tuple[str, ...], until: float | None) -> None:
        """Somebody else, or nobody, is on call from now on; ``until`` is when that turn ends (epoch seconds)."""
        self._take(notices.hand_over(self.setup, self.state, schedule, people, until, self._clock.now()))

    async def _carry_out(self, decision: engine.Decision, said: str) -> str:
        """Put what a person asked for into effect; says so if a crash would break the promise."""
        self._take(decision)
        if await self.flush():
            return said
        return f"{said}; not stored yet, a restart would forget it: {self._counters.store_last_error}"

    def _latest_of(self, incident: int) -> Observation | None:
        known = self.state.incidents.get(incident)
        return self.latest.get(known.check) if known else None

    async def reload(self, setup: Setup) -> None:
        """Go on under another configuration; unchanged checks keep everything."""
        gone = [name for name in self.state.checks if name not in setup.checks]
        self.setup = setup
        self._take(engine.reconcile(setup, self.state, self._clock.now()))
        self._take(notices.duties_stand(setup, self.state, self._clock.now()))
        for name in gone:
            for kept in (self.state.checks, self.state.histories, self.latest, self._counters.checks):
                kept.pop(name, None)
            self._recent.forget(name)
        for key in [key for key in self._heartbeats if key[0] in gone]:
            del self._heartbeats[key]
        if gone:
            await self.flush()
            try:
                await self._store.forget(gone)
            except StoreError as error:
                log.warning("state of removed checks stays in the store until it takes writes again", error=str(error))

    async def refill_histories(self) -> None:
        """Read back the recent values that rules with windows need, so that a restart does not blind them."""
        for check in self.setup.checks.values():
            tracks = refill.missing(check, self.state.histories.get(check.name, History()))
            if tracks:
                earlier = await refill.recorded(self._store, check, tracks, self._clock.now())
                known = self.state.histories.get(check.name, History())
                self.state.histories[check.name] = refill.together(known, tracks, earlier)

    async def serve_store(self) -> None:
        """Store what waits, soon, and tell of it. Runs until cancelled."""
        await self._keeper.serve()

    async def flush(self) -> bool:
        """Store what waits and tell of it, now; returns whether it is stored."""
        return await self._keeper.flush()

    def damaged(self, error: StoreDamagedError) -> None:
        """The records turned out to be damaged: the next flush replaces them."""
        self._keeper.damaged(error)

    async def serve_deadlines(self) -> None:
        """Take escalation steps and send reminders when they are due. Runs until cancelled."""
        while True:
            self._deadline_added.clear()
            wait = self._tick_due()
            if not wait:
                await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(wait):
                    await self._deadline_added.wait()
            except TimeoutError:
                pass

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        """The last runs of a check, oldest first: time and duration in seconds (None: not up)."""
        return self._recent.of(check)

    def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        """Batches of what was touched from now on; a slow reader gets fewer, larger batches."""
        return self._touches.batches()

    def _remember_all(self, waiting: Waiting) -> None:
        """Have all that is known stored anew."""
        waiting.states |= self.state.checks
        waiting.incidents |= self.state.incidents
        waiting.silences |= self.state.silences
        waiting.memories |= self._memories
        waiting.heartbeats |= self._heartbeats
        waiting.tasks |= self._tasks
        waiting.changes |= self._changes
        waiting.facts |= self._facts

    def _take(self, decision: engine.Decision) -> None:
        engine.apply(self.state, decision)
        waiting = self._keeper.waiting
        waiting.incidents |= {incident.id: incident for incident in decision.incidents}
        waiting.events.extend(decision.events)
        waiting.silences |= {silence.id: silence for silence in decision.silences}
        waiting.overtaken.extend(decision.overtaken)
        for check, delay in decision.rechecks:
            self._run_soon(check, delay)
        for incident in decision.incidents:
            self._watch_deadline(incident)
        for event in decision.events:
            self._log(event)
            self._touches.announce(Touched(check=self._check_of(event, decision), incident=event.incident))
        if decision.events or decision.silences:
            self._keeper.hurry()
        if decision.notifications:
            self._keeper.tell(decision.notifications)

    def _check_of(self, event: Event, decision: engine.Decision) -> str:
        return next(incident.check for incident in decision.incidents if incident.id == event.incident)

    def _tick_due(self) -> float:
        """Tick incidents whose deadline has come; returns the seconds until the next one, 0 when more have come."""
        for _ in range(AT_A_TIME):
            if not self._deadlines:
                return 60.0
            at, number = self._deadlines[0]
            now = self._clock.now()
            if at > now:
                # The daemon's time may run a little faster or slower than the loop's: look again soon enough.
                return min(at - now, 60.0)
            heappop(self._deadlines)
            incident = self.state.incidents.get(number)
            due = engine.deadline(incident) if incident else None
            if incident and due is not None and due <= now:
                latest = self.latest.get(incident.check)
                self._take(engine.tick(self.setup, self.state, number, now, latest))
        return 0.0

    def _watch_deadline(self, incident: Incident) -> None:
        at = engine.deadline(incident)
        if at is not None:
            heappush(self._deadlines, (at, incident.id))
            self._deadline_added.set()

    def _count(self, observation: Observation, decision: engine.Decision) -> None:
        counters = self._counters.checks.setdefault(observation.check, CheckCounters())
        counters.runs += 1
        reason = observation.reason if observation.outcome is not Outcome.UP else ""
        if not reason and any(event.kind is EventKind.OPENED for event in decision.events):
            reason = "rule"
        if reason:
            counters.failures[reason] = counters.failures.get(reason, 0) + 1

    def _log(self, event: Event) -> None:
        incident = self.state.incidents.get(event.incident) or self._keeper.waiting.incidents[event.incident]
        log.info(
            "incident " + event.kind.value,
            incident=event.incident,
            check=incident.check,
            subject=incident.subject,
            severity=event.severity.word,
            summary=event.summary,
            reason=event.reason,
            by=event.by,
        )


def _differs(before: CheckState | None, after: CheckState) -> bool:
    """Whether anything changed that a restart must know; the time and words of a run alone are in its observation."""
    return before is None or replace(after, last_at=before.last_at, summary=before.summary) != before
