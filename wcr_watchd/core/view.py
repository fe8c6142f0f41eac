"""What readers (metrics, pages, API, command line) may see of the running daemon, and its counters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wcr_watchd.core.changes import Change, ChangeWish, Outcome
from wcr_watchd.core.drill_report import DrillReport, DrillWish
from wcr_watchd.core.heartbeat import Ping
from wcr_watchd.core.model import Alert, EventKind, MeasurementSpec, Observation, Severity
from wcr_watchd.core.modifications import Mark, Modification
from wcr_watchd.core.objectives import Budget, Objective, Stretch
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.report import Filed, ReportWish
from wcr_watchd.core.review import Review
from wcr_watchd.core.setup import Canary, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.task import TaskRecord, TaskView

LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Histogram:
    """Counts of observed seconds by upper bound (not cumulative; the last is above every bound), and their sum."""

    bounds: tuple[float, ...] = LAG_BUCKETS
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class ChannelCounters:
    """What happened on one channel since the daemon started."""

    sent: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Failed attempts by reason."""
    last_success_at: float | None = None


@dataclass(slots=True)
class HeartbeatCounters:
    """What became of one outgoing heartbeat since the daemon started (or since it was added)."""

    sent: int = 0
    """Those that were answered 2xx."""
    failed: int = 0
    last_success_at: float | None = None


@dataclass(frozen=True, slots=True)
class ObjectiveFigures:
    """What the last look at an objective found: budgets every five minutes, burn rates by window (seconds) always."""

    target: float
    budget: Budget | None
    rates: Sequence[tuple[float, float | None]]


@dataclass(slots=True)
class CheckCounters:
    """What happened to one check since the daemon started (or since the check was added)."""

    runs: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """Runs that were not up, and rules that began to fire (reason ``rule``), by reason."""


@dataclass(slots=True)
class Counters:
    """Plain numbers about the daemon itself; the moving parts count, metrics and health read.

    ``*_progress_at`` are monotonic seconds of the last sign of life of a part; times ending in ``_at`` otherwise are
    epoch seconds.
    """

    checks: dict[str, CheckCounters] = field(default_factory=dict)
    channels: dict[str, ChannelCounters] = field(default_factory=dict)
    heartbeats: dict[str, HeartbeatCounters] = field(default_factory=dict)
    objectives: dict[str, ObjectiveFigures] = field(default_factory=dict)
    scheduler_lag: Histogram = field(default_factory=Histogram)
    scheduler_missed: int = 0
    runs_void: int = 0
    runs_in_flight: int = 0
    event_loop_lag: float = 0.0
    event_loop_tasks: int = 0
    store_write: Histogram = field(default_factory=Histogram)
    store_failures: int = 0
    store_last_error: str = ""
    store_mended: str = ""
    """What became of damaged records in this life of the daemon; empty when there were none."""
    notifications_pending: int = 0
    oldest_pending_at: float | None = None
    dead_letters: int = 0
    """Messages given up and neither sent again nor discarded; of very many, the newest thousand at the start."""
    reload_successful: bool = True
    reload_at: float = 0.0
    loop_progress_at: float = 0.0
    scheduler_progress_at: float = 0.0
    store_progress_at: float = 0.0
    dispatcher_progress_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as it is configured.

    ``address_kind`` is the kind of address that it needs of a contact (empty: none), ``rate`` what its provider takes
    and ``limit`` what the configuration allows, both as messages and seconds (None: no such bound).
    """

    name: str
    type: str
    address_kind: str
    rate: tuple[int, float] | None
    limit: tuple[int, float] | None
    canary: Canary | None


@dataclass(frozen=True, slots=True)
class Touched:
    """Something a live page may want to show: the name of a check that changed, or an incident's number."""

    check: str = ""
    incident: int = 0


class View(Protocol):
    """The running daemon, to look at. All of it is read on the event loop and none of it is changed by a reader."""

    @property
    def setup(self) -> Setup:
        """The configuration in force."""
        ...

    @property
    def state(self) -> State:
        """What the engine remembers: states and open incidents."""
        ...

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check that has one."""
        ...

    @property
    def specs(self) -> Mapping[str, tuple[MeasurementSpec, ...]]:
        """What each check measures."""
        ...

    @property
    def counters(self) -> Counters:
        """Numbers about the daemon itself."""
        ...

    @property
    def store(self) -> Store:
        """History, incidents and deliveries; a reader calls its reading methods only."""
        ...

    @property
    def started_at(self) -> float:
        """When the daemon started (epoch seconds)."""
        ...

    @property
    def reload_problems(self) -> tuple[str, ...]:
        """Why the last reload was refused; empty when it was not."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should know of the configuration in force although it can be used: when nobody is on call."""
        ...

    @property
    def version(self) -> str:
        """The version of the program."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """The files that the configuration in force was read from."""
        ...

    def channels(self) -> Sequence[ChannelView]:
        """The configured channels."""
        ...

    def now(self) -> float:
        """The daemon's time (epoch seconds)."""
        ...

    def monotonic(self) -> float:
        """The daemon's monotonic clock (seconds), to compare with the progress times of the counters."""
        ...

    def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        """Batches of what a live page may want to show from now on, bounded: a slow reader gets fewer, larger ones."""
        ...

    async def marks(self, since: float, until: float) -> Sequence[Mark]:
        """Changes and modifications of a span of time (epoch seconds), oldest first, for charts and incidents.

        :func:`~wcr_watchd.core.modifications.shortly_before` says which may be the cause of an incident.
        """
        ...

    @property
    def objectives(self) -> Objectives:
        """Error budgets and burn rates of the objectives of the configuration."""
        ...

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        """The last runs of a check, oldest first, at most 60: time and duration in seconds (None: not up)."""
        ...

    def rendered(self, channel: str, check: str | None, event: EventKind, severity: Severity) -> Mapping[str, str]:
        """A made-up message as it would look on a channel, part by part, without secrets; nothing is sent.

        It is about ``check``, or (None) about a made-up one. Raises ``CommandError`` for what is not configured.
        """
        ...

    def settings(self, check: str) -> str:
        """The effective settings of a check as TOML, with where each comes from; secrets are hidden.

        Reads nothing but the configuration in force; it takes some milliseconds and may be called in a thread.
        """
        ...

    async def tasks(self, timezone: str = "") -> Sequence[TaskView]:
        """Every task as it stands now, in the order of the configuration.

        Times in words are of that zone, else of that of the task's schedule.
        """
        ...

    async def task_times(self, check: str, until: float) -> Sequence[float]:
        """When a task is due from now until then (epoch seconds), by the name of its check; the first may be past."""
        ...

    async def task_records(self, check: str) -> Sequence[TaskRecord]:
        """How a task ended the last times, newest first, by the name of its check. Raises ``StoreError``."""
        ...

    async def pings(self, check: str) -> Sequence[Ping]:
        """The last signals of a check's jobs, newest first, without secrets. Raises ``StoreError``."""
        ...

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        """Acknowledge an incident, for good or ``until`` then; returns a sentence.

        A ``sticky`` one stays when it gets worse. Raises ``CommandError`` when that cannot be done.
        """
        ...


class Objectives(Protocol):
    """Error budgets of the objectives, and how fast they go."""

    async def budget(self, objective: Objective) -> Budget:
        """The error budget over the period until now. Raises ``StoreError``."""
        ...

    async def days(self, objective: Objective) -> Sequence[Stretch]:
        """The course of the budget over the period until now, day by day. Raises ``StoreError``."""
        ...

    def rates(self, objective: Objective) -> Sequence[tuple[float, float | None]]:
        """The burn rates now: each window (seconds), and how many times as fast as allowed (None: no run)."""
        ...


class Changes(Protocol):
    """Updates in progress, to look at and to work with. What cannot be done raises ``CommandError``."""

    @property
    def known(self) -> Sequence[Change]:
        """Those that are not over, and the last of those that are; newest first. All of them are in the store."""
        ...

    async def change(self, number: int) -> Change:
        """One change by its number."""
        ...

    def why_not(self, change: Change) -> Sequence[str]:
        """For each step of its checklist that is not done, what it waits for; empty for those that are."""
        ...

    async def prepare(self, wish: ChangeWish, by: str) -> Outcome:
        """Begin a checklist."""
        ...

    async def start(self, wish: ChangeWish, by: str, override: str = "") -> Outcome:
        """Open the window of a change and switch maintenance mode on.

        Of the prepared one of that name, or else a new one. It does not start while a required step is not done, unless
        there is a reason to ``override`` that.
        """
        ...

    async def start_prepared(self, number: int, by: str, override: str = "") -> Outcome:
        """Likewise, by its number."""
        ...

    async def extend(self, number: int, seconds: float, by: str) -> Outcome:
        """Keep its window open for so much longer."""
        ...

    async def tell(self, number: int, by: str) -> Outcome:
        """Tell those who must know that it is about to come."""
        ...

    async def tick(self, number: int, step: int, by: str, text: str = "") -> Outcome:
        """Say that a step (counted from 1) is done."""
        ...

    async def note(self, number: int, by: str, text: str) -> Outcome:
        """Write something into its log."""
        ...

    async def abandon(self, number: int, by: str, why: str = "") -> Outcome:
        """Give a change up that did not start."""
        ...

    async def verify(self, number: int, by: str) -> Outcome:
        """Run its checks now, and compare with before it began."""
        ...

    async def finish(self, number: int, by: str, override: str = "") -> Outcome:
        """Switch maintenance mode off, run its checks and close its window; what is still broken is told then."""
        ...


class Control(View, Protocol):
    """The running daemon, with what an operator may ask of it besides acknowledging."""

    @property
    def changes(self) -> Changes:
        """Updates in progress."""
        ...

    async def modified(self, by: str, text: str) -> Modification:
        """Write into the log of modifications what somebody did. Raises ``CommandError`` for an empty text."""
        ...

    async def resolve(self, incident: int, by: str) -> str:
        """End an incident by hand; returns a sentence. Raises ``CommandError`` when that cannot be done."""
        ...

    async def note(self, incident: int, by: str, text: str) -> str:
        """Add a note to an incident's timeline, also after its end. Raises ``CommandError`` when there is none."""
        ...

    async def review(self, written: Review) -> str:
        """Keep what somebody wrote about an incident; returns a sentence. Raises ``CommandError`` without such one."""
        ...

    async def follow_up(self, incident: int, text: str, owner: str, due: float, by: str) -> str:
        """Add something to do after an incident, which becomes a task; returns a sentence. Raises ``CommandError``."""
        ...

    async def assign(self, incident: int, owner: str, by: str) -> str:
        """Say who works on an incident. Raises ``CommandError`` when there is no such open one."""
        ...

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a silence in force, or change the one with the id ``changes``.

        Returns the one that holds, which has its own id when the old one could not go on, and a sentence. Raises
        ``CommandError`` when it makes no sense.
        """
        ...

    async def expire(self, silence: str) -> str:
        """End a silence now; returns a sentence. Raises ``CommandError`` when there is no such one."""
        ...

    async def alerts(self, sent: Sequence[Alert]) -> None:
        """Take alerts of Prometheus; returns when they are stored. Raises ``CommandError`` when one is not taken."""
        ...

    async def stop_window(self, name: str, by: str) -> str:
        """End a planned maintenance window for this time; raises ``CommandError`` when it is not open."""
        ...

    async def run_task(self, name: str, by: str) -> str:
        """Have a task run out of turn; returns a sentence at once. Raises ``CommandError`` when that cannot be done."""
        ...

    async def sign_off_task(self, name: str, by: str, note: str = "", evidence: Sequence[str] = ()) -> str:
        """Somebody has done a task; returns a sentence. Raises ``CommandError`` when that cannot be taken."""
        ...

    async def run_now(self, check: str) -> Observation:
        """Run a check out of turn and return what it found. Raises ``CommandError`` when there is no such check."""
        ...

    async def accept(self, check: str, by: str) -> Observation:
        """Run a check and take what it finds as being right from now on; returns what it found.

        Raises ``CommandError`` when there is no such check, or it compares with nothing.
        """
        ...

    async def notify_test(self, channel: str, who: str) -> str:
        """Send a test message over a channel, to a contact or schedule where it needs one; returns the receipt.

        Raises ``CommandError`` for an unknown channel or contact and ``ChannelError`` when it is not accepted.
        """
        ...

    async def resend(self, ids: Collection[str] | None) -> str:
        """Send messages of the dead-letter list again (None: all); returns a sentence, raises ``CommandError``."""
        ...

    async def discard(self, ids: Collection[str] | None, by: str) -> str:
        """Take messages off the dead-letter list (None: all); returns a sentence, raises ``CommandError``."""
        ...

    def start_drill(self, wish: DrillWish) -> DrillReport:
        """Begin to walk an escalation with messages marked [DRILL]. Raises ``CommandError`` when that makes no sense.

        Acknowledging its number answers it.
        """
        ...

    def drill(self, number: int) -> DrillReport:
        """How a drill goes or went. Raises ``CommandError`` when there is none of this number."""
        ...

    def stop_drill(self, number: int) -> DrillReport:
        """End a drill before its time."""
        ...

    async def write_report(self, wish: ReportWish) -> Filed:
        """Write a report now. Raises ``CommandError`` when there is none of that name, or it cannot be written."""
        ...

    async def reload(self) -> tuple[str, ...]:
        """Read the configuration again; returns what is wrong with it, or nothing when it is now in force."""
        ...
