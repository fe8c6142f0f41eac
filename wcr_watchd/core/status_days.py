"""The past of a public component, day by day: what it was at every moment, and how long on which day.

At each moment a component is in announced maintenance, or what its checks make together; a check is not known while
nobody watched it. Uptime is the share of the time that was watched, planned maintenance apart, without an outage.

Everywhere else time is reckoned by every run (:func:`wcr_watchd.core.uptime.uptime`). Here it must go by incidents:
visitors see outages with a beginning and an end, in posts and bars, and the percentage has to be the sum of those; and
several checks make one component at every single moment, which counted runs of an hour cannot tell. So an outage counts
from its confirmation to its end, and a failed run that no incident came of is none: uptime here is higher by the time
until outages were confirmed, and by failures too short to be one, and is otherwise the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import instant, local_time
from wcr_watchd.core.model import Incident
from wcr_watchd.core.status import Condition, DayBar, ShownFrom, Together, together, trouble_of
from wcr_watchd.core.uptime import Outcomes, Span, Uptime, covered, joined

UPTIME = (
    "Uptime = time without an outage ÷ time watched. Planned maintenance and time in which nobody watched count for "
    "neither. A component that is unavailable or partly unavailable is out; one that is slow or limited is not. "
    "Outages count from when they are confirmed until they are over; a single failed look is none."
)
"""The formula, as it is published."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which something was wrong."""

    start: float
    end: float
    condition: Condition


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one check: when it was watched, and what was wrong when.

    Both are in order of time, and nothing in them overlaps.
    """

    watched: tuple[Span, ...]
    troubles: tuple[Stretch, ...]

    def at(self, moment: float) -> Condition:
        """How it was at a time."""
        if not _within(self.watched, moment):
            return Condition.UNKNOWN
        position = bisect_right(self.troubles, moment, key=lambda one: one.start) - 1
        if position >= 0 and moment < self.troubles[position].end:
            return self.troubles[position].condition
        return Condition.OPERATIONAL


def watched(outcomes: Sequence[Outcomes], every: float, until: float) -> tuple[Span, ...]:
    """When a check was watched that runs ``every`` so many seconds; ``outcomes`` are in order of time.

    Of a span with fewer runs than were due, or with some that could not tell, the first part counts.
    """
    spans = []
    for number, one in enumerate(outcomes):
        following = outcomes[number + 1].start if number + 1 < len(outcomes) else until
        told = one.up + one.down
        if told:
            speaks = covered(one, every) * told / (told + one.unknown)
            spans.append((one.start, min(following, until, one.start + speaks)))
    return joined(spans)


def troubles(incidents: Iterable[Incident], shown_from: ShownFrom, now: float) -> tuple[Stretch, ...]:
    """What incidents mean for visitors; each for as bad as it was at its worst, and of several at a time the worst."""
    found = (Stretch(one.opened_at, one.resolved_at or now, trouble_of(one, one.peak, shown_from)) for one in incidents)
    return worst_of(one for one in found if one.condition is not Condition.OPERATIONAL and one.end > one.start)


def worst_of(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """The same times without overlaps; where there were some, the worst holds."""
    coming = sorted(stretches, key=lambda one: one.start, reverse=True)
    edges = sorted({edge for one in coming for edge in (one.start, one.end)})
    found, running = [], list[Stretch]()
    for start, end in pairwise(edges):
        while coming and coming[-1].start <= start:
            running.append(coming.pop())
        running = [one for one in running if one.end > start]
        if running:
            found.append(Stretch(start, end, together(Together.WORST, [one.condition for one in running])))
    return tuple(found)


def day_bars(
    courses: Sequence[Course], rule: Together, maintenance: Sequence[Span], timezone: str, days: int, now: float
) -> tuple[DayBar, ...]:
    """The last days of a component, the oldest first, today last; ``maintenance`` is in order and does not overlap."""
    zone = ZoneInfo(timezone)
    today = local_time(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    dates = [today - timedelta(days=number) for number in range(days - 1, -1, -1)]
    starts = [instant(date, zone) for date in dates]
    bars = [
        DayBar(f"{date:%Y-%m-%d}", min(end, now) - start)
        for date, start, end in zip(dates, starts, [*starts[1:], now], strict=True)
    ]
    was = Condition.UNKNOWN
    for start, end in pairwise(_edges(courses, maintenance, starts, now)):
        number = bisect_right(starts, start) - 1
        middle = (start + end) / 2
        is_planned = _within(maintenance, middle)
        condition = Condition.MAINTENANCE if is_planned else together(rule, [course.at(middle) for course in courses])
        bars[number] = _with(bars[number], condition, end - start, begins=not was.outage)
        was = condition
    return tuple(bars)


def uptime(bars: Iterable[DayBar]) -> float | None:
    """The share of the counted time that was no outage (0-1); None when nothing counts."""
    bars = list(bars)
    out = sum(bar.outage for bar in bars)
    return Uptime(up=max(0.0, sum(bar.counted for bar in bars) - out), down=out).share


def _edges(courses: Sequence[Course], maintenance: Sequence[Span], starts: Sequence[float], now: float) -> list[float]:
    """Every moment at which something may change, from the first day's beginning until now."""
    found = {*starts, now}
    for course in courses:
        found.update(edge for span in course.watched for edge in span)
        found.update(edge for one in course.troubles for edge in (one.start, one.end))
    found.update(edge for span in maintenance for edge in span)
    return sorted(edge for edge in found if starts[0] <= edge <= now)


def _within(spans: Sequence[Span], moment: float) -> bool:
    position = bisect_right(spans, (moment, float("inf"))) - 1
    return position >= 0 and spans[position][0] <= moment < spans[position][1]


def _with(bar: DayBar, condition: Condition, seconds: float, *, begins: bool) -> DayBar:
    if condition.outage:
        return replace(bar, outage=bar.outage + seconds, outages=bar.outages + begins)
    if condition is Condition.DEGRADED:
        return replace(bar, degraded=bar.degraded + seconds)
    if condition is Condition.MAINTENANCE:
        return replace(bar, maintenance=bar.maintenance + seconds)
    if condition is Condition.UNKNOWN:
        return replace(bar, unwatched=bar.unwatched + seconds)
    return bar
