"""What each method said at many moments of a recorded series of what came later, against what came."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, log
from statistics import fmean, linear_regression, median

from tests.bench.recordings import DAY, HOUR, Series
from wcr_watchd.core.drift import drift
from wcr_watchd.core.forecast import Reach, reach, trend
from wcr_watchd.core.prospect import days_of, meets
from wcr_watchd.core.windows import BASELINE_PAST, MAX_SAMPLES, course_of, foretold, over

OURS = "wcr-watchd"
Scores = Mapping[str, float]
"""By method; lower is better."""


def _until(series: Series, at: float, past: float) -> Series:
    """What was known at a time: ``past`` seconds up to it."""
    return series[bisect_left(series, (at - past,)) : bisect_right(series, (at, inf))]


def at_once(series: Series, at: float) -> float | None:
    """The value of a time, if there was one within half an hour (half a day in a series of days)."""
    near = min(series[1][0] - series[0][0], HOUR) / 2 if series[1][0] - series[0][0] < DAY else DAY / 2
    number = bisect_left(series, (at - near,))
    return series[number][1] if number < len(series) and series[number][0] <= at + near else None


# --- the value after a time -------------------------------------------------------------------------------------------

Line = tuple[float, float]
"""A level now, and a growth per second."""


def last_value(known: Series) -> Line:
    """It stays as it is."""
    return known[-1][1], 0.0


def first_and_last(known: Series) -> Line:
    """The growth from the first value to the last."""
    (first, before), (last, now) = known[0], known[-1]
    return now, (now - before) / (last - first) if last > first else 0.0


def least_squares(known: Series) -> Line:
    """The least-squares line, as predict_linear() of Prometheus has it."""
    at = known[-1][0]
    if len(known) < 2:
        return last_value(known)
    line = linear_regression([moment - at for moment, _ in known], [value for _, value in known])
    return line.intercept, line.slope


def over_past(method: Callable[[Series], Line], past: float) -> Callable[[Series], Line]:
    """A method that looks at the last ``past`` seconds of what is known."""
    return lambda known: method(_until(known, known[-1][0], past))


def ahead_methods(past: float) -> Mapping[str, Callable[[Series], Line]]:
    """The simpler methods of a value later on; ``past`` is what they may look at."""
    return {
        "last value": last_value,
        "growth of the last day": over_past(first_and_last, min(DAY, past)),
        "growth of the last week": over_past(first_and_last, min(7 * DAY, past)),
        "first and last": first_and_last,
        "least squares, 6 h": over_past(least_squares, 6 * HOUR),
        "least squares": over_past(least_squares, past),
    }


def value_ahead(series: Series, ahead: float, *, every: int = 1) -> Scores:
    """Mean error of the value after ``ahead`` seconds, as a share of how much it changed meanwhile on average.

    The function ``forecast`` is asked as rules ask it, and all methods know the same past, of at least a week or two
    (of a shorter recording at least as long as ``ahead``).
    """
    past = course_of(ahead)
    learned = min(past, BASELINE_PAST) if series[-1][0] - series[0][0] > BASELINE_PAST else ahead
    methods = ahead_methods(past)
    errors: dict[str, list[float]] = {OURS: [], **{name: [] for name in methods}}
    changes = []
    for at, now in series[::every]:
        true = at_once(series, at + ahead)
        if at - series[0][0] < learned or true is None:
            continue
        known = _until(series, at, past)
        said = foretold(tuple(known[-MAX_SAMPLES:]), tuple(known), at, ahead)
        if said is None:
            continue
        changes.append(abs(true - now))
        errors[OURS].append(abs(said - true))
        for name, method in methods.items():
            level, growth = method(known)
            errors[name].append(abs(level + growth * ahead - true))
    return {name: fmean(found) / fmean(changes) for name, found in errors.items()}


def traffic_ahead(series: Series, ahead: float, *, every: int = 1) -> Scores:
    """Mean error of the value after ``ahead`` seconds of what comes and goes, as a share of the mean value.

    The function ``forecast`` is asked as rules ask it, from two weeks on.
    """
    past = course_of(ahead)
    errors: dict[str, list[float]] = {}
    for at, now in series[::every]:
        true = at_once(series, at + ahead)
        if at - series[0][0] < BASELINE_PAST or true is None:
            continue
        known = _until(series, at, past)
        ours = foretold(tuple(known[-MAX_SAMPLES:]), tuple(known), at, ahead)
        yesterday, last_week = (at_once(known, at + ahead - ceil(ahead / one) * one) for one in (DAY, 7 * DAY))
        before = at_once(known, at - 7 * DAY)
        if ours is None or yesterday is None or last_week is None or before is None:
            continue
        level, growth = least_squares(known)
        said = {
            OURS: ours,
            "last value": now,
            "this time yesterday": yesterday,
            "this time last week": last_week,
            "growth of the last week": now + (now - before) / (7 * DAY) * ahead,
            "least squares": level + growth * ahead,
        }
        for name, one in said.items():
            errors.setdefault(name, []).append(abs(one - true))
    average = fmean(value for _, value in series)
    return {name: fmean(found) / average for name, found in errors.items()}


# --- when a limit is reached ------------------------------------------------------------------------------------------

LOOK_BACK = 30
"""Days by which simpler methods say when a limit is met."""
QUARTER = 92
"""Days by which flows are foretold for three months, and simpler methods with them."""
FAR = 91
"""Days in three months."""
MEANS = "means of 60 days"
"""How reports foretold it before they asked :mod:`wcr_watchd.core.prospect`: here to be compared with it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How wrong the time until a limit was (a share of it), and by method how often it was inside of what was said."""

    errors: Scores
    inside: Mapping[str, float]
    width: float

    @property
    def ours(self) -> float:
        """How often it was inside of what wcr-watchd said."""
        return self.inside[OURS]


def until_reached(
    series: Series, *, ahead: Sequence[int] = (7, 14, 30), every: int = 1, cleaned: bool = False
) -> Reached:
    """For limits that were first reached after so many days: the error of the time that each method says.

    The limit is the highest value of that day, where none of the week before the question was as high. It is asked each
    day, an hour later every time. ``width`` is how far the earliest and the latest that wcr-watchd says are apart in
    the middle, as a share of the true time. Who says "never" is wrong by all of it. With ``cleaned``, half of what had
    come in the month was removed ten days before each question.
    """
    errors: dict[str, list[float]] = {}
    inside: dict[str, list[bool]] = {OURS: [], MEANS: []}
    widths = []
    begin = series[0][0] // DAY * DAY
    for number in range(LOOK_BACK, int((series[-1][0] - begin) // DAY), every):
        known, gone = _until(series, begin + number * DAY + number % 24 * HOUR, 2 * LOOK_BACK * DAY), 0.0
        at = known[-1][0]
        if cleaned:
            known, gone = _cleaned(known, at)
        said = _dates(known, at)
        for later in ahead:
            if (found := _first_above(series, at, later)) is None:
                continue
            limit, true = found
            for name, method in said.items():
                met = method(limit - gone)
                errors.setdefault(name, []).append(
                    1.0 if met.expected is None else abs(met.expected - at - true) / true
                )
                if name in inside:
                    inside[name].append((met.earliest or inf) - at <= true <= (met.latest or inf) - at)
            met = said[OURS](limit - gone)
            widths.append(((met.latest or inf) - (met.earliest or inf)) / true if met.earliest else inf)
    return Reached(
        {name: fmean(min(one, 5.0) for one in found) for name, found in errors.items()},
        {name: fmean(found) for name, found in inside.items()},
        median(widths),
    )


def _cleaned(known: Series, at: float) -> tuple[Series, float]:
    """The series without half of what had come in the month, from ten days before on; and how much that is."""
    month = _until(known, at, LOOK_BACK * DAY)
    gone = (month[-1][1] - month[0][1]) / 2
    return [(when, value - gone if when > at - 10 * DAY else value) for when, value in known], gone


def _first_above(series: Series, at: float, later: int) -> tuple[float, float] | None:
    """A limit that is first met on that day, and after how many seconds; None where it was met in the week before."""
    last = _until(series, at + later * DAY, DAY)
    coming = _until(series, at + later * DAY, later * DAY)
    if not last or coming[-1][0] <= at:
        return None
    limit = max(value for _, value in last)
    if limit <= max(value for _, value in _until(series, at, 7 * DAY)):
        return None
    true = next(when for when, value in coming if value >= limit and when > at) - at
    return (limit, true) if true >= DAY else None


def _dates(known: Series, at: float) -> Mapping[str, Callable[[float], Reach]]:
    """When a limit is met, by each method."""
    days, month, now = days_of(known, at), _until(known, at, LOOK_BACK * DAY), known[-1][1]
    simple: dict[str, Line] = {
        "growth of the last day": first_and_last(_until(known, at, DAY)),
        "growth of the last week": first_and_last(_until(known, at, 7 * DAY)),
        "first and last": first_and_last(month),
        "least squares": least_squares(month),
    }
    means = trend([(one.at - DAY / 2, one.mean) for one in days])

    def ours(limit: float) -> Reach:
        found = meets(limit, now, days, at)
        assert found is not None
        return found

    def by_means(limit: float) -> Reach:
        assert means is not None
        return reach(means, limit) if limit > means.level else Reach(at, at, at)

    def by_line(line: Line) -> Callable[[float], Reach]:
        level, growth = line

        def met(limit: float) -> Reach:
            when = at + max(0.0, limit - level) / growth if growth > 0 else None
            return Reach(when, when, when)

        return met

    return {OURS: ours, MEANS: by_means, **{name: by_line(line) for name, line in simple.items()}}


# --- what will be in three months -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InThreeMonths:
    """How wrong the value in three months was, as a share of what is there now (of what has come, where it is kept)."""

    errors: Scores
    inside: float


def in_three_months(days: Series, *, kept: bool, every: int = 1) -> InThreeMonths:
    """What reports say of daily means, against the value then; of what flows it is the mean of the week around then."""
    errors: dict[str, list[float]] = {}
    inside = []
    for number in range(QUARTER, len(days) - FAR - 3, every):
        known = days[number - QUARTER : number]
        month, then = known[-LOOK_BACK:], days[number + FAR - 1][0]
        line = trend(month) if kept else drift(known)
        assert line is not None
        around = days[number + FAR - 1 : number + FAR] if kept else days[number + FAR - 4 : number + FAR + 3]
        true, seen = fmean(value for _, value in around), line.ahead(then)
        lately = fmean(value for _, value in known[-28:])
        said = {OURS: seen.expected, "stays as it is": known[-1][1] if kept else lately}
        for name, method in (("first and last", first_and_last), ("least squares", least_squares)):
            level, growth = method(month if kept else known)
            said[name] = level + growth * (then - known[-1][0])
        size = abs(true - known[-1][1]) if kept else lately
        for name, value in said.items():
            errors.setdefault(name, []).append(abs(value - true) / size)
        inside.append(seen.low <= true <= seen.high)
    return InThreeMonths({name: fmean(found) for name, found in errors.items()}, fmean(inside))


# --- what is usual ----------------------------------------------------------------------------------------------------


def usual_errors(series: Series, *, every: int = 1) -> Scores:
    """Mean error of what each method takes for usual, before it is measured, as a share of the mean value."""
    errors: dict[str, list[float]] = {}
    for at, value in series[::every]:
        if at - series[0][0] < BASELINE_PAST:
            continue
        known = _until(series, at, BASELINE_PAST)
        ours = over("baseline", tuple(known), at, BASELINE_PAST, 0.0)
        assert ours is not None
        week = [one for when, one in known[:-1] if when >= at - 7 * DAY]
        said = {
            OURS: ours,
            "value before": known[-2][1],
            "this time yesterday": at_once(known[:-1], at - DAY),
            "this time last week": at_once(known[:-1], at - 7 * DAY),
            "median of the week": median(week),
            "mean of the week": fmean(week),
        }
        for name, one in said.items():
            errors.setdefault(name, []).append(abs((median(week) if one is None else one) - value))
    average = fmean(value for _, value in series)
    return {name: fmean(found) / average for name, found in errors.items()}


# --- false alarms, and real ones --------------------------------------------------------------------------------------

Usual = Callable[[Series, float], float | None]


def by_baseline(known: Series, at: float) -> float | None:
    """What wcr-watchd takes for usual."""
    return over("baseline", tuple(known), at, BASELINE_PAST, 0.0)


def by_median(known: Series, at: float) -> float | None:
    """The median of the last seven days."""
    return median(value for when, value in known[:-1] if when >= at - 7 * DAY)


@dataclass(frozen=True, slots=True)
class Alarms:
    """How often a rule began to hold, in how many of the values it held, and in which share it would have."""

    began: int
    held: int
    values: int
    found: float
    """The share of values that it would have held at, had they been five times as large, or a fifth."""


def alarms(series: Series, usual: Usual, *, above: float = inf, below: float = 0.0) -> Alarms:
    """What ``m > above * usual or m < below * usual`` does on a series, from the day on that all methods can answer."""
    began = held = values = found = 0
    before = False
    for at, value in series:
        if at - series[0][0] < BASELINE_PAST:
            continue
        said = usual(_until(series, at, BASELINE_PAST), at)
        holds = said is not None and (value > above * said or value < below * said)
        values += 1
        found += said is not None and (5 * value > above * said or value / 5 < below * said)
        held += holds
        began += holds and not before
        before = holds
    return Alarms(began, held, values, found / values)


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """The geometric mean over series, as their errors are of different sizes."""
    return {name: exp(fmean(log(max(one[name], 1e-9)) for one in scores)) for name in scores[0]}
