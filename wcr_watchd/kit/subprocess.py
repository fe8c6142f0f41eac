"""Running a child program with limits: bounded output, a process group of its own, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pwd
import shutil
import signal
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

OUTPUT_LIMIT = 64 * 1024
"""Bytes of standard output, and as many of standard error, that are kept; the rest is read and dropped."""
REAP_WITHIN = 2.0
"""Seconds a killed child may take to go; one that the kernel holds longer is left to it."""
LAST_WORDS = 1.0
"""Seconds for reading on after a child has ended, when something that it started holds its output open."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the environment does not say."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended: its exit status (negative: the signal that ended it), and what it wrote."""

    status: int
    stdout: str
    stderr: str
    cut: bool
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose rights a child has: its user, group and further groups by number, and that user's name and home."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


def identity_of(user: str) -> Identity:
    """The identity of a user; blocks on the system's user data base. Raises ``KeyError`` when there is no such user."""
    found = pwd.getpwnam(user)
    groups = tuple(os.getgrouplist(user, found.pw_gid))
    return Identity(found.pw_uid, found.pw_gid, groups, found.pw_name, found.pw_dir)


def locate(program: str, path: str = DEFAULT_PATH, folder: str = "/") -> str:
    """The file that is meant by ``program``; blocks on its file system, so it is called in a thread.

    To begin a program holds up the whole process until the kernel has read its file; on a file system that does not
    answer, that would be for ever. Having just been read here, the file is at hand. Raises ``FileNotFoundError``,
    ``NotADirectoryError`` or ``PermissionError`` with ``filename`` saying which of the two, file or folder, it is.
    """
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    file = os.path.join(folder, program) if "/" in program else shutil.which(program, path=path)
    if file is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    if stat.S_ISDIR(os.stat(file).st_mode) or not os.access(file, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)
    # What may be executed need not be readable.
    with contextlib.suppress(PermissionError), open(file, "rb") as begin:
        begin.read(2)
    return file


def mark_of(process: int) -> str:
    """What tells a process from every other one, also when its number is used again; empty when it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, started = fields[0], fields[19]  # proc(5): the 3rd and the 22nd of all
    return "" if state in "ZX" else f"{boot()}:{process}:{started}"


@cache
def boot() -> str:
    """What tells this life of the machine from every other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


async def run_child(
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: str = "/",
    *,
    file: str | None = None,
    limit: int = OUTPUT_LIMIT,
    keep_end: bool = False,
    identity: Identity | None = None,
    time_limit: float | None = None,
    ends_within: float = 0.0,
    begun: Callable[[int], None] | None = None,
) -> Finished:
    """Run ``words`` (a program and its arguments, no shell) with this environment and no input.

    ``file`` is what :func:`locate` found for the program. The caller sets the deadline; when it is cancelled, the
    child and everything it started in its process group are killed and reaped, as is what a child that ended by
    itself left running there. After ``time_limit`` seconds it is killed, and what it wrote is returned all the same.
    With ``ends_within`` it is asked to end (SIGTERM) so many seconds before it is killed.
    Of each output the first ``limit`` bytes are kept, or with ``keep_end`` the last ones. With an ``identity`` it has
    the rights of that user, which takes root's. ``begun`` is called with its process number. Raises ``OSError`` when it
    cannot be started.
    """
    async with _Output.open(limit, keep_end) as out, _Output.open(limit, keep_end) as err:
        child = await asyncio.create_subprocess_exec(
            *words,
            executable=file,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out.write_end,
            stderr=err.write_end,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else identity.groups,
        )
        try:
            if begun is not None:
                begun(child.pid)
            out.handed_over()
            err.handed_over()
            async with asyncio.TaskGroup() as readers:
                reading = [readers.create_task(one.read()) for one in (out, err)]
                timed_out = await _is_over_time(child, time_limit, ends_within)
                # One that the kernel holds longer than it may take to go is left to it, as killed.
                status = -signal.SIGKILL if child.returncode is None else child.returncode
                await asyncio.wait(reading, timeout=LAST_WORDS)
                for one in reading:
                    one.cancel()
        finally:
            if ends_within and child.returncode is None:
                await _ask_to_end(child, ends_within)
            await end_group(child)
        return Finished(status, out.text, err.text, out.more or err.more, timed_out)


class _Output:
    """One pipe that a child writes into.

    Not asyncio's own: with that, a child counts as running until everything that it started has closed its output.
    """

    def __init__(self, limit: int, keep_end: bool) -> None:
        self._limit = limit
        self._keep_end = keep_end
        self._kept = bytearray()
        self._stream = asyncio.StreamReader()
        self.more = False
        self._read_end, self.write_end = os.pipe()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, limit: int, keep_end: bool) -> AsyncIterator[_Output]:
        output = cls(limit, keep_end)
        protocol = asyncio.StreamReaderProtocol(output._stream)
        transport = None
        try:
            pipe = os.fdopen(output._read_end, "rb", buffering=0)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
            yield output
        finally:
            output.handed_over()
            if transport is not None:
                transport.close()

    def handed_over(self) -> None:
        """The child has its end of the pipe; close ours, or the end of its output would never be seen."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    @property
    def text(self) -> str:
        """What was kept."""
        return self._kept.decode(errors="replace")

    async def read(self) -> None:
        """Read to the end, keep the first or last bytes up to the limit, and note whether there were more."""
        while chunk := await self._stream.read(16 * 1024):
            room = self._limit - len(self._kept)
            self.more = self.more or len(chunk) > room
            self._kept += chunk if self._keep_end else chunk[:room]
            del self._kept[: max(0, len(self._kept) - self._limit)]


async def _is_over_time(child: asyncio.subprocess.Process, time_limit: float | None, ends_within: float) -> bool:
    """Wait for the child to end; after the time limit make it, and return True."""
    try:
        async with asyncio.timeout(time_limit):
            await child.wait()
    except TimeoutError:
        await _ask_to_end(child, ends_within)
        await end_group(child)
        return True
    return False


async def _ask_to_end(child: asyncio.subprocess.Process, within: float) -> None:
    """Ask the child's process group to end, and wait for it; whoever is cancelled meanwhile waits no longer."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(within):
            await child.wait()


async def end_group(child: asyncio.subprocess.Process) -> None:
    """Kill what is left of the child's process group, and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REAP_WITHIN):
            await child.wait()
