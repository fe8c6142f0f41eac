"""The postgres_archive probe on a real PostgreSQL: archiving on, failing, mended, off, streamed; with few rights."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.real.running import PATIENCE, Observe, measured, names
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Observation, Outcome

Start = Callable[..., Postgres]


async def until(observe: Observe, postgres: Postgres, name: str, wanted: Callable[[float], bool]) -> Observation:
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = await observe("postgres_archive", dsn=postgres.dsn)
        if name in names(seen) and wanted(measured(seen, name)):
            return seen
        assert time.monotonic() < deadline, (seen.summary, seen.measurements)
        await asyncio.sleep(0.05)


async def test_an_archive_that_works_fails_and_works_again(start_postgres: Start, observe: Observe) -> None:
    server = start_postgres(archive_mode="on", archive_command="test ! -e ../fail && cp %p ../%f", max_wal_senders=3)
    server.sql("CREATE TABLE t AS SELECT 1; SELECT pg_switch_wal()")
    seen = await until(observe, server, "archive_age", lambda age: age == 0)
    assert seen.outcome is Outcome.UP
    assert (measured(seen, "archiving"), measured(seen, "archive_failing")) == (1, 0)
    assert measured(seen, "wal_files") >= 1
    assert measured(seen, "wal_size") == 16 * 2**20 * measured(seen, "wal_files")
    (server.folder / "fail").touch()
    server.sql("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
    seen = await until(observe, server, "archive_failing", lambda failing: failing == 1)
    assert measured(seen, "archive_failures") >= 1
    assert measured(seen, "archive_backlog") == 1
    assert measured(seen, "archive_waiting") >= 0
    assert "failed" in seen.summary
    assert "1 file waits" in seen.summary
    plain = await observe("postgres_archive", dsn=server.dsn_of("plain"))
    hidden = {"archive_backlog", "archive_waiting", "wal_size", "wal_files"}
    assert not hidden & names(plain), "absent, never 0"
    assert "GRANT pg_monitor TO plain" in plain.evidence["absent"]
    assert measured(plain, "archive_failing") == 1
    (server.folder / "fail").unlink()
    seen = await until(observe, server, "archive_backlog", lambda files: files == 0)
    assert "archive_failing" in names(seen)


async def test_without_an_archive(start_postgres: Start, postgres: Postgres, observe: Observe) -> None:
    seen = await observe("postgres_archive", dsn=postgres.dsn)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "archiving") == 0
    assert "last dump only" in seen.summary
    assert not {"archive_age", "archive_failing"} & names(seen)
    standby = start_postgres(standby_of=postgres, name="second")
    deadline = time.monotonic() + PATIENCE
    while measured(seen := await observe("postgres_archive", dsn=postgres.dsn), "archiving") != 1:
        assert time.monotonic() < deadline, seen.measurements
    assert measured(seen, "slot_active", slot="second") == 1
    assert "streamed to a slot" in seen.summary
    seen = await observe("postgres_archive", dsn=standby.dsn)
    assert "archives nothing itself" in seen.summary
    assert "archiving" not in names(seen)
