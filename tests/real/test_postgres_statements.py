"""The postgres_statements probe on a real PostgreSQL: slow, greedy and new statements, resets, what it may not see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.real.running import Observe, Watch, measured, names
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes.postgres_statements import REMEMBERED, since_then

Watching = Callable[..., Watch]
MINUTE = 60.0


async def test_what_statements_did_since_the_last_run(postgres: Postgres, watch: Watching) -> None:
    check, now = watch("postgres_statements", dsn=postgres.dsn), time.time()
    postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    first = await check.run(now)
    assert first.outcome is Outcome.UP, first.summary
    assert names(first) == {"calls", "statements"}, "nothing to compare with yet"
    assert "judged from now on" in first.summary
    for _ in range(3):
        postgres.sql("SELECT pg_sleep(0.1), 'of Ann'")
    postgres.sql("SELECT count(*) FROM t")
    seen = await check.run(now + MINUTE)
    assert 0.1 <= measured(seen, "slowest_mean") < 1
    assert 0.3 / MINUTE <= measured(seen, "busy") < 5 / MINUTE
    assert 0.5 < measured(seen, "largest_share") <= 1
    assert measured(seen, "new_on_top") >= 2
    assert measured(seen, "calls") >= measured(first, "calls") + 4
    top = seen.evidence["statements"].splitlines()[0]
    assert top.startswith("new, ")
    assert "3 calls" in top
    assert "SELECT pg_sleep($1)" in top
    assert "Ann" not in str(seen), "values may be anybody's data"
    postgres.sql("SELECT pg_sleep(0.1), 'of Ann'")
    again = await check.run(now + 2 * MINUTE)
    top = again.evidence["statements"].splitlines()[0]
    assert "new, " not in top
    assert "1 calls" in top


async def test_bytes_of_temporary_files(postgres: Postgres, watch: Watching) -> None:
    check, now = watch("postgres_statements", dsn=postgres.dsn), time.time()
    await check.run(now)
    postgres.sql(
        "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY 1) s"
    )
    assert measured(await check.run(now + MINUTE), "temporary") > 100_000


async def test_a_reset_is_seen_and_counting_begins_anew(postgres: Postgres, watch: Watching) -> None:
    check, now = watch("postgres_statements", dsn=postgres.dsn), time.time()
    postgres.sql("SELECT 1 + 1")
    await check.run(now)
    postgres.sql("SELECT pg_stat_statements_reset()")
    seen = await check.run(now + MINUTE)
    assert "after a reset" in seen.summary
    assert "slowest_mean" not in names(seen)
    postgres.sql("SELECT pg_sleep(0.2)")
    assert measured(await check.run(now + 2 * MINUTE), "slowest_mean") > 0.01


async def test_a_role_that_may_not_see_others_statements(postgres: Postgres, observe: Observe) -> None:
    seen = await observe("postgres_statements", dsn=postgres.dsn_of("plain"))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "GRANT pg_monitor TO plain" in seen.summary
    assert names(seen) == set()


async def test_without_the_extension(start_postgres: Callable[..., Postgres], observe: Observe) -> None:
    postgres = start_postgres()
    postgres.sql("DROP EXTENSION pg_stat_statements")
    seen = await observe("postgres_statements", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "CREATE EXTENSION pg_stat_statements" in seen.summary
    postgres.stop("fast")
    postgres.settings["shared_preload_libraries"] = ""
    postgres.start()
    seen = await observe("postgres_statements", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "shared_preload_libraries" in seen.summary


def row(identifier: str, calls: int, milliseconds: float) -> dict[str, Any]:
    return {"id": identifier, "calls": calls, "time": milliseconds, "temporary": 0}


@pytest.mark.parametrize(("whole", "new"), [(True, {"fresh"}), (False, set())])
def test_what_is_new_and_what_was_thrown_out(whole: bool, new: set[str]) -> None:
    before = {"whole": whole, "counters": {"same": [5, 1.0, 0], "again": [9, 9.0, 0], "idle": [1, 1.0, 0]}}
    rows: Any = [row("same", 7, 3000), row("again", 2, 100), row("idle", 1, 1000), row("fresh", 4, 400)]
    spent, found = since_then(before, rows)
    assert found == new
    assert [(one.query, one.calls, one.time, one.mean) for one in spent if one.query == "same"] == [("same", 2, 2, 1)]
    assert {one.query for one in spent} == {"same"} | new, "what counts less than before was taken in anew"


def test_its_memory_has_room() -> None:
    assert REMEMBERED * 70 < 256 * 1024, "an id of 20 digits and three numbers each"
