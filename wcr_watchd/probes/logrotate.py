"""Watches that log rotation works: that logrotate ran, which logs it takes care of, and which files grew too big.

logrotate(8) writes its state file anew on every run, with the time of the last rotation of each log, in local time.
Whether its unit failed is for a `systemd` check to tell.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.trees import files, on_disk

_WHERE = ("/var/lib/logrotate/status", "/var/lib/logrotate/logrotate.status", "/var/lib/logrotate.status")
"""Where Debian, Fedora and older systems keep the state."""
_BIG = 512 * 1024 * 1024
"""Bytes from which a file is measured by itself."""
_MOST_BIG = 10
_MOST_ENTRIES = 50_000
_LARGEST_STATE = 4 * 1024 * 1024
_ENTRY = re.compile(r'"((?:[^"\\]|\\.)*)" (\d+)-(\d+)-(\d+)(?:-(\d+):(\d+):(\d+))?')


class Logrotate(Options):
    """Watches that log rotation works."""

    type: ClassVar[str] = "logrotate"
    target_key: ClassVar[str] = "state"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 60.0
    example: ClassVar[str] = 'logs = ["/var/log/nginx/access.log"]\nfolders = ["/var/log", "/srv/app/logs"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("state_age", Unit.SECONDS, "Time since logrotate ran"),
        MeasurementSpec("logs", Unit.COUNT, "Logs that logrotate knows"),
        MeasurementSpec("rotation_age", Unit.SECONDS, "Time since a named log was rotated", ("log",), topic="log"),
        MeasurementSpec("rotated", Unit.COUNT, "1 when logrotate knows a named log, else 0", ("log",), topic="log"),
        MeasurementSpec("log_size", Unit.BYTES, "Size of a file above 512 MiB", ("log",), topic="size"),
        MeasurementSpec("largest_log", Unit.BYTES, "Size of the largest file in the folders", topic="size"),
        MeasurementSpec("logs_size", Unit.BYTES, "Size of all files in the folders", topic="size"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "state_age > 26h"),
        (Severity.WARNING, "rotated == 0"),
        (Severity.WARNING, "log_size > 1GiB"),
    )

    state: str | None = None
    """logrotate's state file; without it, where distributions keep it."""
    logs: tuple[str, ...] = ()
    """Logs that must be among those that logrotate knows."""
    folders: tuple[str, ...] = ("/var/log", "/var/lib/docker/containers")
    """Where too big files are looked for; those that do not exist are left out."""

    @property
    def target(self) -> str:
        """The state file."""
        return self.state or "logrotate"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the state, and look at the sizes of files."""
        threads = run.shared.get(Threads)
        # A little before the run's own deadline: files that cannot be read say nothing of the rotation.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                run.step = "looking at the sizes of log files"
                sizes = await threads.call(_sizes, self.folders)
                run.step = "reading the state of logrotate"
                state = await threads.call(_read_state, (self.state,) if self.state else _WHERE)
        except TimeoutError:
            return run.unknown("timeout", f"no end within {format_duration(patience)}, {run.step}: is the disk slow?")
        except FileNotFoundError:
            where = self.state or _WHERE[0]
            return run.unknown("missing", f"there is no {where}: is logrotate installed, and has it run once?")
        except OSError as error:
            return run.unknown("permission", f"{error.filename} cannot be read by this user: {error.strerror}")
        big = self._measure_sizes(run, sizes)
        return self._judge(run, state, big)

    def _judge(self, run: Run, state: _State, big: Sequence[str]) -> Observation:
        age = max(0.0, run.started - state.written)
        run.measure_all({"state_age": age, "logs": len(state.rotated)})
        unknown = [log for log in self.logs if log not in state.rotated]
        for log in self.logs:
            run.measure("rotated", log in state.rotated, log=log)
            if log in state.rotated:
                run.measure("rotation_age", max(0.0, run.started - state.rotated[log]), log=log)
        faults = [f"logrotate does not know {', '.join(unknown)}"] if unknown else []
        faults += [f"big files: {', '.join(big)}"] if big else []
        said = f"logrotate ran {format_duration(age)} ago and knows {len(state.rotated)} logs"
        return run.up("; ".join([said, *faults]), reason="log" if faults else "")

    def _measure_sizes(self, run: Run, sizes: _Sizes) -> list[str]:
        """Measure big files, and those once more that were big and are not any more; returns the big ones in words."""
        for path, why in sizes.problems.items():
            run.missing([path], why)
        if sizes.cut:
            run.missing(["some of log_size"], f"there are more than {_MOST_ENTRIES} files")
        if sizes.largest:
            run.measure_all({"largest_log": sizes.largest[0][0], "logs_size": sizes.total})
        big = {path: size for size, path in sizes.largest if size >= _BIG}
        before = [path for path in run.memory.get("big", ()) if path not in big]
        for path, size in {**big, **dict.fromkeys(before, 0)}.items():
            run.measure("log_size", size, log=path)
        run.memory["big"] = list(big)
        return [f"{path} {format_value(size, Unit.BYTES)}" for path, size in big.items()]


@dataclass(frozen=True, slots=True)
class _State:
    """When logrotate wrote its state, and when each log was rotated (epoch seconds)."""

    written: float
    rotated: Mapping[str, float]


def _read_state(places: Sequence[str]) -> _State:
    """Read the first of these files that is there; blocks."""
    for place in places:
        with suppress(FileNotFoundError), open(place, encoding="utf-8", errors="replace") as file:
            return _State(os.fstat(file.fileno()).st_mtime, dict(_entries(file.read(_LARGEST_STATE))))
    raise FileNotFoundError(places[0])


def _entries(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        found = _ENTRY.match(line)
        if found:
            numbers = [int(number or 0) for number in found.groups()[1:]]
            year, month, day, hour, minute, second = numbers
            with suppress(OverflowError, ValueError):
                moment = time.mktime((year, month, day, hour, minute, second, 0, 0, -1))
                yield re.sub(r"\\(.)", r"\1", found[1]), moment


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The largest files, size and path, largest first; and what could not be looked at, with the reason."""

    largest: Sequence[tuple[int, str]]
    total: int
    cut: bool
    problems: Mapping[str, str]


def _sizes(folders: Sequence[str]) -> _Sizes:
    """Look at all files in these folders; blocks."""
    problems: dict[str, str] = {}
    largest: list[tuple[int, str]] = []
    total = count = 0
    for path, status in chain.from_iterable(files(folder, problems) for folder in folders):
        count += 1
        if count > _MOST_ENTRIES:
            break
        total += on_disk(status)
        largest.append((on_disk(status), path))
        if len(largest) > 1_000:
            largest = heapq.nlargest(_MOST_BIG, largest)
    return _Sizes(heapq.nlargest(_MOST_BIG, largest), total, count > _MOST_ENTRIES, problems)
