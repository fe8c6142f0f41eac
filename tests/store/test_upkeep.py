"""Upkeep: what is filed, rolled up and deleted reads the same as what was stored, for as long as it is kept."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.samples import NOW, a_notification, an_event, an_incident, an_observation
from wcr_watchd.core.model import IncidentState, Measurement, Observation
from wcr_watchd.core.protocols import Batch, Point
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.store.upkeep import Retention

HOUR = 3600.0
DAY = 24 * HOUR
MIDNIGHT = NOW // DAY * DAY
SHORT = Retention(raw=1, five_minutes=2, hours=4, incidents=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watchd.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path, retention=SHORT)
    await opened.open()
    yield opened
    await opened.close()


def runs(since: float, until: float, every: float = 60.0, check: str = "api") -> list[Observation]:
    """A run every so often, with a value that differs from run to run."""
    chance = random.Random(since)
    count = int((until - since) / every)
    return [
        an_observation(check, since + number * every, measurements=(Measurement("load", chance.uniform(0, 10)),))
        for number in range(count)
    ]


async def fill(store: SqliteStore, observations: list[Observation], step: int = 500) -> None:
    for first in range(0, len(observations), step):
        await store.commit(Batch(observations=tuple(observations[first : first + step])))


async def settle(store: SqliteStore, now: float) -> None:
    """Call prune as often as it takes."""
    for _ in range(50):
        await store.prune(now)


async def live(store: SqliteStore, observations: list[Observation], until: float) -> None:
    """Store observations and do the upkeep as time goes by, half a day at a time."""
    now = MIDNIGHT
    while now < until:
        await fill(store, [one for one in observations if now <= one.at < now + DAY / 2])
        now += DAY / 2
        await settle(store, min(now, until))


def rows(path: Path, table: str) -> int:
    with sqlite3.connect(path) as database:
        count: int = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    database.close()
    return count


def assert_covers(points: list[Point] | tuple[Point, ...], observations: list[Observation]) -> None:
    """The points stand for exactly these observations."""
    values = [observation.measurements[0].value for observation in observations]
    assert sum(point.count for point in points) == len(values)
    assert min(point.minimum for point in points) == pytest.approx(min(values))
    assert max(point.maximum for point in points) == pytest.approx(max(values))
    assert sum(point.mean * point.count for point in points) == pytest.approx(sum(values))
    assert [point.at for point in points] == sorted(point.at for point in points)


async def test_filing_changes_nothing_that_can_be_read(store: SqliteStore, path: Path) -> None:
    observations = runs(NOW, NOW + 2 * HOUR)
    await fill(store, observations, step=7)
    before = await store.observations("api", since=NOW + 600)
    points = await store.history("api", "load", (), since=NOW, until=NOW + 3 * HOUR)
    await store.prune(NOW + 1.5 * HOUR)
    assert 0 < rows(path, "recent") < 18
    assert await store.observations("api", since=NOW + 600) == before == observations[10:]
    assert await store.history("api", "load", (), since=NOW, until=NOW + 3 * HOUR) == points
    await store.prune(NOW + 3 * HOUR)
    assert rows(path, "recent") == 0
    assert await store.observations("api", since=NOW + 600) == before
    assert await store.observations("api", since=NOW, limit=5) == observations[-5:]


async def test_a_slot_that_is_not_over_is_left_alone(store: SqliteStore, path: Path) -> None:
    slot = NOW // 900 * 900
    await fill(store, [an_observation(at=slot + 899)])
    await store.prune(slot + 900 + 59)
    assert (rows(path, "recent"), rows(path, "observation")) == (1, 0)
    await store.prune(slot + 900 + 60)
    assert (rows(path, "recent"), rows(path, "observation")) == (0, 1)


async def test_what_was_written_while_the_clock_was_wrong_does_not_block_the_rest(
    store: SqliteStore, path: Path
) -> None:
    await fill(store, [an_observation(at=NOW + 300 * DAY)])
    observations = runs(NOW, NOW + HOUR)
    await fill(store, observations)
    await store.prune(NOW + 2 * HOUR)
    assert rows(path, "recent") == 0
    assert (await store.observations("api", since=NOW))[:-1] == observations


async def test_latecomers_find_their_place(store: SqliteStore) -> None:
    observations = runs(MIDNIGHT, MIDNIGHT + 3 * HOUR)
    late = observations[20:40]
    await fill(store, observations[:20] + observations[40:])
    await settle(store, MIDNIGHT + 6 * HOUR)
    await fill(store, [*late, observations[10]])
    assert await store.observations("api", since=MIDNIGHT) == observations
    await settle(store, MIDNIGHT + 6 * HOUR)
    assert await store.observations("api", since=MIDNIGHT) == observations
    assert_covers(
        await store.history("api", "load", (), since=MIDNIGHT, until=MIDNIGHT + 3 * HOUR, points=20), observations
    )


async def test_five_minute_rollups_are_what_brute_force_says(store: SqliteStore) -> None:
    observations = runs(MIDNIGHT, MIDNIGHT + 5 * HOUR, every=47)
    await fill(store, observations)
    await settle(store, MIDNIGHT + 12 * HOUR)
    points = await store.history("api", "load", (), since=MIDNIGHT, until=MIDNIGHT + 5 * HOUR, points=60)
    assert [point.at for point in points] == [MIDNIGHT + 300 * number for number in range(60)]
    for point in points:
        within = [one for one in observations if point.at <= one.at < point.at + 300]
        assert_covers([point], within)


async def test_a_long_span_is_read_from_hours_then_five_minutes_then_raw_rows(store: SqliteStore) -> None:
    observations = runs(MIDNIGHT, MIDNIGHT + 2.5 * DAY, every=300)
    now = MIDNIGHT + 2.5 * DAY
    await live(store, observations, until=now)
    points = await store.history("api", "load", (), since=MIDNIGHT, until=now, points=40)
    assert len(points) <= 40
    assert_covers(points, observations)


async def test_what_raw_rows_no_longer_tell_rollups_do(store: SqliteStore, path: Path) -> None:
    observations = runs(MIDNIGHT, MIDNIGHT + 6 * DAY, every=600)
    now = MIDNIGHT + 6 * DAY + 2.5 * HOUR
    await live(store, observations, until=now)
    kept = await store.observations("api", since=0, limit=10_000)
    assert kept[0].at == (now - DAY) // HOUR * HOUR
    assert rows(path, "rollup_due") <= 1

    def within(since: float, until: float) -> list[Observation]:
        return [one for one in observations if since <= one.at < until]

    long_ago = (MIDNIGHT + 2.5 * DAY, MIDNIGHT + 2.75 * DAY)
    points = await store.history("api", "load", (), since=long_ago[0], until=long_ago[1])
    assert_covers(points, within(*long_ago))
    assert [point.at for point in points] == [long_ago[0] + HOUR * number for number in range(6)]
    lately = (now - 1.5 * DAY, now - 1.25 * DAY)
    points = await store.history("api", "load", (), since=lately[0], until=lately[1])
    assert_covers(points, within(*lately))
    assert len(points) == 36
    whole = await store.history("api", "load", (), since=0, until=now, points=100)
    assert_covers(whole, within(MIDNIGHT + 2 * DAY, now))


async def test_raw_rows_stay_until_they_are_rolled_up(store: SqliteStore, path: Path) -> None:
    checks = 1200  # more than one call rolls up
    await fill(store, [an_observation(f"check-{number}", MIDNIGHT) for number in range(checks)])
    await store.prune(MIDNIGHT + 1000)
    await store.prune(MIDNIGHT + 1.5 * DAY)
    assert (rows(path, "rollup"), rows(path, "observation")) == (2 * 1000, checks)  # by five minutes and by hours
    await settle(store, MIDNIGHT + 1.5 * DAY)
    assert rows(path, "observation") == 0
    for number in (0, checks - 1):
        check = f"check-{number}"
        points = await store.history(check, "response_time", (), since=MIDNIGHT, until=MIDNIGHT + DAY, points=10)
        assert [point.count for point in points] == [1]


async def test_what_comes_later_than_retention_does_not_spoil_the_rollup(store: SqliteStore) -> None:
    observations = runs(MIDNIGHT, MIDNIGHT + HOUR)
    now = MIDNIGHT + 1.5 * DAY
    await live(store, observations, until=now)
    await fill(store, [an_observation(at=MIDNIGHT + 61, measurements=(Measurement("load", 99.0),))])
    await settle(store, now)
    points = await store.history("api", "load", (), since=MIDNIGHT, until=MIDNIGHT + DAY, points=10)
    assert_covers(points, observations)


async def test_a_call_does_a_bounded_piece_of_work(store: SqliteStore, path: Path) -> None:
    checks = 300
    observations = [an_observation(f"check-{n}", MIDNIGHT + 900 * slot) for n in range(checks) for slot in range(20)]
    await fill(store, sorted(observations, key=lambda one: one.at))
    await store.prune(MIDNIGHT + DAY)
    rolled_up = rows(path, "rollup")
    assert rolled_up == 1000 < checks * 5
    await settle(store, MIDNIGHT + 5 * HOUR + HOUR)
    assert rows(path, "rollup") == checks * 5


async def test_commits_go_on_during_upkeep(store: SqliteStore) -> None:
    await fill(store, [one for n in range(30) for one in runs(MIDNIGHT, MIDNIGHT + DAY, 120, f"check-{n}")], 5000)
    upkeep = asyncio.create_task(store.prune(MIDNIGHT + DAY))
    during = 0
    while not upkeep.done():
        await store.commit(Batch(observations=(an_observation("live", at=MIDNIGHT + DAY + during),)))
        during += 1
    await upkeep
    assert during > 3
    assert len(await store.observations("live", since=0, limit=10_000)) == during


async def test_old_incidents_go_with_all_that_belongs_to_them(store: SqliteStore) -> None:
    old = an_incident(1, state=IncidentState.RESOLVED, resolved_at=NOW - 5 * DAY, opened_at=NOW - 5 * DAY)
    lasting = an_incident(2, opened_at=NOW - 5 * DAY)
    newest = an_incident(3, state=IncidentState.RESOLVED, resolved_at=NOW - 5 * DAY, opened_at=NOW - 5 * DAY)
    await store.commit(
        Batch(
            incidents=(old, lasting, newest),
            events=(an_event(1), an_event(2)),
            notifications=(a_notification(1, "one"), a_notification(2, "two")),
        )
    )
    await store.prune(NOW)
    assert [incident.id for incident in await store.incidents()] == [3, 2]
    assert await store.events(1) == ()
    assert [delivery.notification.id for delivery in await store.deliveries()] == ["two"]
    assert (await store.restore()).next_incident == 4  # the newest stays, so that its number is not given out again


async def test_series_nobody_measures_any_more_are_forgotten(store: SqliteStore, path: Path) -> None:
    await fill(store, [an_observation("gone", MIDNIGHT), an_observation("here", MIDNIGHT, measurements=())])
    for day in range(1, 9):
        at = MIDNIGHT + day * DAY
        await fill(store, [an_observation("here", at, measurements=(Measurement("load", 1.0),))])
        await settle(store, at + HOUR)
    assert (rows(path, "source"), rows(path, "series")) == (1, 1)
    await fill(store, [an_observation("gone", MIDNIGHT + 9 * DAY)])
    assert len(await store.observations("gone", since=MIDNIGHT + 9 * DAY)) == 1
    assert await store.observations("gone", since=0) == [an_observation("gone", MIDNIGHT + 9 * DAY)]


@pytest.mark.parametrize(("raw", "five_minutes", "hours"), [(0.5, 60, 400), (7, 6, 400), (7, 60, 59)])
def test_retention_must_grow_with_coarseness(raw: float, five_minutes: float, hours: float) -> None:
    with pytest.raises(ValueError, match="retention must grow"):
        Retention(raw=raw, five_minutes=five_minutes, hours=hours)
