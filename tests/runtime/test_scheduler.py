"""When checks run, on a virtual clock: an hour of it costs milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import pairwise
from random import Random

import pytest

from wcr_watchd.core.view import Counters
from wcr_watchd.runtime import scheduler as module
from wcr_watchd.runtime.scheduler import Scheduler, fraction

pytestmark = pytest.mark.looptime


class LoopClock:
    """The loop's own time, which looptime makes virtual."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class World:
    """A scheduler with runs of a chosen length, and a record of when they began."""

    def __init__(self, lasting: Callable[[str], float]) -> None:
        self.counters = Counters()
        self.began: dict[str, list[float]] = {}
        self.running: Counter[str] = Counter()
        self.scheduler = Scheduler(LoopClock(), self._run, self.counters)
        self._lasting = lasting

    async def _run(self, name: str) -> None:
        self.began.setdefault(name, []).append(asyncio.get_running_loop().time())
        self.running[name] += 1
        assert self.running[name] == 1, "a check overlaps with itself"
        try:
            await asyncio.sleep(self._lasting(name))
        finally:
            self.running[name] -= 1


Build = Callable[..., Awaitable[World]]


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(checks: Mapping[str, float], lasting: Callable[[str], float] = lambda name: 0.01) -> World:
            world = World(lasting)
            world.scheduler.set_checks(checks)
            task = asyncio.create_task(world.scheduler.serve())

            async def end() -> None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            stack.push_async_callback(end)
            return world

        yield start


async def test_each_check_runs_once_per_interval_in_its_own_phase(build: Build) -> None:
    world = await build({f"check-{i}": 60.0 for i in range(50)})
    await asyncio.sleep(3_600)
    for name, began in world.began.items():
        assert 60 <= len(began) <= 61, name
        phases = {round(at % 60, 3) for at in began[1:]}
        assert len(phases) == 1
        assert phases.pop() == pytest.approx(fraction(name) * 60, abs=0.01)
    assert world.counters.scheduler_missed == 0


async def test_a_hundred_checks_have_begun_within_two_seconds(build: Build) -> None:
    world = await build({f"check-{i}": 60.0 for i in range(100)})
    await asyncio.sleep(2)
    assert len(world.began) == 100


async def test_phases_are_spread_over_the_interval() -> None:
    places = Counter(int(fraction(f"check-{i}") * 10) for i in range(10_000))
    assert all(800 < count < 1_200 for count in places.values())


async def test_a_check_never_runs_beside_itself_and_what_is_missed_is_counted(build: Build) -> None:
    world = await build({"slow": 10.0}, lambda name: 25.0)
    await asyncio.sleep(600)
    runs = len(world.began["slow"])
    assert 18 <= runs <= 24
    assert 58 <= runs + world.counters.scheduler_missed <= 62


async def test_missed_slots_are_not_made_up_in_a_burst(build: Build) -> None:
    lengths = {"first": 95.0}
    world = await build({"check": 10.0}, lambda name: lengths.pop("first", 0.01))
    await asyncio.sleep(300)
    gaps = [b - a for a, b in pairwise(world.began["check"])]
    assert min(gaps[1:]) == pytest.approx(10.0, abs=0.05)


async def test_hanging_checks_do_not_delay_healthy_ones(build: Build) -> None:
    checks = {f"healthy-{i}": 10.0 for i in range(200)} | {f"hanging-{i}": 10.0 for i in range(400)}
    world = await build(checks, lambda name: 9.0 if name.startswith("hanging") else 0.01)
    await asyncio.sleep(300)
    for name, began in world.began.items():
        if name.startswith("healthy"):
            gaps = [b - a for a, b in pairwise(began[1:])]
            assert max(gaps) < 11.5, name


async def test_checks_that_begin_to_hang_all_at_once_do_not_delay_healthy_ones(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_RUNS", 10)
    begun = asyncio.get_running_loop().time()

    def lasting(name: str) -> float:
        broken = name.startswith("hanging") and asyncio.get_running_loop().time() > begun + 60
        return 9.0 if broken else 0.01

    world = await build({f"healthy-{i}": 10.0 for i in range(50)} | {f"hanging-{i}": 10.0 for i in range(250)}, lasting)
    await asyncio.sleep(120)
    for i in range(50):
        gaps = [b - a for a, b in pairwise(world.began[f"healthy-{i}"][1:])]
        assert max(gaps) < 11
    assert world.counters.scheduler_missed == 0


async def test_more_hanging_checks_than_there_is_room_for_leave_out_their_own_slots(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_RUNS", 20)
    monkeypatch.setattr(module, "FRESH_RUNS", 50)
    checks = {f"healthy-{i}": 10.0 for i in range(20)} | {f"hanging-{i}": 10.0 for i in range(40)}
    world = await build(checks, lambda name: 35.0 if name.startswith("hanging") else 0.01)
    await asyncio.sleep(400)
    assert world.counters.scheduler_missed > 100
    for i in range(20):
        assert len(world.began[f"healthy-{i}"]) >= 39


async def test_a_quick_recheck_comes_when_asked_and_moves_no_slot(build: Build) -> None:
    world = await build({"check": 60.0})
    await asyncio.sleep(70)
    before = list(world.began["check"])
    world.scheduler.run_soon("check", 10.0)
    world.scheduler.run_soon("check", 10.0)
    await asyncio.sleep(120)
    after = world.began["check"][len(before) :]
    phase = fraction("check") * 60
    extra = [at for at in after if abs((at - phase + 30) % 60 - 30) > 0.1]
    assert len(extra) == 1
    assert extra[0] == pytest.approx(80, abs=0.1)


async def test_a_recheck_asked_for_while_running_follows_the_run(build: Build) -> None:
    world = await build({"check": 60.0}, lambda name: 5.0)
    while "check" not in world.began:
        await asyncio.sleep(0.01)
    began = world.began["check"][0]
    world.scheduler.run_soon("check", 2.0)
    await asyncio.sleep(8)
    assert world.began["check"][1] == pytest.approx(began + 7, abs=0.1)


async def test_checks_that_stay_keep_their_phase_over_a_reload(build: Build) -> None:
    world = await build({"stays": 60.0, "goes": 60.0})
    await asyncio.sleep(130)
    world.scheduler.set_checks({"stays": 60.0, "comes": 60.0})
    gone = len(world.began["goes"])
    await asyncio.sleep(300)
    assert len(world.began["goes"]) == gone
    assert len(world.began["comes"]) >= 5
    gaps = [b - a for a, b in pairwise(world.began["stays"][1:])]
    assert gaps == [pytest.approx(60, abs=0.1)] * len(gaps)


async def test_a_removed_check_that_runs_is_ended(build: Build) -> None:
    world = await build({"hangs": 60.0}, lambda name: 1e6)
    while not world.running["hangs"]:
        await asyncio.sleep(0.1)
    world.scheduler.set_checks({})
    await asyncio.sleep(0.1)
    assert world.running["hangs"] == 0


async def test_a_run_that_raises_does_not_end_the_watch(build: Build) -> None:
    def lasting(name: str) -> float:
        if name == "broken":
            raise RuntimeError("a bug")
        return 0.01

    world = await build({"broken": 10.0, "fine": 10.0}, lasting)
    await asyncio.sleep(100)
    assert len(world.began["fine"]) >= 9
    assert len(world.began["broken"]) >= 9


async def test_it_can_be_seen_to_live_when_nothing_is_due(build: Build) -> None:
    world = await build({})
    await asyncio.sleep(100)
    assert asyncio.get_running_loop().time() - world.counters.scheduler_progress_at <= module.HEARTBEAT + 0.1


@pytest.mark.parametrize("seed", range(20))
async def test_runs_and_missed_slots_add_up(build: Build, seed: int) -> None:
    """Over any set of checks and any length of runs: what did not run was counted as missed."""
    chance = Random(seed)
    checks = {f"check-{i}": chance.uniform(0.5, 100) for i in range(chance.randint(1, 8))}
    length = chance.uniform(0, 30)
    world = await build(checks, lambda name: length)
    await asyncio.sleep(200)
    runs = sum(len(began) for began in world.began.values())
    slots = sum(200 / every for every in checks.values())
    assert abs(runs + world.counters.scheduler_missed - slots) <= 3 * len(checks)
