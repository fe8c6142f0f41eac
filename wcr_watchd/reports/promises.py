"""What was promised, and what of it was kept: error budgets, recovery points and recovery times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wcr_watchd.core.objectives import Budget, Objective, budget
from wcr_watchd.core.report import Wanted
from wcr_watchd.reports.reckoning import cuts_for, planned_for, reckoned
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.totals import Totals

RECOVERY_POINT, RESTORE = "recovery_point", "restore"
RECOVERY = {
    RECOVERY_POINT: frozenset({"exposure", "objective"}),
    RESTORE: frozenset({"restore_time", "objective_used"}),
}
"""What checks measure of how much would be lost, and of how long it takes to have it back, by their type."""


@dataclass(frozen=True, slots=True)
class Promise:
    """An objective, and what became of its error budget over its period until the end of the report."""

    objective: Objective
    budget: Budget


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a check found at worst of how much would be lost (``recovery_point``), or how long a restore takes.

    Seconds; None: nothing was measured. ``runs_failed`` are runs that found nothing to restore.
    """

    check: str
    probe: str
    worst: float | None
    objective: float | None
    runs_failed: int

    @property
    def is_met(self) -> bool:
        """Whether what was measured keeps to the objective."""
        return self.worst is None or self.objective is None or self.worst <= self.objective


def promises(wanted: Wanted, records: Recorded) -> Iterable[Promise]:
    """What became of the error budgets. Raises ``StoreError`` when the records cannot be read."""
    if not wanted.objectives:
        return
    every = {one.name: one.every for one in wanted.subjects}
    names = {name: frozenset[str]() for one in wanted.objectives for name in one.checks}
    since = min(one.span(wanted.until)[0] for one in wanted.objectives)
    totals = records.totals(since, wanted.until, names, sketches=False, cuts=cuts_for(wanted))
    planned = planned_for(wanted)
    for one in wanted.objectives:
        since, _ = one.span(wanted.until)
        found = [reckoned(totals[name], every[name], since, wanted.until, planned.get(name, ())) for name in one.checks]
        yield Promise(one, budget(one, found, wanted.until))


def recovery(wanted: Wanted, now: Mapping[str, Totals], records: Recorded) -> Iterable[Recovery]:
    """What would have been lost at worst, and how long restores took, by check."""
    for one in wanted.subjects:
        if one.probe in RECOVERY:
            totals = now[one.name]
            worst = {records.labels(number)[0]: found.bucket.maximum for number, found in totals.values.items()}
            failed = sum(down for _, (_, down, _) in totals.runs())
            if one.probe == RECOVERY_POINT:
                yield Recovery(one.name, one.probe, worst.get("exposure"), worst.get("objective"), failed)
            else:
                taken, used = worst.get("restore_time"), worst.get("objective_used")
                yield Recovery(one.name, one.probe, taken, restored_within(taken, used), failed)


def restored_within(taken: float | None, used: float | None) -> float | None:
    """The recovery time objective (seconds) of which a restore that took so long used that share."""
    return round(taken / used, 1) if taken and used else None  # rollups round: 14 399.999988 would be written
