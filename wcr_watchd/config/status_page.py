"""``[status_page]`` and ``[status_page.component.NAME]``: what is public, where, and under which names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.maintenance import LONGEST_NOTICE, Coverage, Known, covering
from wcr_watchd.config.models import Interval, ListenAddress, Timezone
from wcr_watchd.config.people import People
from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.status import Component, MaintenanceMails, Posting, ShownFrom, StatusPage, Together
from wcr_watchd.core.units import format_duration, parse_duration
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.outbound import Url
from wcr_watchd.kit.refused import RefusedError, did_you_mean

SECTION = "status_page"
MOST_DAYS = 365
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_TAKEN = frozenset(
    [
        "account",
        "ack",
        "answer",
        "api",
        "audit",
        "changes",
        "channels",
        "checks",
        "config",
        "dead-letters",
        "favicon.ico",
        "healthz",
        "incidents",
        "knowledge",
        "live",
        "maintenance",
        "metrics",
        "objectives",
        "on-call",
        "ping",
        "probe",
        "readyz",
        "reports",
        "sign-in",
        "sign-out",
        "silences",
        "static",
        "status-posts",
        "tasks",
    ]
)
"""What paths of the dashboard and of programs begin with."""
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _component(name: str) -> str:
    if not _COMPONENT.fullmatch(name):
        raise RefusedError("stands in public addresses", "use small letters, digits, dash and underscore, at most 64")
    return name


def _path(path: str) -> str:
    path = path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise RefusedError("is no path of its own", 'write "/status"')
    if path.split("/")[1] in _TAKEN:
        raise RefusedError("is a path of the dashboard", 'write "/status"')
    return path


def _host(name: str) -> str:
    if name and not re.fullmatch(r"[A-Za-z0-9.-]+", name):
        raise RefusedError("is no host name", 'write it without scheme and port: "status.example.org"')
    if name.lower() == "localhost":
        raise RefusedError("is the name by which commands reach the daemon", "leave it out, or give `listen`")
    return name.lower()


def _moment(word: str) -> str:
    if word in ("start", "end"):
        return word
    try:
        seconds = parse_duration(word)
    except UnitError as error:
        raise RefusedError(f"has {word!r}, which is no time", 'write "24h", "start" or "end"') from error
    if not 0 < seconds <= LONGEST_NOTICE:
        raise RefusedError(f"has {word!r}", f"write a time of at most {format_duration(LONGEST_NOTICE)} before it")
    return word


def _maintenance_mails(words: tuple[str, ...]) -> MaintenanceMails:
    before = {parse_duration(word) for word in words if word not in ("start", "end")}
    return MaintenanceMails(tuple(sorted(before)), "start" in words, "end" in words)


class ComponentTable(Coverage):
    """Something that visitors know by a name, and the checks it stands for. Its key stands in public addresses."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What visitors read."""
    description: Annotated[str, Field(max_length=300)] = ""
    """A sentence about it."""
    group: Annotated[str, Field(max_length=100)] = ""
    """The heading that it stands under."""
    rule: Literal["worst", "any", "most"] = "worst"
    """How its checks make its state: as the worst, working while any works, or by how many fail."""
    shown_from: Literal["warning", "critical", "down"] = "warning"
    """The least trouble of its checks that shows: a warning is "slow or limited", a critical one "partly unavailable",
    and "down" "unavailable"."""
    chart: str = ""
    """A measurement of its checks of which the last day is drawn, such as "response_time"."""

    @model_validator(mode="after")
    def _covers_something(self) -> ComponentTable:
        if not self.checks and not self.tags and not self.match:
            raise RefusedError("does not say which checks it stands for", "give checks, tags or match")
        return self


class StatusPageTable(Options):
    """The public status page. It exists when there is at least one component."""

    title: Annotated[str, Field(min_length=1, max_length=100)] = "Status"
    """The name of the page."""
    description: Annotated[str, Field(max_length=500)] = ""
    """What it is about, in a sentence."""
    url: Url | None = None
    """Where visitors find it; default: `public_url` of [web] with the path. Feeds and mails need it."""
    path: Annotated[str, AfterValidator(_path)] = "/status"
    """Where it is on the addresses of [web]."""
    host: Annotated[str, AfterValidator(_host)] = ""
    """A host name at which there is nothing but the status page, such as "status.example.org"."""
    listen: tuple[ListenAddress, ...] = ()
    """Addresses at which there is nothing but the status page, "host:port"."""
    timezone: Timezone | None = None
    """Time zone of its days and times; default: that of [watchd]."""
    days: Annotated[int, Field(ge=7, le=MOST_DAYS)] = 90
    """How many days have a bar."""
    posts: Literal["none", "draft", "publish"] = "draft"
    """Whether an outage is posted: not, as a draft that a person publishes, or at once."""
    post_after: Duration = 120.0
    """How long an outage must last to be posted."""
    resolve_after: Duration = 300.0
    """How long all must be well until a post that follows the checks says that it is resolved."""
    folder: str = ""
    """A folder that a copy is written to, for a web server to serve while the daemon is down."""
    every: Interval = 60.0
    """How often the page is made anew at least, and the copy written."""
    mail: str = ""
    """The channel (of type email) by which visitors may have themselves told; without it they cannot."""
    mail_maintenance: Annotated[tuple[Annotated[str, AfterValidator(_moment)], ...], Field(max_length=10)] = ()
    """When subscribers are told of planned maintenance: times before it ("7d"), "start" and "end"; empty: never."""
    support: Url | None = None
    """Where visitors find help; the page links to it."""
    component: dict[Annotated[str, AfterValidator(_component)], ComponentTable] = Field(default_factory=dict)
    """What is shown, in this order."""


def read_status_page(
    faults: Faults, data: Mapping[str, Any], timezone: str, public_url: str, people: People, known: Known
) -> StatusPage | None:
    """Read the section; None when there is none. ``timezone`` and ``public_url`` are those of [watchd] and [web]."""
    if SECTION not in data:
        return None
    read = faults.validate(StatusPageTable, data[SECTION], (SECTION,))
    if read is None:
        return None
    if not read.component:
        faults.add((SECTION,), "has no components", 'add [status_page.component.site] with name = "Website"')
    _check_mail(faults, read, people)
    components = [_read(faults, name, table, known) for name, table in read.component.items()]
    url = (read.url or (public_url.rstrip("/") + read.path if public_url else "")).rstrip("/")
    if read.mail and not url:
        faults.add((SECTION, "url"), "is needed for the links in mails", 'write url = "https://status.example.org"')
    return StatusPage(
        title=read.title,
        components=tuple(one for one in components if one is not None),
        timezone=read.timezone or timezone,
        description=read.description,
        url=url,
        path=read.path,
        host=read.host,
        listen=read.listen,
        days=read.days,
        posting=Posting(read.posts),
        post_after=read.post_after,
        resolve_after=read.resolve_after,
        folder=read.folder,
        every=read.every,
        mail=read.mail,
        support=read.support or "",
        maintenance_mails=_maintenance_mails(read.mail_maintenance),
    )


def _check_mail(faults: Faults, read: StatusPageTable, people: People) -> None:
    if not read.mail:
        if read.mail_maintenance:
            faults.add((SECTION, "mail_maintenance"), "needs a channel for mails", 'set mail = "NAME" beside it')
        return
    if read.mail not in people.kinds:
        hint = did_you_mean(read.mail, people.kinds)
        faults.add_reference((SECTION, "mail"), f'there is no channel "{read.mail}"', hint)
    elif people.kinds[read.mail] not in ("email", None):
        faults.add((SECTION, "mail"), f'"{read.mail}" sends no mails', "name a channel of type email")


def _read(faults: Faults, name: str, table: ComponentTable, known: Known) -> Component | None:
    matchers = covering(faults, (SECTION, "component", name), table, known)
    if matchers is None:
        return None
    return Component(
        id=name,
        name=table.name,
        matchers=matchers,
        description=table.description,
        group=table.group,
        together=Together(table.rule),
        shown_from=ShownFrom(table.shown_from),
        chart=table.chart,
    )
