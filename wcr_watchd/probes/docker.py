"""Watches the containers of a Docker or Podman engine: that they are there, run, are healthy and keep to their limits.

The engine is asked over its socket (Docker Engine API). Without any list, every container is watched whose restart
policy says that it should run; with `expected`, one that was removed is noticed as well. A container that is meant to
end by itself belongs into `oneshot`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import PrivateAttr

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.docker import Container, Engine, EngineAddress, EngineError, Listed, Stats, engine_at, moment
from wcr_watchd.kit.network import NameResolver
from wcr_watchd.kit.options import Options

_MOST = 200
"""Containers that are looked at in one run."""
_AT_A_TIME = 20
"""Containers that are measured before others may have the loop: two hundred take it 10 ms."""
_SPACE_EVERY = 3_600.0
"""Seconds after which the space is counted again."""
_NO_LIMIT_OF_TASKS = 1 << 40
"""What an engine tells as the limit of processes where there is none is the largest number it knows."""


def _spec(name: str, unit: Unit, text: str, topic: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("container",), counter, topic)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A container that is there: by its name, with all that the engine tells of it."""

    name: str
    id: str
    container: Container
    stats: Stats | None
    image_created: float | None


class Docker(Options):
    """Watches the containers of an engine."""

    type: ClassVar[str] = "docker"
    target_key: ClassVar[str] = "socket"
    every: ClassVar[float] = 30.0
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = (
        'socket = "/var/run/docker.sock"\nexpected = ["web", "api", "redis"]\noneshot = ["migrate"]\n'
        'optional = ["*-debug"]\n'
    )
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("containers", Unit.COUNT, "Containers there are"),
        MeasurementSpec("containers_running", Unit.COUNT, "Containers that run"),
        MeasurementSpec("reclaimable", Unit.BYTES, "Space of images and build cache that nothing uses", topic="space"),
        _spec("container_up", Unit.COUNT, "1 when an expected container is as it should be, else 0", "container"),
        _spec("container_stopped", Unit.COUNT, "1 when a container in no list has stopped though it is to be started "
              "again by its restart policy, else 0", "container"),
        _spec("container_healthy", Unit.COUNT, "1 when its own health check is content, 0 when not", "container"),
        _spec("container_restarts", Unit.COUNT, "Times the engine started it again", "container", counter=True),
        _spec("container_oom_kills", Unit.COUNT, "Times something in it was killed for lack of memory", "memory",
              counter=True),
        _spec("container_uptime", Unit.SECONDS, "Time since it was started", "container"),
        _spec("container_memory", Unit.BYTES, "Memory in use, without cache", "memory"),
        _spec("container_memory_used", Unit.RATIO, "Share of its limit of memory; absent without a limit", "memory"),
        _spec("container_cpu", Unit.RATIO, "Processor time in use; 1 is one processor", "cpu"),
        _spec("container_cpu_used", Unit.RATIO, "Share of its limit of processor time; absent without a limit", "cpu"),
        _spec("container_tasks_used", Unit.RATIO, "Share of its limit of processes; absent without a limit", "tasks"),
        _spec("container_log_unbounded", Unit.COUNT, "1 when its log is a file without a limit, else 0", "log"),
        _spec("container_image_age", Unit.SECONDS, "Time since its image was built", "image"),
    )  # fmt: skip
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "container_up == 0 for 2x"),
        (Severity.WARNING, "container_stopped == 1 for 2x"),
        (Severity.CRITICAL, "container_healthy == 0 for 2x"),
        (Severity.WARNING, "increase(container_restarts, 30m) >= 1"),
        (Severity.CRITICAL, "increase(container_restarts, 15m) >= 3"),
        (Severity.WARNING, "increase(container_oom_kills, 30m) > 0"),
        (Severity.WARNING, "container_memory_used > 90% for 5m until container_memory_used < 85%"),
        (Severity.CRITICAL, "container_memory_used > 97% for 2m until container_memory_used < 90%"),
        (Severity.WARNING, "avg(container_cpu_used, 10m) > 90% until avg(container_cpu_used, 10m) < 80%"),
        (Severity.WARNING, "container_tasks_used > 90% for 2m until container_tasks_used < 80%"),
        (Severity.INFO, "container_image_age > 180d"),
        (Severity.INFO, "container_log_unbounded == 1"),
    )

    socket: EngineAddress = "/var/run/docker.sock"
    """Where the engine listens: "/var/run/docker.sock", "/run/podman/podman.sock", or "tcp://127.0.0.1:2375" for a
    read-only proxy of the socket."""
    expected: tuple[str, ...] = ()
    """Names of containers that must be there and run; "*" stands for anything, of which there must be one at least."""
    oneshot: tuple[str, ...] = ()
    """Names of containers that may also have ended with status 0; also of expected ones."""
    optional: tuple[str, ...] = ()
    """Names of containers that need not be there, but must run when they are."""
    ignore: tuple[str, ...] = ()
    """Names of containers not to look at."""

    space: bool = False
    """Whether it is counted, once an hour, how much space unused images and the build cache take. The engine looks
    through all of them for that; nothing is ever deleted."""

    _images: dict[str, float | None] = PrivateAttr(default_factory=dict)
    """When images were built, which never changes, by their number."""

    @property
    def target(self) -> str:
        """Where the engine listens."""
        return self.socket

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List the containers, and ask about each."""
        run.step = f"connecting to the container engine at {self.socket}"
        try:
            async with engine_at(self.socket, run.shared.get(NameResolver)) as engine:
                run.step = f"waiting for the list of containers from {self.socket}"
                listed = [one for one in await engine.containers() if not _matches(one.name, self.ignore)]
                seen = await self._look_at(run, engine, listed[:_MOST])
                kills = await _memory_kills(run, engine, seen)
                if self.space:
                    await _measure_space(run, engine)
        except EngineError as error:
            return (run.unknown if error.reason == "permission" else run.down)(error.reason, error.summary)
        if len(listed) > _MOST:
            run.missing([f"{len(listed) - _MOST} containers"], f"no more than {_MOST} are looked at")
        return await self._judge(run, listed, seen, kills)

    async def _look_at(self, run: Run, engine: Engine, listed: Sequence[Listed]) -> list[_Seen]:
        run.step = f"asking {self.socket} about {len(listed)} containers"
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_asked(engine, one, self._images)) for one in listed]
        seen: list[_Seen] = []
        for one in (task.result() for task in asked):
            if isinstance(one, EngineError):
                raise one
            if one is not None:
                seen.append(one)
        self._forget_images({one.container.image for one in seen})
        return seen

    def _forget_images(self, used: set[str]) -> None:
        for image in self._images.keys() - used:
            del self._images[image]

    async def _judge(
        self, run: Run, listed: Sequence[Listed], seen: Sequence[_Seen], kills: Mapping[str, int]
    ) -> Observation:
        running = [one for one in listed if one.state == "running"]
        run.measure_all({"containers": len(listed), "containers_running": len(running)})
        faults = []
        run.facts = []
        processors = _Processors(run)
        for number, one in enumerate(seen, 1):
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
            if image := one.container.image.removeprefix("sha256:")[:12]:
                run.fact("image", one.name, image)
            if fault := self._measure_state(run, one):
                faults.append(f"{one.name} {fault}")
            _measure_use(run, one)
            processors.measure(one)
            run.measure("container_oom_kills", kills[one.id], container=one.name)
        run.memory["processors"] = processors.after
        for name in self._absent([one.name for one in listed]):
            run.measure("container_up", 0, container=name)
            faults.append(f"{name} does not exist")
        if faults:
            run.evidence["faults"] = "\n".join(faults)
            return run.up(f"{len(running)} of {len(listed)} containers run; {'; '.join(faults)}", reason="container")
        return run.up(f"{len(running)} of {len(listed)} containers run, all as they should")

    def _absent(self, names: Sequence[str]) -> list[str]:
        return [
            one for one in self.expected
            if not any(fnmatchcase(name, one) for name in names) and not _matches(one, self.optional)
        ]  # fmt: skip

    def _measure_state(self, run: Run, one: _Seen) -> str:
        """Measure how a container is; returns what is wrong with it."""
        state = one.container.state
        run.measure("container_restarts", one.container.restart_count, container=one.name)
        fault = "" if state.status == "running" else _not_running(one.container)
        if state.status == "exited" and state.exit_code == 0 and _matches(one.name, self.oneshot):
            fault = ""
        if _matches(one.name, (*self.expected, *self.oneshot, *self.optional)):
            run.measure("container_up", not fault, container=one.name)
        elif one.container.host_config.restart_policy.name in ("", "no"):
            fault = ""  # nobody said that it should run
        else:
            run.measure("container_stopped", bool(fault), container=one.name)
        return fault or _measure_health(run, one)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


async def _asked(engine: Engine, listed: Listed, images: dict[str, float | None]) -> _Seen | EngineError | None:
    """All about one container; None when it has been removed meanwhile. ``images`` is when known images were built."""
    try:
        container = await engine.container(listed.id)
    except EngineError as error:
        return None if error.status == 404 else error
    stats, image = None, container.image
    # Either may be refused by a proxy; the one ends with the container, the other's image may have been removed.
    with suppress(EngineError):
        stats = await engine.stats(listed.id) if container.state.status == "running" else None
    with suppress(EngineError):
        if image and image not in images:
            images[image] = moment((await engine.image(image)).created)
    return _Seen(listed.name, listed.id, container, stats, images.get(image))


async def _memory_kills(run: Run, engine: Engine, seen: Sequence[_Seen]) -> dict[str, int]:
    """How often something was killed for lack of memory, by container, since this check began to count.

    Counted from the engine's events; an engine without such events (Podman), or one that forgot them, tells by a
    container's state how its last run ended.
    """
    run.step = "asking for what was killed for lack of memory"
    since = float(run.memory.get("events_until", run.started))
    try:
        events = await engine.killed_for_memory(since, run.started)
    except EngineError as error:
        events = []
        run.missing(["some of container_oom_kills"], error.summary)
    before: dict[str, Any] = run.memory.get("memory_kills", {})
    after = {}
    for one in seen:
        count, ended = before.get(one.id, (0, ""))
        fresh = events.count(one.id)
        state = one.container.state
        if state.oom_killed and state.finished_at != ended:
            fresh, ended = max(fresh, 1), state.finished_at
        after[one.id] = (count + fresh, ended)
    run.memory["events_until"], run.memory["memory_kills"] = run.started, after
    return {identity: count for identity, (count, _) in after.items()}


async def _measure_space(run: Run, engine: Engine) -> None:
    """Count now and then, and measure what was counted last."""
    run.step = "asking how much space could be freed"
    if run.started - run.memory.get("space_at", 0.0) >= _SPACE_EVERY:
        run.memory["space_at"] = run.started
        run.memory.pop("reclaimable", None)
        try:
            async with asyncio.timeout(run.remaining / 2):
                run.memory["reclaimable"] = (await engine.space()).reclaimable
        except (TimeoutError, EngineError) as error:
            run.missing(["reclaimable"], str(error) or "the engine takes too long to count it")
    if "reclaimable" in run.memory:
        run.measure("reclaimable", run.memory["reclaimable"])


def _not_running(container: Container) -> str:
    state = container.state
    words = f"is {state.status}"
    if state.status in ("exited", "dead", "restarting"):
        words += f" (last status {state.exit_code})"
    if state.oom_killed:
        words += ", killed for lack of memory"
    return words + (f": {state.error}" if state.error else "")


def _measure_health(run: Run, one: _Seen) -> str:
    health = one.container.state.health
    if one.container.state.status != "running" or health is None or health.status not in ("healthy", "unhealthy"):
        return ""  # none, or it is just starting
    run.measure("container_healthy", health.status == "healthy", container=one.name)
    if health.status == "healthy":
        return ""
    last = health.log[-1] if health.log else None
    said = " ".join(last.output.split())[:200] if last else ""
    return f"is unhealthy: {said or 'its health check says nothing'}"


def _measure_use(run: Run, one: _Seen) -> None:
    started = moment(one.container.state.started_at)
    if one.container.state.status == "running" and started is not None:
        run.measure("container_uptime", max(0.0, run.started - started), container=one.name)
    run.measure("container_log_unbounded", one.container.host_config.log_config.unbounded, container=one.name)
    if one.image_created is not None:
        run.measure("container_image_age", run.started - one.image_created, container=one.name)
    if one.stats is None:
        return
    used, limit = one.stats.memory_stats.used, one.container.host_config.memory
    if used is not None:
        run.measure("container_memory", used, container=one.name)
        if limit > 0:
            run.measure("container_memory_used", used / limit, container=one.name)
    tasks = one.stats.pids_stats
    if tasks.current is not None and tasks.limit and tasks.limit < _NO_LIMIT_OF_TASKS:
        run.measure("container_tasks_used", tasks.current / tasks.limit, container=one.name)


class _Processors:
    """Processor time since the run before, which is remembered with the start it is counted from."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before: dict[str, Any] = run.memory.get("processors", {})
        self.after: dict[str, tuple[str, float, int]] = {}

    def measure(self, one: _Seen) -> None:
        """Measure one container's, and note how far it has come."""
        run = self._run
        total = one.stats.cpu_stats.cpu_usage.total_usage if one.stats else None
        if total is None:
            return
        begun = one.container.state.started_at
        self.after[one.id] = (begun, run.started, total)
        same, at, earlier = self._before.get(one.id, ("", 0.0, 0))
        if same != begun or run.started <= at or total < earlier:
            return
        used = (total - earlier) / 1e9 / (run.started - at)
        run.measure("container_cpu", used, container=one.name)
        if limit := one.container.host_config.processors:
            run.measure("container_cpu_used", used / limit, container=one.name)
