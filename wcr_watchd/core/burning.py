"""How fast error budgets go, and when somebody is told.

By the burn rate over several windows at once, as "The Site Reliability Workbook" (Google, 2018, chapter 5,
"Multiwindow, Multi-Burn-Rate Alerts") has it: the long window says that it matters, the short one that it goes on.
A burn rate of 1 uses the budget up exactly at the end of the period.

Time is counted and no runs, as in the budget itself (:mod:`wcr_watchd.core.uptime`): a run speaks until the next one of
its check. So a check that runs seldom weighs as much as one that runs often, the quick runs that confirm a failure make
an outage no longer, and a window in which a seldom check did not run is told by its last run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import DAY, Objective, promised
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.core.uptime import PATIENCE, Outcomes, Span, at_intervals, covered, overlap

MINUTE, HOUR = 60.0, 3_600.0
FINE, COARSE = 6 * HOUR, 3 * DAY
"""Seconds of the past that are counted by minutes, and by hours."""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """Somebody is told when this share of the budget of the period is used within the ``long`` window.

    At that pace over the long and the short window (seconds); ``severity`` is how bad that is.
    """

    severity: Severity
    long: float
    short: float
    consumed: float

    def burn_rate(self, period: float) -> float:
        """The burn rate at which that share is used within the window.

        At least 1: in a short period three days are much of it, and a tenth of the budget in them is less than may go.
        """
        return max(1.0, self.consumed * period / self.long)


ALERTS = (
    BurnAlert(Severity.CRITICAL, HOUR, 5 * MINUTE, 0.02),
    BurnAlert(Severity.CRITICAL, 6 * HOUR, 30 * MINUTE, 0.05),
    BurnAlert(Severity.WARNING, 3 * DAY, 6 * HOUR, 0.10),
)
"""The workbook's recommended parameters (table 5-8): for 30 days burn rates of 14.4, 6 and 1."""


@dataclass(slots=True)
class _Ring:
    """Seconds watched and seconds down, and failed runs, in even slots of time, for a bounded past."""

    width: float
    past: float
    slots: dict[int, list[float]] = field(default_factory=dict)

    def add(self, start: float, end: float, watched: float, down: float) -> None:
        """Count some time, spread evenly from ``start`` to ``end``."""
        number = int(start // self.width)
        while end > start and number * self.width < end:
            part = min(end, (number + 1) * self.width) - max(start, number * self.width)
            slot = self._slot(number)
            slot[0] += watched * part / (end - start)
            slot[1] += down * part / (end - start)
            number += 1

    def fail(self, at: float, runs: int) -> None:
        """Count runs that failed."""
        self._slot(int(at // self.width))[2] += runs

    def within(self, since: float, until: float) -> tuple[float, float, float]:
        """Seconds watched, seconds down and failed runs between two times; of the first slot, the part."""
        watched = down = failed = 0.0
        for number in range(int(since // self.width), int(until // self.width) + 1):
            if slot := self.slots.get(number):
                part = min(1.0, (number + 1) - since / self.width)
                watched, down, failed = watched + slot[0] * part, down + slot[1] * part, failed + slot[2] * part
        return watched, down, failed

    def _slot(self, number: int) -> list[float]:
        if number not in self.slots:
            self.slots[number] = [0.0, 0.0, 0.0]
            oldest = max(self.slots) - self.past / self.width - 1
            for old in [one for one in self.slots if one < oldest]:
                del self.slots[old]
        return self.slots.get(number, [0.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class _Run:
    """The newest run of a check, and until when it speaks at most."""

    at: float
    until: float
    down: bool


@dataclass(frozen=True, slots=True)
class Past:
    """What the records say of a check: of the last six hours in spans as short as there are, of three days in hours."""

    fine: Sequence[Outcomes]
    coarse: Sequence[Outcomes]


class Counts:
    """How long an objective's checks were watched and down, by minutes of hours and by hours of days."""

    def __init__(self) -> None:
        self._fine = _Ring(MINUTE, FINE)
        self._coarse = _Ring(HOUR, COARSE)
        self._newest: dict[str, _Run] = {}

    def see(self, check: str, at: float, every: float, down: bool | None) -> None:
        """Count a run of a check that runs ``every`` so many seconds and began ``at`` that time (epoch seconds).

        None is one that could not tell, or that does not count: until the next one, nothing is known.
        """
        before = self._newest.pop(check, None)
        if before is not None:
            self._add(before.at, min(at, before.until), before.down)
        if down is not None:
            self._newest[check] = _Run(at, at + PATIENCE * every, down)
        if down:
            self._fine.fail(at, 1)
            self._coarse.fail(at, 1)

    def _add(self, start: float, end: float, down: bool) -> None:
        for ring in (self._fine, self._coarse):
            ring.add(start, end, end - start, (end - start) * down)

    def recall(self, past: Past, every: float, planned: Sequence[Span], now: float) -> None:
        """Count what the records say of a check before ``now``, without planned maintenance (disjoint spans)."""
        for ring, outcomes in ((self._fine, past.fine), (self._coarse, past.coarse)):
            ends = [*(one.start for one in outcomes[1:]), now]
            for one, following in zip(outcomes, ends, strict=False):
                start, end = max(one.start, now - ring.past), min(following, now, one.start + covered(one, every))
                failed = at_intervals(one, every)
                if end <= start or not (runs := one.up + failed + one.unknown):
                    continue
                apart = 1.0 - overlap(planned, start, end) / (end - start)
                watched, down = ((end - start) * apart * part / runs for part in (one.up + failed, failed))
                ring.add(start, end, watched, down)
                ring.fail(start, round(failed * apart))

    def share(self, now: float, window: float) -> float | None:
        """What share of the time that was watched in the window until now was down; None: nobody watched."""
        watched, down, _ = self.within(now, window)
        return down / watched if watched else None

    def within(self, now: float, window: float) -> tuple[float, float, float]:
        """Seconds watched, seconds down and failed runs in the window until now."""
        ring, since = self._fine if window <= self._fine.past else self._coarse, now - window
        watched, down, failed = ring.within(since, now)
        for run in self._newest.values():
            time = max(0.0, min(now, run.until) - max(since, run.at))
            watched, down = watched + time, down + time * run.down
        return watched, down, failed


@dataclass(frozen=True, slots=True)
class Burning:
    """An alert that holds, in words; or, where nobody watched of late (no ``because``), that may hold still."""

    severity: Severity
    because: str


def burning(objective: Objective, counts: Counts, now: float) -> tuple[Burning, ...]:
    """The alerts that hold now, the worst first."""
    found = []
    for alert in ALERTS:
        limit = alert.burn_rate(objective.period)
        _, _, failed = counts.within(now, alert.long)
        rate = burn_rate(objective, counts, now, alert.long)
        short = counts.share(now, alert.short)
        if failed < objective.least_failures or rate is None or rate <= limit:
            continue
        if short is None:
            found.append(Burning(alert.severity, ""))
        elif short / objective.allowed > limit:
            found.append(Burning(alert.severity, _because(objective, alert, rate, limit)))
    return tuple(found)


def burn_rate(objective: Objective, counts: Counts, now: float, window: float) -> float | None:
    """How many times as fast as it may the budget went in the window until now; None: nobody watched in it.

    Of the whole window, as the budget is that of the whole period: the first minute after a start is no hour.
    """
    watched, down, _ = counts.within(now, window)
    share = down / (window * max(1, len(objective.checks)))
    return share / objective.allowed if watched else None


def _because(objective: Objective, alert: BurnAlert, rate: float, limit: float) -> str:
    return (
        f"down for {format_value(rate * objective.allowed, Unit.RATIO)} of the last {format_duration(alert.long)}: "
        f"the error budget of {promised(objective.target)} over "
        f"{objective.over} goes {times_as_fast(rate)} times as fast as it may "
        f"({limit:g} is told)"
    )


def times_as_fast(rate: float) -> str:
    """A burn rate for people: never by powers of ten."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
