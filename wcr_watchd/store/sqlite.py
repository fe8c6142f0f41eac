"""The store of a daemon that stands alone: one SQLite file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import structlog

from wcr_watchd.core.access import AuditEntry, OwnPassword, Session
from wcr_watchd.core.changes import Change
from wcr_watchd.core.drill_report import DrillReport
from wcr_watchd.core.errors import StoreDamagedError, StoreError
from wcr_watchd.core.heartbeat import KEPT_SIGNALS, Ping
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    Event,
    Incident,
    Labels,
    Notification,
    Observation,
    Outcome,
    Recipient,
)
from wcr_watchd.core.modifications import Modification
from wcr_watchd.core.protocols import Batch, Point, Restored, Wanted
from wcr_watchd.core.report import Filed
from wcr_watchd.core.review import Review
from wcr_watchd.core.task import KEPT_RECORDS, TaskRecord
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.store import codec
from wcr_watchd.store.codec import (
    AUDIT,
    CHANGE,
    CHECK_STATE,
    DRILL,
    FACTS,
    HEARTBEAT,
    INCIDENT,
    OWN_PASSWORD,
    REVIEW,
    SESSION,
    SILENCE,
    TASK,
    TASK_RECORD,
    from_json,
    milliseconds,
    seconds,
    to_json,
)
from wcr_watchd.store.database import Database, Transaction
from wcr_watchd.store.history import Course, Tally, choose_width, gather, read_raw, rows_of
from wcr_watchd.store.intern import Numbers
from wcr_watchd.store.migrate import read_migrations
from wcr_watchd.store.pack import PackedRow, pack, pack_numbers, unpack
from wcr_watchd.store.rollup import DAY, FIVE_MINUTES, HOUR
from wcr_watchd.store.status_page import StatusRecords
from wcr_watchd.store.upkeep import Retention, Upkeep

log = structlog.get_logger(__name__)

T = TypeVar("T")

_FOR_EVER = 1 << 62
RESTORED_CHANGES = 50
"""Changes that are read back at a start: those that are not over, and the newest."""
RESTORED_ENDS = 1_000
"""Ended incidents that are read back at a start, since one that comes back soon goes on."""


class SqliteStore:
    """Everything in one SQLite file at ``path``, with a lock file beside it.

    ``timeout`` bounds every call, in seconds. Times are kept to the millisecond. Observations that are up keep their
    evidence only when the one before was not up; two observations of a check at the same millisecond are one run.
    """

    def __init__(self, path: Path, *, retention: Retention | None = None, timeout: float = 10.0) -> None:
        self._retention = retention or Retention()
        self._database = Database(path, timeout)
        self._upkeep = Upkeep(self._database, self._retention, self._in_thread)
        self.status_page = StatusRecords(self._database)
        self._sources: Numbers[tuple[str, str]] = Numbers()
        self._series: Numbers[tuple[str, str]] = Numbers()
        self._numbers_are_known = False
        self._series_names: dict[int, tuple[str, Labels]] = {}
        self._last_outcome: dict[int, Outcome] = {}
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open or create the file, take the lock, bring the schema up to date.

        Raises ``StoreLockedError`` naming the process that holds it, ``StoreError`` for all else that is in the way.
        """
        await self._database.open(read_migrations())
        self._thread = _threads()
        try:
            while await self._upkeep.archive(None):
                pass
        except StoreDamagedError:
            await self.close()
            raise
        except StoreError as error:  # filing makes reading quick, no more: a full disk must not keep us from starting
            log.warning("recent observations are not filed yet", error=str(error))
        except BaseException:
            await self.close()
            raise

    async def mend(self, now: float) -> str:
        """Set damaged records aside and begin new ones with what can still be read and matters now: no history.

        Raises ``StoreError`` when that cannot be done, or when the file was never ours.
        """
        said = await self._database.mend(read_migrations(), now)
        self._numbers_are_known = False
        self._series_names = {}
        self._last_outcome = {}
        self._thread = self._thread or _threads()
        return said

    async def close(self) -> None:
        """Finish writing and release the lock."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None
        await self._database.close()

    async def restore(self) -> Restored:
        """Read back what the last life knew."""
        fetch = self._database.fetch
        [[last_incident]] = await fetch("last_incident")
        observed = await self._last_observed()
        [[active]] = await fetch("last_activity")
        last_seen = max((at for at in (observed, active) if at is not None), default=None)
        return Restored(
            states=tuple(from_json(CHECK_STATE, row[0]) for row in await fetch("states")),
            incidents=tuple(from_json(INCIDENT, row[0]) for row in await fetch("unresolved_incidents")),
            ended=tuple(from_json(INCIDENT, row[0]) for row in await fetch("last_ended", RESTORED_ENDS)),
            silences=tuple(from_json(SILENCE, row[0]) for row in await fetch("silences")),
            next_incident=(last_incident or 0) + 1,
            pending=tuple(codec.delivery_of(row) for row in await fetch("pending_deliveries")),
            last_seen_at=None if last_seen is None else seconds(last_seen),
            memories=dict(await fetch("memories")),
            heartbeats=tuple(from_json(HEARTBEAT, row[0]) for row in await fetch("heartbeats")),
            tasks=tuple(from_json(TASK, row[0]) for row in await fetch("tasks")),
            changes=tuple(from_json(CHANGE, row[0]) for row in await fetch("changes", 0, RESTORED_CHANGES)),
            facts=tuple(from_json(FACTS, row[0]) for row in await fetch("facts")),
        )

    async def commit(self, batch: Batch) -> None:
        """Write the batch in one transaction; writing the same batch again changes nothing.

        A batch that decides whom to tell, notes who was told, or holds a signal or a sign-off of which we say that we
        have it, also survives a power failure; observations alone do not wait for the disk.
        """
        await self._in_thread(self._database.look)
        decides = batch.incidents or batch.events or batch.notifications or batch.deliveries or batch.silences
        durable = bool(decides or batch.pings or batch.task_records or batch.changes or batch.reports or batch.reviews)
        try:
            async with self._database.transaction(durable=durable) as transaction:
                await self._write_observations(transaction, batch.observations)
                await _write_present(transaction, batch)
        except BaseException:
            # It may have been written all the same (an answer that came too late): read what is known next time.
            self._numbers_are_known = False
            raise
        self._sources.stored()
        self._series.stored()

    async def forget(self, checks: Sequence[str]) -> None:
        """Drop the state of checks that are no longer configured; history and incidents stay until retention."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run_many("forget_state", [(check,) for check in checks])
            await transaction.run_many("forget_memory", [(check,) for check in checks])
            await transaction.run_many("forget_heartbeats", [(check,) for check in checks])
            await transaction.run_many("forget_pings", [(check,) for check in checks])
            await transaction.run_many("forget_facts", [(check,) for check in checks])

    async def observations(self, check: str, *, since: float, limit: int = 1000) -> Sequence[Observation]:
        """Raw observations of a check since a time, oldest first; the newest ``limit`` when there are more."""
        start = milliseconds(since)
        found: list[Observation] = []
        for source, location in await self._database.fetch("sources_of_check", check):
            bodies = await read_raw(self._database, source, start, _FOR_EVER, limit)
            rows = [row for row in await self._in_thread(_unpacking(bodies, source)) if row.at >= start][-limit:]
            names = await self._names_of_series(rows)
            found += [codec.observation_of(check, location, row, names) for row in rows]
        return sorted(found, key=lambda observation: observation.at)[-limit:]

    async def history(
        self, check: str, measurement: str, labels: Labels, *, since: float, until: float, points: int = 300
    ) -> Sequence[Point]:
        """A measurement's course in at most ``points`` points, from raw rows or rollups, whichever fits the span.

        A point made of several values stands at the time of its first one.
        """
        (found,) = await self.courses(check, [(measurement, labels)], since=since, until=until, points=points)
        return found

    async def courses(
        self, check: str, wanted: Sequence[tuple[str, Labels]], *, since: float, until: float, points: int = 300
    ) -> Sequence[Sequence[Point]]:
        """What :meth:`history` tells of several series, in one reading; in their order."""
        keys = [(name, codec.labels_text(labels)) for name, labels in wanted]
        known = [await self._database.fetch("series_id", *key) for key in keys]
        numbers = [rows[0][0] if rows else None for rows in known]
        start, end = milliseconds(since), milliseconds(until)
        there = [number for number in numbers if number is not None]
        if not there or end <= start or points < 1:
            return tuple(() for _ in wanted)
        course = Course(there, start, end)
        finest = await choose_width(self._database, start, (end - start) / points)
        await gather(self._database, self._in_thread, course, check, finest)

        def drawn() -> Sequence[Sequence[Point]]:
            return [() if number is None else tuple(course.points(number, points)) for number in numbers]

        return await self._in_thread(drawn)

    async def outcomes(
        self, check: str, *, since: float, until: float, fine: bool = False, cuts: Iterable[float] = ()
    ) -> Sequence[Outcomes]:
        """How many runs found what, by hours of the past and five minutes of what is not rolled up yet."""
        tally = Tally(milliseconds(since), milliseconds(until), sorted(map(milliseconds, cuts)))
        await gather(self._database, self._in_thread, tally, check, FIVE_MINUTES if fine else HOUR)
        return tally.outcomes()

    async def incidents(
        self,
        *,
        check: str | None = None,
        open_only: bool = False,
        since: float = 0.0,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Incident]:
        """Incidents that were open at any time since ``since``, newest first; only those numbered below ``before``."""
        rows = await self._database.fetch("incidents", check, int(open_only), milliseconds(since), limit, before)
        return tuple(from_json(INCIDENT, row[0]) for row in rows)

    async def reports(self, *, name: str | None = None, limit: int = 100) -> Sequence[Filed]:
        """Reports that were written, newest first, without their contents."""
        return tuple(codec.report_of(row, b"") for row in await self._database.fetch("reports", name, limit))

    async def drills(self, *, since: float = 0.0) -> Sequence[DrillReport]:
        """Drills that are over and began since a time, oldest first; they are kept for good."""
        return tuple(from_json(DRILL, row[0]) for row in await self._database.fetch("drills", milliseconds(since)))

    async def report(self, number: int) -> Filed | None:
        """One report with its contents, by its number."""
        rows = await self._database.fetch("report", number)
        return await self._in_thread(lambda: codec.report_of(rows[0][:-1], rows[0][-1])) if rows else None

    async def find_incidents(self, wanted: Wanted, *, before: int = 0, limit: int = 50) -> Sequence[Incident]:
        """Those that are wanted, newest first; with ``before``, those with a lower number."""
        rows = await self._database.fetch(
            "find_incidents",
            before or _FOR_EVER,
            None if wanted.checks is None else json.dumps(sorted(wanted.checks)),
            "".join(f"|{state.value}" for state in wanted.states) + "|" if wanted.states else "",
            int(wanted.severity),
            wanted.text.lower(),
            milliseconds(wanted.since),
            milliseconds(wanted.until),
            limit,
        )
        return tuple(from_json(INCIDENT, row[0]) for row in rows)

    async def reviews(self) -> Sequence[Review]:
        """All that people wrote about incidents."""
        return tuple(from_json(REVIEW, row[0]) for row in await self._database.fetch("reviews"))

    async def review(self, incident: int) -> Review | None:
        """What people wrote about an incident after it."""
        rows = await self._database.fetch("review", incident)
        return from_json(REVIEW, rows[0][0]) if rows else None

    async def incident(self, number: int) -> Incident | None:
        """One incident by its number."""
        rows = await self._database.fetch("incident", number)
        return from_json(INCIDENT, rows[0][0]) if rows else None

    async def events(self, incident: int) -> Sequence[Event]:
        """The timeline of an incident, oldest first."""
        return tuple(codec.event_of(row) for row in await self._database.fetch("events", incident))

    async def deliveries(
        self,
        *,
        incident: int | None = None,
        states: Sequence[DeliveryState] = (),
        recipient: Recipient | None = None,
        since: float = 0.0,
        limit: int = 100,
    ) -> Sequence[Delivery]:
        """Rows of the outbox, newest first; ``since`` is compared with when the notification came to be."""
        wanted = "".join(f"|{state.value}" for state in states) + "|" if states else ""
        to = (recipient.channel, recipient.contact, recipient.address) if recipient else (None, None, None)
        rows = await self._database.fetch("deliveries", incident, wanted, *to, milliseconds(since), limit)
        return tuple(codec.delivery_of(row) for row in rows)

    async def pings(self, check: str, limit: int = KEPT_SIGNALS) -> Sequence[Ping]:
        """The last signals of a check's jobs with their bodies as they came, newest first."""
        return tuple(codec.ping_of(row) for row in await self._database.fetch("pings", check, limit))

    async def task_records(self, task: str, limit: int = KEPT_RECORDS) -> Sequence[TaskRecord]:
        """The last ends of a task, newest first, by the name of its check."""
        return tuple(from_json(TASK_RECORD, row[0]) for row in await self._database.fetch("task_records", task, limit))

    async def changes(self, *, since: float = 0.0, limit: int = 100) -> Sequence[Change]:
        """Changes that are not over or began since then, newest first."""
        return tuple(
            from_json(CHANGE, row[0]) for row in await self._database.fetch("changes", milliseconds(since), limit)
        )

    async def change(self, number: int) -> Change | None:
        """One change by its number."""
        rows = await self._database.fetch("change", number)
        return from_json(CHANGE, rows[0][0]) if rows else None

    async def modifications(self, *, since: float, until: float, limit: int = 1000) -> Sequence[Modification]:
        """What became different from ``since`` until before ``until``, newest first."""
        rows = await self._database.fetch("modifications", milliseconds(since), milliseconds(until), limit)
        return tuple(map(codec.modification_of, rows))

    async def sessions(self) -> Sequence[Session]:
        """All that were kept and not ended."""
        return tuple(from_json(SESSION, row[0]) for row in await self._database.fetch("sessions"))

    async def keep_sessions(self, kept: Sequence[Session], ended: Sequence[str]) -> None:
        """Keep sessions, new or changed, and forget others by their digests."""
        async with self._database.transaction(durable=False) as transaction:
            await transaction.run_many("forget_session", [(digest,) for digest in ended])
            await transaction.run_many("keep_session", [(one.digest, to_json(SESSION, one)) for one in kept])

    async def own_passwords(self) -> Sequence[OwnPassword]:
        """The passwords that users chose themselves."""
        return tuple(from_json(OWN_PASSWORD, row[0]) for row in await self._database.fetch("own_passwords"))

    async def keep_own_password(self, chosen: OwnPassword) -> None:
        """Keep one in the place of the user's last."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run("keep_own_password", chosen.name, to_json(OWN_PASSWORD, chosen))

    async def record(self, entry: AuditEntry) -> None:
        """Add to the audit log; also a power failure leaves it there."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run("keep_audit", milliseconds(entry.at), entry.who, to_json(AUDIT, entry))

    async def audit(self, *, before: int | None = None, who: str = "", limit: int = 100) -> Sequence[AuditEntry]:
        """What was done, newest first: before an entry's number, by one person only."""
        rows = await self._database.fetch("audit", _FOR_EVER if before is None else before, who, limit)
        return tuple(replace(from_json(AUDIT, data), number=number) for number, data in rows)

    async def prune(self, now: float) -> None:
        """File observations, roll up what is complete and delete what retention no longer keeps.

        A bounded piece of work: at most 60 000 observations filed and 1 000 rows of rollups of either kind. Called
        every five minutes it keeps up with 10 000 checks a minute; what it does not get to, the next call does.
        """
        await self._upkeep.work(milliseconds(now))
        await self._forget_unused(milliseconds(now) - int(self._retention.hours + 2) * DAY)

    async def _write_observations(self, transaction: Transaction, observations: Sequence[Observation]) -> None:
        if not observations:
            return
        if not self._numbers_are_known:
            await self._load_numbers(transaction)
        rows = await self._in_thread(lambda: [self._packed_row(one) for one in observations])
        body = await self._in_thread(lambda: pack(rows))
        for numbers, add, seen in (
            (self._sources, "add_source", "source_seen"),
            (self._series, "add_series", "series_seen"),
        ):
            await transaction.run_many(add, [(number, *key, at) for key, number, at in numbers.new()])
            await transaction.run_many(seen, numbers.seen())
        sources = pack_numbers([row.source for row in rows])
        await transaction.run("add_observations", min(row.at for row in rows), sources, body)

    async def _load_numbers(self, transaction: Transaction) -> None:
        for numbers, statement in ((self._sources, "sources"), (self._series, "series")):
            rows = await transaction.fetch(statement)
            numbers.load(((first, second), number, seen) for number, first, second, seen in rows)
        self._numbers_are_known = True

    def _packed_row(self, one: Observation) -> PackedRow:
        at = milliseconds(one.at)
        source = self._sources.number_of((one.check, one.location), at)
        was_up = self._last_outcome.get(source) is Outcome.UP
        self._last_outcome[source] = one.outcome
        return PackedRow(
            source=source,
            at=at,
            duration=one.duration,
            outcome=codec.OUTCOME_NUMBER[one.outcome],
            reason=one.reason,
            summary=one.summary,
            series=[self._series.number_of((m.name, codec.labels_text(m.labels)), at) for m in one.measurements],
            values=[m.value for m in one.measurements],
            evidence=None if was_up and one.outcome is Outcome.UP else dict(one.evidence) or None,
        )

    async def _last_observed(self) -> int | None:
        recent = await self._database.fetch("recent_bodies", _FOR_EVER)
        bodies = [row[0] for row in [*recent, *await self._database.fetch("newest_slot")]]
        return await self._in_thread(lambda: max((row.at for body in bodies for row in unpack(body)), default=None))

    async def _names_of_series(self, rows: Sequence[PackedRow]) -> dict[int, tuple[str, Labels]]:
        numbers = {number for row in rows for number in row.series}
        if not numbers <= self._series_names.keys():
            series = await self._database.fetch("series")
            self._series_names = {number: (name, codec.labels_of(labels)) for number, name, labels, _ in series}
        return self._series_names

    async def _forget_unused(self, before: int) -> None:
        """Delete sources and series that nothing refers to any more."""
        if not await self._database.fetch("unused", before):
            return
        async with self._database.transaction(durable=False) as transaction:
            await transaction.run("delete_old_series", before)
            await transaction.run("delete_old_sources", before)
            self._numbers_are_known = False

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Packing and unpacking thousands of rows must not hold up the event loop."""
        if self._thread is None:
            raise StoreError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _threads() -> ThreadPoolExecutor:
    """Not the loop's own pool of threads: that one may be full of calls that hang."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="store")


async def _write_present(transaction: Transaction, batch: Batch) -> None:
    """What the engine knows, what happened and what is owed."""
    states = [(state.check, to_json(CHECK_STATE, state)) for state in batch.states]
    await transaction.run_many("keep_state", states)
    await transaction.run_many("keep_memory", batch.memories)
    heartbeats = [(state.check, state.job, to_json(HEARTBEAT, state)) for state in batch.heartbeats]
    await transaction.run_many("keep_heartbeat", heartbeats)
    await transaction.run_many("keep_ping", [codec.ping_row(ping) for ping in batch.pings])
    old = [(ping.check, ping.job, ping.number - KEPT_SIGNALS) for ping in batch.pings]
    await transaction.run_many("forget_old_pings", old)
    await transaction.run_many("keep_task", [(state.task, to_json(TASK, state)) for state in batch.tasks])
    await transaction.run_many("keep_task_record", [codec.task_record_row(one) for one in batch.task_records])
    outdated = [(one.task, one.number - KEPT_RECORDS) for one in batch.task_records]
    await transaction.run_many("forget_old_task_records", outdated)
    await transaction.run_many("keep_incident", [codec.incident_row(incident) for incident in batch.incidents])
    silences = [(one.id, milliseconds(one.ends_at), to_json(SILENCE, one)) for one in batch.silences]
    await transaction.run_many("keep_silence", silences)
    await transaction.run_many("keep_change", map(codec.change_row, batch.changes))
    await transaction.run_many("keep_modification", map(codec.modification_row, batch.modifications))
    await transaction.run_many("keep_facts", [(one.check, to_json(FACTS, one)) for one in batch.facts])
    await transaction.run_many("keep_event", [codec.event_row(event) for event in batch.events])
    await transaction.run_many("owe", [codec.delivery_row(_owed(one)) for one in batch.notifications])
    await transaction.run_many("keep_delivery", [codec.delivery_row(delivery) for delivery in batch.deliveries])
    await transaction.run_many("keep_review", [(one.incident, to_json(REVIEW, one)) for one in batch.reviews])
    drills = [(one.number, milliseconds(one.started_at), to_json(DRILL, one)) for one in batch.drills]
    await transaction.run_many("keep_drill", drills)
    await transaction.run_many("keep_report", [codec.report_row(report) for report in batch.reports])


def _owed(notification: Notification) -> Delivery:
    return Delivery(notification, next_attempt_at=notification.not_before)


def _unpacking(bodies: Sequence[bytes], source: int) -> Callable[[], list[PackedRow]]:
    return lambda: rows_of(bodies, source)
