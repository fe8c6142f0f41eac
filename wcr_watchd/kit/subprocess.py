"""Running a child program with limits: bounded output, a process group of its own, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OUTPUT_LIMIT = 64 * 1024
"""Bytes of standard output, and as many of standard error, that are kept; the rest is read and dropped."""
REAP_WITHIN = 2.0
"""Seconds a killed child may take to go; one that the kernel holds longer is waited for in the background."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended: its exit status (negative: the signal that ended it), and what it wrote."""

    status: int
    stdout: str
    stderr: str
    cut: bool


async def run_child(
    words: Sequence[str], environment: Mapping[str, str], folder: str | None = None, limit: int = OUTPUT_LIMIT
) -> Finished:
    """Run ``words`` (a program and its arguments, no shell) with this environment and no input.

    The caller sets the deadline; when it is cancelled, the child and everything it started in its process group are
    killed and reaped. Raises ``OSError`` (``FileNotFoundError``, ``PermissionError``) when it cannot be started.
    """
    child = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async with asyncio.TaskGroup() as readers:
            out = readers.create_task(_read(child.stdout, limit))
            err = readers.create_task(_read(child.stderr, limit))
            status = readers.create_task(child.wait())
    finally:
        await _end(child)
    stdout, more_out = out.result()
    stderr, more_err = err.result()
    return Finished(status.result(), stdout, stderr, more_out or more_err)


async def _read(stream: asyncio.StreamReader, limit: int) -> tuple[str, bool]:
    """Read to the end, keep the first ``limit`` bytes, and say whether there were more."""
    kept = bytearray()
    more = False
    while chunk := await stream.read(16 * 1024):
        room = limit - len(kept)
        kept += chunk[:room]
        more = more or len(chunk) > room
    return kept.decode(errors="replace"), more


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill what is left of the child's process group, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAP_WITHIN):
            await asyncio.shield(child.wait())
    transport = getattr(child, "_transport", None)
    if transport is not None:
        transport.close()  # closes our ends of the pipes, which a grandchild may hold open
