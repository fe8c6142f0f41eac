"""The sections of the configuration, but for a probe's or a channel's own options: what may stand there."""

from __future__ import annotations

import ipaddress
import re
import socket
from datetime import time
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.local_time import MINUTES_A_WEEK, WeekSpans
from wcr_watchd.core.units import parse_duration
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.network import split_address
from wcr_watchd.kit.options import Duration, Options, Secret
from wcr_watchd.kit.outbound import SecretUrl, Url
from wcr_watchd.kit.refused import RefusedError, did_you_mean
from wcr_watchd.kit.signed import state_folder
from wcr_watchd.kit.templates import TemplateText
from wcr_watchd.kit.week_hours import FULL_WEEKDAYS, WEEKDAYS, WeekHours

SHORTEST_INTERVAL = 0.1
SHORTEST_TOKEN = 16
SHORTEST_CANARY = 1.0
DAY = 86_400.0

# --- option types -----------------------------------------------------------------------------------------------------


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _interval(seconds: float) -> float:
    if seconds < SHORTEST_INTERVAL:
        raise ValueError(f"must be at least {SHORTEST_INTERVAL * 1000:.0f}ms")
    return seconds


def _canary(seconds: float) -> float:
    if seconds < SHORTEST_CANARY:
        raise ValueError(f"must be at least {SHORTEST_CANARY:.0f}s")
    return seconds


def _day(seconds: float) -> float:
    if seconds < DAY:
        raise ValueError("must be at least 1d")
    return seconds


def _listed(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be text in quotes or a list of texts")
    return [value] if isinstance(value, str) else value


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        close = did_you_mean(name, available_timezones())
        hint = close if close.startswith("did") else 'write an IANA name such as "Europe/Berlin" or "UTC"'
        raise RefusedError("is no time zone", hint) from error
    return name


def _limit(text: object) -> object:
    """``10/1h``: so many in so long."""
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\S.*)", text) if isinstance(text, str) else None
    if match is None:
        raise RefusedError("is no limit", 'write how many in how long: "10/1h"')
    try:
        count, seconds = int(match[1]), parse_duration(match[2].strip())
    except UnitError as error:
        raise ValueError(str(error)) from error
    if not count or seconds <= 0:
        raise RefusedError("must allow at least one message in some time", "leave the channel out of `tell` instead")
    return count, seconds


def _handover(text: object) -> object:
    """``Mon 09:00``: weekday (0 = Monday) and local time."""
    match = re.fullmatch(r"\s*([A-Za-z]+)\s+(\d{1,2}):(\d{2})\s*", text) if isinstance(text, str) else None
    day = match[1].lower() if match else ""
    if match is None or day not in WEEKDAYS + FULL_WEEKDAYS or int(match[2]) > 23 or int(match[3]) > 59:
        raise RefusedError("is no weekday and time", 'write "Mon 09:00"')
    return WEEKDAYS.index(day[:3]), time(int(match[2]), int(match[3]))


def _listen(address: object) -> object:
    if not isinstance(address, str):
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise ValueError('must be "host:port", for example "127.0.0.1:9848"')
    if port == "0":  # any free port; useful for tests
        return split_address(f"{host}:1")[0], 0
    return split_address(address)


def _phone(number: str) -> str:
    compact = re.sub(r"[\s().-]", "", number)
    if not re.fullmatch(r"\+[1-9]\d{6,14}", compact):
        raise RefusedError("is no phone number", 'write it with the country\'s code: "+15550100" (E.164)')
    return compact


def _mail_address(address: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+", address):
        raise RefusedError("is no mail address", 'write "name@example.org"')
    return address


def _not_always(spans: WeekSpans) -> WeekSpans:
    if spans == ((0, MINUTES_A_WEEK),):
        raise RefusedError("is the whole week, so that nothing would ever be told", "leave some time to be told in")
    return spans


def _sqlite_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in ("postgres", "postgresql"):
        raise RefusedError(
            "a store in PostgreSQL is not in this version", 'write "sqlite:///absolute/path.db", or leave it out'
        )
    if parts.scheme != "sqlite" or parts.netloc or parts.path in ("", "/"):
        raise RefusedError("is no place to store", 'write "sqlite:///absolute/path.db": three slashes')
    return url


Interval = Annotated[Duration, AfterValidator(_interval)]
Span = Annotated[Duration, AfterValidator(_positive)]
Canary = Annotated[Duration, AfterValidator(_canary)]
Days = Annotated[Duration, AfterValidator(_day)]
_TEXTS: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_TEXTS)]
"""One text or a list of texts."""
Phones = Annotated[
    tuple[Annotated[str, AfterValidator(_phone)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema(_TEXTS),
]
MailAddresses = Annotated[
    tuple[Annotated[str, AfterValidator(_mail_address)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    WithJsonSchema(_TEXTS),
]
Timezone = Annotated[str, AfterValidator(_timezone)]
Limit = Annotated[
    tuple[int, float],
    BeforeValidator(_limit),
    WithJsonSchema({"type": "string", "pattern": r"^\d+/.+$", "examples": ["10/1h"]}),
]
Handover = Annotated[
    tuple[int, time], BeforeValidator(_handover), WithJsonSchema({"type": "string", "examples": ["Mon 09:00"]})
]
ListenAddress = Annotated[
    tuple[str, int], BeforeValidator(_listen), WithJsonSchema({"type": "string", "examples": ["127.0.0.1:9848"]})
]

# --- single sections --------------------------------------------------------------------------------------------------


class Watchd(Options):
    """The daemon itself."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(default_factory=socket.gethostname)
    """Stands in every message; default: the host name."""
    timezone: Timezone = Field(default_factory=local_timezone)
    """Time zone of messages, windows and schedules, such as "America/New_York"; default: the system's."""
    location: Annotated[str, Field(min_length=1, max_length=64)] = "local"
    """Where this daemon stands."""
    control: Texts = ()
    """Checks of what is always there, such as the gateway: when all fail, it is this machine that is offline, and
    nothing is said of anything beyond it."""
    reopen_within: Duration = 300.0
    """How long after its end an incident that comes back goes on as the same one; 0s: never."""
    tell_absence: Duration = 300.0
    """After how long without anybody watching (a stop, a sleep of the machine) that is told; 0s: never."""


class Retention(Options):
    """How long history is kept."""

    raw: Days = 7 * DAY
    """Every single observation."""
    five_minutes: Days = 60 * DAY
    """Observations rolled up over five minutes."""
    rollup: Days = 400 * DAY
    """Observations rolled up over an hour."""
    incidents: Days = 400 * DAY
    """Resolved incidents and what was told of them."""

    @model_validator(mode="after")
    def _grows(self) -> Retention:
        if not self.raw <= self.five_minutes <= self.rollup:
            raise ValueError("must grow: raw at most five_minutes, five_minutes at most rollup")
        return self


class Store(Options):
    """Where state, incidents and history are stored."""

    url: Annotated[str, AfterValidator(_sqlite_url)] = Field(default_factory=lambda: default_store_url())
    """sqlite:///absolute/path.db; default: watchd.db in the state folder."""
    retention: Retention = Retention()
    """How long history is kept."""


class Web(Options):
    """Dashboard, API and metrics."""

    listen: tuple[ListenAddress, ...] = (("127.0.0.1", 9848),)
    """Addresses to serve on, "host:port"."""
    public_url: Url | None = None
    """Where people reach the dashboard; links in messages begin with it."""
    token: Secret | None = None
    """What programs show and people sign in with, to do everything."""
    metrics: Literal["loopback", "all"] = "loopback"
    """Who may read /metrics without a credential: programs on this machine, or all."""
    certificate: str | None = None
    """PEM file with the certificate chain, to serve HTTPS; it is read again whenever it is renewed."""
    key: str | None = None
    """PEM file with its key."""
    trusted_proxies: tuple[Annotated[IPv4Network | IPv6Network, Field(union_mode="left_to_right")], ...] = ()
    """Reverse proxies that are believed about who asks (X-Forwarded-For and the like), such as "127.0.0.1"; those of
    all others are ignored."""


class Probing(Options):
    """`/probe` for a Prometheus that is configured for blackbox_exporter."""

    modules: str | None = None
    """blackbox_exporter's module file, read as it is; without it nothing is probed there."""
    allow: tuple[Annotated[IPv4Network | IPv6Network, Field(union_mode="left_to_right")], ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """Networks whose programs may use it without the token, such as "192.0.2.0/24"."""
    timeout_offset: Duration = 0.5
    """How much earlier than Prometheus' own deadline a probe ends."""


class HeartbeatTable(Options):
    """A sign of life to somebody else, sent only while this daemon really works."""

    url: SecretUrl
    """Where to send it, such as "https://hc-ping.com/…"; whoever knows it can fake it, so keep it in a credential."""
    every: Interval = 60.0
    """How often; the other side should wait for two or three before it raises an alarm."""
    method: Literal["POST", "GET", "HEAD"] = "POST"
    """The request's method."""


class Alerts(Options):
    """Alerts that a Prometheus sends here, as to an Alertmanager."""

    enabled: bool = False
    """Whether they are taken, and `/api/v2` answers."""
    policy: str | None = None
    """The escalation policy of alerts without a label `policy`; default: that of [defaults]."""
    resolve_timeout: Span = 300.0
    """For how long an alert holds that is sent without its end."""
    severity: dict[str, Literal["info", "warning", "critical"]] = Field(default_factory=dict)
    """How bad an alert is by the value of its label `severity`, besides info, warning and critical themselves."""
    default: Literal["info", "warning", "critical"] = "warning"
    """How bad an alert is whose label `severity` says none of these."""
    without_token: bool = False
    """Whether programs on this machine may use `/api/v2` without the token of [web]."""


class RetryTable(Options):
    """Quick confirmation of a failure."""

    times: Annotated[int, Field(ge=0, le=20)] = 2
    """How many more runs before anybody is told; 0: none."""
    every: Span = 10.0
    """How long after each other."""


class Defaults(Options):
    """What holds for checks that do not say otherwise."""

    every: Interval | None = None
    """How often a check runs; types with a rhythm of their own (host: 15s, certificates: 1h) keep that."""
    timeout: Span | None = None
    """Longest time one run may take."""
    retry: RetryTable = RetryTable()
    """Quick confirmation of a failure."""
    policy: str | None = None
    """The escalation policy."""
    tags: Texts = ()
    """Tags that every check has."""
    flapping: bool = True
    """Whether what comes and goes is said once and then left in peace until it is stable."""


# --- checks, channels, people -----------------------------------------------------------------------------------------


class CheckTable(Options):
    """What checks of all types have in common."""

    type: str
    """What is watched: the probe type."""
    every: Interval | None = None
    """How often it runs."""
    timeout: Span | None = None
    """Longest time one run may take; not longer than ``every``."""
    retry: RetryTable | None = None
    """Quick confirmation of a failure before anybody is told."""
    info: Texts | None = None
    """Rules that make it an info; they replace the type's own, [] means none."""
    warning: Texts | None = None
    """Rules that make it a warning; they replace the type's own, [] means none."""
    critical: Texts | None = None
    """Rules that make it critical; they replace the type's own, [] means none."""
    depends_on: Texts = ()
    """Checks whose failure explains a failure of this one."""
    tags: Texts = ()
    """Words to find it by."""
    owner: str = ""
    """Who cares for it; stands in messages."""
    group: str = ""
    """Heading under which it is shown."""
    runbook: str = ""
    """What to do when it fails: a URL, or the name of a runbook of the knowledge folder; default: one that is about
    it."""
    vendor: str = ""
    """The vendor behind it: the name of one of the knowledge folder."""
    month_begins: Annotated[int, Field(ge=1, le=31)] = 1
    """The day of the month on which what the tag `costs` counts begins again; the last one where a month is shorter."""
    policy: str | None = None
    """The escalation policy."""
    locations: Texts | None = None
    """Locations that run it; without it, all do."""
    flapping: bool | None = None
    """Whether what comes and goes is said once and then left in peace until it is stable."""
    external: bool | None = None
    """Whether it looks beyond this machine; default: whether its target does."""
    enabled: bool = True
    """Whether it runs at all."""


class TemplateTable(Options):
    """A channel's own words, as Jinja2 templates; see docs/channels.md for what stands in them."""

    subject: TemplateText = ""
    """The headline; empty: the built-in one."""
    text: TemplateText = ""
    """The text in place of summary and facts; empty: the built-in one."""


class ChannelTable(Options):
    """What channels of all types have in common."""

    type: str
    """How it tells: the channel type."""
    limit: Limit | None = None
    """Most messages in so long ("10/1h"); the rest arrives as one summary."""
    canary: Canary | None = None
    """How often a small [TEST] message proves that it delivers, such as "24h"; a failure opens an incident."""
    canary_to: str = ""
    """The contact or on-call schedule that gets it, where the channel needs one."""
    template: TemplateTable = TemplateTable()
    """Own words for headline and text."""


class ContactTable(Options):
    """A person. Of several addresses of a kind the first is told, the next when that cannot be reached."""

    phone: Phones | None = None
    """Phone number with the country's code, "+15550100", or several."""
    email: MailAddresses | None = None
    """Mail address, or several."""
    quiet: Annotated[WeekHours, AfterValidator(_not_always)] | None = None
    """Hours in which messages wait, but for critical ones: "22:00-07:00", "Mon-Fri 22:00-07:00", or a list."""
    timezone: Timezone | None = None
    """Time zone of the quiet hours; default: that of [watchd]."""


class StepTable(Options):
    """What happens when nobody has acknowledged for a while."""

    after: Span
    """How long after the incident began."""
    tell: Texts = ()
    """Whom to tell then."""
    raise_: Literal["warning", "critical"] | None = Field(default=None, alias="raise")
    """The severity it then rises to."""

    @model_validator(mode="after")
    def _does_something(self) -> StepTable:
        if not self.tell and self.raise_ is None:
            raise RefusedError("does nothing", "give `tell` or `raise`")
        return self


class PlanTable(Options):
    """What to do about incidents of one severity."""

    tell: Texts = ()
    """Whom to tell at once: "channel:contact", "channel:schedule", or "channel"."""
    escalate: tuple[StepTable, ...] = ()
    """What happens without an acknowledgement."""
    repeat: Span | None = None
    """How often to remind until somebody acknowledges."""
    digest: Span | None = None
    """Collect for so long and tell in one message."""
    group_wait: Duration | None = None
    """How long a message may wait for others that belong to it, to be one; 0s: not at all. Default: 200ms for critical,
    5s for warning and info."""
    group_by: Annotated[tuple[Literal["group", "host", "tag", "check"], ...], Field(min_length=1)] = ("group",)
    """What checks must have in common to be told together; a check without a group is in that of its host."""
    loop: Annotated[int, Field(ge=0, le=100)] = 0
    """How often all steps begin again after the last one, while nobody acknowledges."""
    fallback: Texts | None = None
    """Whom to tell when a channel of `tell` cannot deliver; default: the same people by the policy's other channels."""


# --- defaults of this machine -----------------------------------------------------------------------------------------


def default_store_url() -> str:
    """The URL of ``watchd.db`` in the state folder."""
    return f"sqlite://{quote(str(state_folder() / 'watchd.db'))}"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach this listen address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
