"""The pgbouncer probe on a real PgBouncer before a real PostgreSQL: in order, with a full pool, paused, forbidden."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from tests.real.running import PATIENCE, Observe, measured, names
from tests.real.servers.odd import Odd
from tests.real.servers.pgbouncer import PgBouncer
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Outcome

Start = Callable[..., PgBouncer]
Client = Callable[[PgBouncer], Awaitable[Any]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """``await client(bouncer)`` is a session of a program; all end with the test."""
    async with AsyncExitStack() as stack:

        async def new(bouncer: PgBouncer) -> Any:
            session = await asyncpg.connect(bouncer.dsn_of("plain", "app"), statement_cache_size=0)
            stack.callback(session.terminate)
            return session

        yield new


async def test_in_order_and_with_a_full_pool(
    postgres: Postgres, start_pgbouncer: Start, client: Client, observe: Observe
) -> None:
    bouncer = start_pgbouncer(postgres, default_pool_size=1, max_client_conn=20, pool_mode="session")
    first = await client(bouncer)
    await first.execute("SELECT 1")
    seen = await observe("pgbouncer", dsn=bouncer.dsn_of("stats"))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "clients_active", database="app") == 1
    assert measured(seen, "clients_waiting", database="app") == 0
    assert measured(seen, "longest_wait", database="app") == 0
    assert measured(seen, "servers_active", database="app") == 1
    assert measured(seen, "servers_idle", database="app") == 0
    assert measured(seen, "clients_used") == pytest.approx(2 / 20), "ours among them"
    assert measured(seen, "paused") == 0
    assert measured(seen, "connect_time") > 0
    assert "nobody waits" in seen.summary
    second = await client(bouncer)
    waiting = asyncio.create_task(second.execute("SELECT 1"))
    deadline = time.monotonic() + PATIENCE
    while not measured(seen, "longest_wait", database="app"):
        seen = await observe("pgbouncer", dsn=bouncer.dsn_of("stats"))
        assert time.monotonic() < deadline, seen
    assert measured(seen, "clients_waiting", database="app") == 1
    assert 0 < measured(seen, "longest_wait", database="app") < PATIENCE
    assert "waiting: 1 as plain in app" in seen.summary
    first.terminate()
    await waiting
    seen = await observe("pgbouncer", dsn=bouncer.dsn_of("stats"))
    assert measured(seen, "clients_waiting", database="app") == 0


async def test_what_went_through(postgres: Postgres, start_pgbouncer: Start, client: Client, observe: Observe) -> None:
    bouncer = start_pgbouncer(postgres, stats_period=1)
    session = await client(bouncer)
    for _ in range(3):
        await session.execute("SELECT pg_sleep(0.05)")
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = await observe("pgbouncer", dsn=bouncer.dsn_of("stats"))
        if any(
            one.name == "queries" and dict(one.labels)["database"] == "app" and one.value >= 3
            for one in seen.measurements
        ):
            break
        assert time.monotonic() < deadline, seen.measurements
        await asyncio.sleep(0.05)
    assert measured(seen, "transactions", database="app") >= 3
    assert measured(seen, "received", database="app") > 60
    assert measured(seen, "sent", database="app") > 60
    assert 0.15 <= measured(seen, "query_time", database="app") < PATIENCE
    assert measured(seen, "wait_time", database="app") >= 0


async def test_who_may_not_ask(postgres: Postgres, start_pgbouncer: Start, observe: Observe) -> None:
    bouncer = start_pgbouncer(postgres)
    seen = await observe("pgbouncer", dsn=bouncer.dsn_of("plain"))
    assert seen.outcome in (Outcome.DOWN, Outcome.UNKNOWN)
    assert "not allowed" in seen.summary
    wrong = await observe("pgbouncer", dsn=bouncer.dsn_of("stats").replace("right", "wrong"))
    assert (wrong.outcome, wrong.reason) == (Outcome.DOWN, "auth")
    assert names(seen) <= {"connect_time"}


async def test_a_postgresql_in_its_place(postgres: Postgres, observe: Observe) -> None:
    seen = await observe("pgbouncer", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "the DSN must name the database pgbouncer" in seen.summary


async def test_a_paused_database(postgres: Postgres, start_pgbouncer: Start, observe: Observe) -> None:
    bouncer = start_pgbouncer(postgres, admin_users="stats")
    admin = await asyncpg.connect(bouncer.dsn_of("stats"), statement_cache_size=0)
    await admin.execute("PAUSE app")
    admin.terminate()
    assert measured(await observe("pgbouncer", dsn=bouncer.dsn_of("stats")), "paused") == 1


_VERSION = b"server_version\x001.18.0/bouncer\0"
LOGGED_IN = b"R\0\0\0\x08\0\0\0\0S\0\0\0" + bytes([len(_VERSION) + 4]) + _VERSION + b"Z\0\0\0\x05I"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"T\x7f\xff\xff\xff", "too long"),
        (b"T\0\0\0\x06\0\x01", "does not answer as a PostgreSQL server does"),
        (b"Z\0\0\0\x05I", "shows no pools"),
        (b"", "the server closed the connection"),
    ],
)
async def test_a_hostile_answer(odd: Callable[..., Awaitable[Odd]], observe: Observe, answer: bytes, said: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
        writer.write(LOGGED_IN)
        while (await reader.read(1000)) and answer:
            writer.write(answer)
            await writer.drain()

    server = await odd(talk)
    seen = await observe("pgbouncer", dsn=f"postgresql://stats@{server.address}/pgbouncer?sslmode=disable")
    assert seen.outcome is not Outcome.UP
    assert said in seen.summary, seen.summary
