"""Where a measurement is heading: a robust straight line through its past, and when it meets a limit.

The line is the one of Theil and Sen: the median of the slopes between all pairs of samples. Up to 29 % of the samples
may be wrong before it is; single spikes, a restart or a gap do not move it. A clean-up (a sudden step against the
trend) is no part of the growth: slopes are taken within the stretches between such steps only.

Sources: P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968), also for the
interval; H. Theil (1950).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from statistics import median

Sample = tuple[float, float]
"""Epoch seconds and value."""

FEWEST = 5
"""Samples that make a trend."""
MOST = 240
STEP = 6.0
"""A change between neighbours that is so many times the usual one away from it is a step, not growth."""
CERTAINTY = 1.96
"""Standard deviations of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A line: ``level`` at ``at`` (epoch seconds), ``slope`` per second, between ``low`` and ``high`` at 95 %."""

    at: float
    level: float
    slope: float
    low: float
    high: float

    def value(self, at: float) -> float:
        """What the line says for a time (epoch seconds)."""
        return self.level + self.slope * (at - self.at)


@dataclass(frozen=True, slots=True)
class Reach:
    """When a limit is met (epoch seconds): as expected, at the earliest and at the latest; None: not at this growth."""

    expected: float | None
    earliest: float | None
    latest: float | None


def trend(samples: Sequence[Sample], most: int = MOST) -> Trend | None:
    """The trend of samples in order of time; None when they are too few to tell.

    At most ``most`` are looked at: more are put together, as the work grows with their square.
    """
    thinned = _thinned(samples, most)
    stretches = [stretch for stretch in _stretches(thinned) if len(stretch) >= FEWEST]
    slopes = sorted(slope for stretch in stretches for slope in _slopes(stretch))
    if not slopes:
        return None
    slope = median(slopes)
    low, high = _interval(slopes, sum(map(len, stretches)))
    last = stretches[-1]
    at = last[-1][0]
    level = median(value + slope * (at - when) for when, value in last[-FEWEST:])
    return Trend(at, level, slope, low, high)


def reach(found: Trend, limit: float) -> Reach:
    """When the trend meets ``limit``, from whichever side; a limit that is met already is met at ``found.at``."""
    missing = limit - found.level
    if missing == 0:
        return Reach(found.at, found.at, found.at)
    toward = 1.0 if missing > 0 else -1.0
    fast, slow = (found.high, found.low) if toward > 0 else (found.low, found.high)

    def when(slope: float) -> float | None:
        return found.at + missing / slope if slope * toward > 0 else None

    return Reach(when(found.slope), when(fast), when(slow))


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` samples: the medians of neighbours."""
    size = max(1, ceil(len(samples) / most))
    if size == 1:
        return list(samples)
    groups = (samples[at : at + size] for at in range(0, len(samples), size))
    return [(median(at for at, _ in group), median(value for _, value in group)) for group in groups]


def _stretches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """The samples between steps."""
    changes = [b[1] - a[1] for a, b in pairwise(samples)]
    if not changes:
        return
    usual = median(changes)
    spread = median(abs(change - usual) for change in changes)
    scale = max(spread, abs(usual), 1e-12)
    begin = 0
    for number, change in enumerate(changes, start=1):
        back = change - usual
        if abs(back) > STEP * scale and _stays(samples, number, change):
            yield samples[begin:number]
            begin = number
    yield samples[begin:]


def _stays(samples: Sequence[Sample], number: int, change: float) -> bool:
    """Whether the values stay where the change took them; a spike comes back at once."""
    following = samples[number : number + 3]
    before = samples[max(0, number - 3) : number]
    if len(following) < 2 or len(before) < 2:
        return False
    moved = median(value for _, value in following) - median(value for _, value in before)
    return abs(moved) > abs(change) / 2 and moved * change > 0


def _slopes(samples: Sequence[Sample]) -> Iterator[float]:
    for number, (earlier, value) in enumerate(samples):
        for later, other in samples[number + 1 :]:
            if later > earlier:
                yield (other - value) / (later - earlier)


def _interval(slopes: Sequence[float], count: int) -> tuple[float, float]:
    """The 95 % interval of Sen's estimate, by the variance of Kendall's score over ``count`` samples."""
    width = CERTAINTY * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, int((len(slopes) - width) / 2))
    high = min(len(slopes) - 1, ceil((len(slopes) + width) / 2))
    return slopes[low], slopes[high]
