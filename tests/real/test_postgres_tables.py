"""The postgres_tables probe on a real PostgreSQL: dead rows, statistics that are missing or old, sizes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.real.running import PATIENCE, Observe, measured, names
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.postgres import server as kit
from wcr_watchd.probes import postgres_tables as module


@pytest.fixture
def quiet(start_postgres: Callable[..., Postgres]) -> Postgres:
    """A server that vacuums nothing by itself."""
    return start_postgres(autovacuum="off")


def settled(postgres: Postgres, condition: str) -> None:
    """Wait until the statistics say so; a session hands its own in when it ends."""
    deadline = time.monotonic() + PATIENCE
    while postgres.sql(f"SELECT {condition} FROM pg_stat_user_tables WHERE relname = 'worn'") != "t":
        assert time.monotonic() < deadline, condition


@pytest.mark.parametrize("role", ["watchd", "plain"])
async def test_a_table_that_wears(quiet: Postgres, observe: Observe, role: str) -> None:
    quiet.sql("CREATE TABLE worn AS SELECT n, repeat('x', 100) AS x FROM generate_series(1, 30000) n")
    quiet.sql("CREATE TABLE small AS SELECT 1 AS n")
    settled(quiet, "n_live_tup = 30000")
    dsn = quiet.dsn_of(role)
    seen = await observe("postgres_tables", dsn=dsn)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "tables") == 2
    assert measured(seen, "never_analyzed") == 1, "the small one does not matter"
    assert measured(seen, "wasteful_tables") == 0
    assert "never analyzed: public.worn" in seen.summary
    assert "vacuum_age" not in names(seen), "never, which is no age"
    size = int(quiet.sql("SELECT pg_total_relation_size('worn')"))
    assert measured(seen, "table_size", table="public.worn") == size
    assert measured(seen, "tables_size") > size
    quiet.sql("ANALYZE worn")
    quiet.sql("DELETE FROM worn WHERE n <= 15000")
    settled(quiet, "n_dead_tup = 15000")
    seen = await observe("postgres_tables", dsn=dsn)
    assert measured(seen, "never_analyzed") == 0
    assert 0 <= measured(seen, "analyze_age", table="public.worn") < PATIENCE
    assert measured(seen, "dead_share", table="public.worn") == pytest.approx(0.5)
    assert measured(seen, "wasteful_tables") == 1
    assert measured(seen, "old_statistics") == 1
    assert "public.worn: 50 %, vacuumed never" in seen.evidence["dead rows (VACUUM)"]
    quiet.sql("VACUUM ANALYZE worn")
    settled(quiet, "n_dead_tup = 0")
    seen = await observe("postgres_tables", dsn=dsn)
    assert (measured(seen, "wasteful_tables"), measured(seen, "old_statistics")) == (0, 0)
    assert 0 <= measured(seen, "vacuum_age", table="public.worn") < PATIENCE


async def test_only_the_largest_have_measurements_of_their_own(quiet: Postgres, observe: Observe) -> None:
    for number in range(4):
        quiet.sql(f"CREATE TABLE t{number} AS SELECT generate_series(1, {1 + number * 2000}) AS n")
    seen = await observe("postgres_tables", dsn=quiet.dsn, largest=2)
    sizes = [dict(one.labels)["table"] for one in seen.measurements if one.name == "table_size"]
    assert sizes == ["public.t3", "public.t2"]
    assert measured(seen, "tables") == 4


async def test_a_standby_knows_nothing_of_it(
    start_postgres: Callable[..., Postgres], postgres: Postgres, observe: Observe
) -> None:
    standby = start_postgres(standby_of=postgres)
    seen = await observe("postgres_tables", dsn=standby.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "standby")
    assert "ask the primary" in seen.summary


async def test_a_server_that_gives_the_query_up_is_not_down(
    postgres: Postgres, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TABLES", "SELECT pg_sleep(60)")
    monkeypatch.setattr(kit, "STATEMENT_TIMEOUT", 0.2)
    seen = await observe("postgres_tables", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "refused")
    assert "statement timeout" in seen.summary
    assert names(seen) == set()


async def test_a_database_without_tables(postgres: Postgres, observe: Observe) -> None:
    seen = await observe("postgres_tables", dsn=postgres.dsn)
    assert seen.summary == "this database has no tables"
    assert measured(seen, "wasteful_tables") == 0
