"""The contracts between the floors: what a probe, a channel and a store must offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from wcr_watchd.core.changes import Change
from wcr_watchd.core.drill_report import DrillReport
from wcr_watchd.core.heartbeat import HeartbeatState, Ping, Terms
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    Event,
    Incident,
    IncidentState,
    Labels,
    MeasurementSpec,
    Message,
    Notification,
    Observation,
    Recipient,
    Severity,
)
from wcr_watchd.core.modifications import KnownFacts, Modification
from wcr_watchd.core.records import AccessRecords, StatusRecords
from wcr_watchd.core.report import Filed
from wcr_watchd.core.review import Review
from wcr_watchd.core.run import Run, Shared
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.task import KEPT_RECORDS, TaskCommand, TaskRecord, TaskState, TaskTerms
from wcr_watchd.core.uptime import Outcomes


class Probe(Protocol):
    """A probe type: options, measurements, default rules, and one coroutine that carries a check out once.

    A file ``probes/<type>.py`` holds one class of this shape that derives from :class:`wcr_watchd.kit.options.Options`.
    It never raises for anything the target does, honours ``run.timeout``, bounds every read, and leaves nothing
    behind when cancelled. An instance lives as long as its check is unchanged, so it may keep what it needs
    between runs (the counters of the last run) in pydantic private attributes; what must outlive the daemon goes into
    ``run.memory``.
    """

    type: ClassVar[str]
    target_key: ClassVar[str]
    """The option that names the target."""
    measurements: ClassVar[tuple[MeasurementSpec, ...]]
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]]
    """Rules that hold when the check names none of that severity."""
    every: ClassVar[float]
    """Default interval, seconds."""
    timeout: ClassVar[float]
    """Default deadline of one run, seconds."""
    example: ClassVar[str]
    """A TOML table that validates, for the documentation."""

    @property
    def target(self) -> str:
        """What is looked at, in one line, without secrets."""
        ...

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The measurements of this check: the type's own and those its options add (``values.users``)."""
        ...

    async def run(self, run: Run) -> Observation:
        """Carry the check out once."""
        ...


@runtime_checkable
class Awaiting(Protocol):
    """A probe whose target reports by itself: others call ``/ping/…``, and what they said is judged.

    What was reported is a fact that another look cannot change, so that it is not confirmed.
    """

    @property
    def terms(self) -> Terms:
        """What it accepts."""
        ...

    def addresses(self, check: str) -> Sequence[tuple[str, str]]:
        """Where signals for the check of this name arrive: a key and nothing, or a ping key and a name.

        A ping key and the name ``*`` are for jobs that announce themselves. The keys are secrets.
        """
        ...

    async def due(self, state: HeartbeatState, shared: Shared) -> float | None:
        """When the next success of a job is due (epoch seconds; None: none is). Raises ``ScheduleError``."""
        ...


@runtime_checkable
class Recurring(Protocol):
    """A probe that tells how a task stands, which the daemon carries out or a person signs off."""

    about: str
    """What is to be done."""

    @property
    def target(self) -> str:
        """When it is due, in words."""
        ...

    @property
    def terms(self) -> TaskTerms:
        """What is expected of it."""
        ...

    @property
    def command(self) -> TaskCommand | None:
        """What the daemon runs; None: nothing."""
        ...

    async def due(self, after: float, shared: Shared) -> float | None:
        """When it is due next after that time (epoch seconds; None: never again). Raises ``ScheduleError``."""
        ...

    def told(self, state: TaskState, due: float | None, now: float, timezone: str = "") -> str:
        """How it stands, in a sentence; times are of this zone, else of that of its schedule."""
        ...


@runtime_checkable
class Accepting(Protocol):
    """A probe that says what is other than a person last accepted (files, accounts, open ports)."""

    async def accept(self, run: Run, by: str) -> Observation:
        """Carry the check out once, and take what is there now as being right, as this person says."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a channel can do: longest text, and messages per seconds (count, window).

    ``single`` says that a program reads it, incident by incident: several are never told as one.
    """

    length: int | None = None
    rate: tuple[int, float] | None = None
    single: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the provider said when it took a message: its own id, or its answer in a few words."""

    text: str


class Channel(Protocol):
    """A channel type: options, limits, the look of its messages, and one coroutine that sends one.

    A file ``channels/<type>.py`` holds one class of this shape that derives from
    :class:`wcr_watchd.kit.options.Options`. ``send`` raises :class:`wcr_watchd.core.errors.ChannelError` for
    everything the provider does. Retry, rate limits, caps, idempotency, redaction and records are the dispatcher's.
    """

    type: ClassVar[str]
    address_kind: ClassVar[str]
    """The kind of contact address it needs (``phone``, ``email``); empty when it has its own destination."""
    limits: ClassVar[Limits]
    example: ClassVar[str]
    timeout: ClassVar[float]
    """Deadline of one ``send``, seconds."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The message as it will look, by part (``text``; ``subject``, ``text``, ``html``; ``json``)."""
        ...

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Hand the rendered ``parts`` to the provider for ``notification.recipient``."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a provider makes of us, not believed yet.

    ``url`` is the one it was told to call, ``headers`` by lower-case name, ``at`` is now (epoch seconds).
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants, by a provider whose signature is right.

    Either ``ticket``, from the button of a message, or ``text`` in the person's own words. ``person`` is the
    provider's name for whoever asks; an ``address`` (a phone number) in its place must be a contact's. ``reply_to`` is
    where the answer goes when it is not the answer to the request itself. With none of them there is nothing to do.
    """

    through: str
    """As in "acknowledged by ann by SMS"."""
    person: str = ""
    address: str = ""
    text: str = ""
    ticket: str = ""
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer to a provider's request."""

    body: str = ""
    content_type: str = "text/plain"


@runtime_checkable
class Answering(Protocol):
    """A channel that people can answer by: its provider calls ``/answer/<name of the channel>``."""

    def asked(self, call: Call) -> Asked | None:
        """What is asked; None when the request does not bear the provider's signature, or is an old one again."""
        ...

    async def answer(self, asked: Asked, sentence: str, shared: Shared) -> Answer:
        """Say what came of it; nothing, when the sentence is empty."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What must be stored together: one transaction, all or nothing."""

    observations: tuple[Observation, ...] = ()
    states: tuple[CheckState, ...] = ()
    incidents: tuple[Incident, ...] = ()
    events: tuple[Event, ...] = ()
    notifications: tuple[Notification, ...] = ()
    silences: tuple[Silence, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    """Outbox rows that changed (delivered, failed, next attempt …)."""
    memories: tuple[tuple[str, str], ...] = ()
    """Name of a check, and what its probe keeps for the next run."""
    heartbeats: tuple[HeartbeatState, ...] = ()
    pings: tuple[Ping, ...] = ()
    tasks: tuple[TaskState, ...] = ()
    task_records: tuple[TaskRecord, ...] = ()
    changes: tuple[Change, ...] = ()
    modifications: tuple[Modification, ...] = ()
    facts: tuple[KnownFacts, ...] = ()
    reports: tuple[Filed, ...] = ()
    reviews: tuple[Review, ...] = ()
    drills: tuple[DrillReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """What a store remembers of the last life: the engine's state, and the notifications still owed."""

    states: tuple[CheckState, ...]
    incidents: tuple[Incident, ...]
    """All that are not resolved."""
    ended: tuple[Incident, ...]
    """Those that ended last, oldest first."""
    silences: tuple[Silence, ...]
    next_incident: int
    pending: tuple[Delivery, ...]
    """In the order in which they came to be owed."""
    last_seen_at: float | None
    """When the last life wrote last (epoch seconds); None on first start."""
    memories: Mapping[str, str] = field(default_factory=dict)
    """What probes keep for their next run, by check."""
    heartbeats: tuple[HeartbeatState, ...] = ()
    tasks: tuple[TaskState, ...] = ()
    changes: tuple[Change, ...] = ()
    """Those that are not over, and the newest ones, newest first."""
    facts: tuple[KnownFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which incidents are wanted: those open at some time from ``since`` to before ``until`` (epoch seconds).

    ``checks`` are names of which one must be meant (None: any), ``states`` likewise (empty: any), ``severity`` is the
    least one at worst, ``text`` a part of check, subject or summary in any case.
    """

    checks: frozenset[str] | None = None
    states: tuple[IncidentState, ...] = ()
    severity: Severity = Severity.OK
    text: str = ""
    since: float = 0.0
    until: float = 250_000_000_000.0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a series' history: raw (count 1) or rolled up over ``width`` seconds."""

    at: float
    count: int
    minimum: float
    maximum: float
    mean: float


class Store(AccessRecords, Protocol):
    """Where state, incidents, the outbox and history live. Every call is bounded in time; ``StoreError`` otherwise."""

    @property
    def status_page(self) -> StatusRecords:
        """What the public status page keeps."""
        ...

    async def open(self) -> None:
        """Open or create, take the lock, migrate. Raises ``StoreLockedError`` when another daemon holds it."""
        ...

    async def close(self) -> None:
        """Finish writing and release the lock."""
        ...

    async def mend(self, now: float) -> str:
        """After a ``StoreDamagedError``: set the damaged records aside, begin new ones with what can still be read.

        Returns in a sentence what was done. Raises ``StoreError`` when that is not possible (yet).
        """
        ...

    async def restore(self) -> Restored:
        """Read back what the last life knew."""
        ...

    async def commit(self, batch: Batch) -> None:
        """Write the batch in one transaction; when this returns it survives ``kill -9``."""
        ...

    async def forget(self, checks: Sequence[str]) -> None:
        """Drop the state of checks that are no longer configured (history and incidents stay until retention)."""
        ...

    async def observations(self, check: str, *, since: float, limit: int = 1000) -> Sequence[Observation]:
        """Raw observations of a check since a time, oldest first."""
        ...

    async def history(
        self, check: str, measurement: str, labels: Labels, *, since: float, until: float, points: int = 300
    ) -> Sequence[Point]:
        """A measurement's course, from raw rows or rollups, whichever fits the span."""
        ...

    async def courses(
        self, check: str, wanted: Sequence[tuple[str, Labels]], *, since: float, until: float, points: int = 300
    ) -> Sequence[Sequence[Point]]:
        """The course of several measurements of a check, in their order."""
        ...

    async def outcomes(
        self, check: str, *, since: float, until: float, fine: bool = False, cuts: Iterable[float] = ()
    ) -> Sequence[Outcomes]:
        """How many runs of a check found what, oldest first; the first and last may reach beyond the two times.

        By hours where there are some, or with ``fine``, which takes longer, by five minutes; before and after each of
        ``cuts`` (epoch seconds) apart, as far as what is kept tells.
        """
        ...

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
        ...

    async def find_incidents(self, wanted: Wanted, *, before: int = 0, limit: int = 50) -> Sequence[Incident]:
        """Those that are wanted, newest first; with ``before``, those with a lower number."""
        ...

    async def review(self, incident: int) -> Review | None:
        """What people wrote about an incident after it."""
        ...

    async def reviews(self) -> Sequence[Review]:
        """All that people wrote about incidents that are still kept."""
        ...

    async def incident(self, number: int) -> Incident | None:
        """One incident by its number."""
        ...

    async def events(self, incident: int) -> Sequence[Event]:
        """The timeline of an incident, oldest first."""
        ...

    async def deliveries(
        self,
        *,
        incident: int | None = None,
        states: Sequence[DeliveryState] = (),
        recipient: Recipient | None = None,
        since: float = 0.0,
        limit: int = 100,
    ) -> Sequence[Delivery]:
        """Rows of the outbox, newest first."""
        ...

    async def pings(self, check: str, limit: int = 30) -> Sequence[Ping]:
        """The last signals of a check's jobs with their bodies as they came, newest first."""
        ...

    async def task_records(self, task: str, limit: int = KEPT_RECORDS) -> Sequence[TaskRecord]:
        """The last ends of a task, newest first, by the name of its check."""
        ...

    async def changes(self, *, since: float = 0.0, limit: int = 100) -> Sequence[Change]:
        """Changes that are not over or began since then, newest first."""
        ...

    async def change(self, number: int) -> Change | None:
        """One change by its number."""
        ...

    async def modifications(self, *, since: float, until: float, limit: int = 1000) -> Sequence[Modification]:
        """What became different from ``since`` until before ``until``, newest first."""
        ...

    async def reports(self, *, name: str | None = None, limit: int = 100) -> Sequence[Filed]:
        """Reports that were written, newest first, without their contents."""
        ...

    async def drills(self, *, since: float = 0.0) -> Sequence[DrillReport]:
        """Drills that are over and began since a time, oldest first; they are kept for good."""
        ...

    async def report(self, number: int) -> Filed | None:
        """One report with its contents, by its number."""
        ...

    async def prune(self, now: float) -> None:
        """Roll up and delete what retention no longer keeps; a bounded piece of work per call."""
        ...
