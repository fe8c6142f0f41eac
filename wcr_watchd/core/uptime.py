"""Availability of one check, from what its runs found; planned maintenance and unwatched time are kept apart.

This is the one reckoning of time up, down, planned and unknown: objectives, the page of a check and the reports all ask
:func:`uptime`, so that the same history is the same number everywhere. The public status page alone counts otherwise:
why, and by how much, is told in :mod:`wcr_watchd.core.status_days`.

Of each span of time the share of its runs that were up counts as time in which the check was up, and likewise for down;
runs that could not tell, and spans without runs, are time that nobody watched. A run speaks until the next one, but not
for much longer than the check's interval; the quick ones that confirm a failure speak for hardly any time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[float, float]
"""Start and end (exclusive), epoch seconds."""

WHOLE = 0.9
"""Share of the runs that were due from which on a span counts as watched throughout."""
PATIENCE = 1.5
"""Intervals that a run speaks for; a check seldom runs to the second."""
CONFIRMING = 0.5
"""Share of the runs that were due, by which there may be more of them that confirm failures. What ran still more often
was of another interval then, or of several places: each of its runs counts."""
FEW = 2
"""More runs than were due that may be confirmations in any case, however seldom the check runs."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many runs of a check found what, of those that began within ``width`` seconds from ``start`` (epoch)."""

    start: float
    width: float
    up: int
    down: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Uptime:
    """Seconds in which a check was up and down outside of planned maintenance and during it, and the rest."""

    up: float = 0.0
    down: float = 0.0
    planned_up: float = 0.0
    planned_down: float = 0.0
    unwatched: float = 0.0

    @property
    def share(self) -> float | None:
        """Up, of the time that was watched outside of planned maintenance (0-1); None when there was none."""
        return _share(self.up, self.down)

    @property
    def share_with_planned(self) -> float | None:
        """Up, of all the time that was watched (0-1); None when there was none."""
        return _share(self.all_up, self.all_down)

    @property
    def all_up(self) -> float:
        """Seconds up, planned maintenance included."""
        return self.up + self.planned_up

    @property
    def all_down(self) -> float:
        """Seconds down, planned maintenance included."""
        return self.down + self.planned_down

    @property
    def watched(self) -> float:
        """Seconds in which it was known how it was, planned maintenance included."""
        return self.all_up + self.all_down


def total(found: Iterable[Uptime]) -> Uptime:
    """The time of several checks, or of several spans, together."""
    up = down = planned_up = planned_down = unwatched = 0.0
    for one in found:
        up, down, unwatched = up + one.up, down + one.down, unwatched + one.unwatched
        planned_up, planned_down = planned_up + one.planned_up, planned_down + one.planned_down
    return Uptime(up, down, planned_up, planned_down, unwatched)


def gathered(spans: Iterable[tuple[float, float, Sequence[int]]], every: float) -> list[Outcomes]:
    """Runs that were up, down and unknown, by start and width of their spans (seconds), in order, as outcomes.

    Neighbours that were watched and up throughout are made one: that is the same uptime, and a month has few of them in
    place of seven hundred.
    """
    found: list[Outcomes] = []
    begin = end = 0.0
    runs = 0
    for start, width, (up, down, unknown) in spans:
        calm = not down and not unknown and every < width and up >= max(1.0, WHOLE * width / every)
        if runs and not (calm and start == end):
            found.append(Outcomes(begin, end - begin, runs, 0, 0))
            runs = 0
        if calm:
            begin, end, runs = (begin if runs else start), start + width, runs + up
        else:
            found.append(Outcomes(start, width, up, down, unknown))
    return [*found, Outcomes(begin, end - begin, runs, 0, 0)] if runs else found


def uptime(outcomes: Sequence[Outcomes], every: float, since: float, until: float, planned: Iterable[Span]) -> Uptime:
    """The availability from ``since`` to ``until`` of a check that runs ``every`` so many seconds.

    ``outcomes`` are in order of time and may reach beyond the two.
    """
    windows = deque(joined(planned))
    up = down = planned_up = planned_down = 0.0
    ends = [*(one.start for one in outcomes), until][1:]
    for one, following in zip(outcomes, ends, strict=True):
        start, end = max(since, one.start), min(until, following, one.start + covered(one, every))
        failed = at_intervals(one, every)
        runs = one.up + failed + one.unknown
        if end <= start or not runs:
            continue
        while windows and windows[0][1] <= start:
            windows.popleft()  # over before this time, and so before all that follow
        inside = overlap(windows, start, end) if windows and windows[0][0] < end else 0.0
        outside = end - start - inside
        up, down = up + outside * one.up / runs, down + outside * failed / runs
        planned_up, planned_down = planned_up + inside * one.up / runs, planned_down + inside * failed / runs
    unwatched = max(0.0, until - since - (up + down + planned_up + planned_down))
    return Uptime(up, down, planned_up, planned_down, unwatched)


def uptimes(
    outcomes: Sequence[Outcomes], every: float, edges: Sequence[float], planned: Iterable[Span]
) -> list[Uptime]:
    """The availability between each two of ``edges`` (epoch seconds, in order), as :func:`uptime` has it."""
    windows = joined(planned)
    starts = [one.start for one in outcomes]
    reach = max((covered(one, every) for one in outcomes), default=0.0)
    found = []
    for since, until in pairwise(edges):
        # Only what can speak of this part: looking at all of them for each would take too long.
        some = outcomes[bisect_left(starts, since - reach) : bisect_left(starts, until) + 1]
        found.append(uptime(some, every, since, until, windows))
    return found


def at_intervals(one: Outcomes, every: float) -> int:
    """How many runs of a span failed, without those in between that confirmed a failure.

    A check that fails runs again at once, and again: counted as the others, a minute's outage would be three.
    """
    due = one.width / every
    more = round(one.up + one.down + one.unknown - due)
    if one.down < 2 or more <= 0 or more > max(FEW, CONFIRMING * due):
        return one.down
    return max(1, one.down - more)


def covered(one: Outcomes, every: float) -> float:
    """For how long the runs of a span speak, in seconds."""
    if every >= one.width:
        return max(one.width, PATIENCE * every)
    speaks = (one.up + one.down + one.unknown) * every
    return one.width if speaks >= WHOLE * one.width else speaks


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans in order, with those that overlap or touch made one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif end > start:
            found.append((start, end))
    return tuple(found)


def edges(spans: Iterable[Span]) -> list[float]:
    """Where spans begin and end: what ran before and after must be told apart, or an hour's share is that of both."""
    return [edge for span in spans for edge in span]


def overlap(spans: Iterable[Span], start: float, end: float) -> float:
    """How many seconds of a time lie in the spans, which do not overlap."""
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in spans)


def _share(up: float, down: float) -> float | None:
    return up / (up + down) if up + down > 0 else None
