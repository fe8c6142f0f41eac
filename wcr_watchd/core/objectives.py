"""Objectives: what share of the time some checks must be up, how much of the error budget is left, how fast it goes.

Whoever is told of that, and when, is in :mod:`wcr_watchd.core.burning`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import instant, local_time, months
from wcr_watchd.core.model import Severity
from wcr_watchd.core.units import Unit, format_duration, format_part, format_value
from wcr_watchd.core.uptime import Uptime, total

SUBJECT = "objective"
"""What the subject of an incident about one begins with; its name and one of :data:`BURNS` follow."""
BURNS = {Severity.CRITICAL: "burns fast", Severity.WARNING: "burns"}
SPENT = (
    (0.5, Severity.INFO, "half used"),
    (0.8, Severity.WARNING, "nearly used up"),
    (1.0, Severity.WARNING, "used up"),
)
"""Shares of the budget: somebody is told, once, when so much is used; what the subject of that ends with."""
BACK = 0.05
"""So much less (of the budget) must be used again until that is over: in time, old failures leave the period."""
DAY = 86_400.0
USUAL_PERIOD = 30 * DAY
_MOMENT = 0.001
"""A month that ends then is the one that is told at that time."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What share (0-1) of the time these checks must be up over the period (seconds).

    Fewer than ``least_failures`` failed runs in a long window tell nobody: where runs are few, one is a large share.
    With ``month_begins`` (a day of the month, 0: none) the period is the month that goes on, by the clocks of the time
    zone, as a vendor's agreement has it; ``period`` is then how long burn rates take one to be.
    """

    name: str
    checks: tuple[str, ...]
    target: float
    period: float = USUAL_PERIOD
    least_failures: int = 2
    comment: str = ""
    month_begins: int = 0
    timezone: str = "UTC"

    @property
    def allowed(self) -> float:
        """The share that may fail: the error budget."""
        return 1.0 - self.target

    @property
    def over(self) -> str:
        """The period in words."""
        return over(self.period, self.month_begins)

    def span(self, until: float) -> tuple[float, float]:
        """From when to when the period goes that has come up to then (epoch seconds); a month ends after it."""
        if not self.month_begins:
            return until - self.period, until
        [(_, start, end)] = months(until - _MOMENT, self.timezone, 1, self.month_begins)
        return start, end

    def days(self, until: float) -> list[float]:
        """Where the days of the period begin and end until then: those of a month at its midnights."""
        start, _ = self.span(until)
        if not self.month_begins:
            count = max(1, round(self.period / DAY))
            return [until - self.period * (count - number) / count for number in range(count + 1)]
        zone, found = ZoneInfo(self.timezone), [start]
        begin = local_time(start, zone).replace(hour=0, minute=0)  # the clocks may skip that midnight
        while (at := instant(begin + timedelta(days=len(found)), zone)) < until:
            found.append(at)
        return [*found, until]


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


def promised(target: float) -> str:
    """A target in words, in all its digits: ``99.9995 %``."""
    return f"{100 * target:.9g} %"


def budget_left(left: float) -> str:
    """What is left of an error budget in words, the same everywhere: ``75.6 % left``, ``used up, and 23 % more``."""
    if left > 0:
        return f"{format_part(left)} left"
    return f"used up, and {-left * 100:.0f} % more" if left < -0.005 else "used up"


def over(period: float, month_begins: int) -> str:
    """A period in words: ``30 d``, ``a month``, ``a month from day 15``."""
    if not month_begins:
        return format_duration(period)
    return "a month" if month_begins == 1 else f"a month from day {month_begins}"


def budget(objective: Objective, found: Iterable[Uptime], until: float = 0.0) -> Budget:
    """The budget, from what is known of each check over the period; the time of all checks counts together.

    The whole period outside of planned maintenance has its budget, also where nobody watched, and what comes of a month
    after ``until``.
    """
    together = total(found)
    watched = together.up + together.down
    allowed = objective.allowed * (watched + together.unwatched + ahead(objective, until))
    left = 1.0 - together.down / allowed if watched and allowed else None
    shares = together.share, together.share_with_planned
    return Budget(*shares, together.down, watched, together.unwatched, left)


def ahead(objective: Objective, until: float) -> float:
    """Seconds of all checks that a month still has after that."""
    return (objective.span(until)[1] - until) * len(objective.checks) if objective.month_begins else 0.0


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
    known = sum(one.watched + one.unwatched for _, _, one in each)
    allowed = objective.allowed * (known + ahead(objective, parts[-1][1] if parts else 0.0))
    found, left = [], 1.0
    for start, end, one in each:
        used = one.down / allowed if allowed else 0.0
        left -= used
        found.append(Stretch(start, end, one, used, left))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Spent:
    """That so much of a budget is used, or is so no longer: whether that ``holds``, by which word, how bad, and why."""

    word: str
    holds: bool
    severity: Severity
    because: str


def spent(objective: Objective, found: Budget, told: Collection[str], before: float | None) -> tuple[Spent, ...]:
    """What is to be told of how much of the budget is used, and what of that is over; ``told`` are the words that hold.

    ``before`` is what share was used at the last look (None: not known): nothing begins while a budget recovers. Of
    several shares that are passed at once only the largest is told; where nothing is known, whatever was told holds.
    """
    if found.left is None:
        return ()
    used = 1.0 - found.left
    passed = [
        (word, severity) for share, severity, word in SPENT if used >= share and (before is None or before < share)
    ]
    because = _spent_because(objective, found, used)
    over = [
        Spent(
            word, False, severity, f"{format_value(max(0.0, used), Unit.RATIO, 3)} of the error budget are used by now"
        )
        for share, severity, word in SPENT
        if word in told and used < share - BACK
    ]
    if not passed or passed[-1][0] in told:
        return tuple(over)
    word, severity = passed[-1]
    return (*over, Spent(word, True, severity, because))


def _spent_because(objective: Objective, found: Budget, used: float) -> str:
    allowed = found.down / used if used else 0.0
    return (
        f"{format_value(used, Unit.RATIO, 3)} of the error budget of {objective.name} are used: down for "
        f"{format_duration(found.down)} of the {format_duration(allowed)} that "
        f"{promised(objective.target)} allows in {objective.over}"
    )
