"""Where a measurement is heading: a robust straight line through its past, and when it meets a limit.

Two lines are drawn and put together, as forecasts that are combined are better than each. The first is that of Theil
and Sen: the median of the slopes between all pairs of samples. Noise does not move it, and it is the best where growth
never changes. The second begins at the last value and has the mean of the growths over the last one, two, three ...
weeks: it is the best where growth changes and nothing that came goes away again. Which counts for how much is asked of
the past: the first as much as what lies off it is gone at the next sample.

Only whole weeks are compared (days, while fewer than two weeks are known), so that it does not matter at which time of
the week the past begins and ends. A spike is left out. What a clean-up (a sudden step against the growth) took is no
part of the growth, unless such steps come every week. How sure the line is follows from how much growth differed, and
from how far it is drawn: what growth will be is known the less the further ahead one looks.

Scored on recorded series against simpler methods by ``tests/bench/forecasts.py``.

Sources: H. Theil (1950); P. K. Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63 (1968);
R. M. Hirsch, J. R. Slack and R. A. Smith, "Techniques of Trend Analysis for Monthly Water Quality Data" (1982) for
equal seasons; M. H. Pesaran and A. Pick, "Forecast Combination Across Estimation Windows" (2011) for the second line;
J. von Neumann, "Distribution of the Ratio of the Mean Square Successive Difference to the Variance" (1941) for what is
gone; J. M. Bates and C. W. J. Granger, "The Combination of Forecasts" (1969).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, sqrt
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
"""Standard deviations that chance exceeds in 5 of 100 cases."""
MANY = 4
"""More steps than these are no clean-ups, but how it goes."""
OFTEN = 3
"""So many steps, a period from each other, will come again."""
PERIODS = (7 * 86_400.0, 86_400.0)
"""Seconds after which growth repeats: only whole ones are compared, of the first that the past has twice."""
PIECE = 0.2
"""Share of the past that a slope must span to say how growth differs, or what it is of late."""
MARGIN = 1.25
"""By how many times its width the interval of the growths seen is widened on each side: growth goes on changing. With
it 95 of 100 times foretold by recorded series came true."""
NEAR_AHEAD = 0.5
"""Of the past, so far ahead that holds: those times were one to four weeks ahead, foretold by a month."""
ROUNDS = 40
"""Steps in which a date is found whose interval depends on how far away it is; each halves what is still missing."""
FORESEEN = 2 * 365.25 * 86_400.0
"""Seconds beyond which nobody foresees when something is full."""
BEYOND = 50 * FORESEEN
"""Seconds that are never."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What something will be ``at`` a time (epoch seconds), between ``low`` and ``high`` at 95 %."""

    at: float
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Trend:
    """A line: ``level`` at ``at`` (epoch seconds), ``slope`` per second, between ``low`` and ``high`` at 95 %.

    That holds as far ahead as half of the ``past`` (seconds) reaches that it is drawn through.
    """

    at: float
    level: float
    slope: float
    low: float
    high: float
    past: float = inf

    def value(self, at: float) -> float:
        """What the line says for a time (epoch seconds)."""
        return self.level + self.slope * (at - self.at)

    def ahead(self, at: float) -> Ahead:
        """What it will be then."""
        length = at - self.at
        low, high = (self.level + self.growth(edge, length) * length for edge in (self.low, self.high))
        return Ahead(at, self.value(at), low, high)

    def growth(self, edge: float, ahead: float) -> float:
        """Where ``edge`` of the slopes, ``low`` or ``high``, is for a time so many seconds ahead.

        Further ahead than :data:`NEAR_AHEAD` they move apart. Where growth itself wanders (a random walk), its mean of
        the past and its mean of what comes differ by the root of both lengths together.
        """
        share = ahead / self.past
        wider = sqrt((1 + share) / (1 + NEAR_AHEAD)) if share > NEAR_AHEAD else 1.0
        return self.slope + (edge - self.slope) * wider


@dataclass(frozen=True, slots=True)
class Reach:
    """When a limit is met (epoch seconds): as expected, at the earliest and at the latest; None: not at this growth."""

    expected: float | None
    earliest: float | None
    latest: float | None

    def told(self, at: float, never: str = "never") -> str:
        """``in about 40 d (31 d to 55 d)``, ``already``, seen from a time; empty when that is years away."""
        if self.latest is not None and self.latest <= at:
            return "already"
        if self.expected is None or self.expected - at > FORESEEN:
            return ""
        expected, earliest, latest = (
            never if time is None else foreseen(time - at) for time in (self.expected, self.earliest, self.latest)
        )
        return f"in about {expected}" + (f" ({earliest} to {latest})" if earliest != latest else "")


def foreseen(seconds: float) -> str:
    """How far ahead something is, as exactly as a forecast can tell: ``36 h``, ``90 d``, ``over 2 years``."""
    if seconds > FORESEEN:
        return "over 2 years"
    hours = max(0.0, seconds) / 3_600
    return f"{hours / 24:.0f} d" if hours >= 48 else f"{hours:.0f} h"


def trend(samples: Sequence[Sample], most: int = MOST) -> Trend | None:
    """The trend of samples in order of time; None when they are too few to tell.

    At most ``most`` are looked at: more are put together, as the work grows with their square.
    """
    known = _without_leap(steady(samples, most))
    if len(known) < FEWEST:
        return None
    period = _period(known)
    slopes = sorted(slopes_of(known, period) or slopes_of(known))
    if not slopes:
        return None
    at, last = known[-1]
    overall = median(growth for growth, _, _ in slopes)
    long = [slope for slope in slopes if slope[1] >= PIECE * (at - known[0][0])] or slopes
    lately = fmean([growth for growth, _, until in long if until == at] or [overall])
    off = [value - overall * (when - at) for when, value in known]
    fading = _fading([one - usual for one, usual in zip(off, _usual_by_time(known, off, period), strict=True)])
    slope = fading * overall + (1 - fading) * lately
    low, high = _interval([growth for growth, _, _ in long])
    level = last + fading**2 * (median(off) - off[-1])
    return Trend(at, level, slope, min(low, slope), max(high, slope), at - known[0][0])


def reach(found: Trend, limit: float) -> Reach:
    """When the trend meets ``limit``, from whichever side; a limit that is met already is met at ``found.at``."""
    missing = limit - found.level
    if missing == 0:
        return Reach(found.at, found.at, found.at)
    fast, slow = (found.high, found.low) if missing > 0 else (found.low, found.high)
    return Reach(*(_met(found, missing, edge) for edge in (found.slope, fast, slow)))


def _met(found: Trend, missing: float, edge: float) -> float | None:
    """When so much is no longer missing, where growth is at this edge of what it may be; None: never."""
    if edge * missing <= 0:
        return None
    ahead = missing / edge
    for _ in range(ROUNDS if ahead > NEAR_AHEAD * found.past else 0):
        growth = found.growth(edge, ahead)
        if growth * missing <= 0 or ahead > BEYOND:
            return None
        ahead = sqrt(ahead * (missing / growth))
    return found.at + ahead


def steady(samples: Sequence[Sample], most: int = MOST) -> Sequence[Sample]:
    """The samples without spikes, and as if no step had been: those before each are moved by it."""
    thinned = _without_spikes(_thinned(samples, most))
    usual = _usual_changes(thinned)
    found: list[Sample] = []
    moved = 0.0
    for begin, end in pairwise((0, *_steps(thinned), len(thinned))):
        if begin:
            moved = thinned[begin][1] - usual[begin - 1] - found[-1][1]
        found += [(at, value - moved) for at, value in thinned[begin:end]]
    return [(at, value + moved) for at, value in found]


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` samples: the medians of neighbours."""
    size = max(1, ceil(len(samples) / most))
    if size == 1:
        return list(samples)
    groups = (samples[at : at + size] for at in range(0, len(samples), size))
    return [(median(at for at, _ in group), median(value for _, value in group)) for group in groups]


def _changes(samples: Sequence[Sample]) -> list[float]:
    return [after - before for (_, before), (_, after) in pairwise(samples)]


def _usual_changes(samples: Sequence[Sample]) -> Sequence[float]:
    """For each change between neighbours the usual one: at this time of the days or weeks, where three are known."""
    changes = _changes(samples)
    if len(samples) < FEWEST:
        return [median(changes)] * len(changes) if changes else []
    return _usual_by_time(samples[1:], changes, _period(samples, OFTEN))


def _usual_by_time(samples: Sequence[Sample], values: Sequence[float], period: float) -> Sequence[float]:
    """For each of the values that belong to samples the median of all that have the same time of the period."""
    if not period:
        return [median(values)] * len(values)
    near = _near(samples)
    times = [int((at % period + near) // (2 * near)) for at, _ in samples]
    groups: dict[int, list[float]] = {}
    for time, value in zip(times, values, strict=True):
        groups.setdefault(time, []).append(value)
    usual = {time: median(group) for time, group in groups.items()}
    return [usual[time] for time in times]


def _leaps(samples: Sequence[Sample]) -> Iterator[tuple[int, float]]:
    """The changes between neighbours that are far from the usual: the number of the later one, and how far."""
    changes, usual = _changes(samples), _usual_changes(samples)
    scale = _scale(changes, usual)
    for number, (change, expected) in enumerate(zip(changes, usual, strict=True), start=1):
        if abs(change - expected) > STEP * scale:
            yield number, change - expected


def _scale(changes: Sequence[float], usual: Sequence[float]) -> float:
    """How far from the usual changes usually are, or how large."""
    if not changes:
        return 0.0
    spread = median(abs(change - expected) for change, expected in zip(changes, usual, strict=True))
    return max(spread, abs(median(changes)), 1e-12)


def _without_spikes(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples without those to which a leap leads, and from which one leads back at once."""
    leaps = dict(_leaps(samples))
    spikes = {number for number, change in leaps.items() if leaps.get(number + 1, change) * change < 0}
    return [one for number, one in enumerate(samples) if number not in spikes] if spikes else samples


def _steps(samples: Sequence[Sample]) -> Sequence[int]:
    """The numbers of the samples to which a step leads: a leap that stays, against the growth; one along is part of it.

    So are steps that come again and again: a weekly clean-up takes as much next week. Of many steps it is made.
    """
    leaps = dict(_leaps(samples))
    direction = _direction(samples, leaps) if leaps else 0.0
    steps = [number for number, change in leaps.items() if change * direction <= 0 and _stays(samples, number, change)]
    return () if len(steps) > MANY or _recur([samples[number][0] for number in steps], samples) else steps


def _recur(steps: Sequence[float], samples: Sequence[Sample]) -> bool:
    """Whether there was a step about every week (or every day, of a past of days), at least three times."""
    if len(steps) < OFTEN:
        return False
    times = (samples[0][0], *steps, samples[-1][0])
    return all(after - before <= 1.5 * _period(samples, OFTEN) for before, after in pairwise(times))


def _direction(samples: Sequence[Sample], leaps: Mapping[int, float]) -> float:
    """Above 0 where it grows, below where it shrinks, 0 where it does neither.

    By the changes that are no leaps. Where nothing changes between leaps (backups, each night), by whether far more of
    all changes go one way than the other: a sign test.
    """
    changes = _changes(samples)
    grown = sum(change for number, change in enumerate(changes, start=1) if number not in leaps)
    if abs(grown) > STEP * _scale(changes, _usual_changes(samples)):
        return grown
    up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    return float(up - down) if abs(up - down) > CERTAINTY * sqrt(up + down) else 0.0


def _stays(samples: Sequence[Sample], number: int, change: float) -> bool:
    """Whether the values stay where the change took them; a spike comes back at once."""
    following = samples[number : number + 3]
    before = samples[max(0, number - 3) : number]
    if len(following) < 2 or len(before) < 2:
        return False
    moved = median(value for _, value in following) - median(value for _, value in before)
    return abs(moved) > abs(change) / 2 and moved * change > 0


def _without_leap(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples without a last one that leapt away as none before: nobody knows yet whether it stays there."""
    *changes, last = (abs(after - before) for (_, before), (_, after) in pairwise(samples)) if samples[1:] else (0.0,)
    return samples[:-1] if len(samples) > FEWEST and last > 2 * max(changes) else samples


def _period(samples: Sequence[Sample], times: int = 2) -> float:
    """The longest period (seconds) that the samples span so many times; 0: none."""
    whole = samples[-1][0] - samples[0][0]
    return next((period for period in PERIODS if whole >= times * period), 0.0)


def _near(samples: Sequence[Sample]) -> float:
    """Half of what samples usually are apart (seconds): so near to a time is at that time."""
    return max(median(after - before for (before, _), (after, _) in pairwise(samples)) / 2, 1e-6)


def slopes_of(samples: Sequence[Sample], period: float = 0.0) -> list[_Slope]:
    """Those between all pairs of samples that are whole periods apart, as exactly as samples lie."""
    near = _near(samples)
    return [
        ((other - value) / (later - earlier), later - earlier, later)
        for number, (earlier, value) in enumerate(samples)
        for later, other in samples[number + 1 :]
        if later > earlier and (not period or abs((later - earlier + near) % period - near) <= near)
    ]


def _fading(off: Sequence[float]) -> float:
    """How much of what lies off a line is gone at the next sample: from 0 (all of it stays) to 1 (it was noise).

    Von Neumann's ratio: the mean square of the changes against twice the variance.
    """
    middle = fmean(off)
    spread = sum((one - middle) ** 2 for one in off)
    changed = sum((after - before) ** 2 for before, after in pairwise(off))
    return min(1.0, changed / (2 * spread)) if spread > 0 else 1.0


def _interval(growths: Sequence[float]) -> tuple[float, float]:
    """Between which the growth will be, from those that were (in order)."""
    margin = MARGIN * (growths[-1] - growths[0])
    return growths[0] - margin, growths[-1] + margin
