"""A headless Chromium for one page, driven over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/. It goes through two pipes, not a port: a port would be open to all
users of the machine, and with it all files that this one may read. When the pipes close, as by the end of this process,
the browser ends, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from wcr_watchd.kit.subprocess import DEFAULT_PATH, end_group, locate
from wcr_watchd.kit.threads import Threads

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
LONGEST_MESSAGE = 1024 * 1024
"""Bytes of one message of the browser; a longer one, as a page may log whatever it likes, is passed over."""
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
)
_PROGRAM = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads from descriptor 3 and writes to 4."""


class BrowserError(Exception):
    """The browser cannot be used. ``reason`` is a label (``missing``, ``exec``, ``protocol``), the text says why."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class CallError(Exception):
    """The browser answered a call with an error; the text is the browser's."""


class DevTools:
    """The talk with one page of a browser: calls and their answers, and what is told in between.

    ``told`` is called with every event of the page: its method and parameters.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._session = ""
        self.told: Callable[[str, dict[str, Any]], None] = lambda method, parameters: None

    async def open_page(self) -> None:
        """Open an empty page; calls are about it from then on."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One call; returns its result. Raises :class:`CallError`, and :class:`BrowserError` when the talk breaks."""
        number = self.send(method, **parameters)
        while True:
            said = await self._next()
            if said.get("id") == number:
                if "error" in said:
                    raise CallError(str(said["error"].get("message", "an error without words")))
                result: dict[str, Any] = said.get("result", {})
                return result
            self._note(said)

    def send(self, method: str, **parameters: Any) -> int:
        """Begin a call whose answer nobody waits for; returns its number."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._writer.write(json.dumps(message).encode() + b"\0")
        return self._number

    async def listen(self) -> None:
        """Wait for one message, and tell of it."""
        self._note(await self._next())

    def _note(self, said: dict[str, Any]) -> None:
        if "method" in said:
            self.told(said["method"], said.get("params", {}))

    async def _next(self) -> dict[str, Any]:
        try:
            while (line := await self._line()) is None:
                pass
        except (asyncio.IncompleteReadError, OSError) as error:
            raise BrowserError("exec", "the browser ended by itself") from error
        said: dict[str, Any] = json.loads(line[:-1])
        return said

    async def _line(self) -> bytes | None:
        """The next message; None for one that is too long."""
        whole = True
        while True:
            try:
                line = await self._reader.readuntil(b"\0")
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
                whole = False
            else:
                return line if whole else None


@contextlib.asynccontextmanager
async def browser(threads: Threads, program: str, flags: tuple[str, ...]) -> AsyncIterator[DevTools]:
    """A browser with an empty page and a profile of its own; it, all its processes and its files end with the context.

    Raises :class:`BrowserError` when there is none, or when it does not come up.
    """
    file = await threads.call(_found, program)
    folder = Path(tempfile.gettempdir()) / f"watchd-browser-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        await threads.call(_make, folder)
        async with _running(file, flags, folder) as devtools:
            try:
                await devtools.open_page()
            except (BrowserError, CallError) as error:
                words = await threads.call(_last_words, folder / "stderr")
                raise BrowserError("exec", f"{file} does not come up: {words or error}") from error
            yield devtools
    finally:
        await threads.call(_remove, folder)


@contextlib.asynccontextmanager
async def _running(file: str, flags: tuple[str, ...], folder: Path) -> AsyncIterator[DevTools]:
    own = (f"--user-data-dir={folder}", *(("--no-sandbox",) if os.geteuid() == 0 else ()))
    environment = {"PATH": DEFAULT_PATH, "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)}
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.ExitStack() as given:
            reader, its_output = await _reading(stack, given)
            writer, its_input = await _writing(stack, given)
            errors = given.enter_context((folder / "stderr").open("wb"))
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _PROGRAM, str(its_input), str(its_output)),
                *(file, *_FLAGS, *own, *flags, "about:blank"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd=folder,
                pass_fds=(its_input, its_output),
                start_new_session=True,
            )
            stack.push_async_callback(end_group, child)
        yield DevTools(reader, writer)


async def _reading(stack: contextlib.AsyncExitStack, given: contextlib.ExitStack) -> tuple[asyncio.StreamReader, int]:
    """A pipe that is read here; returns the end that is given to the other side, too."""
    ours, theirs = os.pipe()
    given.callback(os.close, theirs)
    reader = asyncio.StreamReader(limit=LONGEST_MESSAGE)
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(ours, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    stack.callback(transport.close)
    return reader, theirs


async def _writing(stack: contextlib.AsyncExitStack, given: contextlib.ExitStack) -> tuple[asyncio.WriteTransport, int]:
    """A pipe that is written here; returns the end that is given to the other side, too."""
    theirs, ours = os.pipe()
    given.callback(os.close, theirs)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(ours, "wb", buffering=0))
    stack.callback(transport.close)
    return transport, theirs


# --- in a thread ------------------------------------------------------------------------------------------------------


def _found(program: str) -> str:
    for name in (program,) if program else PROGRAMS:
        with contextlib.suppress(OSError):
            return locate(name)
    wanted = program or "none of " + ", ".join(PROGRAMS)
    raise BrowserError("missing", f"{wanted} is installed: apt-get install chromium, or set program")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise BrowserError("missing", f"no folder for the browser's files, {folder}: {error.strerror}") from error


def _last_words(file: Path) -> str:
    with contextlib.suppress(OSError), file.open("rb") as stream:
        said = stream.read(16 * 1024).decode(errors="replace").strip()
        return " ".join(" ".join(said.splitlines()[-2:]).split())[:300]
    return ""


def _remove(folder: Path) -> None:
    """Killed processes may still be writing for a moment."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
