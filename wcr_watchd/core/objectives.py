"""Objectives: what share of the time some checks must be up, how much of the error budget is left, how fast it goes.

Whoever is told of that, and when, is in :mod:`wcr_watchd.core.burning`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Objective:
    """What share (0-1) of the time these checks must be up over the period (seconds).

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
        f"{promised(objective.target)} allows in {format_duration(objective.period)}"
    )
