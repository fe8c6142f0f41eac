"""Watches a PostgreSQL server: whether it answers, its sessions, locks, replication, archive and how it wears.

Each run logs in once, asks in one read-only transaction, and leaves. A role with ``pg_monitor`` sees everything; to a
role without it the server shows others' sessions as empty, so what depends on them is absent, never 0. Works behind
PgBouncer, too.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import asyncpg
from pydantic import ConfigDict, PrivateAttr, field_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.network import NameResolver, connect_problem, is_address
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.postgres_bounds import bounded

Row = asyncpg.Record

STATEMENT_TIMEOUT = 5.0
"""Seconds after which the server itself gives one of our queries up."""
LEAST_BLOCKS, LEAST_TRANSACTIONS = 1_000, 100
"""A share is told when so many block reads, or transactions, have come together since it was told last."""
LONG_TRANSACTION = 60.0
"""Seconds from which on a transaction is named in the evidence."""
MOST_NAMED = 5
"""Sessions named in the evidence, at most, of each kind."""
UNARCHIVED_LEAST = 64 * 1024
"""Bytes written since the last archived file that count as something to archive; the server itself writes a little."""
STATES = ("active", "idle", "idle_in_transaction", "idle_in_transaction_aborted", "other")
WRAPAROUND = 2**31 - 3_000_000
"""Age of the oldest transaction at which the server stops to take new ones (PostgreSQL documentation, 25.1.5)."""

_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_FAILURES_AT_NONSENSE = (AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What the driver also fails with when what it connects to does not speak as PostgreSQL does."""


def _spec(name: str, unit: Unit, text: str, *labels: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, labels, counter)


def _about(topic: str, *specs: MeasurementSpec) -> tuple[MeasurementSpec, ...]:
    return tuple(replace(spec, topic=topic) for spec in specs)


class Postgres(Options):
    """Options of a PostgreSQL check."""

    model_config = ConfigDict(hide_input_in_errors=True)

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
            _spec("slot_behind", Unit.BYTES, "Log that is kept back for a replication slot", "slot"),
            _spec("slot_active", Unit.COUNT, "1 while somebody uses a replication slot, else 0", "slot"),
            _spec("slot_lost", Unit.COUNT, "1 when log that a slot needs is lost or about to be, else 0", "slot"),
        ),
        *_about(
            "archive",
            _spec("archive_failures", Unit.COUNT, "Failed attempts to archive a log file", counter=True),
            _spec("archive_failing", Unit.COUNT, "1 when the latest attempt to archive a log file failed, else 0"),
            _spec("archive_age", Unit.SECONDS, "Time since something was archived, 0 when nothing is to be"),
            _spec("archive_backlog", Unit.COUNT, "Finished log files that wait to be archived"),
            _spec("archive_waiting", Unit.SECONDS, "How long the oldest finished log file has been waiting"),
        ),
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

    dsn: Secret
    """Where and as whom: "postgresql://user:password@host:5432/database?sslmode=verify-full"."""
    password: Secret | None = None
    """The password, when it does not stand in the DSN; here it needs no percent-encoding."""
    role: Literal["any", "primary", "standby"] = "any"
    """What the server must be; another one answering in its place is a failure."""

    _hits: _Share = PrivateAttr(default_factory=lambda: _Share(LEAST_BLOCKS))
    _rolled_back: _Share = PrivateAttr(default_factory=lambda: _Share(LEAST_TRANSACTIONS))

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: Secret) -> Secret:
        """Refuse what the driver would refuse at every run; the text must not repeat the DSN, which is a secret."""
        text = dsn.get_secret_value()
        if not text.startswith(("postgresql://", "postgres://")):
            raise ValueError('must begin with "postgresql://", as in postgresql://user:password@host:5432/database')
        if urlsplit(text).netloc.count("@") > 1:
            raise ValueError(
                'a "@" in the password must be written "%40", or set the password by itself: password = "…"'
            )
        try:
            _places(urlsplit(text))
            parse_qs(urlsplit(text).query, strict_parsing=bool(urlsplit(text).query))
        except ValueError:
            raise ValueError("host, port or parameters of the DSN cannot be read") from None
        return dsn

    @property
    def target(self) -> str:
        """Database and server, without user and password."""
        parts = urlsplit(self.dsn.get_secret_value())
        parameters = parse_qs(parts.query)
        database = unquote(parts.path.lstrip("/")) or "".join(parameters.get("dbname", ()))
        where = ", ".join(host if host.startswith("/") else f"{host}:{port}" for host, port in _places(parts))
        return f"{database or 'the default database'} on {where or 'this machine'}"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Log in, ask, and leave."""
        places = _places(urlsplit(self.dsn.get_secret_value()))
        if len(places) == 1 and not places[0][0].startswith("/") and not is_address(places[0][0]):
            run.step = f"looking up {places[0][0]}"
            try:
                await run.shared.get(NameResolver).addresses(*places[0])
            except OSError as error:
                return run.down("dns", f"{self.target}: {places[0][0]} cannot be looked up: {connect_problem(error)}")
        with bounded() as conversation:
            seen = await self._converse(run)
        return run.down("protocol", f"{self.target}: {conversation.excess}") if conversation.excess else seen

    async def _converse(self, run: Run) -> Observation:
        run.step = f"connecting to {self.target}"
        begun = run.clock()
        try:
            connection = await self._connect(run)
        except (*_FAILURES, *_FAILURES_AT_NONSENSE) as error:
            return _not_connected(run, self.target, error)
        run.measure("connect_time", run.clock() - begun)
        try:
            return await self._ask(run, connection)
        finally:
            # Says goodbye and waits for nobody. When a run is cut off in a query, the driver begins a task that would
            # connect again to cancel it; this stops that task, which needs one turn to notice.
            connection.terminate()
            await asyncio.sleep(0)

    async def _connect(self, run: Run) -> asyncpg.Connection[asyncpg.Record]:
        """Connect; the driver's own deadline lies behind the run's. No statement cache: a pooler changes servers."""
        password = self.password.get_secret_value() if self.password else None
        return await asyncpg.connect(
            self.dsn.get_secret_value(),
            password=password,
            timeout=run.timeout + 1,
            statement_cache_size=0,
            server_settings={"application_name": "wcr-watchd"},
        )

    async def _ask(self, run: Run, connection: asyncpg.Connection[asyncpg.Record]) -> Observation:
        try:
            return await self._look(run, _Session(run, connection))
        except _FAILURES as error:
            reason, _ = _REFUSALS.get(_state(error)[:2], ("protocol", ""))
            return run.down(reason, f"{self.target}: failed while {run.step}: {_words(error)}")

    async def _look(self, run: Run, session: _Session) -> Observation:
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
            await _look_at_archive(run, session, server)
        await session.end()
        if self.role != "any" and standby != (self.role == "standby"):
            found = "a standby (in recovery)" if standby else "a primary (not in recovery)"
            return run.down("content", f"{self.target} is {found}; it should be a {self.role}")
        return run.up(_summary(run, server["version_text"]))

    async def _look_at_sessions(self, run: Run, session: _Session, server: Row) -> None:
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
                f"for {format_duration(row['in_state'] or 0)}: {_without_values(row['query'])}"
                for row in oldest
            )

    async def _look_at_database(self, run: Run, session: _Session) -> None:
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


class _Session:
    """Queries in one read-only transaction; one that fails is left out, and the next begin a new one.

    The time limit is set for the transaction only, so that behind a pooler nobody else inherits it.
    """

    def __init__(self, run: Run, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._run = run
        self._connection = connection
        self._begun = False

    async def rows(self, query: str, waiting_for: str, *args: object) -> Sequence[Row]:
        """Rows of a query; whatever the server objects is raised."""
        self._run.step = f"waiting for {waiting_for}"
        if not self._begun:
            limit = round(STATEMENT_TIMEOUT * 1000)
            await self._connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}")
            self._begun = True
        return await self._connection.fetch(query, *args)

    async def row(self, query: str, waiting_for: str) -> Row:
        """The one row of a query."""
        return (await self.rows(query, waiting_for))[0]

    async def rows_or_missing(
        self, query: str, about: str, names: Sequence[str], *args: object
    ) -> Sequence[Row] | None:
        """Rows of a query; None when the server refuses it, which is said in the evidence. A lost connection raises."""
        try:
            return await self.rows(query, about, *args)
        except asyncpg.PostgresError as error:
            if self._connection.is_closed() or _is_the_end(error):
                raise
            self._run.missing(names or (about,), _words(error))
            await self._connection.execute("ROLLBACK")
            self._begun = False
        return None

    async def end(self) -> None:
        """End the transaction."""
        if self._begun:
            await self._connection.execute("COMMIT")
            self._begun = False


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


async def _look_at_locks(run: Run, session: _Session, version: int) -> None:
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
        f"for pid {', '.join(map(str, row['blockers'])) or 'nobody any more'}: {_without_values(row['query'])}"
        for row in waiting[:MOST_NAMED]
    ]
    lines += [
        f"blocking: {_who(row)}, {row['state'] or 'state not shown'}, transaction open for "
        f"{format_duration(row['transaction'] or 0)}: {_without_values(row['query'])}"
        for row in known[:MOST_NAMED]
    ]
    run.evidence["locks"] = "\n".join(lines)


async def _look_at_age(run: Run, session: _Session, version: int) -> None:
    ages = await session.rows_or_missing(
        _AGE, "the age of transactions", ("transaction_ids_used", "multixact_ids_used")
    )
    for row in ages or ():
        run.measure("transaction_ids_used", row["transactions"] / WRAPAROUND)
        run.measure("multixact_ids_used", row["multixacts"] / WRAPAROUND)
    if version >= 120000:
        damaged = await session.rows_or_missing(_DAMAGE, "damaged pages", ("checksum_failures",))
        run.measure_all({"checksum_failures": damaged[0]["failures"] if damaged else None})


async def _look_at_replication(run: Run, session: _Session, server: Row) -> None:
    if server["monitoring_privilege"]:
        standbys = await session.rows_or_missing(_STANDBYS, "standbys", ("standbys", "standby_behind", "standby_lag"))
        if standbys is not None:
            _measure_standbys(run, standbys)
    else:
        run.missing(("standbys", "standby_behind", "standby_lag"), f"role {server['own_role']} lacks pg_monitor")
    lost = "wal_status IN ('unreserved', 'lost')" if server["version"] >= 130000 else "NULL::bool"
    slots = await session.rows_or_missing(_SLOTS.format(lost=lost), "replication slots", ("slot_behind", "slot_lost"))
    for row in slots or ():
        for name, value in (("slot_behind", row["behind"]), ("slot_active", row["active"]), ("slot_lost", row["lost"])):
            if value is not None:
                run.measure(name, value, slot=row["slot"])
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


async def _look_at_archive(run: Run, session: _Session, server: Row) -> None:
    names = ("archive_failures", "archive_failing", "archive_age")
    for row in await session.rows_or_missing(_ARCHIVER, "the archiver", names) or ():
        run.measure("archive_failures", row["failures"])
        run.measure("archive_failing", row["failing"])
        if row["failing"]:
            run.evidence["archive"] = (
                f"archiving {row['failed_file']} failed {format_duration(row['failed'])} ago; "
                "the server's log tells why: see archive_command"
            )
        if row["position"] is not None and row["age"] is not None:
            end = _end_of(row["archived_file"] or "", server["segment_size"])
            pending = end is None or row["position"] - end > UNARCHIVED_LEAST
            run.measure("archive_age", row["age"] if pending else 0)
    if server["version"] < 120000:
        return
    if not server["may_list_archive"]:
        run.missing(("archive_backlog", "archive_waiting"), f"role {server['own_role']} lacks pg_monitor")
        return
    for row in (
        await session.rows_or_missing(_BACKLOG, "files to archive", ("archive_backlog", "archive_waiting")) or ()
    ):
        run.measure_all({"archive_backlog": row["files"], "archive_waiting": row["oldest"] or 0})


def _end_of(name: str, segment_size: int) -> int | None:
    """Position in the log behind a file of that name (timeline, upper, lower half: 8 hexadecimal digits each)."""
    if not re.match(r"[0-9A-F]{24}", name):
        return None
    per_upper = 2**32 // segment_size
    return (int(name[8:16], 16) * per_upper + int(name[16:24], 16) + 1) * segment_size


# --- in words ---------------------------------------------------------------------------------------------------------


def _places(parts: SplitResult) -> list[tuple[str, int]]:
    """Hosts (or folders of sockets) and ports that a DSN names; ``ValueError`` when a port is none."""
    parameters = parse_qs(parts.query)
    named = parts.netloc.rpartition("@")[2] or "".join(parameters.get("host", ()))
    default = "".join(parameters.get("port", ())) or "5432"
    places = []
    for place in filter(None, unquote(named).split(",")):
        found = re.fullmatch(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>/.*|[^:\[\]]+))(?::(?P<port>\d+))?", place)
        if not found or not 0 < int(found["port"] or default.split(",")[0]) < 65536:
            raise ValueError("not a host and port")
        places.append((found["ipv6"] or found["host"], int(found["port"] or default.split(",")[0])))
    return places


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "08": ("connect", "it ended the connection"),
    "28": ("auth", "it refused the login"),
    "3D": ("missing", "it has no such database"),
    "42": ("permission", "the role may not connect"),
    "53": ("refused", "it takes no more connections"),
    "57": ("refused", "it is starting, stopping or under repair"),
}
"""What a refusal means, by class of its SQLSTATE (PostgreSQL documentation, appendix A)."""


def _not_connected(run: Run, target: str, error: Exception) -> Observation:
    """Why there is no connection, with the words of the system or of the server."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return run.unknown("parse", f"{target}: the DSN cannot be used: {_words(error)}")
    if isinstance(error, FileNotFoundError) and "on /" not in target:
        return run.unknown("missing", f"{target}: a file that the DSN names (sslrootcert, sslcert …): {error.strerror}")
    if isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and "SSL" in str(error)):
        return run.down("tls", f"{target}: no TLS: {_words(error)}")
    if isinstance(error, OSError):
        return run.down("connect", f"{target}: no connection: {connect_problem(error)}")
    state = _state(error)
    reason, meaning = _REFUSALS.get(state[:2], ("protocol", "it does not speak as PostgreSQL does"))
    return run.down(reason, f"{target}: {meaning}: {_words(error)}" + (f" ({state})" if state else ""))


def _state(error: Exception) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_the_end(error: asyncpg.PostgresError) -> bool:
    """Whether the server ends the connection with it: connection exceptions, and shut-downs but not a time-out."""
    return _state(error).startswith(("08", "57P"))


def _words(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or "an error without words"


def _who(row: Row) -> str:
    program = f" ({row['application']})" if row["application"] else ""
    return f"pid {row['pid']} {row['role'] or 'no role'}{program}"


def _without_values(query: str | None) -> str:
    """The beginning of a query without the values in it, which may be anybody's data."""
    shown = re.split(r"'|\$[A-Za-z_]*\$", query or "no query shown")[0]
    shown = re.sub(r"(?<![\w$])\d+(?:\.\d+)?", "?", " ".join(shown.split()))
    return shown[:200] + (" …" if len(shown) > 200 or shown != " ".join((query or shown).split()) else "")


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

_SLOTS = """
SELECT slot_name::text AS slot, active, {lost} AS lost,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::float8 AS behind
FROM pg_replication_slots WHERE NOT temporary
"""

_STANDBY = """
SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 AS behind,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age,
       EXISTS (SELECT FROM pg_stat_wal_receiver) AS connected,
       (SELECT setting <> '' FROM pg_settings WHERE name = 'primary_conninfo') AS is_to_stream
"""

_ARCHIVER = """
SELECT failed_count AS failures, last_archived_wal AS archived_file, last_failed_wal AS failed_file,
       coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing,
       extract(epoch FROM clock_timestamp() - last_failed_time)::float8 AS failed,
       extract(epoch FROM clock_timestamp() - coalesce(last_archived_time, stats_reset))::float8 AS age,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 END AS position
FROM pg_stat_archiver
"""

_BACKLOG = """
SELECT count(*)::int AS files, extract(epoch FROM clock_timestamp() - min(modification))::float8 AS oldest
FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""
