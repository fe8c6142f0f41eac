"""What a report is made of: read from the records, counted, and held as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wcr_watchd.core.forecast import Reach
from wcr_watchd.core.handling import Handling, handling
from wcr_watchd.core.model import DeliveryState, Incident, Labels, Severity
from wcr_watchd.core.report import ReportKind, Subject, Wanted
from wcr_watchd.core.uptime import Span, Uptime, total
from wcr_watchd.reports import ahead
from wcr_watchd.reports.ahead import Courses, Forecast
from wcr_watchd.reports.costs import Cost, costs
from wcr_watchd.reports.costs import measured as measured_costs
from wcr_watchd.reports.earlier import earlier, growth
from wcr_watchd.reports.earlier import measures as measures_of_months
from wcr_watchd.reports.months import Earlier, Growth, chosen
from wcr_watchd.reports.promises import RECOVERY, Promise, Recovery, promises, recovery
from wcr_watchd.reports.reckoning import (
    LIMITED,
    LOAD,
    by_parts,
    cuts_for,
    days_of,
    growing_of,
    planned_for,
    reckoned,
    speed_of,
)
from wcr_watchd.store.recorded import Owed, Recorded
from wcr_watchd.store.totals import Distribution, Totals


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that the runs took: on average, and half, 95 % and 99 % of them at most."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """One check over the period. ``days`` is how available it was on each day.

    ``begun`` is when it ran for the first time, where that was in the period (epoch seconds).
    """

    subject: Subject
    uptime: Uptime
    before: Uptime
    speed: Speed | None
    mean_before: float | None
    days: tuple[Uptime, ...]
    incidents: int
    outages: int
    longest: float
    begun: float | None
    unwatched: float
    """Seconds from then on in which nobody knew how it was: before there was a check, nobody could."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A share of something that can run out: how much of it was used, and when it is full at this growth."""

    check: str
    name: str
    labels: Labels
    p50: float
    p95: float
    peak: float
    days: tuple[tuple[float, float], ...]
    full: Reach | None

    @property
    def title(self) -> str:
        """``disk_used /data``."""
        return " ".join((self.name, *(value for _, value in self.labels)))


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What became of the messages on one channel."""

    name: str
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a report, before words."""

    wanted: Wanted
    checks: tuple[CheckFacts, ...]
    incidents: tuple[Incident, ...]
    incidents_before: int
    channels: tuple[ChannelFacts, ...]
    resources: tuple[Resource, ...]
    costs: tuple[Cost, ...]
    handling: Handling
    promises: tuple[Promise, ...] = ()
    recovery: tuple[Recovery, ...] = ()
    growth: tuple[Growth, ...] = ()
    """Of a monthly report how much was in use of what grows."""
    forecasts: tuple[Forecast, ...] = ()
    """And what comes of the most important of it."""
    earlier: Earlier = Earlier()
    """And what is known of the months before."""


def gather(wanted: Wanted) -> Facts:
    """Read the facts of a report from the records. Raises ``StoreError`` when they cannot be read."""
    with Recorded(Path(wanted.store)) as records:
        is_monthly = wanted.kind is ReportKind.MONTHLY
        measures = {one.name: _measures(one) for one in wanted.subjects}
        cuts = cuts_for(wanted)
        now = records.totals(wanted.since, wanted.until, measures, shares=LOAD, cuts=cuts)
        courses_of = {name: found for one in wanted.subjects if (found := _foretold(one)) for name in (one.name,)}
        speeds = measures_of_months(wanted.subjects) if is_monthly else {n.name: speed_of(n) for n in wanted.subjects}
        former = {name: found | courses_of.get(name, frozenset()) for name, found in speeds.items()}
        before = records.totals(wanted.before, wanted.since, former, sketches=False, cuts=cuts)
        back = min(wanted.until - ahead.LOOK_BACK, wanted.before)
        older = records.totals(back, wanted.before, courses_of, sketches=False)
        courses = ahead.joined((older, before, now))
        grown = tuple(growth(wanted.subjects, now, records)) if is_monthly else ()
        names = {one.name for one in wanted.subjects}
        incidents = tuple(one for one in records.incidents(wanted.since, wanted.until) if one.check in names)
        incidents_before = [one for one in records.incidents(wanted.before, wanted.since) if one.check in names]
        owed = records.owed(wanted.since, wanted.until)
        by_check, planned = _by_check(incidents), planned_for(wanted)
        return Facts(
            wanted,
            tuple(
                _check(wanted, one, (now[one.name], before[one.name]), by_check, planned, records)
                for one in wanted.subjects
            ),
            incidents,
            len(incidents_before),
            _channels(owed),
            tuple(_resources(wanted, now, courses, records)),
            tuple(costs(wanted, courses, records)),
            handling(incidents),
            tuple(promises(wanted, records)),
            tuple(recovery(wanted, now, records)),
            grown,
            tuple(_forecasts(wanted, grown, courses, records)),
            earlier(wanted, records, before) if is_monthly else Earlier(),
        )


# --- one check --------------------------------------------------------------------------------------------------------


def _measures(one: Subject) -> frozenset[str]:
    known = {name for name, _ in one.measures}
    promised = RECOVERY.get(one.probe, frozenset())
    return frozenset(speed_of(one) | growing_of(one) | (known & set(LOAD)) | measured_costs(one) | promised)


def _foretold(one: Subject) -> frozenset[str]:
    """The measurements whose past is read for what comes of them."""
    return frozenset({name for name, _ in one.measures} & set(LIMITED)) | growing_of(one) | measured_costs(one)


def _by_check(incidents: Iterable[Incident]) -> Mapping[str, Sequence[Incident]]:
    found: dict[str, list[Incident]] = {}
    for one in incidents:
        found.setdefault(one.check, []).append(one)
    return found


def _check(
    wanted: Wanted,
    one: Subject,
    found: tuple[Totals, Totals],
    by_check: Mapping[str, Sequence[Incident]],
    planned: Mapping[str, Sequence[Span]],
    records: Recorded,
) -> CheckFacts:
    now, before = found
    incidents, spans = by_check.get(one.name, ()), planned.get(one.name, ())
    critical = [incident for incident in incidents if incident.peak is Severity.CRITICAL]
    speed, speed_before = (_distribution(totals, one, records) for totals in (now, before))
    edges = days_of(wanted)
    parts = by_parts(now, one.every, edges, spans)
    availability = total(parts)
    begun = _begun(now, before, wanted)
    return CheckFacts(
        one,
        availability,
        reckoned(before, one.every, wanted.before, wanted.since, spans),
        _speed(speed),
        speed_before.bucket.mean if speed_before else None,
        tuple(parts),
        len(incidents),
        len(critical),
        max(((incident.resolved_at or wanted.until) - incident.opened_at for incident in critical), default=0.0),
        begun,
        availability.unwatched if begun is None else max(0.0, availability.unwatched - (begun - wanted.since)),
    )


def _begun(now: Totals, before: Totals, wanted: Wanted) -> float | None:
    """When a check ran for the first time, to the hour; None where that was not in this period."""
    first = min((start for start, _ in now.runs()), default=0) / 1000
    return first if first > wanted.since and not any(before.runs()) else None


def _series(totals: Totals, names: frozenset[str], records: Recorded) -> int:
    return next((number for number in totals.values if records.labels(number)[0] in names), -1)


def _distribution(totals: Totals, one: Subject, records: Recorded) -> Distribution | None:
    return totals.values.get(_series(totals, speed_of(one), records))


def _speed(found: Distribution | None) -> Speed | None:
    if found is None or not found.has_quantiles:
        return None
    return Speed(found.bucket.mean, found.quantile(0.5), found.quantile(0.95), found.quantile(0.99))


# --- what runs out ----------------------------------------------------------------------------------------------------


def _resources(wanted: Wanted, now: Mapping[str, Totals], courses: Courses, records: Recorded) -> Iterable[Resource]:
    for one in wanted.subjects:
        for number, found in now[one.name].values.items():
            name, labels = records.labels(number)
            if name not in LOAD or not found.has_quantiles:
                continue
            course = courses[one.name].get(number, {})
            yield Resource(
                one.name,
                name,
                labels,
                found.quantile(0.5),
                found.quantile(0.95),
                found.bucket.maximum,
                tuple(ahead.means(ahead.whole(course), wanted.until)),
                ahead.full(course, wanted.until) if name in LIMITED else None,
            )


def _forecasts(wanted: Wanted, grown: Sequence[Growth], courses: Courses, records: Recorded) -> Iterable[Forecast]:
    subjects = {one.name: one for one in wanted.subjects}
    for one in chosen(grown):
        known = ((records.labels(number), course) for number, course in courses.get(one.check, {}).items())
        course = next((course for labels, course in known if labels == (one.name, one.labels)), {})
        yield ahead.forecast(one, subjects[one.check], course, wanted.until)


# --- incidents and messages -------------------------------------------------------------------------------------------


def _channels(owed: Iterable[Owed]) -> tuple[ChannelFacts, ...]:
    told = {DeliveryState.DELIVERED, DeliveryState.MERGED}
    delivered, failed = Counter[str](), Counter[str]()
    for one in owed:
        if one.state in told:
            delivered[one.channel] += 1
        elif one.state is DeliveryState.FAILED:
            failed[one.channel] += 1
    return tuple(ChannelFacts(name, delivered[name], failed[name]) for name in sorted({*delivered, *failed}))
