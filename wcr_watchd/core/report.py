"""Reports as plain values: what is asked for, what was found, and the document that came of it."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from zoneinfo import ZoneInfo

from wcr_watchd.core.announcements import covered
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.escalation import unreachable
from wcr_watchd.core.local_time import instant, local_time
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import Labels, MeasurementSpec
from wcr_watchd.core.mute import facts_of_check, window_spans
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.on_call import by_people, turns
from wcr_watchd.core.review import Affected, Facts, Review
from wcr_watchd.core.setup import Check, Setup, Target
from wcr_watchd.core.silence import Matcher, Silence, covers
from wcr_watchd.core.similar import Earlier
from wcr_watchd.core.status import StatusPage
from wcr_watchd.core.task import PREFIX
from wcr_watchd.core.thresholds import thresholds

DAY = 86_400.0
UPCOMING = 14 * DAY
"""Seconds that a report looks ahead."""
MOST_UPCOMING = 40
REHEARSAL = "rehearsal"
"""The tag of tasks in which people rehearse a disaster: the report of drills tells who signed them off."""
A_YEAR = 367 * DAY
"""Seconds that a monthly report looks back beyond its own month, with some to spare."""


class Audience(StrEnum):
    """For whom a report is: ``stakeholders`` read nothing of what is inside (checks, targets, people)."""

    TEAM = "team"
    STAKEHOLDERS = "stakeholders"


class ReportKind(StrEnum):
    """What a report covers."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    DRILL = "drill"
    """What was rehearsed of a disaster in a quarter: restores of backups, and drills of alarms."""
    INCIDENT = "incident"
    """One incident, and what people make of it."""

    @property
    def is_periodic(self) -> bool:
        """Whether it is of a period, and so can be written on a schedule."""
        return self is not ReportKind.INCIDENT


PERIODIC = tuple(kind for kind in ReportKind if kind.is_periodic)


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """A configured report: when (a cron expression in ``timezone``), of what and to whom.

    ``matchers`` narrow it to the checks that they cover; none: all.
    """

    name: str
    kind: ReportKind
    audience: Audience
    schedule: str
    timezone: str
    tell: tuple[Target, ...] = ()
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportWish:
    """A report that somebody asks for: a configured one or a kind by ``name``, for another audience if one is given.

    With ``send`` it goes to those who would get it on schedule, with ``tell`` (such as ``mail:board``) to these.
    ``incident`` is the number of the one that a report of the kind ``incident`` is about.
    """

    name: str
    audience: Audience | None = None
    send: bool = False
    incident: int = 0
    tell: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that a rule holds a measurement against: ``>`` 50 GiB; ``filters`` are label, ``=`` or ``!=``, value."""

    measurement: str
    symbol: str
    value: float
    filters: tuple[tuple[str, str, str], ...] = ()

    def is_of(self, labels: Labels) -> bool:
        """Whether the series with these labels is meant."""
        return all(((label, value) in labels) is (symbol == "=") for label, symbol, value in self.filters)


@dataclass(frozen=True, slots=True)
class Subject:
    """A check as a report needs it; ``rules`` are severity and text, ``measures`` name and unit.

    ``target`` is what it looks at, in one line, ``limits`` what its rules hold its measurements
    against, ``month_begins`` the day on which costs begin again.
    """

    name: str
    probe: str
    group: str
    tags: tuple[str, ...]
    owner: str
    runbook: str
    every: float
    rules: tuple[tuple[str, str], ...]
    measures: tuple[tuple[str, str], ...]
    target: str = ""
    limits: tuple[Limit, ...] = ()
    month_begins: int = 1


@dataclass(frozen=True, slots=True)
class Rehearsable:
    """What could be rehearsed: policies, channels, those of them that prove themselves by canaries; and what people do.

    ``tasks`` are the checks of the tasks that rehearse something, by their tag :data:`REHEARSAL`, with their schedules.
    """

    policies: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    with_canary: tuple[str, ...] = ()
    tasks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """Planned maintenance by a window, or by hand: of which checks, and each time from when to when (epoch seconds)."""

    name: str
    checks: tuple[str, ...]
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What is to come: when (epoch seconds), what kind of thing (``maintenance``, ``on call``, ``task``), in words."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a report is written from, besides the records in the file ``store``.

    It covers ``since`` to ``until`` and compares with ``before`` to ``since`` (epoch seconds). What was ``planned`` is
    told from :func:`reach_back` on, and for as long as the ``objectives`` reach back.
    """

    name: str
    kind: ReportKind
    audience: Audience
    watchd: str
    location: str
    timezone: str
    url: str
    store: str
    now: float
    before: float
    since: float
    until: float
    subjects: tuple[Subject, ...]
    planned: tuple[Planned, ...] = ()
    upcoming: tuple[Upcoming, ...] = ()
    rehearsable: Rehearsable = Rehearsable()
    objectives: tuple[Objective, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentWanted:
    """All that the report of an incident is written from.

    ``earlier`` are the likest ones before it, ``recent`` is how often it came in ninety days. ``components`` is what
    the public calls what was hit.
    """

    name: str
    audience: Audience
    watchd: str
    location: str
    timezone: str
    url: str
    now: float
    facts: Facts
    written: Review
    earlier: tuple[Earlier, ...] = ()
    recent: int = 1
    affected: tuple[Affected, ...] = ()
    components: tuple[str, ...] = ()
    kind: ReportKind = ReportKind.INCIDENT


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart as PNG (base64), shown in a mail where its HTML says ``cid:name``."""

    name: str
    png: str


@dataclass(frozen=True, slots=True)
class Document:
    """A finished report: a page of its own (``html``), the mail, plain text, and the facts as JSON and CSV.

    ``summary`` says the most important in one line.
    """

    name: str
    kind: ReportKind
    audience: Audience
    title: str
    summary: str
    made_at: float
    since: float
    until: float
    html: str = ""
    mail: str = ""
    text: str = ""
    json: str = ""
    csv: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Filed:
    """A report as it is kept, under its number. ``scheduled`` says that it was due; somebody asked for it otherwise."""

    number: int
    document: Document
    scheduled: bool


def reach_back(kind: ReportKind, since: float) -> float:
    """From when on (epoch seconds) there are figures in a report of the time since then: a monthly one shows a year."""
    return since - A_YEAR if kind is ReportKind.MONTHLY else since


def period(kind: ReportKind, timezone: str, now: float, *, whole: bool) -> tuple[float, float, float]:
    """What a report at ``now`` covers: the beginning of the period before, its own beginning and end (epoch seconds).

    ``whole`` is the last whole week (from Monday), month or quarter of the time zone, as reports on a schedule have
    it; else the seven days, or the months, up to now.
    """
    zone = ZoneInfo(timezone)
    end = local_time(now, zone)
    if whole:
        midnight = datetime(end.year, end.month, end.day)  # noqa: DTZ001 - local times, turned into instants below
        if kind is ReportKind.WEEKLY:
            end = midnight - timedelta(days=midnight.weekday())
        else:
            month = midnight.month if kind is ReportKind.MONTHLY else (midnight.month - 1) // 3 * 3 + 1
            end = midnight.replace(month=month, day=1)
    begin = _back(kind, end)
    until = instant(end, zone) if whole else now
    return instant(_back(kind, begin), zone), instant(begin, zone), until


def _back(kind: ReportKind, end: datetime) -> datetime:
    if kind is ReportKind.WEEKLY:
        return end - timedelta(days=7)
    year, month = divmod(end.year * 12 + end.month - 1 - (1 if kind is ReportKind.MONTHLY else 3), 12)
    return end.replace(year=year, month=month + 1, day=min(end.day, monthrange(year, month + 1)[1]))


def chosen(setup: Setup, plan: ReportPlan) -> list[Check]:
    """The checks that a report is about; tasks are duties and no services that could be up or down."""
    found = [one for name, one in setup.checks.items() if not name.startswith(PREFIX)]
    return [one for one in found if not plan.matchers or covers(plan.matchers, facts_of_check(setup, one))]


def rehearsals(setup: Setup) -> dict[str, str]:
    """The checks of the tasks in which something is rehearsed, with their schedules."""
    tasks = (one for name, one in setup.checks.items() if name.startswith(PREFIX))
    return {one.name: one.target for one in tasks if REHEARSAL in one.tags}


UNNAMED = "Status"
"""What stakeholders read where nothing public has a name."""


def public_name(setup: Setup, page: StatusPage | None, host: str) -> str:
    """What stakeholders read in place of the daemon's name: the title of the status page.

    Without one it is that name, unless it is the one of the machine, which is named ``host``.
    """
    if page is not None:
        return page.title
    return UNNAMED if setup.name in (host, host.partition(".")[0]) else setup.name


def targets_of(setup: Setup, texts: Sequence[str], now: float) -> tuple[Target, ...]:
    """Whom texts such as ``mail:ops`` name. Raises ``CommandError`` for one that cannot be told now."""
    found = tuple(Target(*text.strip().split(":", 1)) for text in texts)
    for one in found:
        if one.channel not in setup.channels:
            known = ", ".join(sorted(setup.channels)) or "none"
            raise CommandError(f'there is no channel "{one.channel}"; there are: {known}. Write CHANNEL:CONTACT')
    if why := unreachable(setup, found, now):
        raise CommandError(f"nobody can be told: {'; '.join(why)}")
    return found


def promised(setup: Setup, plan: ReportPlan, subjects: Sequence[Subject]) -> tuple[Objective, ...]:
    """The objectives that a report tells of: those of its checks alone; stakeholders read none."""
    names = {one.name for one in subjects}
    if plan.audience is not Audience.TEAM or plan.kind is ReportKind.DRILL:
        return ()
    return tuple(one for one in setup.objectives.values() if one.checks and names.issuperset(one.checks))


def subject(check: Check, specs: Sequence[MeasurementSpec]) -> Subject:
    """What a report needs of a check."""
    return Subject(
        check.name,
        check.probe,
        check.group,
        check.tags,
        check.owner,
        check.runbook,
        check.every,
        tuple((rule.severity.word, rule.text) for rule in check.rules),
        tuple((spec.name, spec.unit.value) for spec in specs if not spec.counter),
        check.target,
        tuple(_limits(check, specs)),
        check.month_begins,
    )


def _limits(check: Check, specs: Sequence[MeasurementSpec]) -> Iterator[Limit]:
    for spec in specs:
        for one in thresholds(check.rules, spec.name):
            filters = tuple((known.label, known.symbol, known.value) for known in one.series.filters)
            yield Limit(spec.name, one.symbol, one.value, filters)


def public_subjects(
    setup: Setup, page: StatusPage, checks: Sequence[Check], specs: Mapping[str, Sequence[MeasurementSpec]]
) -> tuple[Subject, ...]:
    """The subjects by the names that visitors of the status page know, one for each component that a check is part of.

    What is part of none is not public, and left out.
    """
    return tuple(
        replace(subject(check, specs.get(check.name, ())), group=component.name)
        for component in page.components
        for check in checks
        if covers(component.matchers, facts_of_check(setup, check))
    )


def planned(setup: Setup, silences: Mapping[str, Silence], since: float, until: float) -> tuple[Planned, ...]:
    """The planned maintenance between two times: windows, and what was started by hand."""
    found = []
    for window in setup.windows:
        spans = tuple(window_spans(silences, window, since, until))
        found.append(Planned(window.name, tuple(covered(setup, window.matchers)), spans))
    for one in silences.values():
        if one.maintenance and one.starts_at < until and one.ends_at > since:
            checks = tuple(
                name for name, check in setup.checks.items() if covers(one.matchers, facts_of_check(setup, check))
            )
            found.append(Planned("by hand", checks, ((one.starts_at, one.ends_at),)))
    return tuple(one for one in found if one.spans)


def _until(spans: Iterator[tuple[float, float]], until: float) -> Iterator[tuple[float, float]]:
    return takewhile(lambda span: span[0] < until, spans)


def upcoming(setup: Setup, now: float, tasks: Sequence[Upcoming] = ()) -> tuple[Upcoming, ...]:
    """What comes in the next two weeks: tasks, and by the calendar maintenance and who is on call from when on."""
    found = [one for one in tasks if one.at < now + UPCOMING]
    found += [
        Upcoming(start, "maintenance", _window_words(window.name, window.comment, start, end, setup.timezone))
        for window in setup.windows
        for start, end in _until(window.spans.after(now), now + UPCOMING)
    ]
    for schedule in setup.on_call.values():
        for turn in by_people(turns(schedule, now, now + UPCOMING)):
            if turn.start > now:
                who = ", ".join(turn.contacts) or "nobody"
                found.append(Upcoming(turn.start, "on call", f"{schedule.name}: {who}"))
    return tuple(sorted(found, key=lambda one: one.at)[:MOST_UPCOMING])


def _window_words(name: str, comment: str, start: float, end: float, timezone: str) -> str:
    times = f"until {clock_time(end, timezone, start)}"
    return f"{name} {times}" + (f": {comment}" if comment else "")
