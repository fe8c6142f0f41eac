"""Whether it is worse after a change than before, by tests that assume nothing of how the values are spread.

Latency and use of resources are compared by the Mann-Whitney U test (H. B. Mann and D. R. Whitney, "On a Test of
Whether one of Two Random Variables is Stochastically Larger than the Other", 1947): exactly for small samples without
ties, else by the normal approximation with corrections for ties and continuity (E. L. Lehmann, "Nonparametrics", 1975,
1.2 and 1.4). Failures are compared by Fisher's exact test (R. A. Fisher, "Statistical Methods for Research Workers",
1934, 21.02). Several series are compared at once, so the levels are those of S. Holm ("A Simple Sequentially Rejective
Multiple Test Procedure", 1979): the chance of calling anything worse that is not stays below the level as a whole.
Runs that follow each other resemble each other; what that takes from the test is in :mod:`wcr_watchd.core.resemblance`.

A difference is only called worse when it is also large enough to matter: with enough values any difference is certain.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.resemblance import inflation
from wcr_watchd.core.units import Unit, format_value

LEVEL = 0.05
"""The chance of calling something worse although nothing is."""
FAILURES = "failures"
"""The series of each check that is the share of its runs that were down."""
FEWEST = 8
"""Values on either side below which nothing is said."""
FEWEST_INDEPENDENT = 4
"""Runs that know nothing of each other to which those of a side must amount; below that nothing is said either."""
EXACT_UP_TO = 20
"""Values on each side up to which the distribution of U is counted out."""
SMALLEST_SHARE = 0.02
"""A share (of processor, memory, disk …) must have grown by this much at least."""
SMALLEST_TIME = 0.005
"""Seconds by which something must have become slower at least."""
MOST_VALUES = 1_000
"""Values on either side that are compared; of more, evenly spread ones."""


class Finding(StrEnum):
    """What a comparison says."""

    WORSE = "worse"
    NOT_WORSE = "not worse"
    UNDECIDED = "undecided"
    """There are too few values, or they resemble each other too much to tell."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One series before and after: typical values (medians, or the share of failures), and how sure the test is.

    ``p`` is the chance to see such a difference although nothing became worse (None: it cannot be told).
    """

    check: str
    what: str
    unit: Unit
    before: float
    after: float
    count_before: int
    count_after: int
    p: float | None
    finding: Finding

    @property
    def text(self) -> str:
        """In one line: ``api duration: 0.2 s → 0.9 s, worse (p = 0.0004, 60 and 30 runs)``."""
        values = f"{format_value(self.before, self.unit)} → {format_value(self.after, self.unit)}"
        sure = f"p = {self.p:.2g}, " if self.p is not None else ""
        runs = f"{self.count_before} and {self.count_after} runs"
        return f"{self.check} {self.what}: {values}, {self.finding.value} ({sure}{runs})"


def mann_whitney(before: Sequence[float], after: Sequence[float], inflated: float = 1.0) -> float:
    """The chance that values drawn alike are as much larger ``after`` as these are (one-sided p; 1.0 for no values).

    ``inflated`` is how many times as large the variance is as of values that know nothing of each other.
    """
    m, n = len(before), len(after)
    if not m or not n:
        return 1.0
    ordered = sorted(before)
    wins = ties = 0
    for value in after:
        below = bisect_left(ordered, value)
        wins += below
        ties += bisect_right(ordered, value) - below
    together = sorted((*before, *after))
    if inflated == 1.0 and not ties and len(set(together)) == m + n and max(m, n) <= EXACT_UP_TO:
        return _exact_tail(m, n, wins)
    return _normal_tail(m, n, wins + ties / 2, together, inflated)


def _exact_tail(m: int, n: int, u: int) -> float:
    """The chance of U being ``u`` or more, counted over all orders: partitions into at most n parts of at most m."""
    counts = [1] + [0] * (m * n)
    for part in range(1, n + 1):  # the Gaussian binomial coefficient, factor by factor
        for index in range(m * n, m + part - 1, -1):
            counts[index] -= counts[index - m - part]
        for index in range(part, m * n + 1):
            counts[index] += counts[index - part]
    return sum(counts[u:]) / math.comb(m + n, n)


def _normal_tail(m: int, n: int, u: float, together: Sequence[float], inflated: float) -> float:
    size = m + n
    tied = 0
    start = 0
    while start < size:
        end = bisect_right(together, together[start], start)
        tied += (end - start) ** 3 - (end - start)
        start = end
    variance = inflated * m * n / 12 * (size + 1 - tied / (size * (size - 1)))
    if variance <= 0:  # all values are the same
        return 1.0
    return _upper((u - m * n / 2 - 0.5) / math.sqrt(variance))


def _upper(z: float) -> float:
    """The chance that a standard normal variable is larger than ``z``."""
    return math.erfc(z / math.sqrt(2)) / 2


def fisher(failures_before: int, runs_before: int, failures_after: int, runs_after: int) -> float:
    """The chance of so many failures after, or more, if both halves fail alike (one-sided p)."""
    failures = failures_before + failures_after
    runs = runs_before + runs_after
    most = min(failures, runs_after)
    ways = sum(
        math.comb(failures, k) * math.comb(runs - failures, runs_after - k)
        for k in range(failures_after, most + 1)
        if 0 <= runs_after - k <= runs - failures
    )
    return ways / math.comb(runs, runs_after)


def holm(chances: Sequence[float], level: float = LEVEL) -> tuple[bool, ...]:
    """Which of several p are significant when all are looked at together."""
    found = [False] * len(chances)
    for rank, index in enumerate(sorted(range(len(chances)), key=lambda one: chances[one])):
        if chances[index] > level / (len(chances) - rank):
            break
        found[index] = True
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Trial:
    """One series with its test, before all are judged together."""

    check: str
    what: str
    unit: Unit
    before: float
    after: float
    counts: tuple[int, int]
    p: float | None
    grew_enough: bool


def compare(
    before: Mapping[str, Sequence[Observation]],
    after: Mapping[str, Sequence[Observation]],
    units: Mapping[str, Mapping[str, str]],
    worse_by: float,
) -> tuple[Compared, ...]:
    """Compare the runs of checks before and after, by check: how long those took that were up, how many were not, and
    all measurements that are shares (of processor, memory, disk), which are the resources.

    ``units`` are the units' words by check and measurement; a median must have grown by more than ``worse_by`` (0.25: a
    quarter) to be worse. Of each check first what is worse.
    """
    trials: list[_Trial] = []
    for check in before.keys() | after.keys():
        old, new = _thinned(before.get(check, ())), _thinned(after.get(check, ()))
        trials += _trials(check, old, new, units.get(check, {}), worse_by)
    told = [one for one in trials if one.p is not None]
    significant = dict(zip(map(id, told), holm([one.p or 0.0 for one in told]), strict=True))
    found = [_judged(one, significant.get(id(one))) for one in trials]
    return tuple(sorted(found, key=lambda one: (one.finding is not Finding.WORSE, one.check, one.what)))


def _judged(one: _Trial, significant: bool | None) -> Compared:
    finding = Finding.UNDECIDED
    if significant is not None:
        finding = Finding.WORSE if significant and one.grew_enough else Finding.NOT_WORSE
    before, after = one.counts
    return Compared(one.check, one.what, one.unit, one.before, one.after, before, after, one.p, finding)


def _trials(
    check: str, old: Sequence[Observation], new: Sequence[Observation], units: Mapping[str, str], worse_by: float
) -> list[_Trial]:
    told_old, told_new = ([one for one in side if one.outcome is not Outcome.UNKNOWN] for side in (old, new))
    found = [_failures(check, told_old, told_new)]
    durations = tuple([one.duration for one in side if one.outcome is Outcome.UP] for side in (old, new))
    found.append(_values(check, "duration", Unit.SECONDS, durations, worse_by, SMALLEST_TIME))
    names = {(one.name, one.labels) for seen in (*old, *new) for one in seen.measurements}
    for name, labels in sorted(names):
        if units.get(name) == Unit.RATIO.value:
            sides = tuple(
                [one.value for seen in side for one in seen.measurements if (one.name, one.labels) == (name, labels)]
                for side in (old, new)
            )
            what = name + ("{" + ", ".join(f"{key}={value}" for key, value in labels) + "}" if labels else "")
            found.append(_values(check, what, Unit.RATIO, sides, worse_by, SMALLEST_SHARE))
    return found


def _failures(check: str, old: Sequence[Observation], new: Sequence[Observation]) -> _Trial:
    down = [sum(one.outcome is Outcome.DOWN for one in side) for side in (old, new)]
    shares = [count / len(side) if side else 0.0 for count, side in zip(down, (old, new), strict=True)]
    enough = min(len(old), len(new)) >= FEWEST
    p = fisher(down[0], len(old), down[1], len(new)) if enough else None
    return _Trial(check, FAILURES, Unit.RATIO, shares[0], shares[1], (len(old), len(new)), p, shares[1] > shares[0])


def _values(
    check: str, what: str, unit: Unit, sides: tuple[list[float], ...], worse_by: float, smallest: float
) -> _Trial:
    old, new = sides
    before, after = (median(side) if side else 0.0 for side in sides)
    shorter, inflated = min(len(old), len(new)), inflation(old, new)
    p = mann_whitney(old, new, inflated) if shorter >= max(FEWEST, FEWEST_INDEPENDENT * inflated) else None
    grew = after - before > max(worse_by * abs(before), smallest)
    return _Trial(check, what, unit, before, after, (len(old), len(new)), p, grew)


def _thinned(side: Sequence[Observation]) -> Sequence[Observation]:
    step = -(-len(side) // MOST_VALUES)
    return side[::step] if step > 1 else side
