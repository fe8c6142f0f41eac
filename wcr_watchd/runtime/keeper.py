"""What is decided is stored in one transaction, and those who must be told of it are told, whatever the store does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from wcr_watchd.core.changes import Change
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import StoreDamagedError, StoreError
from wcr_watchd.core.heartbeat import HeartbeatState, JobKey, Ping
from wcr_watchd.core.model import Event, Incident, Notification, Observation
from wcr_watchd.core.modifications import KnownFacts, Modification
from wcr_watchd.core.protocols import Batch, Store
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.task import TaskRecord, TaskState
from wcr_watchd.core.view import Counters

log = structlog.get_logger(__name__)

FLUSH_EVERY = 1.0
"""Seconds for which observations without an event may wait, so that many share one transaction."""
STORE_RETRY = 5.0
"""Seconds before a batch is tried again that the store did not take."""
TELL_WITHIN = 2.0
"""Seconds that the store has to take what people must be told of; then they are told before it is stored."""
MAX_WAITING_OBSERVATIONS = 50_000
"""Observations kept in memory while the store does not take them; beyond it the oldest are dropped and counted."""
MAX_WAITING_MODIFICATIONS = 10_000
MAX_WAITING_PINGS = 500
"""Signals of jobs likewise: with their bodies they may be 50 MB. What they changed is kept whatever happens."""


class Outbox(Protocol):
    """Where notifications go once they are stored."""

    def owe(self, notifications: Iterable[Notification]) -> None:
        """Deliver these from now on."""
        ...

    def store_works(self) -> None:
        """The store takes writes again: what was delivered meanwhile is to be noted now, not only some time later."""
        ...

    def overtaken(self, incidents: Iterable[int]) -> None:
        """Unsent reminders of these incidents have lost their meaning."""
        ...

    def record_all(self) -> None:
        """The store begins anew: write down again everything that is still owed."""
        ...


@dataclass(slots=True)
class Waiting:
    """What is not stored yet; of what replaces itself, the newest."""

    observations: list[Observation] = field(default_factory=list)
    states: dict[str, CheckState] = field(default_factory=dict)
    incidents: dict[int, Incident] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    silences: dict[str, Silence] = field(default_factory=dict)
    memories: dict[str, str] = field(default_factory=dict)
    heartbeats: dict[JobKey, HeartbeatState] = field(default_factory=dict)
    pings: list[Ping] = field(default_factory=list)
    tasks: dict[str, TaskState] = field(default_factory=dict)
    task_records: list[TaskRecord] = field(default_factory=list)
    changes: dict[int, Change] = field(default_factory=dict)
    modifications: list[Modification] = field(default_factory=list)
    facts: dict[str, KnownFacts] = field(default_factory=dict)
    overtaken: list[int] = field(default_factory=list)

    def batch(self) -> Batch:
        """All of it, for one transaction."""
        return Batch(
            observations=tuple(self.observations),
            states=tuple(self.states.values()),
            incidents=tuple(self.incidents.values()),
            events=tuple(self.events),
            notifications=tuple(self.notifications),
            silences=tuple(self.silences.values()),
            memories=tuple(self.memories.items()),
            heartbeats=tuple(self.heartbeats.values()),
            pings=tuple(self.pings),
            tasks=tuple(self.tasks.values()),
            task_records=tuple(self.task_records),
            changes=tuple(self.changes.values()),
            modifications=tuple(self.modifications),
            facts=tuple(self.facts.values()),
        )

    def put_back(self, batch: Batch) -> None:
        """Keep a refused batch before whatever has come since.

        Its notifications stay in it although people are told of them: the record of what was told is stored in the end.
        """
        self.observations[:0] = batch.observations
        del self.observations[: max(0, len(self.observations) - MAX_WAITING_OBSERVATIONS)]
        self.states = {state.check: state for state in batch.states} | self.states
        self.incidents = {incident.id: incident for incident in batch.incidents} | self.incidents
        self.events[:0] = batch.events
        self.notifications[:0] = batch.notifications
        self.silences = {silence.id: silence for silence in batch.silences} | self.silences
        self.memories = dict(batch.memories) | self.memories
        self.heartbeats = {(one.check, one.job): one for one in batch.heartbeats} | self.heartbeats
        self.pings[:0] = batch.pings
        del self.pings[: max(0, len(self.pings) - MAX_WAITING_PINGS)]
        self.tasks = {one.task: one for one in batch.tasks} | self.tasks
        self.task_records[:0] = batch.task_records
        del self.task_records[: max(0, len(self.task_records) - MAX_WAITING_PINGS)]
        self.changes = {change.id: change for change in batch.changes} | self.changes
        self.modifications[:0] = batch.modifications
        del self.modifications[: max(0, len(self.modifications) - MAX_WAITING_MODIFICATIONS)]
        self.facts = {known.check: known for known in batch.facts} | self.facts


class Keeper:
    """Stores what waits in ``waiting``, and hands its notifications over to ``outbox``.

    ``remember_all`` has everything that is known wait once more, for when the records were lost.
    """

    def __init__(
        self, store: Store, outbox: Outbox, clock: Clock, counters: Counters, remember_all: Callable[[Waiting], None]
    ) -> None:
        self.waiting = Waiting()
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._counters = counters
        self._remember_all = remember_all
        self._flushing = asyncio.Lock()
        self._damaged: StoreDamagedError | None = None
        self._untold: dict[str, Notification] = {}
        self._urgent = asyncio.Event()

    def hurry(self) -> None:
        """Store at once what waits."""
        self._urgent.set()

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Store these and hand them over: once they are stored, or when the store takes too long."""
        owed = tuple(notifications)
        self.waiting.notifications.extend(owed)
        self._untold |= {one.id: one for one in owed}
        asyncio.get_running_loop().call_later(TELL_WITHIN, self._hand_over, owed)
        self.hurry()

    async def serve(self) -> None:
        """Store what waits: at once when somebody must be told, else once a second. Runs until cancelled."""
        while True:
            try:
                async with asyncio.timeout(FLUSH_EVERY):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            self._urgent.clear()
            stored = await self.flush()
            if not stored:
                await asyncio.sleep(STORE_RETRY)
                self._urgent.set()

    async def flush(self) -> bool:
        """Store what waits in one transaction, then hand its notifications over.

        When the store refuses or takes its time, the people are told all the same (a full disk must not silence a
        page) and the batch is kept, to be stored when that works again. Returns whether it is stored.
        """
        async with self._flushing:  # one at a time: an older batch put back must not follow a newer one stored
            return await self._flush()

    async def _flush(self) -> bool:
        if self._damaged is not None:
            await self._mend(self._damaged)
        waiting, self.waiting = self.waiting, Waiting()
        batch = waiting.batch()
        if batch == Batch() and not waiting.overtaken:
            self._counters.store_progress_at = self._clock.monotonic()
            return True
        started = self._clock.monotonic()
        try:
            await self._store.commit(batch)
        except StoreError as error:
            self.waiting.put_back(batch)
            self._refused(error)
        except asyncio.CancelledError:  # the daemon stops; what it flushes last must have all of it
            self.waiting.put_back(batch)
            self.waiting.overtaken[:0] = waiting.overtaken
            raise
        else:
            self._counters.store_write.observe(self._clock.monotonic() - started)
            self._accepted()
        self._counters.store_progress_at = self._clock.monotonic()
        self._hand_over(batch.notifications)
        self._outbox.overtaken(waiting.overtaken)
        return not self._counters.store_last_error

    def damaged(self, error: StoreDamagedError) -> None:
        """The records turned out to be damaged: the next flush replaces them."""
        self._damaged = error
        self.hurry()

    async def _mend(self, error: StoreDamagedError) -> None:
        """Go on with new records where the old ones are damaged or gone, and store anew all that is known."""
        log.error("the records are damaged", error=str(error))
        try:
            done = await self._store.mend(self._clock.now())
        except StoreError as refusal:
            log.error("the damaged records cannot be replaced yet", error=str(refusal))
            return
        log.error("the records were replaced; watching and telling went on", done=done)
        self._damaged = None
        self._counters.store_mended = done
        self._remember_all(self.waiting)
        self._outbox.record_all()

    def _accepted(self) -> None:
        if self._counters.store_last_error:
            log.info("the store takes writes again; what waited is stored")
            self._outbox.store_works()
        self._counters.store_last_error = ""

    def _refused(self, error: StoreError) -> None:
        self._counters.store_failures += 1
        if not self._counters.store_last_error:
            log.error("the store does not take writes; watching and telling goes on", error=str(error))
        self._counters.store_last_error = str(error)
        if isinstance(error, StoreDamagedError):
            self._damaged = error

    def _hand_over(self, notifications: Iterable[Notification]) -> None:
        """Have those delivered of which nobody was told yet."""
        self._outbox.owe([one for one in notifications if self._untold.pop(one.id, None)])
