"""Carrying a probe out as the runner does, without the daemon around it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import psutil
import pytest
from _pytest.runner import runtestprotocol  # the way to run a test once, as pytest-rerunfailures does

from wcr_watchd.core.model import Observation
from wcr_watchd.core.run import LONGEST_MEMORY, Run
from wcr_watchd.kit.plugins import load
from wcr_watchd.kit.shared import SharedHelpers

Observe = Callable[..., Awaitable[Observation]]
T = TypeVar("T")
PATIENCE = 60.0
"""Seconds a run may take when the test is not about its deadline; a slow machine must not fail it."""
LONGEST_STEP = 0.005
"""Seconds of processor time for which a probe may hold the loop at a time."""
REFERENCE_ROUNDS = 30_000
UNDISTURBED = 0.0035
"""Seconds of processor time that the reference work takes where nothing else runs."""
ATTEMPTS = 4
"""How often a test is run in all when a probe in it held the loop."""


def reference_work() -> float:
    """Seconds of processor time that a fixed piece of work takes just now."""
    began = time.thread_time()
    total = 0
    for number in range(REFERENCE_ROUNDS):
        total += number * number
    return time.thread_time() - began


def longest_step() -> float:
    """Seconds of processor time that a step may take: 5 ms, or as long as the fixed piece of work where that is longer.

    So the bar is raised only with what slows these cores down.
    """
    return max(LONGEST_STEP, reference_work())


class HeldTheLoopError(AssertionError):
    """A probe kept everything else from the loop for longer than it may."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test anew, with all its fixtures, when a probe in it held the loop; what does so each time has failed.

    Processor time says nearly the same on a busy machine, but not quite: a neighbour takes the caches and the other
    half of the core, a host takes time from its guest, and now and then a step of 3 ms counts as 6. A probe that really
    works that long does so every time. What is not seen this way is what happens once in the life of a process, an
    import at first use: it holds up a daemon when its first check of the type runs, and never again.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for _ in range(ATTEMPTS):
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not any(report.failed and HeldTheLoopError.__name__ in report.longreprtext for report in reports):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def probe_of(kind: str, options: Mapping[str, Any] | str) -> Any:
    """A probe with these options, as a mapping or as TOML."""
    return load("wcr_watchd.probes", kind).model_validate(
        tomllib.loads(options) if isinstance(options, str) else dict(options)
    )


def new_run(shared: SharedHelpers, timeout: float = PATIENCE, started: float | None = None) -> Run:
    """A run that begins now; ``started`` pretends another wall time."""
    return Run("check", "here", time.time() if started is None else started, timeout, time.monotonic, shared)


class LoopMonitor:
    """Notes the longest step with which a probe, and all that it started, kept the loop from everything else.

    A step is what the loop does at a time: of the probe, of a task that it made, of a connection of its. They have in
    common the context that they were started from (contextvars). It is counted in processor time of the thread
    (seconds), which says nearly the same on a busy machine. What runs in threads or on another loop is not counted.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.longest = 0.0
        self.where = ""

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine under this monitor."""
        context = contextvars.copy_context()
        context.run(_MONITOR.set, self)
        return self._loop.create_task(coroutine, context=context)

    def step(self, handle: asyncio.Handle) -> None:
        """Carry a step out and note it."""
        if asyncio.get_running_loop() is not self._loop:
            return _run_step(handle)
        collects = gc.isenabled()
        gc.disable()  # a collection looks through all that the tests have piled up
        begun = time.thread_time()
        try:
            _run_step(handle)
        finally:
            taken = time.thread_time() - begun
            if taken > self.longest:
                self.longest, self.where = taken, _name_of(handle)
            if collects:
                gc.enable()


_MONITOR: contextvars.ContextVar[LoopMonitor | None] = contextvars.ContextVar("monitor of the loop", default=None)
_run_step = asyncio.Handle._run


def _monitored_step(handle: asyncio.Handle) -> None:
    monitor = handle._context.get(_MONITOR)
    if monitor is None:
        _run_step(handle)
    else:
        monitor.step(handle)


asyncio.Handle._run = _monitored_step  # type: ignore[method-assign]


def _name_of(handle: asyncio.Handle) -> str:
    owner = getattr(handle._callback, "__self__", handle._callback)
    return owner.get_coro().__qualname__ if isinstance(owner, asyncio.Task) else repr(handle._callback)


async def carry_out(probe: Any, run: Run) -> Observation:
    """One run under its deadline; what is cut off is down for the reason ``timeout``. No step may hold up the loop."""
    monitor = LoopMonitor()
    try:
        async with asyncio.timeout(run.timeout):
            observation: Observation = await monitor.start(probe.run(run))
    except TimeoutError:
        observation = run.down("timeout", f"no end within {run.timeout:g} s, {run.step}")
    if monitor.longest > LONGEST_STEP and monitor.longest > longest_step():
        raise HeldTheLoopError(f"{probe.type} held the loop for {monitor.longest * 1000:.1f} ms in {monitor.where}")
    return observation


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


def children() -> set[psutil.Process]:
    """Processes below this one that live; those that were there before belong to other tests' servers."""
    below = psutil.Process().children(recursive=True)
    return {one for one in below if one.is_running() and one.status() != psutil.STATUS_ZOMBIE}


async def none_left_open(before: int) -> None:
    """Wait until no more are open than before; both ends of a connection take a few turns of the loop to close."""
    async with asyncio.timeout(PATIENCE):
        while descriptors() > before:
            await asyncio.sleep(0.01)


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    """The helpers that probes share, closed at the end."""
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


@pytest.fixture
def observe(shared: SharedHelpers) -> Observe:
    """``await observe("http", url=…)`` or ``await observe("http", \"\"\"toml\"\"\")`` carries a probe out once."""

    async def once(
        kind: str, toml: str = "", *, timeout: float = PATIENCE, started: float | None = None, **options: Any
    ) -> Observation:
        probe = probe_of(kind, {**tomllib.loads(toml), **options})
        return await carry_out(probe, new_run(shared, timeout, started))

    return once


def measured(observation: Observation, name: str, **labels: str) -> float:
    """The value of a measurement; fails when it is absent."""
    wanted = (name, tuple(sorted(labels.items())))
    values = {(one.name, one.labels): one.value for one in observation.measurements}
    assert wanted in values, f"{wanted} is absent; there are {sorted(values)}"
    return values[wanted]


def names(observation: Observation) -> set[str]:
    """The names of all measurements there are."""
    return {one.name for one in observation.measurements}


class Watch:
    """A check that is run again and again: what a run leaves in memory is there for the next, as after a restart."""

    def __init__(self, shared: SharedHelpers, kind: str, **options: Any) -> None:
        self.shared = shared
        self.kind = kind
        self.options = options
        self.memory = "{}"

    async def run(self, started: float | None = None, timeout: float = PATIENCE) -> Observation:
        """One more run, by a new probe; ``started`` pretends another wall time."""
        run = new_run(self.shared, timeout, started)
        run.memory = json.loads(self.memory)
        seen = await carry_out(probe_of(self.kind, self.options), run)
        self.memory = json.dumps(run.memory)
        assert len(self.memory) <= LONGEST_MEMORY
        return seen


@pytest.fixture
def watch(shared: SharedHelpers) -> Callable[..., Watch]:
    """``check = watch("docker", socket=…)``; then ``await check.run()`` as often as it is wanted."""
    return lambda kind, **options: Watch(shared, kind, **options)
