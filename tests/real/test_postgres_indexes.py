"""The postgres_indexes probe on a real PostgreSQL: invalid, unused, duplicate and bloated indexes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.real.running import Observe, measured, names
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome

SMALL = {"least_size": "64KiB", "least_statistics": "0s"}


@pytest.fixture
def indexed(start_postgres: Callable[..., Postgres]) -> Postgres:
    """A server with a table of 20 000 rows, its primary key and an index that is used."""
    server = start_postgres(autovacuum="off")
    server.sql("CREATE TABLE t (id int PRIMARY KEY, n int, word text)")
    server.sql("INSERT INTO t SELECT i, i, 'word' || i FROM generate_series(1, 20000) i")
    server.sql("CREATE INDEX used ON t (n)")
    server.sql("ANALYZE t")
    server.sql("SET enable_seqscan = off; SELECT * FROM t WHERE n = 7")
    return server


async def test_indexes_in_order(indexed: Postgres, observe: Observe) -> None:
    indexed.sql("GRANT pg_read_all_data TO watchd")
    seen = await observe("postgres_indexes", dsn=indexed.dsn, **SMALL)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "indexes") == 2
    assert measured(seen, "indexes_size") == int(indexed.sql("SELECT pg_indexes_size('t')"))
    counts = ("invalid_indexes", "unused_indexes", "duplicate_indexes", "bloated_indexes")
    assert [measured(seen, name) for name in counts] == [0, 0, 0, 0], "nobody reads the primary key, yet it is needed"
    assert measured(seen, "bloat_size") < 0.3 * measured(seen, "indexes_size")
    assert seen.evidence == {}


async def test_unused_and_duplicate_ones(indexed: Postgres, observe: Observe) -> None:
    indexed.sql("CREATE INDEX idle ON t (word)")
    indexed.sql("CREATE INDEX used_too ON t (n); CREATE INDEX part ON t (n) WHERE n < 5")
    seen = await observe("postgres_indexes", dsn=indexed.dsn, **SMALL)
    assert measured(seen, "unused_indexes") == 2, "the partial one is small"
    assert measured(seen, "unused_size") == int(
        indexed.sql("SELECT pg_relation_size('idle') + pg_relation_size('used_too')")
    )
    assert measured(seen, "duplicate_indexes") == 1
    assert seen.evidence["duplicates"] == "used, used_too"
    assert "public.idle on t" in seen.evidence["never used"]
    assert "never used: public.idle" in seen.summary
    young = await observe("postgres_indexes", dsn=indexed.dsn, least_size="64KiB")
    assert not {"unused_indexes", "unused_size"} & names(young), "one that was made today is not unused"
    assert "least_statistics" in young.evidence["absent"]


async def test_one_that_could_not_be_built(indexed: Postgres, observe: Observe) -> None:
    indexed.sql("INSERT INTO t SELECT i + 100000, i, 'word' || i FROM generate_series(1, 10) i")
    with pytest.raises(AssertionError, match="could not create unique index"):
        indexed.sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (word)")
    seen = await observe("postgres_indexes", dsn=indexed.dsn, **SMALL)
    assert measured(seen, "invalid_indexes") == 1
    assert "public.broken on t" in seen.evidence["invalid (DROP INDEX or REINDEX)"]
    assert "invalid: public.broken" in seen.summary


async def test_a_bloated_one(indexed: Postgres, observe: Observe) -> None:
    indexed.sql("GRANT pg_read_all_data TO watchd")
    indexed.sql("DELETE FROM t WHERE id % 10 <> 0")
    indexed.sql("VACUUM ANALYZE t")
    seen = await observe("postgres_indexes", dsn=indexed.dsn, **SMALL)
    assert measured(seen, "bloated_indexes") == 2
    assert "public.used on t" in seen.evidence["bloated (REINDEX INDEX CONCURRENTLY)"]
    assert 0.7 < measured(seen, "bloat_size") / measured(seen, "indexes_size") < 1
    indexed.sql("REINDEX TABLE t")
    seen = await observe("postgres_indexes", dsn=indexed.dsn, least_size="8KiB", least_statistics="0s")
    assert measured(seen, "bloated_indexes") == 0


async def test_widths_that_may_not_be_seen_leave_bloat_absent(indexed: Postgres, observe: Observe) -> None:
    seen = await observe("postgres_indexes", dsn=indexed.dsn_of("plain"), **SMALL)
    assert seen.outcome is Outcome.UP, seen.summary
    assert not {"bloated_indexes", "bloat_size"} & names(seen)
    assert "pg_read_all_data" in seen.evidence["absent"]
    assert measured(seen, "indexes") == 2
