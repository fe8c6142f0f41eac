"""Where a measurement is heading: a robust straight line through its past, and when it meets a limit.

The line is that of Theil and Sen: the median of the slopes between all pairs of samples. Single spikes, a restart or a
gap do not move it. A clean-up (a sudden step against the growth) is no part of it: slopes are taken within the
stretches between such steps only. Real growth changes: where the slopes that end lately are further from that median
than noise explains, it is taken together with theirs, as forecasts that are combined are better than each. How sure the
line is follows from how much growth differed over the past.

Scored on recorded series against simpler methods by ``tests/bench/forecasts.py``.

Sources: H. Theil (1950); P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968);
L. A. Jaeckel, "Estimating Regression Coefficients by Minimizing the Dispersion of the Residuals" (1972) for weights;
J. M. Bates and C. W. J. Granger, "The Combination of Forecasts" (1969).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt
from statistics import fmean, median

Sample = tuple[float, float]
"""Epoch seconds and value."""

_Slope = tuple[float, float, float]
"""A growth per second, over so many seconds, up to then (epoch seconds)."""

FEWEST = 5
"""Samples that make a trend."""
MOST = 240
STEP = 6.0
"""A change between neighbours that is so many times the usual one away from it is a step, not growth."""
CERTAINTY = 1.96
"""Standard deviations of a 95 % interval."""
RECENT = 0.25
"""Share of the past in which a slope must end to count: where things are heading now."""
PIECE = 0.2
"""Share of the past that a slope must span to say how growth differs."""
MARGIN = 1.0
"""By how many times its width the interval of the growths seen is widened on each side: growth goes on changing. With
it 95 of 100 times foretold by recorded series came true."""


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


def trend(samples: Sequence[Sample], most: int = MOST, *, recent: float = RECENT) -> Trend | None:
    """The trend of samples in order of time; None when they are too few to tell.

    At most ``most`` are looked at: more are put together, as the work grows with their square. ``recent`` is the share
    of the past in which a slope must end to tell a change of the growth.
    """
    thinned = _without_spikes(_thinned(samples, most))
    stretches = list(_stretches(thinned))
    long_enough = [stretch for stretch in stretches if len(stretch) >= FEWEST]
    slopes = sorted(slope for stretch in long_enough for slope in _slopes(stretch))
    if not slopes:
        return None
    at = thinned[-1][0]
    whole = at - thinned[0][0]
    slope = _now(slopes, at - recent * whole, sum(map(len, long_enough)))
    low, high = _interval([growth for growth, span, _ in slopes if span >= PIECE * whole] or [slope])
    return Trend(at, _level(stretches[-1], slope), slope, min(low, slope), max(high, slope))


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


def steady(samples: Sequence[Sample], most: int = MOST) -> Sequence[Sample]:
    """The samples without spikes, and as if no step had been: those before each are moved by it."""
    found: list[Sample] = []
    moved = 0.0
    for stretch in _stretches(_without_spikes(_thinned(samples, most))):
        if found:
            moved = stretch[0][1] - found[-1][1]
        found += [(at, value - moved) for at, value in stretch]
    return [(at, value + moved) for at, value in found]


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` samples: the medians of neighbours."""
    size = max(1, ceil(len(samples) / most))
    if size == 1:
        return list(samples)
    groups = (samples[at : at + size] for at in range(0, len(samples), size))
    return [(median(at for at, _ in group), median(value for _, value in group)) for group in groups]


def _leaps(samples: Sequence[Sample]) -> Iterator[tuple[int, float]]:
    """The changes between neighbours that are far from the usual one: the number of the later one, and the change."""
    changes = [after - before for (_, before), (_, after) in pairwise(samples)]
    if not changes:
        return
    usual, scale = _usual(changes)
    for number, change in enumerate(changes, start=1):
        if abs(change - usual) > STEP * scale:
            yield number, change


def _usual(changes: Sequence[float]) -> tuple[float, float]:
    """The usual change between neighbours, and how far from it others usually are."""
    usual = median(changes)
    spread = median(abs(change - usual) for change in changes)
    return usual, max(spread, abs(usual), 1e-12)


def _without_spikes(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples without those to which a leap leads, and from which one leads back at once."""
    leaps = dict(_leaps(samples))
    spikes = {number for number, change in leaps.items() if leaps.get(number + 1, change) * change < 0}
    return [one for number, one in enumerate(samples) if number not in spikes] if spikes else samples


def _stretches(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """The samples between steps: leaps that stay, against the growth; those along with it are part of it."""
    leaps = dict(_leaps(samples))
    changes = [after[1] - before[1] for before, after in pairwise(samples)]
    grown = sum(change for number, change in enumerate(changes, start=1) if number not in leaps)
    grows = bool(leaps) and abs(grown) > STEP * _usual(changes)[1]
    begin = 0
    for number, change in leaps.items():
        if not (grows and change * grown > 0) and _stays(samples, number, change):
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


def _slopes(samples: Sequence[Sample]) -> Iterator[_Slope]:
    for number, (earlier, value) in enumerate(samples):
        for later, other in samples[number + 1 :]:
            if later > earlier:
                yield (other - value) / (later - earlier), later - earlier, later


def _now(slopes: Sequence[_Slope], since: float, count: int) -> float:
    """The growth of now, from slopes in order over ``count`` samples: that of the whole past, unless it has changed.

    It has where the slopes that end ``since`` then are further from it than noise explains: outside of Sen's interval,
    which goes by the variance of Kendall's score. Then it is the mean of three: that of the whole past, that of lately,
    shorter slopes counting for more, and that over spans as long as from ``since`` to now.
    """
    width = CERTAINTY * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, int((len(slopes) - width) / 2))
    high = min(len(slopes) - 1, ceil((len(slopes) + width) / 2))
    overall = median(slope[0] for slope in slopes)
    late = [slope for slope in slopes if slope[2] >= since] or slopes
    recent = _weighted_median(late)
    if slopes[low][0] <= recent <= slopes[high][0]:
        return overall
    length = max(slope[2] for slope in slopes) - since
    even = [growth for growth, span, _ in late if 0.8 * length <= span <= 1.2 * length]
    return fmean((overall, recent, median(even) if even else recent))


def _weighted_median(slopes: Sequence[_Slope]) -> float:
    """The median of slopes in order, each counting by the shortness of its span."""
    half = sum(1 / span for _, span, _ in slopes) / 2
    for growth, span, _ in slopes:
        half -= 1 / span
        if half <= 0:
            return growth
    return slopes[-1][0]


def _level(stretch: Sequence[Sample], slope: float) -> float:
    """Where the line is at the last sample: there, unless it leapt away from those before as none of them did."""
    value = stretch[-1][1]
    *changes, last = (abs(after - before) for (_, before), (_, after) in pairwise(stretch)) if stretch[1:] else (0.0,)
    if len(stretch) < FEWEST or last <= 2 * max(changes):
        return value
    at = stretch[-1][0]
    return median(one + slope * (at - when) for when, one in stretch[-FEWEST:])


def _interval(growths: Sequence[float]) -> tuple[float, float]:
    """Between which the growth will be, from those that were (in order)."""
    margin = MARGIN * (growths[-1] - growths[0])
    return growths[0] - margin, growths[-1] + margin
