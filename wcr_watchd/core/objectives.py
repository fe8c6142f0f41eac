"""Objectives: what share of the runs of some checks must be up, how much of the error budget is left, how fast it goes.

Somebody is told by the burn rate over several windows at once, as "The Site Reliability Workbook" (Google, 2018,
chapter 5, "Multiwindow, Multi-Burn-Rate Alerts") has it: the long window says that it matters, the short one that it
still goes on. A burn rate of 1 uses the budget up exactly at the end of the period.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wcr_watchd.core.model import Severity
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.core.uptime import Uptime, total

SUBJECT = "objective"
"""What the subject of an incident about one begins with; its name and one of :data:`BURNS` follow."""
BURNS = {Severity.CRITICAL: "burns fast", Severity.WARNING: "burns"}
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
USUAL_PERIOD = 30 * DAY


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
        """The burn rate at which that share is used within the window."""
        return self.consumed * period / self.long


ALERTS = (
    BurnAlert(Severity.CRITICAL, HOUR, 5 * MINUTE, 0.02),
    BurnAlert(Severity.CRITICAL, 6 * HOUR, 30 * MINUTE, 0.05),
    BurnAlert(Severity.WARNING, 3 * DAY, 6 * HOUR, 0.10),
)
"""The workbook's recommended parameters (table 5-8): for 30 days burn rates of 14.4, 6 and 1."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What share (0-1) of the runs of these checks must be up over the period (seconds).

    Fewer than ``least_failures`` failed runs in a long window tell nobody: where runs are few, one is a large share.
    """

    name: str
    checks: tuple[str, ...]
    target: float
    period: float = USUAL_PERIOD
    least_failures: int = 2
    comment: str = ""

    @property
    def allowed(self) -> float:
        """The share that may fail: the error budget."""
        return 1.0 - self.target


@dataclass(slots=True)
class _Ring:
    """Counts of runs and of failed runs in even slots of time, for a bounded past."""

    width: float
    past: float
    slots: deque[list[float]] = field(default_factory=deque)

    def add(self, at: float, runs: int, failed: int) -> None:
        start = at // self.width * self.width
        if not self.slots or start > self.slots[-1][0]:
            self.slots.append([start, 0.0, 0.0])
        # A run that began a little earlier than the newest one counts with it.
        self.slots[-1][1] += runs
        self.slots[-1][2] += failed
        while self.slots and self.slots[0][0] < self.slots[-1][0] - self.past - self.width:
            self.slots.popleft()

    def within(self, since: float) -> tuple[float, float]:
        """Runs and failed runs after ``since``; of the slot that it lies in, the part."""
        runs = failed = 0.0
        for start, all_of_it, bad in reversed(self.slots):
            part = min(1.0, (start + self.width - since) / self.width)
            if part <= 0:
                break
            runs += all_of_it * part
            failed += bad * part
        return runs, failed


class Counts:
    """How many runs of an objective's checks there were and failed, by minutes of hours and by hours of days."""

    def __init__(self) -> None:
        self._fine = _Ring(MINUTE, 6 * HOUR)
        self._coarse = _Ring(HOUR, 3 * DAY)

    def add(self, at: float, runs: int, failed: int) -> None:
        """Count runs that began at this time (epoch seconds), the newest last."""
        self._fine.add(at, runs, failed)
        self._coarse.add(at, runs, failed)

    def share(self, now: float, window: float) -> tuple[float | None, float]:
        """The share that failed in the window until now, and how many did; None without any run."""
        ring = self._fine if window <= self._fine.past else self._coarse
        runs, failed = ring.within(now - window)
        return (failed / runs if runs else None), failed


@dataclass(frozen=True, slots=True)
class Burning:
    """An alert that holds, in words."""

    severity: Severity
    because: str


def burning(objective: Objective, counts: Counts, now: float) -> tuple[Burning, ...]:
    """The alerts that hold now, the worst first."""
    found = []
    for alert in ALERTS:
        limit = alert.burn_rate(objective.period)
        long, failed = counts.share(now, alert.long)
        short, _ = counts.share(now, alert.short)
        if long is None or failed < objective.least_failures:
            continue
        short = long if short is None else short  # a check that runs seldom: no run says nothing of an end
        if min(long, short) / objective.allowed > limit:
            rate = long / objective.allowed
            found.append(
                Burning(
                    alert.severity,
                    f"{format_value(long, Unit.RATIO)} of the runs failed in the last {format_duration(alert.long)}: "
                    f"the error budget of {format_value(objective.target, Unit.RATIO, 5)} over "
                    f"{format_duration(objective.period)} goes {times_as_fast(rate)} times as fast as it may "
                    f"({limit:g} is told)",
                )
            )
    return tuple(found)


def times_as_fast(rate: float) -> str:
    """A burn rate for people: never by powers of ten."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


@dataclass(frozen=True, slots=True)
class Budget:
    """What became of the error budget over the period; all in seconds but the shares (0-1, None: nothing is known)."""

    availability: float | None
    """Without planned maintenance."""
    availability_with_planned: float | None
    down: float
    watched: float
    unwatched: float
    left: float | None
    """Share of the budget that is left; negative when more is used."""


def budget(objective: Objective, found: Iterable[Uptime]) -> Budget:
    """The budget, from what is known of each check over the period; the time of all checks counts together.

    The whole period outside of planned maintenance has its budget, also where nobody watched.
    """
    together = total(found)
    watched = together.up + together.down
    allowed = objective.allowed * (watched + together.unwatched)
    left = 1.0 - together.down / allowed if watched and allowed else None
    shares = together.share, together.share_with_planned
    return Budget(*shares, together.down, watched, together.unwatched, left)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an objective's period, such as a day: what was known of it, and what was left of the budget after it.

    ``start`` and ``end`` in epoch seconds; ``used`` is the share of the whole period's budget that went in it.
    """

    start: float
    end: float
    budget: Budget
    used: float
    left: float


def stretches(objective: Objective, parts: Sequence[tuple[float, float, Sequence[Uptime]]]) -> tuple[Stretch, ...]:
    """The course of the budget: ``parts`` are start, end and what is known of each check, in order of time."""
    each = [(start, end, budget(objective, found)) for start, end, found in parts]
    allowed = objective.allowed * sum(one.watched + one.unwatched for _, _, one in each)
    found, left = [], 1.0
    for start, end, one in each:
        used = one.down / allowed if allowed else 0.0
        left -= used
        found.append(Stretch(start, end, one, used, left))
    return tuple(found)
