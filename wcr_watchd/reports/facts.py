"""What a report is made of: read from the records, counted, and held as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wcr_watchd.core.forecast import Reach, reach, trend
from wcr_watchd.core.handling import Handling, handling
from wcr_watchd.core.model import DeliveryState, Incident, Labels, Severity
from wcr_watchd.core.report import Planned, ReportKind, Subject, Wanted
from wcr_watchd.core.units import Unit
from wcr_watchd.core.uptime import Outcomes, Uptime, uptime
from wcr_watchd.store.recorded import Owed, Recorded
from wcr_watchd.store.rollup import DAY, HOUR
from wcr_watchd.store.totals import Distribution, Totals

SPEED = ("response_time", "latency")
"""Measurements that say how quick something is; the first that a check has is reported."""
LIMITED = ("disk_used", "inodes_used", "memory_used", "swap_used", "connections_used", "conntrack_used")
"""Shares of something that runs out; forecast against all of it."""
LOAD = ("cpu_used", *LIMITED)
FULL = 1.0
LOOK_BACK = 30 * 86_400.0
"""Seconds of the past that a forecast follows, also in the report of a week."""
COST_TAG = "costs"
A_YEAR = 367 * 86_400.0
"""Seconds of earlier reports that a monthly one looks back on, with some to spare."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds that the runs took: on average, and half, 95 % and 99 % of them at most."""

    mean: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """One check over the period. ``days`` is the share it was up on each day (None: nobody can say).

    ``begun`` is when it ran for the first time, where that was in the period (epoch seconds).
    """

    subject: Subject
    uptime: Uptime
    before: Uptime
    speed: Speed | None
    mean_before: float | None
    days: tuple[tuple[float, float | None], ...]
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
class Cost:
    """What a check with the tag ``costs`` measured last, at the beginning and at the end of the period."""

    check: str
    name: str
    first: float
    last: float


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
    kept: tuple[str, ...] = ()
    """Of a monthly report the JSON forms of those before it that are kept, oldest first."""


def gather(wanted: Wanted) -> Facts:
    """Read the facts of a report from the records. Raises ``StoreError`` when they cannot be read."""
    with Recorded(Path(wanted.store)) as records:
        reach_back = wanted.since - LOOK_BACK if wanted.kind is ReportKind.WEEKLY else wanted.before
        measures = {one.name: _measures(one) for one in wanted.subjects}
        now = records.totals(wanted.since, wanted.until, measures)
        before = records.totals(
            wanted.before, wanted.since, {one.name: _speed_of(one) for one in wanted.subjects}, sketches=False
        )
        courses = records.totals(
            min(reach_back, wanted.before),
            wanted.until,
            {name: limited for name in measures if (limited := _limited(measures[name]))},
        )
        names = {one.name for one in wanted.subjects}
        incidents = tuple(one for one in records.incidents(wanted.since, wanted.until) if one.check in names)
        earlier = [
            one
            for one in records.incidents(wanted.before, wanted.since)
            if one.check in names and one.opened_at >= wanted.before
        ]
        owed = records.owed(wanted.since, wanted.until)
        by_check = _by_check(incidents)
        return Facts(
            wanted,
            tuple(
                _check(wanted, one, now[one.name], before[one.name], by_check.get(one.name, ()), records)
                for one in wanted.subjects
            ),
            incidents,
            len(earlier),
            _channels(owed),
            tuple(_resources(wanted, now, courses, records)),
            tuple(_costs(wanted, now, records)),
            handling(incidents),
            _kept(wanted, records),
        )


def _kept(wanted: Wanted, records: Recorded) -> tuple[str, ...]:
    if wanted.kind is not ReportKind.MONTHLY:
        return ()
    return records.months_before(wanted.name, wanted.audience, wanted.since - A_YEAR, wanted.since)


# --- one check --------------------------------------------------------------------------------------------------------


def _measures(one: Subject) -> frozenset[str]:
    known = {name for name, _ in one.measures}
    costs = known if COST_TAG in one.tags else set()
    return frozenset(_speed_of(one) | (known & set(LOAD)) | costs)


def _speed_of(one: Subject) -> frozenset[str]:
    known = {name for name, _ in one.measures}
    return frozenset([next(name for name in SPEED if name in known)] if known & set(SPEED) else ())


def _limited(names: frozenset[str]) -> frozenset[str]:
    return names & set(LIMITED)


def _by_check(incidents: Iterable[Incident]) -> Mapping[str, Sequence[Incident]]:
    found: dict[str, list[Incident]] = {}
    for one in incidents:
        found.setdefault(one.check, []).append(one)
    return found


def _check(
    wanted: Wanted, one: Subject, now: Totals, before: Totals, incidents: Sequence[Incident], records: Recorded
) -> CheckFacts:
    spans = [planned for planned in wanted.planned if one.name in planned.checks]
    critical = [incident for incident in incidents if incident.peak is Severity.CRITICAL]
    speed, speed_before = (_distribution(totals, one, records) for totals in (now, before))
    availability = reckoned(now, one.every, wanted.since, wanted.until, spans)
    begun = _begun(now, before, wanted)
    return CheckFacts(
        one,
        availability,
        reckoned(before, one.every, wanted.before, wanted.since, []),
        _speed(speed),
        speed_before.bucket.mean if speed_before else None,
        tuple(_days(now, wanted)),
        len(incidents),
        len(critical),
        max(((incident.resolved_at or wanted.until) - incident.opened_at for incident in critical), default=0.0),
        begun,
        availability.unwatched if begun is None else max(0.0, availability.unwatched - (begun - wanted.since)),
    )


def _begun(now: Totals, before: Totals, wanted: Wanted) -> float | None:
    """When a check ran for the first time, to the hour; None where that was not in this period."""
    first = min(now.runs, default=0) / 1000
    return first if first > wanted.since and not before.runs else None


def reckoned(totals: Totals, every: float, since: float, until: float, planned: Sequence[Planned]) -> Uptime:
    """How available a check was that runs ``every`` so many seconds, from its runs by hour.

    By hours, as the store has them for everybody else: so it is the number that the objectives and the page of the
    check show for the same time.
    """
    outcomes = [Outcomes(hour, 3_600.0, *runs) for hour, runs in sorted(_hours(totals).items())]
    return uptime(outcomes, every, since, until, [(one.start, one.end) for one in planned])


def _hours(totals: Totals) -> dict[float, tuple[int, int, int]]:
    """Runs that were up, down and unknown, by the beginning of the hour (epoch seconds)."""
    found: dict[float, tuple[int, int, int]] = {}
    for start, (up, down, unknown) in totals.runs.items():
        hour = start // HOUR * HOUR / 1000
        known = found.get(hour, (0, 0, 0))
        found[hour] = known[0] + up, known[1] + down, known[2] + unknown
    return found


def _days(totals: Totals, wanted: Wanted) -> Iterable[tuple[float, float | None]]:
    counts: dict[int, tuple[int, int]] = {}
    for start, (up, down, _) in totals.runs.items():
        day = int((start / 1000 - wanted.since) // 86_400)
        known = counts.get(day, (0, 0))
        counts[day] = known[0] + up, known[1] + down
    for day in range(max(1, round((wanted.until - wanted.since) / 86_400))):
        up, down = counts.get(day, (0, 0))
        yield wanted.since + day * 86_400.0, up / (up + down) if up + down else None


def _series(totals: Totals, names: frozenset[str], records: Recorded) -> int:
    return next((number for number in totals.values if records.labels(number)[0] in names), -1)


def _distribution(totals: Totals, one: Subject, records: Recorded) -> Distribution | None:
    return totals.values.get(_series(totals, _speed_of(one), records))


def _speed(found: Distribution | None) -> Speed | None:
    if found is None or not found.sketch:
        return None
    return Speed(found.bucket.mean, found.quantile(0.5), found.quantile(0.95), found.quantile(0.99))


# --- what runs out, and what it costs ---------------------------------------------------------------------------------


def _resources(
    wanted: Wanted, now: Mapping[str, Totals], courses: Mapping[str, Totals], records: Recorded
) -> Iterable[Resource]:
    for one in wanted.subjects:
        for number, found in now[one.name].values.items():
            name, labels = records.labels(number)
            if name not in LOAD or not found.sketch:
                continue
            course = courses[one.name].daily.get(number, {}) if one.name in courses else {}
            days = [((day + DAY / 2) / 1000, bucket.mean) for day, bucket in sorted(course.items())]
            yield Resource(
                one.name,
                name,
                labels,
                found.quantile(0.5),
                found.quantile(0.95),
                found.bucket.maximum,
                tuple(days),
                _full(days) if name in LIMITED else None,
            )


def _full(days: Sequence[tuple[float, float]]) -> Reach | None:
    line = trend(days)
    return reach(line, FULL) if line is not None and line.slope > 0 else None


def _costs(wanted: Wanted, now: Mapping[str, Totals], records: Recorded) -> Iterable[Cost]:
    for one in wanted.subjects:
        if COST_TAG not in one.tags:
            continue
        own = {name for name, unit in one.measures if unit == Unit.COUNT.value and name not in SPEED}
        for number, course in now[one.name].daily.items():
            name, _ = records.labels(number)
            if name in own and course:
                days = sorted(course.items())
                yield Cost(one.name, name, days[0][1].mean, days[-1][1].maximum)


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
