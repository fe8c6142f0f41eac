"""After a restart rules look back as if the daemon had never stopped, also further than runs are kept."""

from __future__ import annotations

from dataclasses import replace
from math import sin, tau
from pathlib import Path

import pytest

from tests.core.world import check
from tests.store.samples import NOW, an_observation
from wcr_watchd.core.model import Measurement, Observation
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.rules import History, remember
from wcr_watchd.core.setup import Check
from wcr_watchd.core.windows import BASELINE_PAST, over
from wcr_watchd.runtime import refill
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.store.upkeep import Retention

DAY = 86_400.0
BEGUN = NOW // DAY * DAY
EVERY = 1_200.0
DAYS = 15
WATCHED: Check = replace(check("api", warning="response_time > 3 * baseline(response_time)"), every=EVERY)


def runs() -> list[Observation]:
    """Slow at noon, quick at night."""
    times = [BEGUN + number * EVERY for number in range(int(DAYS * DAY / EVERY))]
    return [
        an_observation(at=at, measurements=(Measurement("response_time", 2 - sin(at % DAY / DAY * tau)),))
        for at in times
    ]


async def recorded(folder: Path, observations: list[Observation]) -> SqliteStore:
    """A store in which runs are kept for two days, and hours for longer."""
    store = SqliteStore(folder / "watchd.db", retention=Retention(raw=2, five_minutes=3, hours=30, incidents=4))
    await store.open()
    for day in range(DAYS):
        since = BEGUN + day * DAY
        await store.commit(Batch(observations=tuple(one for one in observations if since <= one.at < since + DAY)))
        for _ in range(2):
            await store.prune(since + DAY)
    return store


def usual(history: History, at: float) -> float | None:
    (track,) = refill.missing(WATCHED, History())
    return over("baseline", history.series[track][()], at, BASELINE_PAST, 0.0)


async def test_a_restart_forgets_nothing_of_two_weeks(tmp_path: Path) -> None:
    observations = runs()
    unbroken = History()
    for one in observations:
        unbroken = remember(unbroken, WATCHED.rules, one)
    store = await recorded(tmp_path, observations)
    now = observations[-1].at
    tracks = refill.missing(WATCHED, History())
    read = await refill.recorded(store, WATCHED, tracks, now)
    await store.close()
    (samples,) = read.series[tracks[0]].values()
    assert samples[0][0] <= now - 14 * DAY
    assert [at for at, _ in samples] == sorted({at for at, _ in samples})
    assert usual(read, now) == pytest.approx(usual(unbroken, now), rel=0.1)


async def test_a_new_rule_is_told_what_is_recorded_and_keeps_what_came_meanwhile(tmp_path: Path) -> None:
    observations = runs()
    store = await recorded(tmp_path, observations)
    now = observations[-1].at
    fresh = remember(
        History(), WATCHED.rules, an_observation(at=now + 5.0, measurements=(Measurement("response_time", 7.0),))
    )
    tracks = refill.missing(WATCHED, History())
    read = refill.together(fresh, tracks, await refill.recorded(store, WATCHED, tracks, now))
    await store.close()
    assert refill.missing(WATCHED, read) == []
    (samples,) = read.series[tracks[0]].values()
    assert samples[-1] == (now + 5.0, 7.0)
    assert samples[0][0] <= now - 14 * DAY


async def test_what_was_watched_for_minutes_only_has_nothing_older(tmp_path: Path) -> None:
    """A check that is new at the restart: the daemon once did not start, as no hour of it was recorded yet."""
    observations = runs()[:3]
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    try:
        await store.commit(Batch(observations=tuple(observations)))
        tracks = refill.missing(WATCHED, History())
        read = await refill.recorded(store, WATCHED, tracks, observations[-1].at)
    finally:
        await store.close()
    (samples,) = read.series[tracks[0]].values()
    assert (samples[0][0], samples[-1][0]) == (observations[0].at, observations[-1].at)
