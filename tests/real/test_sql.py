"""The sql probe on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.real.running import Observe, carry_out, descriptors, measured, names, new_run, none_left_open, probe_of
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.shared import SharedHelpers

PAYMENTS = """
CREATE TABLE payments (state text, amount numeric, created timestamptz);
INSERT INTO payments VALUES ('pending', 12.5, now() - interval '20 minutes'), ('pending', 1, now()),
    ('failed', 3, now() - interval '1 hour'), (NULL, NULL, NULL);
GRANT SELECT ON payments TO watchd;
CREATE TABLE secrets (word text);
"""


async def test_columns_become_measurements(start_postgres: Callable[..., Postgres], observe: Observe) -> None:
    """One server for all queries, as it takes a second to come up."""
    server = start_postgres()
    server.sql(PAYMENTS)

    async def ask(query: str, **options: Any) -> Any:
        return await observe("sql", dsn=server.dsn, query=query, **options)

    one = await ask(
        "SELECT count(*) AS payments, sum(amount) AS total, max(now() - created) AS oldest, max(created) AS newest,"
        " bool_or(amount > 12) AS large, 0.25::float8 AS share, NULL::int AS nothing, 'NaN'::float8 AS odd"
        " FROM payments",
        values={
            "payments": "number",
            "total": "bytes",
            "oldest": "seconds",
            "newest": "timestamp",
            "large": "number",
            "share": "ratio",
            "nothing": "number",
            "odd": "number",
        },
    )
    assert one.outcome is Outcome.UP, one.summary
    assert (measured(one, "payments"), measured(one, "total")) == (4, 16.5)
    assert measured(one, "oldest") == pytest.approx(3600, abs=60)
    assert measured(one, "newest") == pytest.approx(one.at, abs=60)
    assert (measured(one, "large"), measured(one, "share"), measured(one, "rows")) == (1, 0.25, 1)
    assert not {"nothing", "odd"} & names(one)
    assert measured(one, "query_time") > 0
    assert measured(one, "connect_time") > 0

    several = await ask(
        "SELECT state, count(*) AS payments FROM payments WHERE state <> '' GROUP BY state",
        label="state",
        values={"payments": "number"},
    )
    assert measured(several, "payments", state="pending") == 2
    assert measured(several, "payments", state="failed") == 1
    none = await ask("SELECT 1 AS a WHERE false", values={"a": "number"})
    assert (none.outcome, measured(none, "rows")) == (Outcome.UP, 0)
    assert "a" not in names(none), "no row is no 0"

    for query, options, reason, words in (
        ("SELECT 1 AS a WHERE false", {"values": {"b": "number"}}, "content", "no column b; it has a"),
        ("SELECT 1 AS a UNION SELECT 2", {"values": {"a": "number"}}, "content", "found 2 rows, expected one"),
        ("SELECT 1 AS a, 2 AS n FROM generate_series(1, 3)", {"label": "n"}, "content", "have the same n"),
        ("SELECT now", {}, "parse", 'column "now" does not exist (42703)'),
        ("SELECT 1; DROP TABLE payments", {}, "parse", "multiple commands"),
        ("SELECT word FROM secrets", {}, "permission", "permission denied"),
        ("CREATE TEMPORARY TABLE t AS SELECT 1", {}, "parse", "read-only transaction"),
        ("SELECT 1 / 0", {}, "parse", "division by zero"),
    ):
        seen = await ask(query, **options)
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, reason), seen.summary
        assert words in seen.summary

    text = await ask("SELECT 'x' AS a", values={"a": "number"})
    assert text.evidence["absent"] == "a: a str is no number"
    many = await ask("SELECT n, n AS v FROM generate_series(1, 100000) AS n", label="n", values={"v": "number"})
    assert sum(one.name == "v" for one in many.measurements) == 200
    assert "no more than 200" in many.evidence["rows"]
    huge = await ask("SELECT repeat('x', 9000000) AS a")
    assert (huge.outcome, huge.reason) == (Outcome.DOWN, "protocol")


async def test_a_slow_query_is_given_up_by_the_server(
    postgres: Postgres, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcr_watchd.kit.postgres.server.STATEMENT_TIMEOUT", 0.1)
    seen = await observe("sql", dsn=postgres.dsn, query="SELECT pg_sleep(60)")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert "statement timeout (57014)" in seen.summary


async def test_cut_off_and_cancelled(postgres: Postgres, shared: SharedHelpers) -> None:
    check = probe_of("sql", {"dsn": postgres.dsn, "query": "SELECT pg_sleep(60)"})
    before = descriptors()
    run = new_run(shared, timeout=0.5)
    seen = await carry_out(check, run)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "waiting for the answer of app on 127.0.0.1" in run.step
    run = new_run(shared)
    running = asyncio.create_task(carry_out(check, run))
    async with asyncio.timeout(30):
        while "answer of app" not in run.step:
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await none_left_open(before)


async def test_a_server_that_is_gone(postgres: Postgres, observe: Observe) -> None:
    postgres.stop()
    seen = await observe("sql", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")


def test_options() -> None:
    dsn = "postgresql://watchd@db.example.org/app"
    specs = {
        spec.name: spec for spec in probe_of("sql", {"dsn": dsn, "label": "n", "values": {"a": "seconds"}}).specs()
    }
    assert (specs["a"].unit, specs["a"].labels) == (Unit.SECONDS, ("n",))
    for options, words in (
        ({"values": {"rows": "number"}}, "rename it"),
        ({"label": "a", "values": {"a": "number"}}, "a cannot be the label"),
        ({"values": {"a": "furlongs"}}, "values"),
    ):
        with pytest.raises(ValueError, match=words):
            probe_of("sql", {"dsn": dsn, **options})
