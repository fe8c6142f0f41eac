"""Damaged records: kept under another name, and what can still be read and matters now copied out of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from wcr_watchd.core.errors import StoreError
from wcr_watchd.store.codec import (
    AUDIT,
    CHANGE,
    CHECK_STATE,
    DRILL,
    HEARTBEAT,
    INCIDENT,
    NOTIFICATION,
    OWN_PASSWORD,
    REVIEW,
    SESSION,
    TASK,
    TASK_RECORD,
    from_json,
)

_FIRST_TO_LAST = ("", " ORDER BY rowid DESC")
"""Rows are read from both ends: what lies between two damaged pages is all that cannot be reached."""
_PRESENT: Mapping[str, TypeAdapter[Any] | None] = {
    "outbox": NOTIFICATION,
    "incident": INCIDENT,
    "check_state": CHECK_STATE,
    "event": None,
    "check_memory": None,
    "heartbeat": HEARTBEAT,
    "status_post": None,
    "status_subscriber": None,
    "status_mail": None,
    "task": TASK,
    "task_record": TASK_RECORD,
    "review": REVIEW,
    "drill": DRILL,
    "change": CHANGE,
    "session": SESSION,
    "own_password": OWN_PASSWORD,
    "audit": AUDIT,
}
"""Tables that matter now, the most important first, and what the column ``data`` of a sound row holds."""


def rescued_beside(path: Path) -> Path:
    """Where the new records are prepared that are to take the place of damaged ones."""
    return path.with_name(path.name + ".rescued")


def finish_swap(path: Path) -> None:
    """If the daemon was killed in the midst of :func:`swap`, take its last step. Raises ``OSError``."""
    if not path.exists() and rescued_beside(path).exists():
        rescued_beside(path).rename(path)


def swap(path: Path, now: float) -> Path:
    """Put the rescued records in the place of the damaged ones and return what those are called now.

    Raises ``OSError``. A kill at any step leaves either the damaged file or the rescued one to go on with.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for end in ("-wal", "-shm", ""):  # the log first: SQLite would apply it to whatever file is there
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(aside.with_name(aside.name + end))
    finish_swap(path)
    return aside


def remove(path: Path) -> None:
    """Remove a database and its side files, if they are there. Raises ``OSError``."""
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def copy_present(damaged: Path, fresh: Path, seconds: float) -> str:
    """Copy state, incidents and outbox as far as they can be read, for at most so long; returns what was saved."""
    ends = time.monotonic() + seconds
    into = sqlite3.connect(fresh, isolation_level=None)
    try:
        into.execute("BEGIN")  # all of it or nothing
        saved = [_copy(damaged, into, table, _soundness(adapter), ends) for table, adapter in _PRESENT.items()]
        into.execute("COMMIT")
    finally:
        into.close()
    return ", ".join(saved)


def _copy(
    damaged: Path, into: sqlite3.Connection, table: str, sound: Callable[[Mapping[str, object]], bool], ends: float
) -> str:
    """Copy the rows of one table that are whole; returns how many there are then."""
    for order in _FIRST_TO_LAST:
        # A connection of its own each time: after an error SQLite may refuse whatever comes next.
        source = sqlite3.connect(f"{damaged.as_uri()}?mode=ro", uri=True)
        source.text_factory = lambda raw: raw.decode(errors="replace")
        source.row_factory = sqlite3.Row
        try:
            for row in source.execute(f"SELECT * FROM {table}{order}"):  # noqa: S608 - names of our own
                if time.monotonic() > ends:
                    break
                if sound(dict(row)):
                    marks = ", ".join("?" * len(row))
                    into.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", tuple(row))  # noqa: S608
            break
        except (sqlite3.DatabaseError, OverflowError):
            continue
        finally:
            source.close()
    [rows] = into.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return f"{rows} rows of {table}"


def _soundness(adapter: TypeAdapter[Any] | None) -> Callable[[Mapping[str, object]], bool]:
    def sound(row: Mapping[str, object]) -> bool:
        if adapter is None:
            return True
        try:
            from_json(adapter, str(row["data"]))
        except StoreError:
            return False
        return True

    return sound
