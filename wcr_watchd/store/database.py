"""A SQLite file as the store uses it: one connection that writes, one that reads, every call bounded in time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from wcr_watchd.core.errors import StoreError
from wcr_watchd.store.lock import LockFile
from wcr_watchd.store.migrate import Migration, migrate
from wcr_watchd.store.statements import STATEMENTS

Row = tuple[Any, ...]

_BUSY_TIMEOUT = 5_000
"""Milliseconds to wait for a lock that a foreign tool holds (a backup, the sqlite3 shell)."""
_JOURNAL_LIMIT = 16 * 1024 * 1024
"""Bytes the write-ahead log is cut back to after it was longer."""
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, writing goes on by itself",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write: look at the kernel log (dmesg) and at the file system",
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged: stop wcr-watchd, save a copy, try `sqlite3 FILE .recover`, or move it away to start empty"
    ),
    sqlite3.SQLITE_NOTADB: "that is not a SQLite database: give [store] url another file, or move this one away",
    sqlite3.SQLITE_BUSY: "another program keeps it locked: find it with `fuser` and end it",
    sqlite3.SQLITE_READONLY: "it cannot be written: check owner and mode of the file and its folder, and the mount",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and belongs to the daemon's user",
}


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


class Database:
    """An open SQLite file in WAL mode.

    The write-ahead log is what lets a reader see the last commit while the next one is written, and what makes a
    commit survive ``kill -9``. ``timeout`` bounds every call (seconds); a call that takes longer raises
    :class:`StoreError`, is interrupted, and whatever it left behind is rolled back before the next one.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._stack = AsyncExitStack()
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._synchronous = ""
        self._rollback: asyncio.Task[None] | None = None

    async def open(self, migrations: Sequence[Migration]) -> None:
        """Take the lock, open or create the file and bring its schema up to date.

        Raises :class:`StoreLockedError` when another daemon holds the lock, :class:`StoreError` for everything else
        that is in the way.
        """
        stack = AsyncExitStack()
        try:
            async with self._bounded("open"):
                lock = LockFile(self.path.with_name(self.path.name + ".lock"))
                stack.callback(lock.release)
                await asyncio.to_thread(_prepare, self.path, lock)
                writer = await self._connect(stack)
                await writer.execute("PRAGMA journal_mode = WAL")
                await writer.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT}")
                # Debian's SQLite overwrites what is deleted, which would double what we write.
                await writer.execute("PRAGMA secure_delete = OFF")
                await migrate(writer, self.path, migrations)
                reader = await self._connect(stack)
                await reader.execute("PRAGMA query_only = ON")
        except BaseException:
            await self._unwind(stack)
            raise
        self._writer, self._reader, self._stack = writer, reader, stack
        self._synchronous = ""

    async def close(self) -> None:
        """Finish what is under way, close both connections and release the lock."""
        try:
            async with self._bounded("close"), self._writing, self._reading:
                await self._settle()
        finally:
            self._writer = self._reader = None
            stack, self._stack = self._stack, AsyncExitStack()
            await self._unwind(stack)

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
    async def _bounded(self, doing: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise StoreError(
                f"cannot {doing} {self.path}: no answer within {self._timeout:g} s; "
                "the disk is overloaded or hangs (look at `iostat -x` and the kernel log)"
            ) from error
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot {doing} {self.path}: {error}; {_advice(error)}") from error


def _prepare(path: Path, lock: LockFile) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock.acquire()
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


def _advice(error: BaseException) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return _ADVICE.get(code, "check the file, its folder and the disk it is on")
