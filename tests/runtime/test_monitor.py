"""From observation to events, stored and told: what a slow, refusing or stopping store does to it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.core.world import check, setup
from tests.samples import MemoryStore
from wcr_watchd.core.alerts import received
from wcr_watchd.core.changes import Category, Plan, prepare
from wcr_watchd.core.errors import StoreDamagedError
from wcr_watchd.core.model import Notification, Observation, Outcome
from wcr_watchd.core.modifications import KnownFacts
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.setup import AlertSettings
from wcr_watchd.core.silence import Matcher, Operator, Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.view import Counters
from wcr_watchd.runtime.keeper import STORE_RETRY, TELL_WITHIN
from wcr_watchd.runtime.monitor import AT_A_TIME, Monitor

pytestmark = pytest.mark.looptime


class LoopClock:
    def now(self) -> float:
        return 1_000.0 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Outbox:
    """Remembers what it is given, and when."""

    def __init__(self) -> None:
        self.owed: list[tuple[float, str]] = []
        self.recorded = 0

    def owe(self, notifications: Iterable[Notification]) -> None:
        self.owed += [(asyncio.get_running_loop().time(), one.id) for one in notifications]

    def overtaken(self, incidents: Iterable[int]) -> None:
        pass

    def heed(self, is_muted: Callable[[int], bool]) -> None:
        pass

    def store_works(self) -> None:
        pass

    def record_all(self) -> None:
        self.recorded += 1


class World:
    """A monitor of one check, ``api``, that is confirmed down at once and told to two recipients."""

    def __init__(self, delay: float = 0.01) -> None:
        self.store = MemoryStore(delay)
        self.batches: list[Batch] = []
        self.outbox = Outbox()
        self.counters = Counters()
        keep = self.store.commit

        async def commit(batch: Batch) -> None:
            await keep(batch)
            self.batches.append(batch)

        self.store.commit = commit  # type: ignore[method-assign]
        one = setup(check("api", times=0))
        self.monitor = Monitor(
            one, State(), self.store, self.outbox, LoopClock(), self.counters, lambda name, delay: None, {"api": "{}"}
        )  # type: ignore[arg-type]

    def observe(self, outcome: Outcome) -> None:
        at = LoopClock().now()
        self.monitor.receive(Observation("api", "here", at, 0.1, outcome, "", f"it is {outcome.value}"))

    def stored(self) -> list[str]:
        return [event.kind.value for batch in self.batches for event in batch.events]


async def test_a_slow_store_holds_up_no_page_and_nobody_is_told_twice() -> None:
    world = World(delay=9.0)
    storing = asyncio.create_task(world.monitor.serve_store())
    world.observe(Outcome.DOWN)
    await asyncio.sleep(30)
    assert [at for at, _ in world.outbox.owed] == [pytest.approx(TELL_WITHIN, abs=0.01)] * 2
    assert world.stored() == ["opened"]
    storing.cancel()


async def test_what_was_being_stored_when_the_daemon_stops_is_stored_at_the_end() -> None:
    world = World(delay=1.0)
    storing = asyncio.create_task(world.monitor.serve_store())
    world.observe(Outcome.DOWN)
    await asyncio.sleep(0.5)
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)
    assert world.stored() == []
    assert await world.monitor.flush()
    assert world.stored() == ["opened"]
    assert len(world.batches[0].notifications) == 2


async def test_an_older_batch_never_overwrites_a_newer_one() -> None:
    """While the store takes its time, an operator and the daemon itself both flush."""
    world = World(delay=2.0)
    world.observe(Outcome.DOWN)
    first = asyncio.create_task(world.monitor.flush())
    await asyncio.sleep(1)
    world.store.broken = True
    world.observe(Outcome.UP)
    second = asyncio.create_task(world.monitor.flush())
    assert not await first
    world.store.broken = False
    assert await second
    assert [(one.id, one.state.value) for batch in world.batches for one in batch.incidents] == [(1, "resolved")]
    assert world.stored() == ["opened", "resolved"]


async def test_an_acknowledgement_is_promised_once_it_is_stored_or_says_that_it_is_not() -> None:
    world = World()
    world.observe(Outcome.DOWN)
    assert "not stored" not in await world.monitor.acknowledge(1, "ann")
    assert world.stored() == ["opened", "acknowledged"]
    world.observe(Outcome.UP)
    world.observe(Outcome.DOWN)
    world.store.broken = True
    assert "not stored yet" in await world.monitor.acknowledge(1, "ann")


async def test_a_storm_that_ends_all_at_once_lets_the_loop_go_on() -> None:
    world = World()
    world.monitor.setup = replace(world.monitor.setup, alerts=AlertSettings(resolve_timeout=10.0))
    ending = asyncio.create_task(world.monitor.serve_deadlines())
    now = LoopClock().now()
    storm = (received({"alertname": f"a{n}"}, {}, None, None, "", now, 10.0) for n in range(5 * AT_A_TIME))
    await world.monitor.alerts([*storm])
    open_ones = world.monitor.state.incidents
    known = [len(open_ones)]
    while open_ones and LoopClock().now() < now + 20.0:
        # First up to the moment, then every time that the loop comes round.
        await asyncio.sleep(max(0.0, now + 10.0 - LoopClock().now()))
        known.append(len(open_ones))
    assert known[0] == 5 * AT_A_TIME
    assert not open_ones
    assert max(before - after for before, after in pairwise(known)) <= AT_A_TIME
    ending.cancel()


async def test_damaged_records_are_replaced_and_all_that_is_known_is_written_anew() -> None:
    world = World()
    world.observe(Outcome.DOWN)
    world.monitor.keep_change(prepare(3, Plan("release", Category("feature", ()), ()), "", "ann", 0.0))
    world.monitor.modified((), KnownFacts("api", (("version", "api", "2.3"),), 0.0))
    covered = (Matcher("check", Operator.EQUAL, "other"),)
    await world.monitor.silence(Silence("1", covered, 0.0, 9e5, "ann", "change #3 release", 0.0, maintenance=True))
    await world.monitor.flush()
    healthy, world.batches = world.store.commit, []
    mended: list[float] = []

    async def refuse(batch: Batch) -> None:
        raise StoreDamagedError("malformed")

    async def mend(now: float) -> str:
        mended.append(now)
        world.store.commit = healthy  # type: ignore[method-assign]
        return "set aside"

    world.store.commit = refuse  # type: ignore[method-assign]
    world.store.mend = mend  # type: ignore[attr-defined]
    storing = asyncio.create_task(world.monitor.serve_store())
    world.observe(Outcome.DOWN)
    await asyncio.sleep(2 * STORE_RETRY)
    storing.cancel()
    assert len(mended) == 1
    assert world.counters.store_mended == "set aside"
    assert world.outbox.recorded == 1
    assert {state.check for batch in world.batches for state in batch.states} == {"api"}
    assert {one.id for batch in world.batches for one in batch.incidents} == {1}
    assert {kept for batch in world.batches for kept in batch.memories} == {("api", "{}")}
    assert {one.id for batch in world.batches for one in batch.changes} == {3}, "it goes on after a restart, too"
    assert {one.comment for batch in world.batches for one in batch.silences} == {"change #3 release"}
    assert {one.check for batch in world.batches for one in batch.facts} == {"api"}
