"""Reports as time passes: written when they are due or asked for, kept, and owed to whoever reads them."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import TypeAdapter

from wcr_watchd.core.errors import ChannelError, CommandError, StoreError
from wcr_watchd.core.escalation import quiet_until, recipients
from wcr_watchd.core.model import Enclosure, EventKind, MeasurementSpec, Notification, Severity
from wcr_watchd.core.notices import notice
from wcr_watchd.core.protocols import Batch, Store
from wcr_watchd.core.report import (
    UPCOMING,
    Audience,
    Document,
    Filed,
    IncidentWanted,
    Rehearsable,
    ReportKind,
    ReportPlan,
    Subject,
    Upcoming,
    Wanted,
    chosen,
    period,
    planned,
    promised,
    public_name,
    public_subjects,
    reach_back,
    rehearsals,
    subject,
    upcoming,
)
from wcr_watchd.core.setup import Setup, Target
from wcr_watchd.core.state import State
from wcr_watchd.core.status import StatusPage
from wcr_watchd.kit.calendars import next_by_cron
from wcr_watchd.kit.subprocess import end_group

log = structlog.get_logger(__name__)

WRITTEN_WITHIN = 120.0
"""Seconds for one report; a month of 500 checks takes five."""
AGAIN = 600.0
"""Seconds before a report is tried again that could not be written."""
LONGEST_WAIT = 300.0
"""Seconds after which the clock is looked at again: a reload may have changed the schedules."""
_PROGRAM = "wcr_watchd.reports"


class Watch(Protocol):
    """What is watched, and who is told when a report cannot be written."""

    setup: Setup
    state: State

    def report_fails(self, report: str, why: str) -> None:
        """A report cannot be written."""
        ...

    def report_is_written(self, report: str) -> None:
        """A report could be written."""
        ...


class Outbox(Protocol):
    """Where notifications go once they are stored."""

    def owe(self, notifications: Iterable[Notification]) -> None:
        """Deliver these from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Records:
    """The records that reports are written from, and kept in: the store, and its file."""

    store: Store
    file: Path


async def _no_tasks(until: float) -> Sequence[Upcoming]:
    return ()


class Reporter:
    """Writes the reports of the configuration when they are due; ``since`` is when somebody last did (epoch seconds).

    ``plans`` are those in force, ``specs`` what each check measures, ``now`` the time (epoch seconds),
    ``tasks`` what people have to do until a time, ``status_page`` the public page in force, whose names stakeholders
    read, ``canaries`` the channels that prove themselves by them.
    """

    def __init__(
        self,
        plans: Callable[[], Mapping[str, ReportPlan]],
        specs: Callable[[], Mapping[str, tuple[MeasurementSpec, ...]]],
        watch: Watch,
        records: Records,
        outbox: Outbox,
        now: Callable[[], float],
        since: float,
        tasks: Callable[[float], Awaitable[Sequence[Upcoming]]] = _no_tasks,
        status_page: Callable[[], StatusPage | None] = lambda: None,
        canaries: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._plans = plans
        self._specs = specs
        self._watch = watch
        self._records = records
        self._outbox = outbox
        self._now = now
        self._since = since
        self._tasks = tasks
        self._status_page = status_page
        self._canaries = canaries
        self._due: dict[str, tuple[ReportPlan, float]] = {}
        self._writing = asyncio.Lock()

    async def serve(self) -> None:
        """Write what is due, until cancelled."""
        while True:  # a clock is waited for, not an event
            wait = await self.look()
            await asyncio.sleep(wait)

    async def look(self) -> float:
        """Write what is due; returns the seconds until more is, or until it is worth looking again."""
        plans = self._plans()
        self._due = {name: known for name, known in self._due.items() if plans.get(name) == known[0]}
        for name, plan in plans.items():
            if name not in self._due:
                self._plan(plan, self._since)
            if name in self._due and self._due[name][1] <= self._now():
                await self._write_due(plan)
        self._since = self._now()
        waits = [at - self._now() for _, at in self._due.values()]
        return max(0.1, min([LONGEST_WAIT, *waits]))

    def _plan(self, plan: ReportPlan, after: float) -> None:
        at = next_by_cron(plan.schedule, plan.timezone, after)
        if at is not None:
            self._due[plan.name] = (plan, at)

    async def _write_due(self, plan: ReportPlan) -> None:
        try:
            await self.write(plan, scheduled=True, send=True)
        except (CommandError, StoreError) as error:
            log.warning("report cannot be written", report=plan.name, error=str(error))
            self._watch.report_fails(plan.name, str(error))
            self._due[plan.name] = (plan, self._now() + AGAIN)
        else:
            self._watch.report_is_written(plan.name)
            self._plan(plan, self._now())  # of several that were missed, the last one is enough

    async def write(self, plan: ReportPlan, *, scheduled: bool = False, send: bool = False) -> Filed:
        """Write a report now, keep it, and with ``send`` owe it to those whom its plan tells.

        One on a schedule covers the last whole week or month, another one the time up to now. Raises ``CommandError``
        when it cannot be written, ``StoreError`` when it cannot be kept.
        """
        async with self._writing:
            tasks = await self._tasks(self._now() + UPCOMING)
            wanted = self._wanted(plan, scheduled, tasks)
            periods = (one.span(wanted.until)[0] for one in wanted.objectives)
            reach = min([reach_back(plan.kind, wanted.since), *periods])
            setup, silences = self._watch.setup, dict(self._watch.state.silences)
            # Finding when something recurs takes a while.
            spans = await asyncio.to_thread(planned, setup, silences, reach, wanted.until)
            filed = await self._filed(await _written(replace(wanted, planned=spans)), scheduled=scheduled)
            owed = self._owed(plan.tell, f"the {plan.kind} report {plan.name} goes to you", filed) if send else ()
            await self._records.store.commit(Batch(reports=(filed,), notifications=owed))
        self._outbox.owe(owed)
        log.info("report written", report=plan.name, number=filed.number, title=filed.document.title, told=len(owed))
        return filed

    async def write_incident(self, wanted: IncidentWanted, tell: Sequence[Target] = ()) -> Filed:
        """Write the report of an incident now, keep it, and owe it to those; raises as :meth:`write` does."""
        async with self._writing:
            filed = await self._filed(await _written(wanted), scheduled=False)
            owed = self._owed(tell, "somebody sends you the report of an incident", filed)
            await self._records.store.commit(Batch(reports=(filed,), notifications=owed))
        self._outbox.owe(owed)
        log.info("report written", report=wanted.name, number=filed.number, title=filed.document.title, told=len(owed))
        return filed

    async def _filed(self, document: Document, *, scheduled: bool) -> Filed:
        newest = await self._records.store.reports(limit=1)
        return Filed(newest[0].number + 1 if newest else 1, document, scheduled)

    def _wanted(self, plan: ReportPlan, whole: bool, tasks: Sequence[Upcoming]) -> Wanted:
        setup, now = self._watch.setup, self._now()
        before, since, until = period(plan.kind, plan.timezone, now, whole=whole)
        subjects = self._subjects(plan, setup)
        return Wanted(
            name=plan.name,
            kind=plan.kind,
            audience=plan.audience,
            watchd=self._name(setup, plan.audience),
            location=setup.location,
            timezone=plan.timezone,
            url=setup.public_url.rstrip("/"),
            store=str(self._records.file),
            now=now,
            before=before,
            since=since,
            until=until,
            subjects=subjects,
            objectives=promised(setup, plan, subjects),
            upcoming=upcoming(setup, now, tasks),
            rehearsable=Rehearsable(
                tuple(setup.policies), tuple(setup.channels), tuple(self._canaries()), rehearsals(setup)
            ),
        )

    def _subjects(self, plan: ReportPlan, setup: Setup) -> tuple[Subject, ...]:
        checks, specs, page = chosen(setup, plan), self._specs(), self._status_page()
        if plan.audience is Audience.STAKEHOLDERS and page is not None and plan.kind is not ReportKind.DRILL:
            return public_subjects(setup, page, checks, specs)
        return tuple(subject(check, specs.get(check.name, ())) for check in checks)

    def _name(self, setup: Setup, audience: Audience) -> str:
        """What the readers of a report call this daemon."""
        if audience is Audience.TEAM:
            return setup.name
        return public_name(setup, self._status_page(), socket.gethostname())

    def _owed(self, tell: Sequence[Target], reason: str, filed: Filed) -> tuple[Notification, ...]:
        setup, now, document = self._watch.setup, self._now(), filed.document
        name = self._name(setup, document.audience)
        found = []
        for who in recipients(setup, tell, now):
            identifier = f"{name}-report-{filed.number}"
            said = f"{document.title}: {document.summary}"
            quiet = quiet_until(setup, who, Severity.INFO, now)
            owed = notice(setup, EventKind.REPORT, who, said, reason, identifier, now, quiet)
            url = f"{setup.public_url.rstrip('/')}/reports/{filed.number}" if setup.public_url else ""
            where = setup.location if document.audience is Audience.TEAM else ""
            said_by = replace(owed.message, report=filed.number, url=url, watchd=name, location=where)
            found.append(replace(owed, message=said_by))
        return tuple(found)


class Enclosures:
    """Puts the report itself into a notification on its way out: the outbox holds its number only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def enclosed(self, notification: Notification) -> Notification:
        """The notification with the report that it brings, if it brings one.

        Raises ``ChannelError`` when that cannot be read: for good when it is not kept any more.
        """
        message = notification.message
        if not message.report:
            return notification
        try:
            filed = await self._store.report(message.report)
        except StoreError as error:
            raise ChannelError(f"the report cannot be read: {error}", reason="store", permanent=False) from error
        if filed is None:
            said = f"the report {message.report} is not kept any more"
            raise ChannelError(said, reason="gone", permanent=True)
        return replace(notification, message=replace(message, enclosure=enclosure(filed.document)))


def enclosure(one: Document) -> Enclosure:
    """What a message brings of a report."""
    pictures = tuple((picture.name, picture.png) for picture in one.pictures)
    # What a team calls a report may name a machine or a person; the number of an incident names nothing.
    is_public = one.audience is Audience.STAKEHOLDERS and one.kind is not ReportKind.INCIDENT
    return Enclosure(one.text, one.mail, pictures, one.html, f"{one.kind if is_public else one.name}.html")


# --- the process that writes ------------------------------------------------------------------------------------------


async def _written(wanted: Wanted | IncidentWanted) -> Document:
    """The document, written in a process of its own. Raises ``CommandError`` with its last words when it fails."""
    try:
        async with asyncio.timeout(WRITTEN_WITHIN), _writer() as process:
            output, errors = await process.communicate(TypeAdapter(type(wanted)).dump_json(wanted))
    except TimeoutError as error:
        raise CommandError(f"it was not done within {WRITTEN_WITHIN:.0f} s; is the machine very busy?") from error
    except OSError as error:
        raise CommandError(f"no process can be started: {error}") from error
    if process.returncode:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        raise CommandError(said[-1] if said else f"it ended with status {process.returncode}")
    return await asyncio.to_thread(TypeAdapter(Document).validate_json, output)


@asynccontextmanager
async def _writer() -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            await end_group(process)
