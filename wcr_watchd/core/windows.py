"""The recent values that rules look back on, and the functions over them.

What is kept is bounded: per series and window :data:`MAX_SAMPLES` values, evenly spread over the window, and none older
than it needs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite
from statistics import quantiles

from wcr_watchd.core.model import Labels, Observation
from wcr_watchd.core.rhythm import DAY, FAR_AHEAD, LATELY, WEEK, later, usual

Samples = tuple[tuple[float, float], ...]
"""Times (epoch seconds) and values of a series, oldest first, no time twice."""

FUNCTIONS = ("avg", "min", "max", "p95", "rate", "increase", "delta", "forecast", "baseline")
LEAD = DAY / 4
"""Seconds before a day, or a week, that are needed to compare it with another."""
BASELINE_PAST = 2 * WEEK * DAY + LEAD
"""Seconds of the past that a baseline is made of."""
BASELINE_LEAST = WEEK * DAY / 2
"""Seconds of it without which there is none."""
FORECAST_COURSE = 2 * WEEK * DAY + LEAD
"""Seconds of the past that a forecast compares the last hours with."""
FORECAST_FAR_COURSE = 4 * WEEK * DAY + LEAD
"""And one that looks further ahead than :data:`FAR_AHEAD`."""
FORECAST_LEAST = LATELY / 2
"""Seconds of the past that are enough for every forecast."""
MAX_SAMPLES = 500
"""Values kept per series and window; where there are more, they are thinned evenly as they come in."""


@dataclass(frozen=True, slots=True)
class Track:
    """What must be remembered of a measurement: ``past`` seconds of it.

    ``peak`` is ``min`` or ``max`` where thinning must keep the extremes, else empty (the newest value is kept).
    """

    name: str
    past: float
    peak: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The recent values that the window functions of a check's rules need."""

    series: Mapping[Track, Mapping[Labels, Samples]] = field(default_factory=dict)


class AtLeast(float):
    """An increase whose window is not wholly known: it may be more, not less."""

    __slots__ = ()


def record(history: History, tracks: Iterable[Track], observation: Observation) -> History:
    """Return the history with an observation's values, without what these tracks do not need (any more)."""
    series: dict[Track, dict[Labels, Samples]] = {}
    by_name: dict[str, list[Track]] = {}
    for track in tracks:
        by_name.setdefault(track.name, []).append(track)
        known = history.series.get(track, {})
        fresh = observation.at - 2 * track.past
        # What has not come for so long is a series that is gone: a removed disk, a finished container.
        series[track] = {labels: samples for labels, samples in known.items() if samples[-1][0] >= fresh}
    for measured in observation.measurements:
        if isfinite(measured.value):
            for track in by_name.get(measured.name, ()):
                # Looked up in the old history: a slow check's only other value may be older than twice its window.
                samples = history.series.get(track, {}).get(measured.labels, ())
                series[track][measured.labels] = _added(samples, observation.at, measured.value, track)
    return History(series)


def _added(samples: Samples, at: float, value: float, track: Track) -> Samples:
    if samples and samples[-1][0] >= at:
        # The clock was set back, or a run is told twice: what lies in the future is not the past.
        samples = samples[: bisect_left(samples, (at,))]
    if len(samples) > 1 and samples[-1][0] - samples[-2][0] < track.past / MAX_SAMPLES:
        # The newest value always stands; it becomes a lasting one when it is far enough from the one before.
        value = _PEAKS[track.peak](samples[-1][1], value) if track.peak else value
        samples = samples[:-1]
    # Two values from before the window stay: one to count from, and one more to tell a hole from a slow check.
    first = bisect_left(samples, (at - track.past,)) - 2
    return (*(samples[first:] if first > 0 else samples), (at, value))


_PEAKS: Mapping[str, Callable[[float, float], float]] = {"min": min, "max": max}


def reaching_back(history: History, track: Track, labels: Labels, earlier: Samples) -> History:
    """Return the history with what was measured of a series before all that it knows of it."""
    series = {one: dict(known) for one, known in history.series.items()}
    known = series.setdefault(track, {}).get(labels, ())
    first = known[0][0] if known else inf
    series[track][labels] = (*(sample for sample in earlier if sample[0] < first), *known)
    return History(series)


def course_of(ahead: float) -> float:
    """How many seconds of the past a forecast needs that looks so many ahead."""
    return FORECAST_FAR_COURSE if ahead > FAR_AHEAD else FORECAST_COURSE


def foretold(lately: Samples, course: Samples, at: float, ahead: float) -> float | None:
    """The value ``ahead`` seconds after ``at``, by the last hours and a coarser course of the weeks before.

    None when there is no value of now or too little is known: a line is drawn out to at most eight times its length.
    """
    if not lately or lately[-1][0] < at:
        return None
    first = bisect_left(lately, (at - LATELY,))
    whole = first < len(lately) and at - lately[first][0] >= 0.9 * LATELY
    inside = lately[first - 1 :] if not whole and _leads_in(lately, first, LATELY) else lately[first:]
    if at - inside[0][0] < min(FORECAST_LEAST, ahead / 8):
        return None
    return later(inside, course, at, ahead)


def over(function: str, samples: Samples, at: float, past: float, ahead: float) -> float | None:
    """The window function over the samples up to ``at``.

    None when there is no value of now or too little is known: half of the window must be covered, lest after a start
    one value stands for five minutes. Only an increase is told earlier, as :class:`AtLeast` what is known of it. A
    window shorter than the check's interval is covered by the value before it.
    """
    if not samples or samples[-1][0] < at:
        return None
    first = bisect_left(samples, (at - past,))
    before = _leads_in(samples, first, past)
    if function == "baseline":
        return usual(samples[first:], at) if before or at - samples[first][0] >= BASELINE_LEAST else None
    covered = before or at - samples[first][0] >= past / 2
    if function in _AGGREGATES:
        return _AGGREGATES[function]([value for _, value in samples[first:]]) if covered else None
    # Counted from the last value before the window, unless the values inside (nearly) reach back to its start.
    whole = at - samples[first][0] >= 0.9 * past
    inside = samples[first - 1 :] if before and not whole else samples[first:]
    if len(inside) < 2:
        return None
    if function == "increase":
        return _increase(inside) if before or whole else AtLeast(_increase(inside))
    if not covered:
        return None
    if function == "rate":
        return _increase(inside) / (inside[-1][0] - inside[0][0])
    return inside[-1][1] - inside[0][1]


def _leads_in(samples: Samples, first: int, past: float) -> bool:
    """Whether there is a value before the window from which things went on without a hole.

    A hole is a gap much longer than the window and than the gap before it (the check's usual interval).
    """
    if first == 0:
        return False
    usual = samples[first - 1][0] - samples[first - 2][0] if first > 1 else 0.0
    return samples[first][0] - samples[first - 1][0] <= 2 * max(past, usual)


def _average(values: list[float]) -> float:
    return sum(values) / len(values)


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


_AGGREGATES: Mapping[str, Callable[[list[float]], float]] = {
    "avg": _average,
    "min": min,
    "max": max,
    "p95": _p95,
}


def _increase(samples: Samples) -> float:
    """How much a counter grew; one that got smaller was reset: what it shows has come since (as Prometheus has it)."""
    return sum(now - before if now >= before else now for (_, before), (_, now) in pairwise(samples))
