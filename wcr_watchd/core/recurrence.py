"""What recurs on the wall clocks of a place, as spans of time: the calendar of maintenance windows.

A span begins when the clocks first show its start and ends when they last show its end, so that a time that comes twice
is covered both times. A start that the clocks skip is the instant after the gap; a span that lies in the gap as a whole
comes right after it, as long as it was meant to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import inf
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import MINUTES_A_DAY, WeekSpans, instant

Span = tuple[float, float]
"""Start and end (exclusive), epoch seconds."""

DAY = timedelta(days=1)
LONGEST = 366 * 86_400.0
"""Seconds a span may last; what goes on for longer comes in pieces."""
LOOK_AHEAD_DAYS = 3_653
"""How far the next span is looked for; what does not come in ten years does not come."""
REMEMBERED_DAYS = 64
"""Days whose spans are kept at hand: the same few are asked for again and again."""


@dataclass(frozen=True, slots=True)
class Once:
    """One span that does not come again."""

    start: float
    end: float

    def around(self, at: float) -> Span | None:
        """The span, if it holds at this time."""
        return (self.start, self.end) if self.start <= at < self.end else None

    def after(self, at: float) -> Iterator[Span]:
        """The span, if it begins at this time or later."""
        if self.start >= at:
            yield self.start, self.end


@dataclass(frozen=True, slots=True)
class Recurring:
    """Spans that recur; those that overlap or touch are one.

    ``beginning(day)`` gives the spans that begin on that day by the clocks of their place (of several places, too),
    ``reach`` is how many days the longest of them goes on after its first.
    """

    beginning: Callable[[date], tuple[Span, ...]]
    reach: int

    def around(self, at: float) -> Span | None:
        """The span that holds at this time; None when there is none."""
        inside = next((span for span in self._near(at) if span[0] <= at < span[1]), None)
        if inside is None:
            return None
        return self._first_start(inside[0]), self._last_end(inside[1])

    def after(self, at: float) -> Iterator[Span]:
        """The spans that begin at this time or later, in order, as far as ten years ahead of each other."""
        held = self.around(at)
        if held is not None and held[0] < at:
            at = held[1]
        while (start := self._next_start(at)) is not None and (span := self.around(start)) is not None:
            yield span
            at = span[1]

    def _first_start(self, start: float) -> float:
        limit = start - LONGEST
        while start > limit:
            earlier = min((span[0] for span in self._near(start) if span[0] < start <= span[1]), default=start)
            if earlier == start:
                break
            start = earlier
        return start

    def _last_end(self, end: float) -> float:
        limit = end + LONGEST
        while end < limit:
            later = max((span[1] for span in self._near(end) if span[0] <= end < span[1]), default=end)
            if later == end:
                break
            end = later
        return end

    def _near(self, at: float) -> Iterator[Span]:
        """All spans that hold at this time or touch it, and some more."""
        today = _day(at)
        for back in range(-1, self.reach + 3):  # no place is more than a day ahead or behind
            yield from self.beginning(today - back * DAY)

    def _next_start(self, at: float) -> float | None:
        for ahead in range(-2, LOOK_AHEAD_DAYS):
            if self._starts(_day(at) + ahead * DAY, at):
                # What begins a day or two later by its own clocks may come first, where these are ahead.
                return min(min(self._starts(_day(at) + (ahead + more) * DAY, at), default=inf) for more in range(3))
        return None

    def _starts(self, day: date, at: float) -> list[float]:
        return [start for start, _ in self.beginning(day) if start >= at]


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


@dataclass(frozen=True, slots=True)
class Interval:
    """Some minutes of some days, as in the time intervals of Alertmanager.

    ``weekdays`` are numbers (0 = Monday), ``days_of_month`` ranges of days (negative ones count from the end of the
    month: -1 is the last), ``months`` numbers, ``years`` ranges; an empty one is any. ``times`` are minutes of the day:
    start and end (exclusive); an end beyond midnight goes on with the next day, which need not be one of those meant.
    """

    timezone: str
    times: tuple[tuple[int, int], ...] = ((0, MINUTES_A_DAY),)
    weekdays: frozenset[int] = frozenset()
    days_of_month: tuple[tuple[int, int], ...] = ()
    months: frozenset[int] = frozenset()
    years: tuple[tuple[int, int], ...] = ()

    def has(self, day: date) -> bool:
        """Whether it is on this day."""
        return (
            (not self.weekdays or day.weekday() in self.weekdays)
            and (not self.months or day.month in self.months)
            and (not self.years or any(first <= day.year <= last for first, last in self.years))
            and (not self.days_of_month or any(_in_month(day, *days) for days in self.days_of_month))
        )

    def beginning(self, day: date) -> tuple[Span, ...]:
        """The spans that begin on this day."""
        if not self.has(day):
            return ()
        midnight = datetime.combine(day, datetime.min.time())
        return tuple(
            local_span(midnight + timedelta(minutes=start), midnight + timedelta(minutes=end), self.timezone)
            for start, end in self.times
        )

    @property
    def reach(self) -> int:
        """How many days its longest span goes on after the first."""
        return max((end - 1) // MINUTES_A_DAY for _, end in self.times)


def _in_month(day: date, first: int, last: int) -> bool:
    """Whether the day is in the range; one that begins before the month or ends after it is cut off."""
    length = ((day.replace(day=1) + timedelta(days=31)).replace(day=1) - DAY).day
    begin = first if first > 0 else max(1, length + first + 1)
    end = min(length, last) if last > 0 else length + last + 1
    return begin <= day.day <= end


def local_span(start: datetime, end: datetime, timezone: str) -> Span:
    """The span from one local time to another (both without zone)."""
    zone = ZoneInfo(timezone)
    begins, ends = instant(start, zone), instant(end, zone, last=True)
    return begins, ends if ends > begins else begins + (end - start).total_seconds()


def recurring(intervals: tuple[Interval, ...]) -> Recurring:
    """The spans of several intervals."""

    @lru_cache(REMEMBERED_DAYS)
    def beginning(day: date) -> tuple[Span, ...]:
        return tuple(span for interval in intervals for span in interval.beginning(day))

    return Recurring(beginning, reach=max(interval.reach for interval in intervals))


def weekly(spans: WeekSpans, timezone: str) -> Recurring:
    """The parts of every week."""
    intervals = tuple(
        Interval(
            timezone,
            times=((start % MINUTES_A_DAY, start % MINUTES_A_DAY + end - start),),
            weekdays=frozenset((start // MINUTES_A_DAY,)),
        )
        for start, end in spans
    )
    return recurring(intervals)
