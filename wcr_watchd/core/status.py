"""The public status page as plain values: components, their state now and on past days, what is told about them.

A component has a public name and stands for some checks. What is made public is built here from public texts alone: no
value in :class:`PublicStatus` comes from the name, target or summary of a check, nor from an incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile

from wcr_watchd.core.connectivity import is_offline
from wcr_watchd.core.model import Incident, Outcome, Severity
from wcr_watchd.core.mute import UNKNOWN_SUBJECT, facts_of_check, open_span, window_spans
from wcr_watchd.core.posts import Impact, Post, named
from wcr_watchd.core.rules import Verdict
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.silence import Matcher, Silence, covers
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import Unit

DAY = 86_400.0
AHEAD = 60 * DAY
"""Seconds for which planned maintenance is told ahead."""
MOST_SPANS = 2
"""Times to come that are told of one maintenance window."""
MISSED_RUNS = 2
"""Intervals without a result after which nothing is known of a check."""


class Condition(StrEnum):
    """How a component is; the words of Statuspage, and ``unknown``, which is never shown as working."""

    OPERATIONAL = "operational"
    MAINTENANCE = "under_maintenance"
    UNKNOWN = "unknown"
    DEGRADED = "degraded_performance"
    PARTIAL = "partial_outage"
    MAJOR = "major_outage"

    @property
    def outage(self) -> bool:
        """Whether this is time that the component was not available."""
        return self in (Condition.PARTIAL, Condition.MAJOR)

    @property
    def trouble(self) -> bool:
        """Whether something is known to be wrong."""
        return self.outage or self is Condition.DEGRADED


WORDS: Mapping[Condition, str] = {
    Condition.OPERATIONAL: "working",
    Condition.MAINTENANCE: "under maintenance",
    Condition.UNKNOWN: "not known",
    Condition.DEGRADED: "slow or limited",
    Condition.PARTIAL: "partly unavailable",
    Condition.MAJOR: "unavailable",
}
"""What a visitor reads."""

_RANK = {condition: rank for rank, condition in enumerate(Condition)}


class Together(StrEnum):
    """How the checks of a component make its state."""

    WORST = "worst"
    """It is as bad as its worst check."""
    ANY = "any"
    """It works while any one of its checks does."""
    MOST = "most"
    """It is partly unavailable when some of its checks fail, unavailable when half of them or more do."""


class ShownFrom(StrEnum):
    """The least trouble of a check that shows in public."""

    WARNING = "warning"
    CRITICAL = "critical"
    DOWN = "down"


class Posting(StrEnum):
    """What becomes of an outage that the checks see."""

    NONE = "none"
    DRAFT = "draft"
    """Posts are drafted; a person publishes them."""
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Component:
    """Something visitors know by a name. ``id`` is public, too: it stands in addresses of badges.

    ``chart`` names the measurement of which a course is shown (empty: none).
    """

    id: str
    name: str
    matchers: tuple[Matcher, ...]
    description: str = ""
    group: str = ""
    together: Together = Together.WORST
    shown_from: ShownFrom = ShownFrom.WARNING
    chart: str = ""


@dataclass(frozen=True, slots=True)
class MaintenanceMails:
    """When subscribers are told of planned maintenance: so many seconds before it, at its start, at its end."""

    before: tuple[float, ...] = ()
    start: bool = False
    end: bool = False

    @property
    def any(self) -> bool:
        """Whether they are told at all."""
        return bool(self.before) or self.start or self.end


@dataclass(frozen=True, slots=True)
class StatusPage:
    """``[status_page]``: what is shown where.

    ``url`` is where visitors find it (without a slash at its end), ``path`` where it is on the dashboard's addresses,
    ``host`` a host name that only it answers to, ``listen`` addresses of its own. ``folder`` is where a copy is
    written (empty: nowhere), each ``every`` seconds. ``mail`` names the channel for subscribers (empty: none may
    subscribe). An outage is posted when it has lasted ``post_after`` seconds, and its end after ``resolve_after``.
    """

    title: str
    components: tuple[Component, ...]
    timezone: str = "UTC"
    description: str = ""
    url: str = ""
    path: str = "/status"
    host: str = ""
    listen: tuple[tuple[str, int], ...] = ()
    days: int = 90
    posting: Posting = Posting.DRAFT
    post_after: float = 120.0
    resolve_after: float = 300.0
    folder: str = ""
    every: float = 60.0
    mail: str = ""
    support: str = ""
    maintenance_mails: MaintenanceMails = MaintenanceMails()

    def component(self, identity: str) -> Component | None:
        """The component of this id."""
        return next((one for one in self.components if one.id == identity), None)


@dataclass(frozen=True, slots=True)
class DayBar:
    """A day of a component: seconds it was unavailable, slow, under maintenance, and not watched.

    ``date`` is as in ``2026-11-28``; ``length`` is how much of the day is over, in seconds. ``outages`` counts them.
    """

    date: str
    length: float
    outage: float = 0.0
    degraded: float = 0.0
    maintenance: float = 0.0
    unwatched: float = 0.0
    outages: int = 0

    @property
    def counted(self) -> float:
        """Seconds that uptime is a share of: watched, and not planned maintenance."""
        return max(0.0, self.length - self.maintenance - self.unwatched)

    @property
    def condition(self) -> Condition:
        """What the bar of the day shows."""
        if self.outage:
            return Condition.MAJOR if self.outage >= 0.05 * self.length else Condition.PARTIAL
        if self.degraded:
            return Condition.DEGRADED
        if not self.counted:
            return Condition.MAINTENANCE if self.maintenance > self.unwatched else Condition.UNKNOWN
        if self.unwatched > 0.5 * self.length:
            return Condition.UNKNOWN
        return Condition.MAINTENANCE if self.maintenance else Condition.OPERATIONAL


@dataclass(frozen=True, slots=True)
class Chart:
    """A course to draw: what it is of, its unit, times (epoch seconds) and values."""

    title: str
    unit: Unit
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """A component as visitors see it."""

    id: str
    name: str
    description: str
    group: str
    condition: Condition
    since: float | None
    days: tuple[DayBar, ...]
    uptime: float | None
    """0-1; None when nothing was watched."""
    chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """Maintenance that was announced: ``id`` is the same however often it is told; times are epoch seconds."""

    id: str
    text: str
    components: tuple[str, ...]
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PublicStatus:
    """All that the page shows, and nothing else. ``posts`` are published ones, newest first."""

    page: StatusPage
    components: tuple[ComponentStatus, ...]
    posts: tuple[Post, ...]
    planned: tuple[PlannedWork, ...]
    at: float

    @property
    def open_posts(self) -> tuple[Post, ...]:
        """Posts about what goes on."""
        return tuple(post for post in self.posts if post.resolved_at is None)


@dataclass(frozen=True, slots=True)
class PublicFile:
    """Something to serve or to write down; ``packed`` is the body by gzip, ``etag`` names the content."""

    content_type: str
    body: bytes
    packed: bytes
    etag: str


# --- the state of components ------------------------------------------------------------------------------------------


def checks_of(setup: Setup, component: Component) -> tuple[str, ...]:
    """The names of the checks that a component stands for."""
    return tuple(
        name for name, check in setup.checks.items() if covers(component.matchers, facts_of_check(setup, check))
    )


def trouble_of(incident: Incident, severity: Severity, shown_from: ShownFrom) -> Condition:
    """What an incident of this severity means for visitors."""
    if incident.subject == UNKNOWN_SUBJECT:
        return Condition.UNKNOWN
    if "down" in incident.rule.split() and severity >= Severity.WARNING:
        return Condition.MAJOR
    if shown_from is ShownFrom.DOWN:
        return Condition.OPERATIONAL
    if severity is Severity.CRITICAL:
        return Condition.PARTIAL
    shows = severity is Severity.WARNING and shown_from is ShownFrom.WARNING
    return Condition.DEGRADED if shows else Condition.OPERATIONAL


def condition_of_check(
    setup: Setup, state: State, check: Check, shown_from: ShownFrom, started_at: float, now: float
) -> Condition:
    """How a check is, as far as visitors are concerned."""
    known = state.checks.get(check.name)
    if known is None or known.outcome in (None, Outcome.UNKNOWN):
        return Condition.UNKNOWN
    if now - max(known.last_at, started_at) > MISSED_RUNS * check.every + check.timeout:
        return Condition.UNKNOWN
    if check.external and is_offline(setup, state):
        return Condition.UNKNOWN
    numbers = state.by_check.get(check.name, {}).values()
    found = [trouble_of(one, one.severity, shown_from) for n in numbers if (one := state.incidents.get(n))]
    if known.outcome is Outcome.DOWN and not found and not _is_being_confirmed(known):
        found.append(Condition.MAJOR)
    return max(found, key=_RANK.__getitem__, default=Condition.OPERATIONAL)


def _is_being_confirmed(known: CheckState) -> bool:
    return any(one.verdict is Verdict.PENDING for _, rule in known.rules for _, one in rule.instances)


def together(rule: Together, conditions: Sequence[Condition]) -> Condition:
    """The state that several checks make."""
    if not conditions:
        return Condition.UNKNOWN
    if rule is Together.ANY:
        known = [one for one in conditions if one is not Condition.UNKNOWN]
        return min(known, key=_RANK.__getitem__, default=Condition.UNKNOWN)
    if rule is Together.MOST:
        failing = sum(one.outage for one in conditions)
        if failing:
            return Condition.MAJOR if 2 * failing >= len(conditions) else Condition.PARTIAL
    return max(conditions, key=_RANK.__getitem__)


def condition_of(component: Component, conditions: Sequence[Condition], *, maintenance: bool) -> Condition:
    """How a component is by its checks; in announced maintenance it is that, whatever they say."""
    return Condition.MAINTENANCE if maintenance else together(component.together, conditions)


def any_in_maintenance(setup: Setup, state: State, names: Sequence[str], now: float) -> bool:
    """Whether an open window, or maintenance that somebody started, covers one of the checks."""
    opened = [one.matchers for one in setup.windows if open_span(state, one, now)]
    opened += [one.matchers for one in state.silences.values() if one.maintenance and one.active(now)]
    return any(covers(matchers, facts_of_check(setup, setup.checks[name])) for matchers in opened for name in names)


# --- planned maintenance ----------------------------------------------------------------------------------------------


Members = Mapping[str, Sequence[str]]
"""The names of the checks of each component, by its id."""


def planned_work(setup: Setup, state: State, members: Members, now: float) -> tuple[PlannedWork, ...]:
    """Maintenance that goes on or comes, of the components it concerns, the next first."""
    found = []
    for number, window in enumerate(setup.windows):
        concerned = concerned_by(setup, members, window.matchers)
        if not concerned or window.public == "":
            continue
        going_on = open_span(state, window, now)
        coming = takewhile(lambda span: span[0] < now + AHEAD, window.spans.after(now))
        for start, end in [*([going_on] if going_on else []), *islice(coming, MOST_SPANS)]:
            identity = f"m{number:x}{int(start):x}"
            found.append(PlannedWork(identity, window.public or "Planned maintenance", concerned, start, end))
    for silence in state.silences.values():
        concerned = concerned_by(setup, members, silence.matchers)
        if silence.maintenance and concerned and silence.ends_at > now:
            identity = f"n{int(silence.starts_at * 1000):x}"
            found.append(PlannedWork(identity, "Maintenance", concerned, silence.starts_at, silence.ends_at))
    unique = {one.id: one for one in found}
    return tuple(sorted(unique.values(), key=lambda one: (one.start, one.id)))


def past_maintenance(
    setup: Setup, silences: Mapping[str, Silence], names: Sequence[str], since: float, now: float
) -> tuple[tuple[float, float], ...]:
    """When maintenance concerned one of the checks: start and end (epoch seconds), by the windows of now."""
    members = {"": names}
    spans: list[tuple[float, float]] = []
    for window in setup.windows:
        if concerned_by(setup, members, window.matchers):
            spans += window_spans(silences, window, since, now)
    for silence in silences.values():
        if silence.maintenance and concerned_by(setup, members, silence.matchers):
            spans.append((silence.starts_at, silence.ends_at))
    return tuple((start, min(end, now)) for start, end in spans if start < now)


def concerned_by(setup: Setup, members: Members, matchers: tuple[Matcher, ...]) -> tuple[str, ...]:
    """The components of which the matchers cover a check."""
    return tuple(
        identity
        for identity, names in members.items()
        if any(covers(matchers, facts_of_check(setup, setup.checks[name])) for name in names)
    )


# --- the whole in words -----------------------------------------------------------------------------------------------


def impact_of(conditions: Iterable[Condition]) -> Impact:
    """How bad it is altogether."""
    found = set(conditions)
    if Condition.MAJOR in found:
        return Impact.CRITICAL
    if Condition.PARTIAL in found:
        return Impact.MAJOR
    return Impact.MINOR if found & {Condition.DEGRADED, Condition.UNKNOWN} else Impact.NONE


def overall(status: PublicStatus) -> tuple[Condition, str]:
    """What the page's headline shows and says."""
    worst = max((one.condition for one in status.components), key=_RANK.__getitem__, default=Condition.UNKNOWN)
    concerned = [one.name for one in status.components if one.condition is worst]
    if worst is Condition.OPERATIONAL:
        if status.open_posts:
            return worst, "All systems work; an incident is still being looked at"
        return worst, "All systems work"
    if worst is Condition.MAINTENANCE:
        return worst, f"Planned maintenance goes on: {named(concerned)}"
    if worst is Condition.UNKNOWN:
        if len(concerned) == len(status.components):
            return worst, "The state of our systems is not known just now"
        return worst, f"The state of {named(concerned)} is not known just now; all else works"
    verb = "is" if len(concerned) == 1 else "are"
    others = sum(one.condition.trouble for one in status.components) - len(concerned)
    more = f"; {others} more with lesser trouble" if others else ""
    return worst, f"{named(concerned)} {verb} {WORDS[worst]}{more}"
