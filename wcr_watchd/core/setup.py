"""What the engine works with: checks, policies, contacts and on-call schedules, built from a valid configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wcr_watchd.core.changes import Category, Plan
from wcr_watchd.core.knowledge import Book
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.model import Retry, Severity
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.on_call import OnCallSchedule
from wcr_watchd.core.rules import Rule
from wcr_watchd.core.silence import Window


@dataclass(frozen=True, slots=True)
class FlapLimits:
    """The weighted share of changes among the last results above which a check flaps, and below which it is stable."""

    start: float = 0.30
    end: float = 0.25


@dataclass(frozen=True, slots=True)
class Check:
    """One configured thing to watch.

    ``probe`` is the probe type's name, ``target`` what it looks at in one line, ``every`` and ``timeout`` are
    seconds. ``fingerprint`` changes whenever any of its settings does: an unchanged one keeps schedule and state.
    ``external`` says that it looks beyond this machine, so that it can say nothing while the network is gone.
    ``flapping`` is None where coming and going is nothing to be said. ``runbook`` is a URL, or the name of an entry of
    the knowledge folder, as ``vendor`` is. ``staged`` says that its rules are stages of one thing, so that each that
    begins to hold is told, also when it is no worse than the one before. ``month_begins`` is the day of the month on
    which costs begin again, ``asks`` the contact of whom it asks whether they can be reached (empty: nobody).
    """

    name: str
    probe: str
    target: str
    every: float
    timeout: float
    rules: tuple[Rule, ...]
    retry: Retry = Retry()
    policy: str = "default"
    depends_on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    owner: str = ""
    group: str = ""
    runbook: str = ""
    vendor: str = ""
    fingerprint: str = ""
    external: bool = False
    flapping: FlapLimits | None = FlapLimits()
    staged: bool = False
    month_begins: int = 1
    asks: str = ""


OWN = Check(
    name="wcr-watchd", probe="wcr-watchd", target="this daemon", every=60.0, timeout=10.0, rules=(), flapping=None
)
"""The daemon itself, as incidents about its own trouble name it; no configured check may have its name."""


FOLLOW_UPS = "[follow_ups]"
"""The policy of follow-ups, called like the section that says what it is; no configured one can have this name."""
FOLLOW_UP = replace(OWN, policy=FOLLOW_UPS)
"""The daemon where it tells of a follow-up: that somebody has not done what they planned wakes nobody."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a policy tells: a channel, and a contact or on-call schedule where the channel needs one (``sms:ops``)."""

    channel: str
    who: str = ""

    def __str__(self) -> str:
        return f"{self.channel}:{self.who}" if self.who else self.channel


@dataclass(frozen=True, slots=True)
class Step:
    """What happens ``after`` so many seconds without an acknowledgement: tell more, raise the severity."""

    after: float
    tell: tuple[Target, ...] = ()
    raise_to: Severity | None = None


@dataclass(frozen=True, slots=True)
class Escalation:
    """One severity of a policy: whom to tell at once, whom later, how often to repeat, whether to batch.

    ``repeat`` and ``digest`` are seconds (None: never, at once). ``loop`` is how often everything begins again after
    the last step. ``fallback`` is told, in order, when a channel of ``tell`` cannot deliver, and when it has nobody.
    Messages may wait ``group_wait`` seconds for others that agree in all of ``group_by`` (``group``, ``host``, ``tag``,
    ``check``); a check without a group is in that of its host.
    """

    tell: tuple[Target, ...] = ()
    steps: tuple[Step, ...] = ()
    repeat: float | None = None
    digest: float | None = None
    fallback: tuple[Target, ...] = ()
    loop: int = 0
    group_wait: float = 0.0
    group_by: tuple[str, ...] = ("group",)


@dataclass(frozen=True, slots=True)
class Policy:
    """An escalation policy: what to do per severity."""

    name: str
    by_severity: Mapping[Severity, Escalation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life to ``url`` (a secret) by an HTTP request of this ``method``, ``every`` so many seconds."""

    url: str
    every: float = 60.0
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Canary:
    """How often (seconds) a channel proves that it delivers, and to which contact or schedule where it needs one."""

    every: float
    to: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person; ``addresses`` by kind (``phone``, ``email``), the first is told, the others when that one fails.

    In the ``quiet`` hours messages wait, but for what is critical.
    """

    name: str
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quiet: Hours | None = None


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """How alerts of Prometheus are taken: by which policy they are told, and how bad they are.

    ``severities`` maps values of the label ``severity``, ``default`` is for all others; ``resolve_timeout`` is for how
    many seconds an alert holds that is sent without its end.
    """

    policy: str = "default"
    resolve_timeout: float = 300.0
    severities: Mapping[str, Severity] = field(default_factory=dict)
    default: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class FollowUpSettings:
    """By which policy follow-ups of incidents are told (it never makes one critical), how bad one is that is late."""

    policy: Policy = Policy(FOLLOW_UPS)
    overdue: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Setup:
    """All that the engine decides by; replaced as a whole on reload.

    ``channels`` maps each configured channel to the kind of address it needs (``phone``, ``email``; empty when
    it has its own destination). ``units`` maps check and measurement to the unit's word, for messages.
    ``controls`` are checks of targets that are only all gone when this machine's own network is. ``reopen_within`` is
    for how many seconds after its end an incident that comes back goes on as the same one, ``tell_absence`` after how
    many seconds without anybody watching that is told (0: never). ``changes`` are the configured kinds of updates,
    ``knowledge`` is what is written down about the checks, ``follow_ups`` is how follow-ups of incidents are told.
    """

    name: str
    location: str
    timezone: str
    public_url: str
    checks: Mapping[str, Check]
    policies: Mapping[str, Policy] = field(default_factory=dict)
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    on_call: Mapping[str, OnCallSchedule] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    alerts: AlertSettings | None = None
    controls: tuple[str, ...] = ()
    reopen_within: float = 300.0
    tell_absence: float = 300.0
    changes: Mapping[str, Plan] = field(default_factory=dict)
    change_categories: Mapping[str, Category] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)
    knowledge: Book = Book()
    follow_ups: FollowUpSettings = FollowUpSettings()
