"""What a program started and left behind, even in a session of its own: known by a mark in its environment, and ended.

A process group holds what stays in it; setsid(1), nohup with it, and daemons leave. The environment goes on to every
child, and the kernel shows it (proc(5), ``environ``) as it was when the program began. Who clears it, or is another
user's by then (sudo), is not found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

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


def signal_strays(mark: str, number: int) -> int:
    """Send a signal (0: none) to every process with this mark; returns how many there are that it may be sent to.

    Blocks on /proc, so it is called in a thread.
    """
    found = 0
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal() and _has_mark(entry.name, mark):
                found += _signal(entry.name, mark, number)
    return found


def _has_mark(process: str, mark: str) -> bool:
    try:
        with Path("/proc", process, "environ").open("rb") as file:
            environment = file.read(LARGEST_ENVIRONMENT)
    except OSError:  # it has ended, or is none of ours
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _signal(process: str, mark: str, number: int) -> bool:
    """Send it to that very process: its number may be another one's by the time it is used."""
    try:
        handle = os.pidfd_open(int(process))
    except OSError:
        return False
    try:
        if not _has_mark(process, mark):
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


async def has_strays(mark: str, threads: Threads) -> bool:
    """Whether there is a process with this mark."""
    return await threads.call(signal_strays, mark, 0) > 0


async def end_strays(mark: str, threads: Threads) -> int:
    """End every process with this mark: asked first, killed :data:`END_WITHIN` later; returns how many there were."""
    found = await threads.call(signal_strays, mark, signal.SIGTERM)
    if not found:
        return 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_WITHIN):
            while await has_strays(mark, threads):  # noqa: ASYNC110 - nothing tells of the end of what is not our child
                await asyncio.sleep(LOOK_AGAIN)
            return found
    for _ in range(MOST_ROUNDS):
        if not await threads.call(signal_strays, mark, signal.SIGKILL):
            break
        await asyncio.sleep(LOOK_AGAIN)
    return found
