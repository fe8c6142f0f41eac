"""The postgres probe on a real PostgreSQL in the states that people are woken for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from pydantic import ValidationError

from tests.real.hostile.talks import babble, talk
from tests.real.hostile.test_postgres import NO_TLS, message
from tests.real.running import PATIENCE, Observe, carry_out, measured, names, new_run, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.odd import Odd
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.kit.postgres import server as kit
from wcr_watchd.kit.postgres.archive import end_of
from wcr_watchd.kit.postgres.server import without_values
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import postgres as module
from wcr_watchd.probes.postgres import _Share

StartPostgres = Callable[..., Postgres]
Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """``await connect(dsn)`` is a session of a program; all end with the test."""
    async with AsyncExitStack() as stack:

        async def new(dsn: str) -> Any:
            session = await asyncpg.connect(dsn, server_settings={"application_name": "shop"})
            stack.callback(session.terminate)
            return session

        yield new


async def repeatedly(look: Callable[[], Awaitable[Observation]], until: Callable[[Observation], bool]) -> Observation:
    """Look again and again until what is seen is as awaited."""
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = await look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, (seen.summary, seen.measurements, seen.evidence)
        await asyncio.sleep(0.05)


def value(seen: Observation, name: str, **labels: str) -> float | None:
    """The value of a measurement, None when it is absent."""
    return measured(seen, name, **labels) if name in names(seen) else None


def fires(seen: Observation) -> set[tuple[Severity, str]]:
    """Severity and topic of the default rules that fire when things stay as they are for half an hour."""
    probe, found = module.Postgres, set()
    for severity, text in probe.default_rules:
        rule = parse_rule(text, severity, probe.measurements)
        state, history = RuleState(), History()
        for minute in range(31):
            now = Observation("", "", minute * 60.0, 0, seen.outcome, seen.reason, "", seen.measurements)
            history = remember(history, [rule], now)
            state = evaluate(rule, state, history, now, 2)
        if any(instance.verdict is Verdict.FIRING for _, instance in state.instances):
            found.add((severity, rule.topic))
    return found


# --- a server in order, and who may see what --------------------------------------------------------------------------


async def test_a_server_in_order(postgres: Postgres, observe: Observe, connect: Connect) -> None:
    busy, idle = await connect(postgres.dsn_of("plain")), await connect(postgres.dsn_of("plain"))
    await idle.execute("SELECT 1")
    sleeping = asyncio.create_task(busy.execute("SELECT pg_sleep(60)"))
    seen = await repeatedly(
        lambda: observe("postgres", dsn=postgres.dsn), lambda seen: measured(seen, "connections", state="active") == 1
    )
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert seen.summary.startswith("PostgreSQL ")
    assert measured(seen, "monitoring_privilege") == 1
    assert measured(seen, "connections", state="idle") == 1
    assert measured(seen, "connections", state="idle_in_transaction") == 0
    assert measured(seen, "connections_used") == pytest.approx(3 / 97), "the run's own among them"
    assert measured(seen, "database_size") == int(postgres.sql("SELECT pg_database_size('app')"))
    assert measured(seen, "in_recovery") == 0
    assert 0 < measured(seen, "transaction_ids_used") < 0.01
    assert measured(seen, "checksum_failures") == 0
    assert 0 < measured(seen, "query_time") < PATIENCE
    assert 0 < measured(seen, "connect_time") < PATIENCE
    assert not {"archive_age", "archive_backlog", "replay_lag", "standby_lag", "slot_lost"} & names(seen), "not in use"
    assert "absent" not in seen.evidence
    assert fires(seen) == set()
    sleeping.cancel()


async def test_it_leaves_no_trace(postgres: Postgres, observe: Observe) -> None:
    postgres.sql("ALTER SYSTEM SET log_connections = on")
    postgres.sql("ALTER SYSTEM SET log_min_messages = debug1")
    postgres.sql("SELECT pg_reload_conf()")
    for _ in range(3):
        assert (await observe("postgres", dsn=postgres.dsn)).outcome is Outcome.UP
    deadline = time.monotonic() + PATIENCE
    while postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wcr-watchd'") != "0":
        assert time.monotonic() < deadline, "its session is still there"
    log = (postgres.folder / "log").read_text()
    assert "application_name=wcr-watchd" in log
    assert "unexpected EOF" not in log, "it says goodbye"
    assert "ERROR" not in log


async def test_a_role_without_privileges_is_told_of_and_what_it_cannot_see_is_absent(
    postgres: Postgres, observe: Observe, connect: Connect
) -> None:
    session = await connect(postgres.dsn)
    await session.execute("BEGIN; SELECT txid_current()")
    seen = await observe("postgres", dsn=postgres.dsn_of("plain"))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "monitoring_privilege") == 0
    hidden = {"connections", "connections_used", "longest_transaction", "longest_idle_in_transaction", "standbys"}
    assert not hidden & names(seen)
    assert "GRANT pg_monitor TO plain" in seen.evidence["absent"]
    assert measured(seen, "database_size") > 0, "what everybody may see is measured"
    assert fires(seen) == {(Severity.INFO, "privileges")}
    postgres.sql("GRANT pg_monitor TO plain")
    seen = await observe("postgres", dsn=postgres.dsn_of("plain"))
    assert measured(seen, "connections", state="idle_in_transaction") == 1
    assert hidden <= names(seen)


async def test_one_measurement_that_is_refused_costs_that_one_only(postgres: Postgres, observe: Observe) -> None:
    postgres.sql("REVOKE EXECUTE ON FUNCTION pg_database_size(name) FROM PUBLIC")
    seen = await observe("postgres", dsn=postgres.dsn)
    assert seen.outcome is Outcome.UP
    assert "database_size" not in names(seen)
    assert "database_size: permission denied for function pg_database_size" in seen.evidence["absent"]
    assert {"transaction_ids_used", "connections_used", "standbys"} <= names(seen)


# --- sessions and locks -----------------------------------------------------------------------------------------------


async def test_an_open_transaction_that_waits_for_its_client(
    postgres: Postgres, observe: Observe, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_TRANSACTION", 0.0)
    session = await connect(postgres.dsn_of("plain"))
    await session.execute("BEGIN; SELECT 'private', 4711")
    await asyncio.sleep(0.05)
    seen = await observe("postgres", dsn=postgres.dsn)
    assert measured(seen, "connections", state="idle_in_transaction") == 1
    assert measured(seen, "longest_transaction") >= measured(seen, "longest_idle_in_transaction") >= 0.05
    named = seen.evidence["transactions"]
    assert "plain (shop)" in named
    assert "BEGIN; SELECT" in named
    assert "private" not in named, "values are anybody's data"
    with pytest.raises(asyncpg.PostgresError):
        await session.execute("SELECT 1 / 0")
    seen = await observe("postgres", dsn=postgres.dsn)
    assert measured(seen, "connections", state="idle_in_transaction_aborted") == 1
    assert measured(seen, "connections", state="other") == 0


@pytest.mark.parametrize("role", ["watchd", "plain"])
async def test_who_blocks_whom(postgres: Postgres, observe: Observe, connect: Connect, role: str) -> None:
    postgres.sql("CREATE TABLE stock (item int, left_over int); GRANT ALL ON stock TO plain")
    holder, waiter = await connect(postgres.dsn_of("postgres")), await connect(postgres.dsn_of("postgres"))
    await holder.execute("BEGIN; LOCK TABLE stock")
    waiting = asyncio.create_task(waiter.execute("UPDATE stock SET left_over = 0 WHERE item = 12345"))
    seen = await repeatedly(
        lambda: observe("postgres", dsn=postgres.dsn_of(role)),
        lambda seen: measured(seen, "blocked_sessions") == 1 and measured(seen, "longest_lock_wait") > 0,
    )
    first, second = seen.evidence["locks"].splitlines()
    pid = holder.get_server_pid()
    assert f"pid {waiter.get_server_pid()} postgres" in first
    assert f"for pid {pid}" in first
    assert second.startswith(f"blocking: pid {pid} postgres")
    if role == "watchd":
        assert "UPDATE stock SET left_over = ? WHERE item = ?" in first
        assert "idle in transaction" in second
    await holder.execute("COMMIT")
    await waiting
    seen = await observe("postgres", dsn=postgres.dsn_of(role))
    assert (measured(seen, "blocked_sessions"), measured(seen, "longest_lock_wait")) == (0, 0)


async def test_deadlocks_and_rollbacks_are_counted(postgres: Postgres, observe: Observe, connect: Connect) -> None:
    postgres.sql("ALTER SYSTEM SET deadlock_timeout = '10ms'")
    postgres.sql("SELECT pg_reload_conf()")
    one, other = await connect(postgres.dsn_of("postgres")), await connect(postgres.dsn_of("postgres"))
    await one.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
    await other.execute("BEGIN; SELECT pg_advisory_xact_lock(2)")
    ends = await asyncio.gather(
        one.execute("SELECT pg_advisory_xact_lock(2)"),
        other.execute("SELECT pg_advisory_xact_lock(1)"),
        return_exceptions=True,
    )
    assert [type(end) for end in ends if isinstance(end, Exception)] == [asyncpg.DeadlockDetectedError]
    one.terminate(), other.terminate()
    seen = await repeatedly(
        lambda: observe("postgres", dsn=postgres.dsn),
        lambda seen: measured(seen, "deadlocks") == 1 and measured(seen, "rollbacks") >= 1,
    )
    assert seen.outcome is Outcome.UP


async def test_shares_are_told_when_enough_came_together(postgres: Postgres, shared: SharedHelpers) -> None:
    probe = probe_of("postgres", {"dsn": postgres.dsn})

    async def look() -> Observation:
        return await carry_out(probe, new_run(shared))

    assert not {"cache_hits", "rolled_back"} & names(await look()), "the first run has nothing to compare with"
    postgres.sql("CREATE TABLE wide AS SELECT n, repeat('x', 500) AS x FROM generate_series(1, 30000) n")
    statements = "; ".join("BEGIN; SELECT 1; ROLLBACK" for _ in range(150))
    postgres.sql(statements + "; SELECT count(*) FROM wide")
    seen: dict[str, float] = {}

    async def collect() -> Observation:
        found = await look()
        seen.update({one.name: one.value for one in found.measurements if one.name in ("cache_hits", "rolled_back")})
        return found

    await repeatedly(collect, lambda _: len(seen) == 2)
    assert 0 < seen["cache_hits"] <= 1
    assert 0.5 < seen["rolled_back"] <= 1
    seen.clear()
    postgres.sql("SELECT pg_stat_reset()")
    assert not {"cache_hits", "rolled_back"} & names(await look()), "after a reset there is nothing to compare with"


def test_a_share_begins_anew_after_a_reset() -> None:
    share = _Share(100)
    assert share.since("a", 50, 100) is None
    assert share.since("a", 60, 150) is None, "50 are too few"
    assert share.since("a", 140, 200) == pytest.approx(0.9), "what was too little is not lost"
    assert share.since("b", 1_000, 2_000) is None
    assert share.since("b", 10, 20) is None
    assert share.since("b", 60, 120) == pytest.approx(0.5)


# --- it cannot be reached, or refuses ---------------------------------------------------------------------------------


async def test_a_stopped_server(postgres: Postgres, observe: Observe) -> None:
    postgres.stop()
    seen = await observe("postgres", dsn=postgres.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert f"app on 127.0.0.1:{postgres.port}" in seen.summary
    assert "connection refused" in seen.summary
    postgres.start()
    assert (await observe("postgres", dsn=postgres.dsn)).outcome is Outcome.UP


async def test_refusals_are_told_in_the_servers_words(start_postgres: StartPostgres, observe: Observe) -> None:
    postgres = start_postgres(max_connections=5, superuser_reserved_connections=2)
    postgres.sql("REVOKE CONNECT ON DATABASE app FROM PUBLIC; GRANT CONNECT ON DATABASE app TO watchd")

    async def said(dsn: str) -> tuple[str, str]:
        seen = await observe("postgres", dsn=dsn)
        assert seen.outcome is Outcome.DOWN, seen.summary
        assert "wrong%2Fpassword" not in repr(seen)
        assert "wrong/password" not in repr(seen)
        return seen.reason, seen.summary

    reason, words = await said(postgres.dsn_of("watchd", "wrong%2Fpassword"))
    assert reason == "auth"
    assert 'password authentication failed for user "watchd"' in words
    assert (await said(postgres.dsn_of("nobody")))[0] == "auth"
    reason, words = await said(postgres.dsn_of("watchd", database="none"))
    assert reason == "missing"
    assert 'database "none" does not exist' in words
    reason, words = await said(postgres.dsn_of("plain"))
    assert reason == "permission"
    assert 'permission denied for database "app"' in words
    taken = [await asyncpg.connect(postgres.dsn) for _ in range(3)]
    reason, words = await said(postgres.dsn)
    assert reason == "refused"
    assert "53300" in words
    for session in taken:
        session.terminate()


async def test_a_password_of_its_own_needs_no_encoding(postgres: Postgres, observe: Observe) -> None:
    postgres.sql("ALTER ROLE plain PASSWORD 'a@b/c#d'")
    dsn = f"postgresql://plain@127.0.0.1:{postgres.port}/app"
    assert (await observe("postgres", dsn=dsn, password="a@b/c#d")).outcome is Outcome.UP
    refused = await observe("postgres", dsn=dsn, password="a@b")
    assert (refused.outcome, refused.reason) == (Outcome.DOWN, "auth")
    assert "a@b" not in repr(refused)


async def test_a_server_that_is_starting(start_postgres: StartPostgres, postgres: Postgres, observe: Observe) -> None:
    standby = start_postgres(standby_of=postgres, hot_standby="off")
    seen = await observe("postgres", dsn=standby.dsn)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "refused")
    assert "not accepting connections" in seen.summary
    assert "57P03" in seen.summary


async def test_a_name_that_does_not_exist(observe: Observe) -> None:
    seen = await observe("postgres", dsn="postgresql://watchd:right@db.invalid/app")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    assert "db.invalid" in seen.summary


async def greet_like_ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Another service's port."""
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    while await reader.read(65536):
        pass


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes the connection and ends it."""
    await reader.read(8)


async def refuse_tls_and_talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that begins as PostgreSQL does."""
    await reader.readexactly(8)
    writer.write(b"N")
    await reader.read(65536)
    writer.write(b"R\x00\x00\x00\x08\x00\x00\x00\x63" + b"\xff" * 4000)
    await reader.read(65536)


@pytest.mark.parametrize("talk", [greet_like_ssh, hang_up, refuse_tls_and_talk_nonsense])
async def test_what_is_no_postgresql_is_down(
    odd: Callable[..., Awaitable[Odd]], observe: Observe, talk: Callable[..., Awaitable[None]]
) -> None:
    server = await odd(talk)
    seen = await observe("postgres", dsn=f"postgresql://watchd:right@{server.address}/app", timeout=3)
    assert seen.outcome is Outcome.DOWN
    assert server.address in seen.summary


async def test_tls(start_postgres: StartPostgres, observe: Observe, authority: Authority) -> None:
    pair = authority.issue("127.0.0.1", "db.example.org")
    postgres = start_postgres()
    for path, name in ((pair.certificate, "server.crt"), (pair.key, "server.key")):
        target = postgres.data / name
        with open(path, "rb") as source:
            target.write_bytes(source.read())
        target.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(target, postgres.data.stat().st_uid, postgres.data.stat().st_gid)
    without = await observe("postgres", dsn=postgres.dsn_of("watchd", query="?sslmode=require"))
    assert (without.outcome, without.reason) == (Outcome.DOWN, "tls")
    postgres.sql("ALTER SYSTEM SET ssl = on")
    postgres.stop()
    postgres.start()
    for mode in ("require", f"verify-full&sslrootcert={authority.ca_file}"):
        seen = await observe("postgres", dsn=postgres.dsn_of("watchd", query=f"?sslmode={mode}"))
        assert seen.outcome is Outcome.UP, seen.summary
    stranger = "?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
    seen = await observe("postgres", dsn=postgres.dsn_of("watchd", query=stranger))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls"), seen.summary
    assert "certificate verify failed" in seen.summary
    lost = await observe("postgres", dsn=postgres.dsn_of("watchd", query="?sslmode=verify-full&sslrootcert=/no/such"))
    assert lost.outcome is Outcome.UNKNOWN, "our own settings are no fault of the server"
    assert "sslrootcert" in lost.summary


# --- it hangs ---------------------------------------------------------------------------------------------------------


HOLD = "BEGIN; LOCK TABLE pg_catalog.pg_stat_archiver"
"""Who asks for the archiver's statistics waits; logging in and the rest do not need them."""
WAITERS = "SELECT pid FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def holder(start_postgres: StartPostgres, connect: Connect) -> tuple[Postgres, Any]:
    """A server, and a session on it that makes every run wait in the middle."""
    server = start_postgres(archive_mode="on", archive_command="/bin/true")
    session = await connect(server.dsn_of("postgres"))
    await session.execute(HOLD)
    return server, session


async def waiter(session: Any, running: asyncio.Task[Observation]) -> int:
    """Wait until a run hangs, and return its server process."""
    while (pid := await session.fetchval(WAITERS)) is None:
        assert not running.done(), running.result()
        await asyncio.sleep(0.01)
    return int(pid)


async def cut_off(probe: Any, shared: SharedHelpers, timeout: float) -> Observation:
    """One run that must be cut off at its deadline, and leave no task behind."""
    before = asyncio.all_tasks()
    began = time.monotonic()
    seen = await carry_out(probe, new_run(shared, timeout))
    assert time.monotonic() - began < timeout + 5, "it went on long after its deadline"
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout"), seen.summary
    assert asyncio.all_tasks() <= before
    return seen


async def test_a_frozen_server_is_cut_off_while_connecting(postgres: Postgres, shared: SharedHelpers) -> None:
    probe = probe_of("postgres", {"dsn": postgres.dsn})
    postgres.freeze()
    seen = await cut_off(probe, shared, 0.5)
    assert f"connecting to app on 127.0.0.1:{postgres.port}" in seen.summary
    postgres.unfreeze()
    assert (await carry_out(probe, new_run(shared))).outcome is Outcome.UP


async def test_a_server_that_freezes_while_it_answers_is_cut_off(
    holder: tuple[Postgres, Any], shared: SharedHelpers
) -> None:
    server, session = holder
    running = asyncio.create_task(cut_off(probe_of("postgres", {"dsn": server.dsn}), shared, 6))
    await waiter(session, running)
    server.freeze()
    seen = await running
    assert "waiting for the archiver" in seen.summary
    assert "connections_used" in names(seen), "what was known by then is kept"
    server.unfreeze()


async def test_cancelling_in_the_middle_of_a_query_leaves_nothing_behind(
    holder: tuple[Postgres, Any], shared: SharedHelpers
) -> None:
    server, session = holder
    before = asyncio.all_tasks()
    running = asyncio.create_task(carry_out(probe_of("postgres", {"dsn": server.dsn}), new_run(shared)))
    await waiter(session, running)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() <= before
    await session.execute("COMMIT")
    deadline = time.monotonic() + PATIENCE
    while await session.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wcr-watchd'"):
        assert time.monotonic() < deadline, "its session is still there"
        await asyncio.sleep(0.05)


async def test_a_query_that_hangs_is_given_up_by_the_server_and_the_others_go_on(
    holder: tuple[Postgres, Any], observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "STATEMENT_TIMEOUT", 0.3)
    holder[0].sql("REVOKE EXECUTE ON FUNCTION pg_database_size(name) FROM PUBLIC")
    seen = await observe("postgres", dsn=holder[0].dsn)
    assert seen.outcome is Outcome.UP
    said = "archive_failures, archive_failing, archive_age: canceling statement due to statement timeout"
    assert said in seen.evidence["absent"]
    assert "database_size" not in names(seen), "one that failed before does not lift the limit"
    assert "archive_failing" not in names(seen)
    assert "archive_backlog" in names(seen)


async def test_a_session_that_is_ended_from_outside_is_down(holder: tuple[Postgres, Any], observe: Observe) -> None:
    server, session = holder
    running = asyncio.create_task(observe("postgres", dsn=server.dsn))
    await session.execute(f"SELECT pg_terminate_backend({await waiter(session, running)})")
    seen = await running
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect"), seen.summary
    assert "failed while waiting for the archiver" in seen.summary
    assert "terminating connection due to administrator command" in seen.summary


# --- replication, archive, wear ---------------------------------------------------------------------------------------


async def test_a_primary_and_its_standby(start_postgres: StartPostgres, postgres: Postgres, observe: Observe) -> None:
    standby = start_postgres(standby_of=postgres, name="berlin")
    postgres.sql("CREATE TABLE t AS SELECT 1")
    seen = await repeatedly(
        lambda: observe("postgres", dsn=postgres.dsn, role="primary"),
        lambda seen: value(seen, "standbys") == 1 and value(seen, "standby_behind", application="berlin") == 0,
    )
    assert measured(seen, "standby_lag", application="berlin") == 0
    assert measured(seen, "slot_active", slot="berlin") == 1
    assert measured(seen, "slot_lost", slot="berlin") == 0
    assert "berlin at this machine: streaming" in seen.evidence["replication"]

    async def at_standby() -> Observation:
        return await observe("postgres", dsn=standby.dsn, role="standby")

    seen = await repeatedly(at_standby, lambda seen: value(seen, "replay_lag") == 0)
    assert (measured(seen, "in_recovery"), measured(seen, "receiving")) == (1, 1)
    wrong = await observe("postgres", dsn=standby.dsn, role="primary")
    assert (wrong.outcome, wrong.reason) == (Outcome.DOWN, "content")
    assert "is a standby (in recovery); it should be a primary" in wrong.summary
    postgres.stop()
    seen = await repeatedly(at_standby, lambda seen: value(seen, "receiving") == 0)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "replay_lag") > 0, "cut off from its primary, it is as old as its last change"
    assert (Severity.CRITICAL, "replication") in fires(seen)


async def test_a_slot_that_nobody_reads_until_what_it_needs_is_lost(
    start_postgres: StartPostgres, observe: Observe
) -> None:
    postgres = start_postgres(max_slot_wal_keep_size="1MB", min_wal_size="32MB", max_wal_size="32MB")
    postgres.sql("SELECT pg_create_physical_replication_slot('forgotten', true)")
    seen = await observe("postgres", dsn=postgres.dsn_of("plain"))
    assert measured(seen, "slot_lost", slot="forgotten") == 0
    postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
    assert measured(await observe("postgres", dsn=postgres.dsn), "slot_behind", slot="forgotten") > 10_000
    for _ in range(4):
        postgres.sql("INSERT INTO t VALUES (1)")
        postgres.sql("SELECT pg_switch_wal()")
    postgres.sql("CHECKPOINT")
    seen = await observe("postgres", dsn=postgres.dsn)
    assert measured(seen, "slot_lost", slot="forgotten") == 1
    assert (Severity.CRITICAL, "replication") in fires(seen)


async def test_an_archive_that_fails_and_works_again(start_postgres: StartPostgres, observe: Observe) -> None:
    postgres = start_postgres(archive_mode="on", archive_command="/bin/false")

    async def look() -> Observation:
        return await observe("postgres", dsn=postgres.dsn)

    postgres.sql("CREATE TABLE t AS SELECT generate_series(1, 10000)")
    postgres.sql("SELECT pg_switch_wal()")
    seen = await repeatedly(look, lambda seen: measured(seen, "archive_failing") == 1)
    assert measured(seen, "archive_failures") >= 1
    assert measured(seen, "archive_backlog") >= 1
    assert measured(seen, "archive_waiting") > 0
    assert measured(seen, "archive_age") > 0
    assert "archiving 0000" in seen.evidence["archive"]
    assert (Severity.WARNING, "archive") in fires(seen)
    postgres.sql("ALTER SYSTEM SET archive_command = '/bin/true'")
    (postgres.data / "test.conf").write_text(
        (postgres.data / "test.conf").read_text().replace("archive_command = '/bin/false'", "")
    )
    postgres.sql("SELECT pg_reload_conf()")
    seen = await repeatedly(look, lambda seen: measured(seen, "archive_failing") == 0)
    seen = await repeatedly(look, lambda seen: measured(seen, "archive_backlog") == 0)
    assert (measured(seen, "archive_waiting"), measured(seen, "archive_age")) == (0, 0), "nothing is left to archive"
    postgres.sql("CREATE TABLE u AS SELECT generate_series(1, 10000)")
    seen = await look()
    assert measured(seen, "archive_age") > 0, "what was written since is not archived yet"
    plain = await observe("postgres", dsn=postgres.dsn_of("plain"))
    assert "archive_failing" in names(plain)
    assert "archive_backlog" not in names(plain)


async def test_a_damaged_page(postgres: Postgres, observe: Observe) -> None:
    postgres.sql("CREATE TABLE precious AS SELECT generate_series(1, 1000) AS n")
    path = postgres.data / postgres.sql("SELECT pg_relation_filepath('precious')")
    postgres.stop("fast")
    with path.open("r+b") as file:
        file.seek(4000)
        file.write(b"damage")
    postgres.start()
    with pytest.raises(AssertionError, match="invalid page"):
        postgres.sql("SELECT count(*) FROM precious")
    seen = await repeatedly(
        lambda: observe("postgres", dsn=postgres.dsn_of("plain")), lambda seen: measured(seen, "checksum_failures") >= 1
    )
    assert (Severity.CRITICAL, "corruption") in fires(seen)


# --- options and words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        ("postgresql://watchd:secret@db.example.org:5433/app", "app on db.example.org:5433"),
        ("postgres://db.example.org/my%20app", "my app on db.example.org:5432"),
        ("postgresql://u:secret@[2001:db8::1]:6432/app", "app on 2001:db8::1:6432"),
        ("postgresql://u:secret@one,two:6432/app", "app on one:5432, two:6432"),
        ("postgresql:///app?host=/run/postgresql", "app on /run/postgresql"),
        ("postgresql:///app", "app on this machine"),
    ],
)
def test_the_target_shows_no_secret(dsn: str, target: str) -> None:
    probe = probe_of("postgres", {"dsn": dsn})
    assert probe.target == target
    assert "secret" not in repr(probe)


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("host=db user=watchd password=secret", "must begin with"),
        ("mysql://u:secret@db/app", "must begin with"),
        ("postgresql://u:sec@ret@db/app", "%40"),
        ("postgresql://u:secret@db:port/app", "cannot be read"),
        ("postgresql://u:secret@db:70000/app", "cannot be read"),
        ("postgresql://u:secret@db/app?sslmode", "cannot be read"),
    ],
)
def test_a_dsn_that_cannot_be_used_is_refused_without_being_repeated(dsn: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        probe_of("postgres", {"dsn": dsn})
    assert "secret" not in str(refused.value)
    assert "sec@ret" not in str(refused.value)


def test_queries_are_shownwithout_values() -> None:
    shown = without_values("UPDATE users\n  SET age = 42 WHERE id = $1 AND t2.x1 = 1.5 AND name = 'Ann' AND key = 7")
    assert shown == "UPDATE users SET age = ? WHERE id = $1 AND t2.x1 = ? AND name = …"
    assert without_values("DO $body$ secret $body$") == "DO …"
    assert without_values(None) == "no query shown"
    assert len(without_values("SELECT " + "a, " * 500)) < 210


def test_positions_of_archived_files() -> None:
    size = 16 * 2**20
    assert end_of("000000010000000000000001", size) == 2 * size
    assert end_of("000000020000000A000000FF", size) == 0xB * 2**32
    assert end_of("00000002000000000000000A.00000028.backup", size) == 11 * size
    assert end_of("00000002.history", size) is None


async def test_a_server_that_sends_notices_by_the_thousand_does_not_hold_the_loop(
    odd: Callable[..., Awaitable[Odd]], observe: Observe
) -> None:
    """The harness fails a step of more than 5 ms; all of a read taken at once is one of 30."""
    server = await odd(talk(*NO_TLS, babble(message(b"N", b"SNOTICE\0Mx\0\0"))))
    seen = await observe("postgres", dsn=f"postgresql://watch@{server.address}/db")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol")
