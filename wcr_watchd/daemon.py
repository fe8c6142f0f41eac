"""The composition root: builds every part from the configuration, starts, reloads and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from wcr_watchd import __version__
from wcr_watchd.config import discover, load, show
from wcr_watchd.config.difference import differences
from wcr_watchd.config.load import Loaded, WebSettings
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core import changes, engine, health
from wcr_watchd.core.errors import CommandError, ConfigError, StoreDamagedError, StoreError
from wcr_watchd.core.escalation import recipients, unreachable
from wcr_watchd.core.heartbeat import Book, Ping
from wcr_watchd.core.message import trial
from wcr_watchd.core.model import Alert, EventKind, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.modifications import Mark, Modification, grouped
from wcr_watchd.core.protocols import Accepting, Batch, Probe, Restored, Store
from wcr_watchd.core.report import Audience, Filed, ReportKind, ReportPlan, ReportWish
from wcr_watchd.core.review import Review
from wcr_watchd.core.setup import Setup, Target
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.task import TaskBook, TaskRecord, TaskView, reported
from wcr_watchd.core.view import ChannelView, Counters, DrillReport, DrillWish, Touched
from wcr_watchd.core.wording import made_up
from wcr_watchd.kit import descriptors, garbage
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.systemd import notify, watchdog_interval
from wcr_watchd.kit.tickets import KEY_BYTES, Tickets, kept_key
from wcr_watchd.metrics.exposition import Exposition
from wcr_watchd.runtime.canary import Canaries
from wcr_watchd.runtime.changes import ChangeDesk
from wcr_watchd.runtime.clock import Clock
from wcr_watchd.runtime.dead_letters import DeadLetters
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.runtime.drill import Drills
from wcr_watchd.runtime.duty import DutyWatch
from wcr_watchd.runtime.heartbeat import Heartbeats
from wcr_watchd.runtime.hooks import Hooks
from wcr_watchd.runtime.links import Links
from wcr_watchd.runtime.modifications import ModificationLog
from wcr_watchd.runtime.monitor import Monitor
from wcr_watchd.runtime.objectives import ObjectiveWatch
from wcr_watchd.runtime.pings import PingDesk
from wcr_watchd.runtime.reports import Enclosures, Records, Reporter
from wcr_watchd.runtime.runner import Runner
from wcr_watchd.runtime.scheduler import Scheduler
from wcr_watchd.runtime.standing import Standing
from wcr_watchd.runtime.status_mail import StatusMails
from wcr_watchd.runtime.status_page import StatusDesk
from wcr_watchd.runtime.task_desk import TaskDesk
from wcr_watchd.runtime.tasks import LoopLag, guard
from wcr_watchd.runtime.windows import WindowWatch
from wcr_watchd.store.open import file_of, folder_of, from_url
from wcr_watchd.store.upkeep import Retention
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.audit import Audit
from wcr_watchd.web.access.certificate import Certificate
from wcr_watchd.web.access.gate import Access
from wcr_watchd.web.access.peer import user_name
from wcr_watchd.web.answers import Doors
from wcr_watchd.web.app import build as build_web
from wcr_watchd.web.compatible.blackbox.endpoint import Prober, Probing
from wcr_watchd.web.control_socket import open_control_socket
from wcr_watchd.web.status import site
from wcr_watchd.web.status.serve import Rationing, StatusDoor, own_application

log = structlog.get_logger(__name__)

DAY = 86_400.0
PRUNE_EVERY = 300.0
SERVER_STOPS_WITHIN = 2.0
LONGEST_CHANGE = 31 * DAY
"""Seconds before a span in which a change may have begun that still went on in it."""
FEW_CHECKS = 50
"""Checks of which every first result is logged; of more, only what is not up."""


@dataclass(slots=True)
class Parts:
    """The moving parts of one running daemon."""

    clock: Clock
    counters: Counters
    loop_lag: LoopLag
    store: Store
    runner: Runner
    scheduler: Scheduler
    dispatcher: Dispatcher
    dead_letters: DeadLetters
    standing: Standing
    monitor: Monitor
    duty: DutyWatch
    windows: WindowWatch
    heartbeats: Heartbeats
    pings: PingDesk
    tasks: TaskDesk
    shared: SharedHelpers
    tickets: Tickets
    drills: Drills
    canaries: Canaries
    access: Access
    changes: ChangeDesk
    modifications: ModificationLog
    objectives: ObjectiveWatch
    certificate: Certificate | None
    """Of our own listener, where it speaks TLS."""
    reporter: Reporter
    status_page: StatusDesk
    status_mails: StatusMails


def read_configuration(path: Path | None) -> Loaded:
    """Load the file, or without one discover what stands on this host. Raises ``ConfigError``."""
    return load.load(path) if path else load.loads(discover.render(discover.discover()), "what was discovered")


class Daemon:
    """One running daemon: the parts, and what readers and operators may see and ask of them.

    ``path`` is the configuration file (None: what was discovered), ``loaded`` what it says, ``socket`` the Unix socket
    for commands. It is the :class:`~wcr_watchd.core.view.Control` that web, API and metrics work with.
    """

    version = __version__

    def __init__(self, path: Path | None, loaded: Loaded, socket: Path, redactor: Redactor) -> None:
        self._path = path
        self._loaded = loaded
        self._probes: Mapping[str, Probe] = loaded.probes
        self._socket = socket
        self._redactor = redactor
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._waiting: dict[str, list[asyncio.Future[Observation]]] = {}
        self._accepting: dict[str, tuple[str, asyncio.Future[Observation]]] = {}
        self._first_round = set(loaded.setup.checks)
        self.reload_problems: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.started_at = 0.0

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; SIGHUP reads the configuration again.

        Raises :class:`StoreError` when the records cannot be opened, ``SocketUnusableError`` when the socket
        for commands cannot be, and ``OSError`` when an address is taken.
        """
        descriptors.allow_enough()
        async with contextlib.AsyncExitStack() as stack:
            self._parts = parts = await self._build(stack)
            garbage.settle()
            self._handle_signals(stack)
            await stack.enter_async_context(self._served())
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(guard(name, job), name=name) for name, job in self._jobs(parts).items()]
                notify("READY=1", f"STATUS={self._status()}")
                await self._look_for_warnings(log_them=True)
                log.info("watching", checks=len(self.setup.checks), dashboard=", ".join(self._addresses()))
                self._say_how_to_sign_in(parts.access)
                await self._stopping.wait()
                notify("STOPPING=1")
                log.info("stopping")
                for task in running:
                    task.cancel()
            await parts.monitor.flush()
            await parts.access.sessions.keep()

    # --- what readers see (View) ---

    @property
    def setup(self) -> Setup:
        """The configuration in force."""
        return self._parts.monitor.setup

    @property
    def state(self) -> State:
        """What the engine remembers."""
        return self._parts.monitor.state

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check that has one."""
        return self._parts.monitor.latest

    @property
    def specs(self) -> Mapping[str, tuple[MeasurementSpec, ...]]:
        """What each check measures."""
        return self._specs

    @property
    def counters(self) -> Counters:
        """Numbers about the daemon itself."""
        return self._parts.counters

    @property
    def store(self) -> Store:
        """History, incidents and deliveries."""
        return self._parts.store

    @property
    def files(self) -> Sequence[str]:
        """The files of the configuration in force."""
        return [str(file) for file in self._loaded.files]

    def channels(self) -> Sequence[ChannelView]:
        """The configured channels."""
        loaded = self._loaded
        return [
            ChannelView(
                name,
                channel.type,
                channel.address_kind,
                channel.limits.rate,
                loaded.channel_caps.get(name),
                loaded.canaries.get(name),
            )
            for name, channel in loaded.channels.items()
        ]

    def now(self) -> float:
        """The daemon's time (epoch seconds)."""
        return self._parts.clock.now()

    def monotonic(self) -> float:
        """The daemon's monotonic clock (seconds)."""
        return self._parts.clock.monotonic()

    def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        """Batches of what was touched from now on."""
        return self._parts.monitor.touched()

    async def marks(self, since: float, until: float) -> Sequence[Mark]:
        """Changes and modifications of a span of time, oldest first."""
        found = await self.store.modifications(since=since, until=until)
        begun = {one.id: one for one in (*await self.store.changes(since=since - LONGEST_CHANGE), *self.changes.known)}
        marked = (*changes.marks(begun.values()), *grouped(found))
        held = (one for one in marked if one.at < until and (one.at >= since or (one.change and not _over(one, since))))
        return tuple(sorted(held, key=lambda one: one.at))

    @property
    def objectives(self) -> ObjectiveWatch:
        """Error budgets and burn rates."""
        return self._parts.objectives

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        """The last runs of a check."""
        return self._parts.monitor.recent(check)

    def rendered(self, channel: str, check: str | None, event: EventKind, severity: Severity) -> Mapping[str, str]:
        """A made-up message as it would look on a channel, part by part, without secrets."""
        if channel not in self._loaded.channels:
            raise CommandError(f"there is no channel named {channel!r}; configured: {', '.join(self._loaded.channels)}")
        if check is not None:
            self._must_be_configured(check)
        message = made_up(self.setup, check, event, severity)
        wording = self._loaded.wordings.get(channel)
        parts = self._loaded.channels[channel].render(wording.of(message) if wording else message)
        return {name: self._redactor.text(part) for name, part in parts.items()}

    def settings(self, check: str) -> str:
        """The effective settings of a check as TOML, with where each comes from."""
        return self._redactor.text(show.as_toml(show.effective(self._loaded, check)))

    async def tasks(self) -> Sequence[TaskView]:
        """Every task as it stands now."""
        return await self._parts.tasks.views(self.setup)

    async def task_times(self, check: str, until: float) -> Sequence[float]:
        """When a task is due from now until then."""
        return await self._parts.tasks.times(check, until)

    async def task_records(self, check: str) -> Sequence[TaskRecord]:
        """How a task ended the last times, newest first; of one that its job reports, what that reported."""
        if check in self.setup.checks and self.setup.checks[check].probe == "task":
            return await self.store.task_records(check)
        return tuple(filter(None, map(reported, await self.pings(check))))

    # --- what operators ask (Control) ---

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        """Acknowledge an incident, or answer the drill of that number; returns a sentence."""
        if self._parts.drills.runs(incident):
            return self._parts.drills.acknowledge(by)
        return await self._parts.monitor.acknowledge(incident, by, until=until, sticky=sticky)

    @property
    def changes(self) -> ChangeDesk:
        """Updates in progress."""
        return self._parts.changes

    async def modified(self, by: str, text: str) -> Modification:
        """Write into the log of modifications what somebody did."""
        written = self._parts.modifications.write(by, self._redactor.text(text))
        await self._parts.monitor.flush()
        return written

    async def resolve(self, incident: int, by: str) -> str:
        """End an incident by hand; returns a sentence."""
        return await self._parts.monitor.resolve(incident, by)

    async def note(self, incident: int, by: str, text: str) -> str:
        """Add a note to an incident's timeline; returns a sentence."""
        found = self.state.incidents.get(incident) or await self.store.incident(incident)
        if found is None:
            raise CommandError(f"there is no incident #{incident}; `wcr-watchd incidents --all` lists them")
        return await self._parts.monitor.note(found, by, text)

    async def review(self, written: Review) -> str:
        """Keep what somebody wrote about an incident; returns a sentence."""
        if await self.store.incident(written.incident) is None:
            raise CommandError(f"there is no incident #{written.incident}; `wcr-watchd incidents --all` lists them")
        await self.store.commit(Batch(reviews=(written,)))
        return f"the review of incident #{written.incident} is kept"

    async def assign(self, incident: int, owner: str, by: str) -> str:
        """Say who works on an incident; returns a sentence."""
        return await self._parts.monitor.assign(incident, owner, by)

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a silence in force, or change the one named; returns the one that holds, and a sentence."""
        return await self._parts.monitor.silence(wanted, changes)

    async def expire(self, silence: str) -> str:
        """End a silence now; returns a sentence."""
        return await self._parts.monitor.expire(silence)

    async def alerts(self, sent: Sequence[Alert]) -> None:
        """Take alerts of Prometheus."""
        await self._parts.monitor.alerts(sent)

    async def stop_window(self, name: str, by: str) -> str:
        """End a planned maintenance window for this time; returns a sentence."""
        return await self._parts.monitor.stop_window(name, by)

    async def pings(self, check: str) -> Sequence[Ping]:
        """The last signals of a check's jobs, newest first, without secrets."""
        kept = await self.store.pings(check)
        return await asyncio.to_thread(lambda: [replace(one, body=self._redacted(one.body)) for one in kept])

    def _redacted(self, body: bytes) -> bytes:
        return self._redactor.text(body.decode(errors="replace")).encode()

    async def run_task(self, name: str, by: str) -> str:
        """Have a task run out of turn; returns a sentence."""
        return await self._parts.tasks.run_now(name, by)

    async def sign_off_task(self, name: str, by: str, note: str = "", evidence: Sequence[str] = ()) -> str:
        """Somebody has done a task; returns a sentence."""
        return await self._parts.tasks.sign_off(name, by, note, evidence)

    async def run_now(self, check: str) -> Observation:
        """Run a check out of turn, but never beside itself, and return what it found."""
        self._must_be_configured(check)
        future: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(check, []).append(future)
        return await self._run_soon(check, future)

    async def accept(self, check: str, by: str) -> Observation:
        """Run a check and take what it finds as being right from now on; returns what it found."""
        self._must_be_configured(check)
        if not isinstance(self._probes[check], Accepting):
            raise CommandError(f"{check} compares with nothing that could be accepted")
        if check in self._accepting:
            raise CommandError(f"somebody else is accepting {check} just now")
        future: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        # A run that is going on began before this was asked, so it is the next one that accepts.
        self._accepting[check] = by, future
        try:
            return await self._run_soon(check, future)
        finally:
            self._accepting.pop(check, None)

    def _must_be_configured(self, check: str) -> None:
        if check not in self.setup.checks:
            raise CommandError(f"there is no check named {check!r}; `wcr-watchd list` shows all")

    async def _run_soon(self, check: str, future: asyncio.Future[Observation]) -> Observation:
        self._parts.scheduler.run_soon(check, 0.0)
        patience = 2 * self.setup.checks[check].timeout + 5.0
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise CommandError(f"{check} gave no result within {patience:g} s; is the daemon overloaded?") from None

    async def notify_test(self, channel: str, who: str) -> str:
        """Send a test message over a channel; returns the receipt."""
        kind = self.setup.channels.get(channel)
        if kind is None:
            known = ", ".join(self.setup.channels) or "none"
            raise CommandError(f"there is no channel named {channel!r}; configured: {known}")
        found = recipients(self.setup, (Target(channel, who),), self.now())
        if not found:
            people = ", ".join((*self.setup.contacts, *self.setup.on_call)) or "none"
            (why,) = unreachable(self.setup, (Target(channel, who),), self.now())
            raise CommandError(f"{why}; it needs somebody with a {kind} address; there are: {people}")
        message = trial(
            watchd=self.setup.name, location=self.setup.location, timezone=self.setup.timezone, at=self.now()
        )
        receipt = await self._parts.dispatcher.send_test(found[0], message)
        return f"{channel} accepted the test message: {receipt.text}"

    def start_drill(self, wish: DrillWish) -> DrillReport:
        """Begin to walk an escalation with messages marked [DRILL]."""
        if wish.policy not in self.setup.policies:
            raise CommandError(f"there is no policy {wish.policy!r}; there are: {', '.join(self.setup.policies)}")
        if wish.contact and wish.contact not in self.setup.contacts:
            known = ", ".join(self.setup.contacts) or "none"
            raise CommandError(f"there is no contact {wish.contact!r}; there are: {known}")
        return self._parts.drills.start(self.setup, wish, self._parts.monitor.take_number())

    def drill(self, number: int) -> DrillReport:
        """How a drill goes or went."""
        return self._parts.drills.report(number)

    def stop_drill(self, number: int) -> DrillReport:
        """End a drill before its time."""
        return self._parts.drills.stop(number)

    async def resend(self, ids: Collection[str] | None) -> str:
        """Send messages of the dead-letter list again; returns a sentence."""
        return await self._parts.dead_letters.resend(ids)

    async def discard(self, ids: Collection[str] | None, by: str) -> str:
        """Take messages off the dead-letter list; returns a sentence."""
        return await self._parts.dead_letters.discard(ids, by)

    async def write_report(self, wish: ReportWish) -> Filed:
        """Write a report now."""
        return await self._parts.reporter.write(self._report_plan(wish), send=wish.send)

    def _report_plan(self, wish: ReportWish) -> ReportPlan:
        """The plan of that name, or one of a kind with nothing else said."""
        known = self._loaded.reports.get(wish.name)
        if known is not None:
            return replace(known, audience=wish.audience or known.audience)
        if wish.name not in tuple(ReportKind):
            names = ", ".join(dict.fromkeys((*self._loaded.reports, *ReportKind)))
            raise CommandError(f"there is no report {wish.name!r}; there are: {names}")
        if wish.send:
            raise CommandError(f"nobody is told of the report {wish.name}: write [report.{wish.name}] with `tell`")
        audience = wish.audience or Audience.TEAM
        return ReportPlan(wish.name, ReportKind(wish.name), audience, "", self.setup.timezone)

    async def reload(self) -> tuple[str, ...]:
        """Apply the configuration file by difference, or say what is wrong with it and go on with the old one."""
        async with self._reloading:
            notify("RELOADING=1")
            try:
                loaded = await asyncio.to_thread(read_configuration, self._path)
            except ConfigError as error:
                self._refuse(error)
            else:
                await self._apply(loaded)
            finally:
                notify("READY=1", f"STATUS={self._status()}")
            return self.reload_problems

    # --- building, running, reloading ---

    async def _build(self, stack: contextlib.AsyncExitStack) -> Parts:
        loaded, clock, counters = self._loaded, Clock(), Counters()
        counters.loop_progress_at = counters.store_progress_at = clock.monotonic()
        counters.scheduler_progress_at = counters.dispatcher_progress_at = clock.monotonic()
        self._specs = _specs(loaded.probes)
        store = from_url(loaded.store.url, retention=_retention(loaded))
        stack.push_async_callback(store.close)
        restored = await _open(store, clock, counters)
        clock.go_on_from(restored.last_seen_at or 0.0)
        self.started_at = counters.reload_at = clock.now()
        shared = SharedHelpers()
        stack.push_async_callback(shared.close)
        link_key = await asyncio.to_thread(_ticket_key, folder_of(loaded.store.url))
        tickets = Tickets(link_key)
        dispatcher = self._build_dispatcher(store, clock, shared, counters, tickets)
        dispatcher.resume(restored)
        loop_lag = LoopLag(clock, counters, self._absent)
        memories = dict(restored.memories)
        runner = Runner(
            loaded.probes,
            loaded.setup,
            shared,
            self._redactor,
            clock,
            counters,
            loop_lag.stalled_since,
            memories,
            lambda: self._parts.changes.announced(),
        )
        scheduler = Scheduler(clock, self._carry_out, counters)
        scheduler.set_checks({check.name: check.every for check in loaded.setup.checks.values()})
        incidents = (*restored.ended, *restored.incidents)
        state = engine.restore(restored.states, incidents, restored.next_incident, restored.silences)
        book = shared.get(Book)
        book.states.update(((one.check, one.job), one) for one in restored.heartbeats)
        task_book = shared.get(TaskBook)
        task_book.states.update((one.task, one) for one in restored.tasks)
        monitor = Monitor(
            loaded.setup,
            state,
            store,
            dispatcher,
            clock,
            counters,
            scheduler.run_soon,
            memories,
            book.states,
            task_book.states,
        )
        since = restored.last_seen_at or clock.now()
        monitor.look_first(since)
        await monitor.reload(loaded.setup)
        await monitor.refill_histories()
        if restored.last_seen_at:
            log.info("nobody was watching", seconds=round(max(0.0, clock.now() - since)))
            monitor.absent(since, "the daemon was not running")
            book.away = (since, clock.now())
        duty = DutyWatch(monitor, clock, since)
        dead_letters = DeadLetters(store, dispatcher, counters)
        await dead_letters.count()
        standing = Standing(
            lambda: self._loaded.channels, lambda: self._loaded.wordings, lambda: monitor.state.incidents, store, shared
        )
        windows = WindowWatch(monitor, clock, since)
        pings = PingDesk(book, monitor, clock, shared, self._redactor.text, scheduler.run_soon)
        pings.replace(loaded.probes)
        tasks = TaskDesk(task_book, monitor, clock, shared, self._redactor.text, scheduler.run_soon)
        tasks.replace(loaded.probes)
        heartbeats = Heartbeats(lambda: self._loaded.heartbeats, lambda: health.moving(self), clock, shared, counters)
        drills = Drills(dispatcher.send_test, clock.now)
        access = self._build_access(store, clock, shared, link_key)
        await access.sessions.load()
        canaries = Canaries(lambda: self._loaded.canaries, monitor, dispatcher.send_test, clock.now, counters)
        hooks = Hooks(shared, self._redactor.text)
        desk = ChangeDesk(monitor, store, clock, self.run_now, hooks.run, restored.changes)
        status_page = StatusDesk(lambda: self._loaded.status_page, self, site.render)
        status_mails = StatusMails(
            lambda: self._loaded.status_page,
            lambda: self._loaded.channels,
            self,
            shared,
            link_key,
            status_page.post,
        )
        status_page.on_news(status_mails.wake)
        return Parts(
            clock,
            counters,
            loop_lag,
            store,
            runner,
            scheduler,
            dispatcher,
            dead_letters,
            standing,
            monitor,
            duty,
            windows,
            heartbeats,
            pings,
            tasks,
            shared,
            tickets,
            drills,
            canaries,
            access,
            desk,
            ModificationLog(monitor, clock, restored.facts),
            ObjectiveWatch(monitor, store, clock),
            await asyncio.to_thread(Certificate, *loaded.web.certificate) if loaded.web.certificate else None,
            self._build_reporter(monitor, store, dispatcher, clock, since, tasks),
            status_page,
            status_mails,
        )

    def _build_reporter(
        self, monitor: Monitor, store: Store, dispatcher: Dispatcher, clock: Clock, since: float, tasks: TaskDesk
    ) -> Reporter:
        return Reporter(
            lambda: self._loaded.reports,
            lambda: self._specs,
            monitor,
            Records(store, file_of(self._loaded.store.url)),
            dispatcher,
            clock.now,
            since,
            lambda until: tasks.coming(monitor.setup, until),
        )

    def _build_dispatcher(
        self, store: Store, clock: Clock, shared: SharedHelpers, counters: Counters, tickets: Tickets
    ) -> Dispatcher:
        return Dispatcher(
            self._loaded.channels,
            store,
            clock,
            shared,
            counters,
            self._loaded.channel_caps,
            self._redactor.text,
            self._loaded.wordings,
            Links(tickets, lambda: self._loaded.web.public_url).linked,
            Enclosures(store).enclosed,
        )

    def _build_access(self, store: Store, clock: Clock, shared: SharedHelpers, key: bytes) -> Access:
        return Access(
            lambda: self._loaded.web.access,
            Audit(store, clock.now, self._redactor.text),
            key=key,
            monotonic=clock.monotonic,
            http=shared.get(OutboundHttp),
            public_url=lambda: self._loaded.web.public_url,
            address=next(iter(self._addresses()), ""),
        )

    def _absent(self, seconds: float) -> None:
        """The process was stopped, or the machine slept."""
        monitor, now = self._parts.monitor, self.now()
        monitor.absent(now - seconds, "the machine slept or this process was stopped")
        self._parts.shared.get(Book).away = (now - seconds, now)

    def _jobs(self, parts: Parts) -> dict[str, Coroutine[Any, Any, None]]:
        """Everything that runs until the daemon stops; the end of any of them ends the daemon."""
        return {
            "loop lag": parts.loop_lag.serve(),
            "store": parts.monitor.serve_store(),
            "dispatcher": parts.dispatcher.run(),
            "standing alerts": parts.standing.serve(),
            "deadlines": parts.monitor.serve_deadlines(),
            "scheduler": parts.scheduler.serve(),
            "hand-overs": parts.duty.serve(),
            "maintenance windows": parts.windows.serve(),
            "heartbeats": parts.heartbeats.serve(),
            "pings": parts.pings.serve(),
            "tasks": parts.tasks.serve(),
            "drills": parts.drills.serve(),
            "canaries": parts.canaries.serve(),
            "changes": parts.changes.serve(),
            "objectives": parts.objectives.serve(),
            "reports": parts.reporter.serve(),
            "status page": parts.status_page.serve(),
            "mails to subscribers": parts.status_mails.serve(),
            "upkeep": self._serve_upkeep(parts),
            "watchdog": self._serve_watchdog(),
            **({"certificate of the listener": parts.certificate.watch()} if parts.certificate else {}),
        }

    async def _carry_out(self, name: str) -> None:
        """One run of one check, from probe to engine."""
        by, accepting = self._accepting.pop(name, ("", None))
        observation = await self._parts.runner.run(name, by)
        if observation is None:
            if check := self.setup.checks.get(name):  # void: what it would have told is not left to the next slot
                self._parts.scheduler.run_soon(name, check.retry.every)
            if accepting and not accepting.done():
                accepting.set_exception(CommandError(f"{name} was not accepted: its run came to nothing; try again"))
            return
        self._parts.monitor.receive(observation)
        self._parts.modifications.see(observation)
        self._parts.objectives.see(observation)
        self._say_first(observation)
        for future in (*self._waiting.pop(name, ()), *((accepting,) if accepting else ())):
            if not future.done():
                future.set_result(observation)

    def _say_first(self, observation: Observation) -> None:
        """Log the first results after a start, so that whoever started it sees what it sees."""
        if observation.check not in self._first_round:
            return
        self._first_round.discard(observation.check)
        if observation.outcome is not Outcome.UP or len(self.setup.checks) <= FEW_CHECKS:
            outcome, summary = observation.outcome.value, observation.summary
            log.info("first result", check=observation.check, outcome=outcome, summary=summary)
        if not self._first_round & self.setup.checks.keys():
            self._first_round.clear()
            outcomes = [seen.outcome for seen in self.latest.values()]
            log.info("first round done", **{outcome.value: outcomes.count(outcome) for outcome in Outcome})

    async def _serve_upkeep(self, parts: Parts) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY)
            garbage.collect()
            await self._look_for_warnings()
            await parts.access.sessions.keep()
            try:
                await parts.store.prune(parts.clock.now())
            except StoreDamagedError as error:
                parts.monitor.damaged(error)
            except StoreError as error:
                log.warning("old records stay until the store works again", error=str(error))

    async def _serve_watchdog(self) -> None:
        """Tell systemd that we live, only while every part really makes progress (sd_watchdog_enabled(3))."""
        interval = watchdog_interval()
        while True:
            await asyncio.sleep((interval or 20.0) / 2)
            if health.moving(self):
                notify("WATCHDOG=1", f"STATUS={self._status()}")
            else:
                ailing = [f"{part.name}: {part.detail}" for part in health.parts(self) if not part.ok]
                log.error("the watchdog is not fed", ailing=ailing)

    def _handle_signals(self, stack: contextlib.AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        async def reload_and_record() -> None:
            problems = await self.reload()
            result = f"refused: {problems[0]}" if problems else "done"
            await self._parts.access.audit.note(None, "", "signal", "reload", result=result)

        def reload() -> None:
            task = loop.create_task(reload_and_record(), name="reload")
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._stopping.set,
            signal.SIGINT: self._stopping.set,
            signal.SIGHUP: reload,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
            stack.callback(loop.remove_signal_handler, number)

    @contextlib.asynccontextmanager
    async def _served(self) -> AsyncIterator[None]:
        """Serve pages, API, metrics and commands while the context lasts."""
        settings = self._loaded.web
        parts = self._parts
        exposition = Exposition(self)
        doors = Doors(parts.tickets, lambda: self._loaded.channels, parts.shared, Allowance(self.monotonic))
        prober = Prober(self._probing, parts.shared, parts.access)
        status = StatusDoor(parts.status_page, parts.status_mails, Rationing(self.monotonic))
        app = build_web(self, exposition, parts.access, doors, prober, parts.pings, status)
        server = web.AppRunner(app, shutdown_timeout=SERVER_STOPS_WITHIN, access_log=None)
        await server.setup()
        alone = own_application(status, lambda: parts.access.settings.proxies)
        public = web.AppRunner(alone, shutdown_timeout=SERVER_STOPS_WITHIN, access_log=None)
        await public.setup()
        try:
            await open_control_socket(server, self._socket)
            context = parts.certificate.context if parts.certificate else None
            for host, port in settings.listen:
                await web.TCPSite(server, host, port, ssl_context=context).start()
            for host, port in _public_addresses(self._loaded):
                await web.TCPSite(public, host, port, ssl_context=context).start()
            yield
        finally:
            await public.cleanup()
            await server.cleanup()
            await exposition.close()
            self._socket.unlink(missing_ok=True)

    def _say_how_to_sign_in(self, access: Access) -> None:
        """While nobody is configured, whoever started the daemon is let in by a link that works once."""
        if not access.settings.nobody or not self._loaded.web.listen:
            return
        again = "wcr-watchd sign-in-link"
        if os.environ.get("JOURNAL_STREAM"):  # kept for long, and others may read it
            log.info("nobody can sign in by the configuration; a link that signs in once is printed by", command=again)
            return
        link = access.link_for(user_name(os.geteuid()))
        log.info("open this to sign in; it works once, within a quarter of an hour", link=link, for_another=again)

    def _probing(self) -> Probing | None:
        """What `/probe` may do by the configuration in force."""
        wanted = self._loaded.probe
        return Probing(wanted.modules, wanted.allow, wanted.timeout_offset) if wanted else None

    async def _look_for_warnings(self, *, log_them: bool = False) -> None:
        """See what is to be said of the configuration by now: gaps of on-call schedules come nearer with time."""
        found = await asyncio.to_thread(warnings, self._loaded, self.now())
        self.warnings = tuple(map(str, found))
        for warning in self.warnings if log_them else ():
            log.warning("the configuration can be used, but", warning=warning)

    def _refuse(self, error: ConfigError) -> None:
        self.reload_problems = tuple(str(problem) for problem in error.problems)
        self.counters.reload_successful = False
        for problem in self.reload_problems:
            log.error("the new configuration is refused, the old one goes on", problem=problem)

    async def _apply(self, loaded: Loaded) -> None:
        """Put a new configuration in force; a check whose settings did not change keeps its probe and its schedule."""
        before, after = self.setup.checks, loaded.setup.checks
        same = {name for name in after if name in before and before[name].fingerprint == after[name].fingerprint}
        self._probes = {name: self._probes[name] if name in same else probe for name, probe in loaded.probes.items()}
        self._redactor.add(loaded.secrets)
        self._specs = _specs(self._probes)
        parts = self._parts
        # What is changed or gone leaves the schedule first: a run by the old settings that goes on (and may hang for
        # long) would hold up the first one by the new, and its result would be taken for theirs.
        parts.scheduler.set_checks({name: after[name].every for name in same})
        await parts.monitor.reload(loaded.setup)
        parts.runner.replace(self._probes, loaded.setup)
        parts.pings.replace(self._probes)
        parts.tasks.replace(self._probes)
        parts.windows.reloaded()
        parts.dispatcher.reconfigure(loaded.channels, loaded.channel_caps, loaded.wordings)
        parts.scheduler.set_checks({name: check.every for name, check in after.items()})
        try:
            await parts.monitor.refill_histories()
        except StoreError as error:
            log.warning("rules that look back know only what comes from now on", error=str(error))
        _say_what_needs_a_restart(self._loaded, loaded)
        await self._log_differences(loaded)
        self._loaded = loaded
        await self._look_for_warnings(log_them=True)
        self.reload_problems = ()
        parts.counters.reload_successful = True
        parts.counters.reload_at = parts.clock.now()
        garbage.settle()
        log.info("configuration reloaded", checks=len(after), unchanged=len(same))

    async def _log_differences(self, loaded: Loaded) -> None:
        """Log what the reload changed in the configuration; with thousands of checks that takes a thread."""
        before, after = self._loaded.sources.table, loaded.sources.table
        found = await asyncio.to_thread(differences, before, after, self._redactor.text)
        parts = self._parts
        parts.modifications.reconfigured(found)
        parts.modifications.forget(self._loaded.setup.checks.keys() - loaded.setup.checks.keys())

    def _status(self) -> str:
        return f"{len(self.setup.checks)} checks, {len(self.state.incidents)} open incidents"

    def _addresses(self) -> list[str]:
        settings = self._loaded.web
        scheme = "https" if settings.certificate else "http"
        return [f"{scheme}://{'[' + host + ']' if ':' in host else host}:{port}" for host, port in settings.listen]


def _over(mark: Mark, since: float) -> bool:
    """Whether a change was over by then."""
    return mark.until is not None and mark.until < since


async def _open(store: Store, clock: Clock, counters: Counters) -> Restored:
    """Open the store and read back what the last life knew; damaged records must not keep the daemon from watching."""
    try:
        await store.open()
        return await store.restore()
    except StoreDamagedError as error:
        log.error("the records are damaged", error=str(error))
        counters.store_mended = await store.mend(clock.now())
        log.error("the records were replaced", done=counters.store_mended)
        return await store.restore()


def _ticket_key(folder: Path) -> bytes:
    """The key that links in messages are signed with; of this life only, where no file can be kept."""
    path = folder / "links.key"
    try:
        return kept_key(path)
    except OSError as error:
        log.warning("links in messages will not outlive this run: their key cannot be kept", error=str(error))
        return secrets.token_bytes(KEY_BYTES)


async def run_checks_once(
    loaded: Loaded, names: tuple[str, ...], redactor: Redactor, done: Callable[[], None], again: float = 0.0
) -> list[Observation]:
    """Carry checks out once, without a daemon, some at a time; ``done`` is called after each.

    With ``again``, each is carried out once more after so many seconds, knowing what it kept of the first run.
    """
    shared, clock = SharedHelpers(), Clock()
    runner = Runner(loaded.probes, loaded.setup, shared, redactor, clock, Counters())
    some = asyncio.Semaphore(50)

    async def once(name: str) -> Observation:
        while (observation := await runner.run(name)) is None:
            pass  # this process was held up: what it saw says nothing about the target
        return observation

    async def one(name: str) -> Observation:
        async with some:
            observation = await once(name)
            if again:
                await asyncio.sleep(again)
                observation = await once(name)
            done()
            return observation

    try:
        return list(await asyncio.gather(*(one(name) for name in names)))
    finally:
        await shared.close()


def _specs(probes: Mapping[str, Probe]) -> dict[str, tuple[MeasurementSpec, ...]]:
    return {name: probe.specs() for name, probe in probes.items()}


def _retention(loaded: Loaded) -> Retention:
    kept = loaded.store.retention
    return Retention(kept.raw / DAY, kept.five_minutes / DAY, kept.rollup / DAY, kept.incidents / DAY)


def _say_what_needs_a_restart(before: Loaded, after: Loaded) -> None:
    changed = [
        section
        for section, was, will_be in (
            ("[store]", before.store, after.store),
            ("[web]", _fixed(before.web), _fixed(after.web)),
            ("[status_page]", _public_addresses(before), _public_addresses(after)),
        )
        if was != will_be
    ]
    if changed:
        log.warning("takes effect with the next restart", sections=changed)


def _fixed(settings: WebSettings) -> object:
    return settings.listen, settings.certificate


def _public_addresses(loaded: Loaded) -> tuple[tuple[str, int], ...]:
    return loaded.status_page.listen if loaded.status_page else ()
