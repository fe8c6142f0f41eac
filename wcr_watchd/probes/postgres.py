"""Watches a PostgreSQL server: whether it answers, its sessions, locks, replication, archive and how it wears.

Each run logs in once, asks in one read-only transaction, and leaves. A role with ``pg_monitor`` sees everything; to a
role without it the server shows others' sessions as empty, so what depends on them is absent, never 0. Works behind
PgBouncer, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.postgres.archive import (
    ARCHIVE_MEASUREMENTS,
    SLOT_MEASUREMENTS,
    look_at_archive,
    look_at_slots,
)
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session, without_values

LEAST_BLOCKS, LEAST_TRANSACTIONS = 1_000, 100
"""A share is told when so many block reads, or transactions, have come together since it was told last."""
LONG_TRANSACTION = 60.0
"""Seconds from which on a transaction is named in the evidence."""
MOST_NAMED = 5
"""Sessions named in the evidence, at most, of each kind."""
STATES = ("active", "idle", "idle_in_transaction", "idle_in_transaction_aborted", "other")
WRAPAROUND = 2**31 - 3_000_000
"""Age of the oldest transaction at which the server stops to take new ones (PostgreSQL documentation, 25.1.5)."""


def _spec(name: str, unit: Unit, text: str, *labels: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, labels, counter)


def _about(topic: str, *specs: MeasurementSpec) -> tuple[MeasurementSpec, ...]:
    return tuple(replace(spec, topic=topic) for spec in specs)


class Postgres(PostgresServer):
    """Options of a PostgreSQL check."""

    type: ClassVar[str] = "postgres"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 30.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app?sslmode=require"
role = "primary"
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("connect_time", Unit.SECONDS, "Time to connect and log in"),
        _spec("query_time", Unit.SECONDS, "Time to answer SELECT 1"),
        _spec("uptime", Unit.SECONDS, "Time since the server was started"),
        _spec("in_recovery", Unit.COUNT, "1 on a standby, 0 on a primary"),
        *_about(
            "privileges",
            _spec("monitoring_privilege", Unit.COUNT, "1 when the role may see other sessions (pg_monitor), else 0"),
        ),
        *_about(
            "connections",
            _spec("connections", Unit.COUNT, "Sessions of clients, by what they do", "state"),
            _spec("connections_used", Unit.RATIO, "Share in use of the connections that ordinary roles can have"),
        ),
        *_about(
            "transactions",
            _spec("longest_transaction", Unit.SECONDS, "Age of the oldest open transaction of a client"),
            _spec("longest_idle_in_transaction", Unit.SECONDS, "Longest time a client left its transaction waiting"),
            _spec("rollbacks", Unit.COUNT, "Transactions rolled back in this database", counter=True),
            _spec("rolled_back", Unit.RATIO, "Share of this database's latest transactions that were rolled back"),
        ),
        *_about(
            "locks",
            _spec("blocked_sessions", Unit.COUNT, "Sessions that wait for a lock of another one"),
            _spec("longest_lock_wait", Unit.SECONDS, "Longest time a session has been waiting for a lock"),
            _spec("deadlocks", Unit.COUNT, "Deadlocks in this database", counter=True),
        ),
        *_about(
            "cache",
            _spec("cache_hits", Unit.RATIO, "Share of this database's latest block reads that found it in memory"),
        ),
        *_about(
            "size",
            _spec("database_size", Unit.BYTES, "Size of this database"),
            _spec("temporary_files", Unit.BYTES, "Written to temporary files in this database", counter=True),
        ),
        *_about(
            "replication",
            _spec("standbys", Unit.COUNT, "Standbys and subscribers that are connected"),
            _spec("standby_behind", Unit.BYTES, "What a connected standby has not replayed yet", "application"),
            _spec("standby_lag", Unit.SECONDS, "Time by which a connected standby is behind", "application"),
            _spec("replay_behind", Unit.BYTES, "On a standby: what was received and not replayed yet"),
            _spec("replay_lag", Unit.SECONDS, "On a standby: age of what it shows, 0 when it has replayed everything"),
            _spec("receiving", Unit.COUNT, "On a standby that is to stream: 1 while it is connected, else 0"),
        ),
        *SLOT_MEASUREMENTS,
        *ARCHIVE_MEASUREMENTS,
        *_about(
            "wraparound",
            _spec("transaction_ids_used", Unit.RATIO, "Age of the oldest transaction, 1 when the server must stop"),
            _spec("multixact_ids_used", Unit.RATIO, "Age of the oldest multixact, 1 when the server must stop"),
        ),
        *_about(
            "corruption",
            _spec("checksum_failures", Unit.COUNT, "Damaged pages found in all databases", counter=True),
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "connect_time > 500ms for 5x until connect_time < 300ms for 3x"),
        (Severity.INFO, "monitoring_privilege == 0"),
        (Severity.WARNING, "connections_used > 80% for 2m until connections_used < 70%"),
        (Severity.CRITICAL, "connections_used > 90% for 1m until connections_used < 80%"),
        (Severity.WARNING, "longest_idle_in_transaction > 5m"),
        (Severity.WARNING, "longest_transaction > 15m"),
        (Severity.WARNING, "longest_lock_wait > 1m"),
        (Severity.WARNING, "rolled_back > 2% for 5x until rolled_back < 1% for 2x"),
        (Severity.INFO, "increase(deadlocks, 1h) > 0"),
        (Severity.WARNING, "increase(deadlocks, 5m) > 50 until increase(deadlocks, 5m) < 5"),
        (Severity.WARNING, "cache_hits < 60% for 3x until cache_hits > 70%"),
        (Severity.CRITICAL, "cache_hits < 50% for 3x until cache_hits > 60%"),
        (Severity.WARNING, "standby_lag > 1m for 2m until standby_lag < 30s"),
        (Severity.WARNING, "replay_lag > 5m for 2m until replay_lag < 1m"),
        (Severity.CRITICAL, "receiving == 0 for 2m"),
        (Severity.CRITICAL, "slot_lost == 1"),
        (Severity.WARNING, "archive_failing == 1 for 2m"),
        (Severity.WARNING, "archive_age > 15m until archive_age < 10m"),
        (Severity.CRITICAL, "archive_age > 1h until archive_age < 15m"),
        (Severity.WARNING, "archive_waiting > 15m until archive_waiting < 5m"),
        (Severity.WARNING, "transaction_ids_used > 50% until transaction_ids_used < 45%"),
        (Severity.CRITICAL, "transaction_ids_used > 90% until transaction_ids_used < 80%"),
        (Severity.WARNING, "multixact_ids_used > 50% until multixact_ids_used < 45%"),
        (Severity.CRITICAL, "multixact_ids_used > 90% until multixact_ids_used < 80%"),
        (Severity.CRITICAL, "checksum_failures > 0"),
    )

    role: Literal["any", "primary", "standby"] = "any"
    """What the server must be; another one answering in its place is a failure."""

    _hits: _Share = PrivateAttr(default_factory=lambda: _Share(LEAST_BLOCKS))
    _rolled_back: _Share = PrivateAttr(default_factory=lambda: _Share(LEAST_TRANSACTIONS))

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Everything there is to see, and whether it is the server that it should be."""
        run.measure("connect_time", session.connect_time)
        begun = run.clock()
        await session.rows("SELECT 1", "the answer to SELECT 1")
        run.measure("query_time", run.clock() - begun)
        server = await session.row(_SERVER, "the server's settings")
        run.measure_all({name: server[name] for name in ("uptime", "in_recovery", "monitoring_privilege")})
        standby = bool(server["in_recovery"])
        await self._look_at_sessions(run, session, server)
        await _look_at_locks(run, session, server["version"])
        await self._look_at_database(run, session)
        await _look_at_age(run, session, server["version"])
        await _look_at_replication(run, session, server)
        if server["archive_mode"] == "always" or (server["archive_mode"] == "on" and not standby):
            await look_at_archive(run, session, server)
        await session.end()
        if self.role != "any" and standby != (self.role == "standby"):
            found = "a standby (in recovery)" if standby else "a primary (not in recovery)"
            return run.down("content", f"{self.target} is {found}; it should be a {self.role}")
        return run.up(_summary(run, server["version_text"]))

    async def _look_at_sessions(self, run: Run, session: Session, server: Row) -> None:
        names = ("connections", "connections_used", "longest_transaction", "longest_idle_in_transaction")
        if not server["monitoring_privilege"]:
            run.missing(names, f"role {server['own_role']} lacks pg_monitor: GRANT pg_monitor TO {server['own_role']}")
            return
        rows = await session.rows_or_missing(_SESSIONS, "sessions", names)
        if rows is None:
            return
        counts = dict.fromkeys(STATES, 0)
        for row in rows:
            state = re.sub(r"[ ()]+", "_", row["state"]).strip("_")
            counts[state if state in counts else "other"] += row["sessions"]
        for state, count in counts.items():
            run.measure("connections", count, state=state)
        run.measure("connections_used", (sum(counts.values()) + 1) / max(1, server["usable_connections"]))
        run.measure("longest_transaction", max((row["transaction"] or 0 for row in rows), default=0))
        idle = [row["in_state"] or 0 for row in rows if row["state"].startswith("idle in transaction")]
        run.measure("longest_idle_in_transaction", max(idle, default=0))
        if any((row["transaction"] or 0) > LONG_TRANSACTION for row in rows):
            oldest = await session.rows_or_missing(_OLDEST, "the oldest transactions", ()) or []
            run.evidence["transactions"] = "\n".join(
                f"{_who(row)}: open for {format_duration(row['transaction'])}, {row['state']} "
                f"for {format_duration(row['in_state'] or 0)}: {without_values(row['query'])}"
                for row in oldest
            )

    async def _look_at_database(self, run: Run, session: Session) -> None:
        names = ("deadlocks", "rollbacks", "temporary_files", "cache_hits", "rolled_back")
        for row in await session.rows_or_missing(_DATABASE, "the database's statistics", names) or ():
            run.measure_all({name: row[name] for name in ("deadlocks", "rollbacks", "temporary_files")})
            reset = str(row["stats_reset"])
            run.measure_all(
                {
                    "cache_hits": self._hits.since(reset, row["hits"], row["hits"] + row["reads"]),
                    "rolled_back": self._rolled_back.since(reset, row["rollbacks"], row["commits"] + row["rollbacks"]),
                }
            )
        size = "SELECT pg_database_size(current_database()) AS database_size"
        for row in await session.rows_or_missing(size, "the database's size", ("database_size",)) or ():
            run.measure("database_size", row["database_size"])


# --- asking -----------------------------------------------------------------------------------------------------------


class _Share:
    """The share of something within what has come together since it was told last, once that is enough."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._before: tuple[str, int, int] | None = None

    def since(self, reset: str, part: int, whole: int) -> float | None:
        """The share since the last time; None while there is too little, or after the server's counts were reset."""
        if self._before is None or self._before[0] != reset or whole < self._before[2]:
            self._before = (reset, part, whole)
            return None
        _, part_before, whole_before = self._before
        if whole - whole_before < self._least:
            return None
        self._before = (reset, part, whole)
        return min(1.0, max(0.0, (part - part_before) / (whole - whole_before)))


# --- locks, age, replication, archive ---------------------------------------------------------------------------------


async def _look_at_locks(run: Run, session: Session, version: int) -> None:
    since = "l.waitstart" if version >= 140000 else "NULL::timestamptz"
    waiting = await session.rows_or_missing(
        _WAITING.format(since=since), "sessions that wait for locks", ("blocked_sessions", "longest_lock_wait")
    )
    if waiting is None:
        return
    run.measure("blocked_sessions", waiting[0]["blocked"] if waiting else 0)
    times = [row["waits"] for row in waiting if row["waits"] is not None]
    if times or not waiting:
        run.measure("longest_lock_wait", max(times, default=0))
    if not waiting:
        return
    holders = sorted({pid for row in waiting for pid in row["blockers"]})
    known = await session.rows_or_missing(_BLOCKERS, "sessions that block others", (), holders) or []
    lines = [
        f"{_who(row)} has been waiting for {format_duration(row['waits'] or 0)} "
        f"for pid {', '.join(map(str, row['blockers'])) or 'nobody any more'}: {without_values(row['query'])}"
        for row in waiting[:MOST_NAMED]
    ]
    lines += [
        f"blocking: {_who(row)}, {row['state'] or 'state not shown'}, transaction open for "
        f"{format_duration(row['transaction'] or 0)}: {without_values(row['query'])}"
        for row in known[:MOST_NAMED]
    ]
    run.evidence["locks"] = "\n".join(lines)


async def _look_at_age(run: Run, session: Session, version: int) -> None:
    ages = await session.rows_or_missing(
        _AGE, "the age of transactions", ("transaction_ids_used", "multixact_ids_used")
    )
    for row in ages or ():
        run.measure("transaction_ids_used", row["transactions"] / WRAPAROUND)
        run.measure("multixact_ids_used", row["multixacts"] / WRAPAROUND)
    if version >= 120000:
        damaged = await session.rows_or_missing(_DAMAGE, "damaged pages", ("checksum_failures",))
        run.measure_all({"checksum_failures": damaged[0]["failures"] if damaged else None})


async def _look_at_replication(run: Run, session: Session, server: Row) -> None:
    if server["monitoring_privilege"]:
        standbys = await session.rows_or_missing(_STANDBYS, "standbys", ("standbys", "standby_behind", "standby_lag"))
        if standbys is not None:
            _measure_standbys(run, standbys)
    else:
        run.missing(("standbys", "standby_behind", "standby_lag"), f"role {server['own_role']} lacks pg_monitor")
    await look_at_slots(run, session, server["version"])
    if server["in_recovery"]:
        names = ("replay_behind", "replay_lag", "receiving")
        for row in await session.rows_or_missing(_STANDBY, "the standby's progress", names) or ():
            _measure_standby(run, row)


def _measure_standbys(run: Run, rows: Sequence[Row]) -> None:
    """Standbys of one name are measured as one, by the one that is furthest behind."""
    run.measure("standbys", len(rows))
    for name in sorted({row["application"] for row in rows}):
        same = [row for row in rows if row["application"] == name]
        behind = [row["behind"] for row in same if row["behind"] is not None]
        lags = [0.0 if row["behind"] == 0 else row["lag"] for row in same]
        if behind:
            run.measure("standby_behind", max(behind), application=name)
        if known := [lag for lag in lags if lag is not None]:
            run.measure("standby_lag", max(known), application=name)
    run.evidence["replication"] = "\n".join(
        f"{row['application']} at {row['address'] or 'this machine'}: {row['phase']}"
        + (f", {format_value(row['behind'], Unit.BYTES)} behind" if row["behind"] is not None else "")
        for row in rows[:MOST_NAMED]
    )
    if not rows:
        del run.evidence["replication"]


def _measure_standby(run: Run, row: Row) -> None:
    """A standby that is connected and has replayed all it got is up to date, however old the last change is."""
    up_to_date = row["connected"] and row["behind"] == 0
    run.measure_all({"replay_behind": row["behind"], "replay_lag": 0.0 if up_to_date else row["age"]})
    if row["is_to_stream"]:
        run.measure("receiving", row["connected"])


# --- in words ---------------------------------------------------------------------------------------------------------


def _who(row: Row) -> str:
    program = f" ({row['application']})" if row["application"] else ""
    return f"pid {row['pid']} {row['role'] or 'no role'}{program}"


def _summary(run: Run, version: str) -> str:
    values = {one.name: one.value for one in run.measurements if not one.labels}
    said = [f"PostgreSQL {version.split()[0]} answers in {format_duration(values['query_time'])}"]
    if "connections_used" in values:
        said.append(f"{format_value(values['connections_used'], Unit.RATIO)} of its connections in use")
    if "database_size" in values:
        said.append(f"database of {format_value(values['database_size'], Unit.BYTES)}")
    return ", ".join(said)


# --- queries: PostgreSQL 10 and later, by its documentation, chapter 28 (monitoring) ----------------------------------

_SERVER = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       current_user::text AS own_role,
       pg_is_in_recovery() AS in_recovery,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime,
       pg_has_role('pg_read_all_stats', 'USAGE') AS monitoring_privilege,
       pg_has_role('pg_monitor', 'USAGE') AS may_list_archive,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0) AS usable_connections,
       current_setting('archive_mode') AS archive_mode,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_size
"""

_SESSIONS = """
SELECT coalesce(state, 'starting') AS state, count(*)::int AS sessions,
       max(extract(epoch FROM clock_timestamp() - xact_start))::float8 AS transaction,
       max(extract(epoch FROM clock_timestamp() - state_change))::float8 AS in_state
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1
"""

_OLDEST = """
SELECT pid, usename::text AS role, application_name AS application, state, left(query, 1000) AS query,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS in_state
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
ORDER BY xact_start LIMIT 5
"""

_WAITING = """
SELECT a.pid, a.usename::text AS role, a.application_name AS application, left(a.query, 1000) AS query,
       pg_blocking_pids(a.pid) AS blockers, w.blocked,
       extract(epoch FROM clock_timestamp() - coalesce(w.since, a.query_start))::float8 AS waits
FROM (SELECT l.pid, min({since}) AS since, (count(*) OVER ())::int AS blocked
      FROM pg_locks l WHERE NOT l.granted GROUP BY l.pid ORDER BY 2 NULLS LAST LIMIT 50) AS w
JOIN pg_stat_activity a USING (pid)
ORDER BY waits DESC NULLS LAST
"""

_BLOCKERS = """
SELECT pid, usename::text AS role, application_name AS application, state, left(query, 1000) AS query,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction
FROM pg_stat_activity WHERE pid = ANY($1::int[])
"""

_DATABASE = """
SELECT xact_commit AS commits, xact_rollback AS rollbacks, blks_hit AS hits, blks_read AS reads,
       deadlocks, temp_bytes AS temporary_files, stats_reset
FROM pg_stat_database WHERE datname = current_database()
"""

_AGE = """
SELECT max(age(datfrozenxid))::float8 AS transactions, max(mxid_age(datminmxid))::float8 AS multixacts FROM pg_database
"""

_DAMAGE = "SELECT sum(checksum_failures)::float8 AS failures FROM pg_stat_database"

_STANDBYS = """
SELECT application_name AS application, host(client_addr) AS address, state AS phase,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       replay_lsn)::float8 AS behind,
       extract(epoch FROM replay_lag)::float8 AS lag
FROM pg_stat_replication WHERE state <> 'backup'
"""

_STANDBY = """
SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 AS behind,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age,
       EXISTS (SELECT FROM pg_stat_wal_receiver) AS connected,
       (SELECT setting <> '' FROM pg_settings WHERE name = 'primary_conninfo') AS is_to_stream
"""
