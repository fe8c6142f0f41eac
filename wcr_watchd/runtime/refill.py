"""What rules look back on, read back from the records: a restart, or a new rule, does not begin blind."""

from __future__ import annotations

from collections.abc import Sequence

from wcr_watchd.core.protocols import Point, Store
from wcr_watchd.core.rules import History, remember
from wcr_watchd.core.setup import Check
from wcr_watchd.core.windows import Samples, Track, reaching_back

MOST_RUNS = 50_000
RAW = 86_400.0
"""Seconds of the past that are read run by run, of slow checks :data:`SLOW_RUNS` runs; what is older by the hour."""
SLOW_RUNS = 30
HOUR = 3_600.0


def missing(check: Check, history: History) -> Sequence[Track]:
    """What the rules of a check look back on that its history does not know of at all."""
    tracks = dict.fromkeys(track for rule in check.rules for track in rule.windows)
    return [track for track in tracks if track not in history.series]


async def recorded(store: Store, check: Check, tracks: Sequence[Track], now: float) -> History:
    """What is recorded of these tracks. Raises ``StoreError``."""
    near = now - min(max(track.past for track in tracks), max(RAW, SLOW_RUNS * check.every))
    history = History()
    for observation in await store.observations(check.name, since=near, limit=MOST_RUNS):
        history = remember(history, check.rules, observation)
    for track in tracks:
        if now - track.past < near:
            known = list(history.series.get(track, ()))
            hours = round((near - now + track.past) / HOUR)
            courses = await store.courses(
                check.name,
                [(track.name, labels) for labels in known],
                since=now - track.past,
                until=near,
                points=max(1, hours),
            )
            for labels, points in zip(known, courses, strict=True):
                history = reaching_back(history, track, labels, _samples(points))
    return history


def _samples(points: Sequence[Point]) -> Samples:
    """The means, each in the middle of what it is the mean of; a point of several runs stands where the first was."""
    ends = [point.at for point in points[1:]] + [point.at for point in points[-1:]]
    return tuple(
        ((point.at + end) / 2 if point.count > 1 else point.at, point.mean)
        for point, end in zip(points, ends, strict=True)
    )


def together(history: History, tracks: Sequence[Track], earlier: History) -> History:
    """The history with what is recorded of these tracks, before all that it has of them."""
    for track in tracks:
        for labels, samples in earlier.series.get(track, {}).items():
            history = reaching_back(history, track, labels, samples)
    return history
