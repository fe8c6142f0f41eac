"""What a program started and left behind, even in a session of its own: found in three ways, and ended.

By a mark in its environment, which goes on to every child, and which the kernel shows (proc(5), ``environ``) as it was
when the program began. By its session, which has the number of the process that began it and stays one when that has
ended: who clears the environment does not leave that. And by its parents, as long as these are there: who leaves the
session as well is known by them, and once known by number and start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wcr_watchd.kit.subprocess import boot
from wcr_watchd.kit.threads import Threads

MARK = "WATCHD_RUN"
"""The variable that has the mark."""
END_WITHIN = 2.0
"""Seconds between the request to end and the end by force."""
LOOK_AGAIN = 0.1
MOST_ROUNDS = 20
"""Rounds of killing: what starts another process while it is looked for is found in the next one."""
LARGEST_ENVIRONMENT = 4 * 1024 * 1024
"""Bytes read of one environment; the mark stands before what is larger (execve(2): 128 KiB for each variable)."""


@dataclass(frozen=True, slots=True)
class _Process:
    """One process, as proc(5) has it: its parent, its session, and when it started (ticks since the boot)."""

    parent: int
    session: int
    started: int


class Strays:
    """What one run started: of this ``mark``, and by its first process (see :func:`mark_of`; empty: not known)."""

    def __init__(self, mark: str, leader: str = "") -> None:
        self._mark = mark
        self._leader = leader
        self._known: dict[int, int] = {}

    async def any(self, threads: Threads) -> bool:
        """Whether there is one."""
        return await threads.call(self._signal, 0) > 0

    async def end(self, threads: Threads, within: float = END_WITHIN) -> int:
        """End them all: asked first, killed ``within`` s later; returns how many there were."""
        found = await threads.call(self._signal, signal.SIGTERM)
        if not found:
            return 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while await self.any(threads):  # noqa: ASYNC110 - nothing tells of the end of what is not our child
                    await asyncio.sleep(LOOK_AGAIN)
                return found
        for _ in range(MOST_ROUNDS):
            if not await threads.call(self._signal, signal.SIGKILL):
                break
            await asyncio.sleep(LOOK_AGAIN)
        return found

    def _signal(self, number: int) -> int:
        """Send a signal (0: none) to each; returns how many there are that it may be sent to. Blocks on /proc."""
        processes = _processes()
        self._known = {one: processes[one].started for one in self._found(processes)}
        return sum(_send(process, started, number) for process, started in self._known.items())

    def _found(self, processes: Mapping[int, _Process]) -> set[int]:
        found = {one for one, started in self._known.items() if one in processes and processes[one].started == started}
        found |= {one for one in processes if _has_mark(one, self._mark)} | self._of_leader(processes)
        while True:
            # The daemon's own session is none of a run's, whatever else is in it.
            sessions = {processes[one].session for one in found} - {os.getsid(0)}
            more = {
                number
                for number, one in processes.items()
                if number not in found and (one.parent in found or one.session in sessions)
            }
            if not more:
                return found - {os.getpid()}
            found |= more

    def _of_leader(self, processes: Mapping[int, _Process]) -> set[int]:
        """The first process, and who is in its session: that number is nobody else's while somebody is in it."""
        if not self._leader:
            return set()
        when, number, started = self._leader.split(":")
        leader = processes.get(int(number))
        if when != boot() or (leader is not None and leader.started != int(started)):
            return set()
        return {
            one for one, other in processes.items() if other.session == int(number) and other.started >= int(started)
        }


def _processes() -> dict[int, _Process]:
    found = {}
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal() and (known := _process(int(entry.name))) is not None:
                found[int(entry.name)] = known
    return found


def _process(number: int) -> _Process | None:
    """One that has not ended; None for others."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    # proc(5): the 3rd, 4th, 6th and 22nd of all
    return None if fields[0] in "ZX" else _Process(int(fields[1]), int(fields[3]), int(fields[19]))


def _has_mark(process: int, mark: str) -> bool:
    try:
        with Path(f"/proc/{process}/environ").open("rb") as file:
            environment = file.read(LARGEST_ENVIRONMENT)
    except OSError:  # it has ended, or is none of ours
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _send(process: int, started: int, number: int) -> bool:
    """Send it to that very process: its number may be another one's by the time it is used."""
    try:
        handle = os.pidfd_open(process)
    except OSError:
        return False
    try:
        known = _process(process)
        if known is None or known.started != started:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
