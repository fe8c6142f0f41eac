"""Schema steps: applied once, in order, wholly or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest

from tests.store.samples import a_store
from wcr_watchd.core.errors import StoreError
from wcr_watchd.store.migrate import Migration, migrate, read_migrations

FIRST = Migration(1, "0001-first.sql", "CREATE TABLE a (x INTEGER);")
SECOND = Migration(2, "0002-second.sql", "CREATE TABLE b (y INTEGER);\nINSERT INTO b SELECT x FROM a;")
BROKEN = Migration(2, "0002-broken.sql", "CREATE TABLE b (y INTEGER);\nINSERT INTO nowhere VALUES (1);")


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(tmp_path / "some.db", isolation_level=None) as opened:
        yield opened


async def tables(connection: aiosqlite.Connection) -> set[str]:
    return {row[0] for row in await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_steps_are_applied_once_and_data_is_carried_over(connection: aiosqlite.Connection) -> None:
    path = Path("some.db")
    await migrate(connection, path, [FIRST])
    await connection.execute("INSERT INTO a VALUES (7)")
    await migrate(connection, path, [FIRST, SECOND])
    await migrate(connection, path, [FIRST, SECOND])
    assert [tuple(row) for row in await connection.execute_fetchall("SELECT y FROM b")] == [(7,)]


async def test_a_step_that_fails_leaves_nothing_behind(connection: aiosqlite.Connection) -> None:
    path = Path("some.db")
    with pytest.raises(sqlite3.OperationalError):
        await migrate(connection, path, [FIRST, BROKEN])
    assert await tables(connection) == {"a", "schema_version"}
    await migrate(connection, path, [FIRST, SECOND])
    assert await tables(connection) == {"a", "b", "schema_version"}


async def test_a_newer_database_is_refused_before_anything_is_changed(connection: aiosqlite.Connection) -> None:
    await migrate(connection, Path("some.db"), [FIRST, SECOND])
    with pytest.raises(StoreError, match="version 2, this program knows 1"):
        await migrate(connection, Path("some.db"), [FIRST])


def test_the_steps_of_the_project_are_numbered_without_a_gap() -> None:
    assert [migration.version for migration in read_migrations()] == list(range(1, len(read_migrations()) + 1))


async def test_the_schema_is_what_the_steps_say(tmp_path: Path) -> None:
    async with a_store(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "watchd.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM schema_version").fetchone() == (len(read_migrations()),)
    database.close()
