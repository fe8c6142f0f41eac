"""The words of the house as frozen values: checks, observations, incidents, events, notifications.

Times are seconds since the epoch (UTC) as float, durations are seconds as float, ratios are 0-1, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from wcr_watchd.core.units import Unit

Labels = tuple[tuple[str, str], ...]
"""Label names and values of one series, sorted by name; ``()`` for a measurement without labels."""


class Severity(IntEnum):
    """How bad it is; ordered, so that ``max`` works."""

    OK = 0
    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """The lower-case word used in config, messages, metrics and API."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Severity:
        """Return the severity with this lower-case word; ``KeyError`` if there is none."""
        return cls[word.upper()]


class Outcome(StrEnum):
    """What one run of a probe found; ``unknown`` is never ``up`` and never ``down``."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MeasurementSpec:
    """A probe type's declaration of a number it measures; rules, metrics, history and docs come from it.

    ``labels`` names the labels a series of it carries. ``counter`` marks a value that only grows (rules use
    ``rate`` or ``increase`` on it, the exposition ends it in ``_total``). ``topic`` separates what a person
    handles apart: rules over measurements of different topics open different incidents of one check
    (``disk`` and ``cpu`` of a host); the empty topic is the check itself..
    """

    name: str
    unit: Unit
    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A named number that a probe measured; its unit stands in the probe type's :class:`MeasurementSpec`."""

    name: str
    value: float
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """What somebody may alter, as a probe found it: the ``name`` of one ``kind`` of things has this ``value``.

    ``image`` of ``web`` is ``sha256:…``; ``package`` of ``openssl`` is ``3.0.15``. ``since`` is when that came to be
    so, where the probe knows it (epoch seconds, 0: not known), and ``before`` what it was until then.
    """

    kind: str
    name: str
    value: str
    before: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run of a check's probe returned.

    ``at`` is when the run began (epoch seconds), ``duration`` how long it took (seconds). ``reason`` is a short
    label when the outcome is not ``up`` (``dns connect tls timeout status content auth protocol refused
    permission missing parse …``), or when it is and the probe finds fault all the same (``plugin``). ``summary`` is
    one line for a tired person, ``evidence`` at most 4 KiB of text by name with secrets redacted. ``memory`` is what
    the probe keeps for its next run, as JSON (None: what it had before). ``facts`` is what people may alter, all that
    the probe knows of it (None: it did not look); they are compared with those of the run before, and not kept with the
    observation.
    """

    check: str
    location: str
    at: float
    duration: float
    outcome: Outcome
    reason: str
    summary: str
    measurements: tuple[Measurement, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)
    memory: str | None = None
    facts: tuple[Fact, ...] | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Quick confirmation of a failure: ``times`` more runs, ``every`` seconds apart, before anybody is told."""

    times: int = 2
    every: float = 10.0


class EventKind(StrEnum):
    """What happened to an incident; the words of the webhook message."""

    OPENED = "opened"
    RAISED = "raised"
    LOWERED = "lowered"
    REMINDED = "reminded"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    FLAPPING = "flapping"
    """It comes and goes: said once, then nothing until it is stable."""
    MUTED = "muted"
    """From now on nobody is told, for the reason given; only in the timeline."""
    NOTED = "noted"
    HANDOVER = "handover"
    """Somebody else is on call from now on."""
    PLANNED = "planned"
    """A maintenance window is announced."""
    REPORT = "report"
    """A report of a week or a month."""
    DIGEST = "digest"
    DRILL = "drill"


class IncidentState(StrEnum):
    """Where an incident stands in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SUPPRESSED = "suppressed"
    """Something else explains it: a failed parent, or the watcher's own lost connectivity."""
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    RESOLVED = "resolved"

    @property
    def muted(self) -> bool:
        """Whether it is recorded and nobody is told."""
        return self in (IncidentState.SUPPRESSED, IncidentState.SILENCED, IncidentState.MAINTENANCE)


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a notification goes to: a configured channel and, where the channel needs one, a contact's address.

    ``contact`` is the name of a person; ``address`` the phone number or mail address there (both
    empty for a channel that has its own destination, such as a chat webhook).
    """

    channel: str
    contact: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as Prometheus sends it: it holds from ``starts_at`` until ``ends_at`` (epoch seconds).

    ``timeout`` says that the end was not sent but follows from the resolve timeout; ``updated_at`` is when it was sent
    last. ``generator`` is the URL of the rule.
    """

    labels: Labels
    annotations: Labels
    starts_at: float
    ends_at: float
    timeout: bool
    generator: str
    updated_at: float

    @property
    def name(self) -> str:
        """What it is called."""
        return dict(self.labels).get("alertname", "alert")


@dataclass(frozen=True, slots=True)
class Incident:
    """What a person handles: opened when a rule fires, until it is resolved.

    ``subject`` names what of the check is meant (empty: the check itself; else topic and labels, ``disk /data``).
    ``severity`` is how bad it is now, ``peak`` how bad it was at worst, ``told_severity`` how bad it was when somebody
    was last told (``ok``: nobody was). ``told`` lists who was told of it, so that they are told of its end.
    ``muted_by`` is the reason why nobody is told (empty: somebody is), ``muted_until`` when to look again at the
    latest. ``step`` is the number of escalation steps already taken in this round, ``rounds`` that of finished rounds;
    ``next_step_at`` and ``next_reminder_at`` are when the next one is owed (None: none is). An acknowledgement ends at
    ``acknowledged_until`` (None: with the incident) or, unless it is ``sticky``, when it gets worse. ``owner`` is who
    works on it. ``sequence`` counts its events. ``alert`` is what Prometheus sent, where it is about that.
    ``first_acknowledged_at`` and ``first_acknowledged_by`` stay when an acknowledgement ends.
    """

    id: int
    check: str
    subject: str
    severity: Severity
    peak: Severity
    state: IncidentState
    opened_at: float
    changed_at: float
    summary: str
    rule: str = ""
    owner: str = ""
    acknowledged_at: float | None = None
    acknowledged_by: str = ""
    acknowledged_until: float | None = None
    sticky: bool = False
    resolved_at: float | None = None
    muted_by: str = ""
    muted_until: float | None = None
    flapping: bool = False
    told: tuple[Recipient, ...] = ()
    told_severity: Severity = Severity.OK
    floor: Severity = Severity.OK
    step: int = 0
    rounds: int = 0
    next_step_at: float | None = None
    next_reminder_at: float | None = None
    sequence: int = 0
    alert: Alert | None = None
    first_acknowledged_at: float | None = None
    first_acknowledged_by: str = ""

    @property
    def taken_at(self) -> float | None:
        """When somebody acknowledged it first, for whoever asks how long that took."""
        return self.acknowledged_at if self.first_acknowledged_at is None else self.first_acknowledged_at

    @property
    def taken_by(self) -> str:
        """Who acknowledged it first."""
        return self.first_acknowledged_by or self.acknowledged_by


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of an incident's timeline, with the reason for the decision.

    ``by`` is who or what caused it (``engine``, a person's name), ``reason`` the sentence that answers "why".
    """

    incident: int
    sequence: int
    kind: EventKind
    at: float
    severity: Severity
    summary: str
    reason: str
    by: str = "engine"


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A whole document that goes with a message where the medium can carry it: text, HTML and its pictures.

    ``pictures`` are names (as ``cid:name`` in the HTML) and PNG in base64, ``page`` the document as a page of its own.
    """

    text: str
    html: str
    pictures: tuple[tuple[str, str], ...]
    page: str
    page_name: str


@dataclass(frozen=True, slots=True)
class Message:
    """Everything that can be said in a notification, independent of any medium (see the webhook message)."""

    event: EventKind
    at: float
    watchd: str
    location: str
    incident: int
    severity: Severity
    state: IncidentState
    opened_at: float
    url: str
    check: str
    probe: str
    target: str
    subject: str
    tags: tuple[str, ...]
    owner: str
    runbook: str
    summary: str
    reason: str
    measurements: tuple[tuple[str, float, str], ...] = ()
    """Name (with labels as ``name{label=value}``), value, unit word."""
    contacts: tuple[str, ...] = ()
    previous_severity: Severity = Severity.OK
    by: str = ""
    timezone: str = "UTC"
    items: tuple[Message, ...] = ()
    """The messages a digest or a cost-cap summary stands for; empty otherwise."""
    note: str = ""
    """Something about the message itself: that it comes by a fallback, or why several come as one."""
    ack_url: str = ""
    """Where whoever gets this copy can acknowledge it; put in when it is handed over, stored nowhere."""
    question: bool = False
    """Whether it asks whoever gets it something, which they answer there."""
    own_subject: str = ""
    """The headline in the words of the channel's own template; empty: the built-in one."""
    own_text: str = ""
    """The text in the words of the channel's own template; empty: the built-in one."""
    report: int = 0
    """The number of the report that it brings; 0: none."""
    enclosure: Enclosure | None = None
    """The report itself; put in when it is handed over, stored nowhere."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message owed to one recipient because of one incident event.

    ``id`` is its idempotency key: the same event to the same recipient always has the same one.
    ``not_before`` delays it (digest).
    ``fallbacks`` are told in its place, in order, when its channel cannot deliver. It may be kept for ``wait`` seconds
    to be told together with others of its ``group``.
    """

    id: str
    incident: int
    event: EventKind
    severity: Severity
    recipient: Recipient
    created_at: float
    not_before: float
    message: Message
    digest: bool = False
    fallbacks: tuple[Recipient, ...] = ()
    group: str = ""
    wait: float = 0.0


class DeliveryState(StrEnum):
    """Where a notification stands on its way."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up: the channel refused it for good or the deadline for trying passed (the dead-letter list)."""
    MERGED = "merged"
    """Its content went out as part of a digest or a summary."""
    SUPERSEDED = "superseded"
    """Need not be told any more: a reminder of what is acknowledged or over by now, or somebody said so."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification with where it stands: the row of the outbox.

    ``next_attempt_at`` of one that failed is when it was given up.
    """

    notification: Notification
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    next_attempt_at: float = 0.0
    last_error: str = ""
    delivered_at: float | None = None
    receipt: str = ""
    fell_back: bool = False
