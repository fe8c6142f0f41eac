"""A SQLite file as the store uses it: one connection that writes, one that reads, every call bounded in time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiosqlite

from wcr_watchd.core.errors import StoreDamagedError, StoreError
from wcr_watchd.store.lock import LockFile
from wcr_watchd.store.migrate import Migration, migrate
from wcr_watchd.store.salvage import copy_present, finish_swap, remove, rescued_beside, swap
from wcr_watchd.store.statements import STATEMENTS

Row = tuple[Any, ...]
T = TypeVar("T")

_BUSY_TIMEOUT = 5_000
"""Milliseconds to wait for a lock that a foreign tool holds (a backup, the sqlite3 shell)."""
_JOURNAL_LIMIT = 16 * 1024 * 1024
"""Bytes the write-ahead log is cut back to after it was longer."""
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, writing goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: look at the kernel log (dmesg) and at the file system",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "that is not a SQLite database: give [store] url another file, or move this one away",
    sqlite3.SQLITE_BUSY: "another program keeps it locked: find it with `fuser` and end it",
    sqlite3.SQLITE_READONLY: "it cannot be written: check owner and mode of the file and its folder, and the mount",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and belongs to the daemon's user",
}


_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MENDING = 20.0
"""Seconds that setting damaged records aside and saving what can be read may take."""


class Transaction:
    """What may be written between BEGIN and COMMIT; statements are called by their names in ``sql/``."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, statement: str, *values: object) -> int:
        """Carry a statement out and return the number of rows it changed."""
        cursor = await self._connection.execute(STATEMENTS[statement], _numbered(values))
        async with cursor:
            return cursor.rowcount

    async def run_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Carry a statement out for every row of values."""
        values = [_numbered(row) for row in rows]
        if values:
            await self._connection.executemany(STATEMENTS[statement], values)

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Return the rows a statement finds."""
        return await _fetch(self._connection, statement, values)


class InThread(Protocol):
    """Carries a function out in a thread, so that packing thousands of rows does not hold up the event loop."""

    async def __call__(self, function: Callable[[], T]) -> T:
        """Return what the function returns."""
        ...


class Database:
    """An open SQLite file in WAL mode.

    The write-ahead log is what lets a reader see the last commit while the next one is written, and what makes a
    commit survive ``kill -9``. ``timeout`` bounds every call (seconds); a call that takes longer raises
    :class:`StoreError`, is interrupted, and whatever it left behind is rolled back before the next one.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = LockFile(path.with_name(path.name + ".lock"))
        self._stack = AsyncExitStack()
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._damage = ""
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._synchronous = ""
        self._rollback: asyncio.Task[None] | None = None

    async def open(self, migrations: Sequence[Migration]) -> None:
        """Take the lock, open or create the file and bring its schema up to date.

        Raises :class:`StoreLockedError` when another daemon holds the lock, :class:`StoreDamagedError` when
        :meth:`mend` can help, :class:`StoreError` for everything else that is in the way.
        """
        try:
            async with self._bounded("open"):
                await self._open(migrations)
        except BaseException:
            self._lock.release()
            raise

    async def mend(self, migrations: Sequence[Migration], now: float) -> str:
        """Begin a new file in place of a damaged one, with those of its rows that can be read and matter now.

        The damaged file is kept under another name. One that was taken away is not looked for, and one that somebody
        put in its place is taken as it is. A file is left alone when no earlier life has opened it: it may be anything.
        Returns in a sentence what was done; raises :class:`StoreError` when it cannot be done.
        """
        async with self._bounded("mend", _MENDING + 2 * self._timeout), self._writing, self._reading:
            self._damage = "it is damaged and could not be replaced yet"
            with suppress(sqlite3.Error):
                await self._settle()
            await self._close_connections()
            if not self._lock.held:
                await asyncio.to_thread(_prepare, self.path, self._lock)
            if not self._lock.marked:
                self._lock.release()
                raise StoreError(f"{self.path} is no database of wcr-watchd: give [store] url a file of its own")
            replaced = self._file is not None and self._file != await asyncio.to_thread(_identity, self.path)
            done = f"{self.path} was removed or replaced while in use; it was opened again"
            if not replaced:
                saved = await self._rescue(migrations)
                aside = await asyncio.to_thread(swap, self.path, now)
                done = f"the records were damaged and are kept as {aside}; new ones were begun with {saved}"
            self._file = None
            await self._open(migrations)
            return done

    async def _rescue(self, migrations: Sequence[Migration]) -> str:
        """Prepare new records with what can be read of the damaged ones; returns what that is."""
        fresh = rescued_beside(self.path)
        await asyncio.to_thread(remove, fresh)
        async with aiosqlite.connect(fresh, isolation_level=None) as connection:
            await asyncio.to_thread(fresh.chmod, 0o600)
            await migrate(connection, fresh, migrations)
        return await asyncio.to_thread(copy_present, self.path, fresh, _MENDING)

    async def close(self) -> None:
        """Finish what is under way, close both connections and release the lock."""
        try:
            async with self._bounded("close"), self._writing, self._reading:
                await self._settle()
        finally:
            try:
                await self._close_connections()
            finally:
                self._lock.release()

    async def _open(self, migrations: Sequence[Migration]) -> None:
        stack = AsyncExitStack()
        try:
            await asyncio.to_thread(_prepare, self.path, self._lock)
            writer = await self._connect(stack)
            await writer.execute("PRAGMA journal_mode = WAL")
            await writer.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT}")
            # Debian's SQLite overwrites what is deleted, which would double what we write.
            await writer.execute("PRAGMA secure_delete = OFF")
            await migrate(writer, self.path, migrations)
            reader = await self._connect(stack)
            await reader.execute("PRAGMA query_only = ON")
            self._file = await asyncio.to_thread(_identity, self.path)
            await asyncio.to_thread(self._lock.mark)
        except BaseException:
            await self._unwind(stack)
            raise
        self._writer, self._reader, self._stack = writer, reader, stack
        self._synchronous = self._damage = ""

    async def _close_connections(self) -> None:
        self._writer = self._reader = None
        stack, self._stack = self._stack, AsyncExitStack()
        await self._unwind(stack)

    def look(self) -> None:
        """See that the file is still where it was (in a thread: it asks the file system).

        SQLite goes on writing into a file that was removed, and all of it would be gone with the process.
        """
        if self._file is not None and _identity(self.path) != self._file:
            raise StoreDamagedError(f"{self.path} was removed or replaced while in use")

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Return the rows a statement finds, as of the last commit."""
        async with self._bounded("read"), self._reading:
            reader = self._opened(self._reader)
            try:
                return await _fetch(reader, statement, values)
            except asyncio.CancelledError:
                await reader.interrupt()
                raise

    @asynccontextmanager
    async def transaction(self, *, durable: bool) -> AsyncIterator[Transaction]:
        """Write all that is done inside, or nothing of it.

        Every commit survives the death of the process. ``durable`` ones also survive a power failure: they wait
        for the disk (``synchronous = FULL``), as whatever decides whom to tell must. Without it the last commits
        may be missing after a power failure, but never half (``NORMAL``).
        """
        async with self._bounded("write"), self._writing:
            await self._settle()
            writer = self._opened(self._writer)
            await self._set_synchronous(writer, "FULL" if durable else "NORMAL")
            try:
                await writer.execute("BEGIN IMMEDIATE")
                yield Transaction(writer)
                await writer.execute("COMMIT")
            except BaseException:
                self._rollback = asyncio.create_task(_roll_back(writer), name="store: roll back")
                raise

    async def _unwind(self, stack: AsyncExitStack) -> None:
        """Close what is open. Closing a connection waits for its thread and takes no cancellation: not for ever."""
        closing = asyncio.create_task(stack.aclose(), name="store: close")
        done, _ = await asyncio.wait({closing}, timeout=self._timeout)
        async with self._bounded("close"):
            if not done:
                raise TimeoutError
            await closing

    async def _connect(self, stack: AsyncExitStack) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self.path, isolation_level=None)
        stack.push_async_callback(connection.close)
        await connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT}")
        return connection

    def _opened(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if self._damage:
            raise StoreDamagedError(f"cannot use {self.path}: {self._damage}")
        if connection is None:
            raise StoreError(f"the store {self.path} is not open")
        return connection

    async def _settle(self) -> None:
        """Wait until what a failed transaction left behind is rolled back."""
        if self._rollback is not None:
            await asyncio.shield(self._rollback)
            self._rollback = None

    async def _set_synchronous(self, writer: aiosqlite.Connection, wanted: str) -> None:
        if wanted != self._synchronous:
            await writer.execute(f"PRAGMA synchronous = {wanted}")
            self._synchronous = wanted

    @asynccontextmanager
    async def _bounded(self, doing: str, seconds: float = 0.0) -> AsyncIterator[None]:
        limit = seconds or self._timeout
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError as error:
            raise StoreError(
                f"cannot {doing} {self.path}: no answer within {limit:g} s; "
                "the disk is overloaded or hangs (look at `iostat -x` and the kernel log)"
            ) from error
        except (sqlite3.Error, OSError) as error:
            kind = StoreDamagedError if _code(error) in _DAMAGED else StoreError
            raise kind(f"cannot {doing} {self.path}: {error}; {_advice(error)}") from error


def _prepare(path: Path, lock: LockFile) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not lock.held:
        lock.acquire()
    finish_swap(path)
    # Messages and phone numbers are in it: readable by the daemon's user only, and SQLite's side files follow suit.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


async def _roll_back(writer: aiosqlite.Connection) -> None:
    await writer.interrupt()
    await writer.rollback()


async def _fetch(connection: aiosqlite.Connection, statement: str, values: Sequence[object]) -> list[Row]:
    rows = await connection.execute_fetchall(STATEMENTS[statement], _numbered(values))
    return [tuple(row) for row in rows]


def _numbered(values: Sequence[object]) -> dict[str, object]:
    return {str(number): value for number, value in enumerate(values, 1)}


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file that is; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _advice(error: BaseException) -> str:
    return _ADVICE.get(_code(error), "check the file, its folder and the disk it is on")
