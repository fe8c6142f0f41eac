"""Watches that a program runs: how many processes there are of it, and what they use.

Numbers come from ``/proc`` (proc(5)) by way of psutil. What this user may not read of another's process (open files) is
absent, never 0; where other users' processes are hidden from it, one that it does not find is ``unknown``.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import psutil
from pydantic import PrivateAttr, field_validator, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import StillBlockedError, Threads

T = TypeVar("T")

_PIDFILE_BYTES = 64
_COMMAND_LINE = 4_096
"""Bytes of a command line that a pattern is tried on."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One process, as far as it may be read."""

    pid: int
    started: float
    zombie: bool
    memory: int | None
    threads: int | None
    cpu_seconds: float | None
    open_files: int | None


class Process(Options):
    """Watches that a program runs."""

    type: ClassVar[str] = "process"
    target_key: ClassVar[str] = "match"
    every: ClassVar[float] = 30.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("processes", Unit.COUNT, "Processes that match, zombies aside"),
        MeasurementSpec("zombies", Unit.COUNT, "Processes that match, have ended and wait for their parent"),
        MeasurementSpec("memory_rss", Unit.BYTES, "Resident memory of all together", topic="memory"),
        MeasurementSpec("cpu_used", Unit.RATIO, "Processor time since the last run; 1 is one core", topic="cpu"),
        MeasurementSpec("open_files", Unit.COUNT, "Open file descriptors of all together", topic="files"),
        MeasurementSpec("threads", Unit.COUNT, "Threads of all together"),
        MeasurementSpec("oldest_age", Unit.SECONDS, "How long the oldest runs already"),
        MeasurementSpec("newest_age", Unit.SECONDS, "How long the newest runs already"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "zombies > 0 for 10m"),
    )
    example: ClassVar[str] = 'match = "postgres: checkpointer"\n'

    match: str = ""
    """A regular expression that is found somewhere in the command line."""
    name: str = ""
    """The program's name as `ps -e` shows it; instead of `match`."""
    pidfile: str = ""
    """A file that holds the number of the process; instead of `match`."""
    min: int = 1
    """The fewest processes there must be."""
    max: int | None = None
    """The most processes there may be."""

    _last: dict[tuple[int, float], float] = PrivateAttr(default_factory=dict)
    _last_at: float | None = PrivateAttr(default=None)

    @field_validator("match")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _one_way_to_find_it(self) -> Self:
        if sum(map(bool, (self.match, self.name, self.pidfile))) != 1:
            raise ValueError("say by exactly one of match, name or pidfile which process is meant")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) must not be smaller than min ({self.min})")
        return self

    @property
    def target(self) -> str:
        """What is looked for."""
        return self.name or self.match or self.pidfile

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Look at the process table once."""
        run.step = f"looking for {self.target} in the process table"
        # A little before the run's own deadline: a process table that cannot be read says nothing of the program.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                seen = await run.shared.get(Threads).run(f"process {run.check}", self._look)
        except (TimeoutError, StillBlockedError):
            return run.unknown("timeout", f"/proc did not tell of {self.target} within {format_duration(patience)}")
        except psutil.AccessDenied:
            return self._hidden(run)
        except FileNotFoundError:
            return run.down(
                "missing", f"{self.pidfile} does not exist: the program is not running, or writes another file"
            )
        except (OSError, ValueError, OverflowError) as error:
            return run.unknown("pidfile", f"{self.pidfile} cannot be read: {error}; it must hold one number")
        alive = [one for one in seen if not one.zombie]
        if len(alive) < self.min and not _sees_other_users():
            return self._hidden(run)
        self._measure(run, seen, alive)
        return self._verdict(run, len(alive), len(seen) - len(alive))

    def _hidden(self, run: Run) -> Observation:
        return run.unknown(
            "permission",
            f"cannot tell whether {self.target} runs: other users' processes are hidden from this one "
            "(hidepid= of /proc, ProtectProc= of a unit); it needs CAP_SYS_PTRACE or the group that gid= names",
        )

    def _verdict(self, run: Run, count: int, zombies: int) -> Observation:
        found = f"{count} process{'' if count == 1 else 'es'} {self.target}"
        if zombies:
            found += f" ({zombies} more ended and not reaped)"
        if count < self.min:
            return run.down("missing", f"{found}, expected at least {self.min}")
        if self.max is not None and count > self.max:
            return run.down("too_many", f"{found}, expected at most {self.max}")
        return run.up(found)

    def _measure(self, run: Run, seen: list[Seen], alive: list[Seen]) -> None:
        run.measure("processes", len(alive))
        run.measure("zombies", len(seen) - len(alive))
        cpu = self._cpu_since_last(alive, run.clock())
        if not alive:
            return
        now = time.time()
        run.measure_all(
            {
                "memory_rss": _total(one.memory for one in alive),
                "open_files": _total(one.open_files for one in alive),
                "threads": _total(one.threads for one in alive),
                "cpu_used": cpu,
                "oldest_age": max(0.0, now - min(one.started for one in alive)),
                "newest_age": max(0.0, now - max(one.started for one in alive)),
            }
        )
        if any(one.open_files is None for one in alive):
            run.missing(["open_files"], "they belong to another user; CAP_SYS_PTRACE would be needed")

    def _cpu_since_last(self, alive: list[Seen], now: float) -> float | None:
        """Processor seconds per second of those that were there before too; None on the first run."""
        before, self._last = (
            self._last,
            {(one.pid, one.started): one.cpu_seconds for one in alive if one.cpu_seconds is not None},
        )
        since, self._last_at = self._last_at, now
        if since is None or now <= since:
            return None
        used = sum(max(0.0, seconds - before.get(key, seconds)) for key, seconds in self._last.items())
        return used / (now - since)

    def _look(self) -> list[Seen]:
        return [_seen(process) for process in self._matching() if process.is_running()]

    def _matching(self) -> Iterator[psutil.Process]:
        if self.pidfile:
            with Path(self.pidfile).open("rb") as file:
                pid = int(file.read(_PIDFILE_BYTES))
            with suppress(psutil.NoSuchProcess):
                yield psutil.Process(pid)
            return
        pattern = re.compile(self.match)
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and self._is_meant(process, pattern):
                    yield process
            except psutil.Error:
                continue

    def _is_meant(self, process: psutil.Process, pattern: re.Pattern[str]) -> bool:
        if self.name:
            return process.name() == self.name
        return bool(pattern.search(" ".join(process.cmdline())[:_COMMAND_LINE]))


def _sees_other_users() -> bool:
    """Whether /proc shows this user more than its own processes; everybody's first one is root's."""
    try:
        Path("/proc/1/cmdline").read_bytes()
    except OSError:
        return False
    return True


def _seen(process: psutil.Process) -> Seen:
    with process.oneshot():
        return Seen(
            pid=process.pid,
            started=process.create_time(),
            zombie=_or_none(process.status) == psutil.STATUS_ZOMBIE,
            memory=_or_none(lambda: process.memory_info().rss),
            threads=_or_none(process.num_threads),
            cpu_seconds=_or_none(lambda: process.cpu_times().user + process.cpu_times().system),
            open_files=_or_none(process.num_fds),
        )


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except psutil.Error:
        return None


def _total(values: Iterable[int | None]) -> float | None:
    """The sum; None as soon as one part is not known, because less than all is not the total."""
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
