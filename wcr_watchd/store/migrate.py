"""Bringing a database up to date: numbered SQL files, each applied once, in a transaction, with a checksum."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import aiosqlite

from wcr_watchd.core.errors import StoreError

_FILE_NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.sql")
_VERSION_TABLE = """
CREATE TABLE schema_version (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; ``version`` counts from 1 without gaps."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, to notice a step that was changed after it had been applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations() -> tuple[Migration, ...]:
    """Return the steps in ``migrations/``, in order. Raises ``ValueError`` when their numbers have a gap."""
    found = []
    for file in files(__package__).joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("the numbers of the migrations must be 0001, 0002, … without a gap")
    return tuple(found)


async def migrate(connection: aiosqlite.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Apply the steps that the database at ``path`` does not have yet; each is there wholly or not at all.

    Raises :class:`StoreError` for a database of another program, of a newer version, or with a changed history.
    """
    applied = await _applied(connection, path)
    _verify(applied, path, migrations)
    for migration in migrations[len(applied) :]:
        head = _VERSION_TABLE if migration.version == 1 else ""
        try:
            await connection.executescript(f"BEGIN IMMEDIATE;\n{head}\n{migration.sql}")
            await connection.execute(
                "INSERT INTO schema_version (version, name, checksum) VALUES (?, ?, ?)",
                (migration.version, migration.name, migration.checksum),
            )
            await connection.commit()
        except BaseException:
            await connection.rollback()
            raise


async def _applied(connection: aiosqlite.Connection, path: Path) -> list[tuple[int, str, str]]:
    tables = {str(row[0]) for row in await connection.execute_fetchall("SELECT name FROM sqlite_master")}
    if "schema_version" in tables:
        rows = await connection.execute_fetchall("SELECT version, name, checksum FROM schema_version ORDER BY version")
        return [(int(version), str(name), str(checksum)) for version, name, checksum in rows]
    if tables:
        raise StoreError(
            f"{path} is a SQLite database of another program (it has no table schema_version): "
            "give [store] url a file of its own"
        )
    return []


def _verify(applied: Sequence[tuple[int, str, str]], path: Path, migrations: Sequence[Migration]) -> None:
    if len(applied) > len(migrations):
        raise StoreError(
            f"{path} was written by a newer wcr-watchd (its schema has version {len(applied)}, this program knows "
            f"{len(migrations)}): install that newer version again, or move the file away to start with an empty one"
        )
    for (version, name, checksum), migration in zip(applied, migrations, strict=False):
        if version != migration.version or checksum != migration.checksum:
            raise StoreError(
                f"{path} has schema step {name} in another form than this program's {migration.name}: "
                "it was written by a different build of wcr-watchd; use that build or move the file away"
            )
