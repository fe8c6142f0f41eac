"""What was rehearsed of a disaster: restores of backups, drills of alarms, and what was not, out of the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wcr_watchd.core.drill_report import DrillReport, DrillState
from wcr_watchd.core.model import DeliveryState, Incident, Severity
from wcr_watchd.core.report import Subject, Wanted
from wcr_watchd.core.task import TaskOutcome, TaskRecord, name_of
from wcr_watchd.reports.promises import restored_within
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.rollup import DAY, Bucket
from wcr_watchd.store.totals import Totals

RESTORE, RECOVERY_POINT, BACKUP = "restore", "recovery_point", "backup"
"""Check types: the restore test, what would be lost now, and a set of backups."""
MEASURES = frozenset(("last_test_age", "restore_time", "objective_used", "exposure", "objective"))


@dataclass(frozen=True, slots=True)
class Restores:
    """How a restore test went: the days on which a backup was restored (epoch seconds), and when one was last.

    ``slowest`` is the longest that it took, ``objective`` the recovery time objective (seconds); None: not known.
    ``failed`` counts the runs that said that the newest test had failed; ``incidents`` are those of the check.
    """

    subject: Subject
    days: tuple[float, ...]
    last: float | None
    slowest: float | None
    objective: float | None
    failed: int
    incidents: tuple[Incident, ...]

    @property
    def in_time(self) -> bool:
        """Whether all that was measured kept the objective."""
        return self.slowest is None or self.objective is None or self.slowest <= self.objective


@dataclass(frozen=True, slots=True)
class AtRisk:
    """How much work would have been lost at worst (seconds), against the recovery point objective; None: not known."""

    subject: Subject
    worst: float | None
    objective: float | None

    @property
    def met(self) -> bool:
        """Whether the objective was kept all the time."""
        return self.worst is None or self.objective is None or self.worst <= self.objective


@dataclass(frozen=True, slots=True)
class ByPeople:
    """A task in which people rehearse something: how its turns in the period ended, oldest first, and the one before.

    ``schedule`` is when it comes, ``late`` are the incidents of the period because it was not done in time.
    """

    name: str
    schedule: str
    done: tuple[TaskRecord, ...]
    before: TaskRecord | None
    late: tuple[Incident, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of the report, before words. ``unrestored`` are sets of backups of which none was restored in the period.

    ``undrilled`` are policies without a drill in it, and when the last one was (epoch seconds; None: there was none).
    ``unproven`` are channels over which nothing went in it, and that no canary proves.
    """

    wanted: Wanted
    restores: tuple[Restores, ...]
    at_risk: tuple[AtRisk, ...]
    drills: tuple[DrillReport, ...]
    unrestored: tuple[Subject, ...]
    undrilled: tuple[tuple[str, float | None], ...]
    unproven: tuple[str, ...]
    by_people: tuple[ByPeople, ...] = ()

    @property
    def signed(self) -> tuple[TaskRecord, ...]:
        """What people signed off, of all tasks, in the order of time."""
        return tuple(sorted((one for task in self.by_people for one in task.done), key=lambda one: one.at))

    @property
    def answered_after(self) -> float | None:
        """The longest that the answer to a drill took (seconds); None when there was no answer."""
        return max((taken for one in self.drills if (taken := answered_after(one)) is not None), default=None)


def answered_after(one: DrillReport) -> float | None:
    """How many seconds it took until somebody acknowledged a drill; None when nobody did."""
    if one.state is not DrillState.ACKNOWLEDGED or one.acknowledged_at is None:
        return None
    return one.acknowledged_at - one.started_at


def gather(wanted: Wanted) -> Facts:
    """Read the facts from the records. Raises ``StoreError`` when they cannot be read."""
    own = [one for one in wanted.subjects if one.probe in (RESTORE, RECOVERY_POINT)]
    with Recorded(Path(wanted.store)) as records:
        totals = records.totals(wanted.since, wanted.until, {one.name: MEASURES for one in own}, sketches=False)
        incidents = records.incidents(wanted.since, wanted.until)
        courses = {name: _courses(found, records) for name, found in totals.items()}
        restores = tuple(
            _restores(one, totals[one.name], courses[one.name], incidents) for one in own if one.probe == RESTORE
        )
        drills = [one for one in records.drills() if one.started_at < wanted.until]
        period = tuple(one for one in drills if one.started_at >= wanted.since)
        by_people = tuple(
            _by_people(wanted, name, records.task_records(name), incidents) for name in wanted.rehearsable.tasks
        )
        delivered = {
            one.channel
            for one in records.owed(wanted.since, wanted.until)
            if one.state in (DeliveryState.DELIVERED, DeliveryState.MERGED)
        }
    restored = {one.subject.target for one in restores if one.days}
    return Facts(
        wanted,
        restores,
        tuple(_at_risk(one, courses[one.name]) for one in own if one.probe == RECOVERY_POINT),
        period,
        tuple(one for one in wanted.subjects if one.probe == BACKUP and one.target not in restored),
        tuple(_undrilled(wanted, drills, period)),
        tuple(_unproven(wanted, period, delivered)),
        by_people,
    )


def _courses(totals: Totals, records: Recorded) -> Mapping[str, Mapping[int, Bucket]]:
    """The values by the day (epoch ms, UTC), of each measurement."""
    return {records.labels(number)[0]: course for number, course in totals.daily.items()}


def _restores(
    one: Subject, totals: Totals, courses: Mapping[str, Mapping[int, Bucket]], incidents: Iterable[Incident]
) -> Restores:
    ages = courses.get("last_test_age", {})
    # A run that restores says that the last test is no time ago; those after it tell how long ago it was.
    days = tuple(_noon(day) for day, ages_of_day in sorted(ages.items()) if ages_of_day.minimum == 0)
    newest = max(ages, default=None)
    times, used = courses.get("restore_time", {}), courses.get("objective_used", {})
    both = [(times[day].maximum, used[day].maximum) for day in times if day in used]
    return Restores(
        one,
        days,
        None if newest is None else _noon(newest) - ages[newest].minimum,
        max((times[day].maximum for day in times), default=None),
        next((found for one in reversed(both) if (found := restored_within(*one)) is not None), None),
        sum(down for _, (_, down, _) in totals.runs()),
        tuple(incident for incident in incidents if incident.check == one.name),
    )


def _noon(day: int) -> float:
    """The middle of a day (UTC), which is the same date in nearly every time zone."""
    return (day + DAY / 2) / 1000


def _at_risk(one: Subject, courses: Mapping[str, Mapping[int, Bucket]]) -> AtRisk:
    exposures, objectives = (courses.get(name, {}) for name in ("exposure", "objective"))
    return AtRisk(
        one,
        max((bucket.maximum for bucket in exposures.values()), default=None),
        objectives[max(objectives)].maximum if objectives else None,
    )


def _by_people(wanted: Wanted, task: str, records: Sequence[TaskRecord], incidents: Iterable[Incident]) -> ByPeople:
    done = [one for one in reversed(records) if one.outcome is TaskOutcome.DONE and one.at < wanted.until]
    return ByPeople(
        name_of(task),
        wanted.rehearsable.tasks[task],
        tuple(one for one in done if one.at >= wanted.since),
        next((one for one in reversed(done) if one.at < wanted.since), None),
        tuple(one for one in incidents if one.check == task and one.peak >= Severity.WARNING),
    )


def _undrilled(
    wanted: Wanted, drills: Sequence[DrillReport], period: Sequence[DrillReport]
) -> Iterable[tuple[str, float | None]]:
    done = {one.policy for one in period}
    for policy in wanted.rehearsable.policies:
        if policy not in done:
            yield policy, max((one.started_at for one in drills if one.policy == policy), default=None)


def _unproven(wanted: Wanted, period: Sequence[DrillReport], delivered: set[str]) -> Iterable[str]:
    rehearsed = {message.channel for one in period for message in one.messages if message.accepted}
    proven = rehearsed | delivered | set(wanted.rehearsable.with_canary)
    return (name for name in wanted.rehearsable.channels if name not in proven)
