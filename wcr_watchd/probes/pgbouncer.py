"""Watches a PgBouncer: who waits for a connection and for how long, how full its pools are, what goes through them.

Asks its admin console (``SHOW POOLS``, ``SHOW STATS``, ``SHOW CONFIG``), which a user in ``stats_users`` may; the DSN
names the database ``pgbouncer``. (pgbouncer(1), "Admin console".)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.postgres.console import Console, ConsoleError, NoConsoleError
from wcr_watchd.kit.postgres.server import PostgresServer, Session

MOST_NAMED = 10
_CLIENTS = {"clients_active": "cl_active", "clients_waiting": "cl_waiting"}
_SERVERS = {"servers_active": "sv_active", "servers_idle": "sv_idle"}
_TOTALS = {
    "transactions": "total_xact_count",
    "queries": "total_query_count",
    "received": "total_received",
    "sent": "total_sent",
}
_TIMES = {"query_time": "total_query_time", "wait_time": "total_wait_time"}
"""In microseconds."""

Rows = list[dict[str, str]]


def _spec(name: str, unit: Unit, text: str, topic: str = "", *, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("database",), counter, topic)


class PgBouncer(PostgresServer):
    """Options of a check of a PgBouncer."""

    type: ClassVar[str] = "pgbouncer"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 30.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'dsn = "postgresql://stats:${credential:pgbouncer_password}@127.0.0.1:6432/pgbouncer"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("connect_time", Unit.SECONDS, "Time to connect and log in"),
        _spec("clients_active", Unit.COUNT, "Clients that have a connection to the server", "clients"),
        _spec("clients_waiting", Unit.COUNT, "Clients that wait for a connection to the server", "clients"),
        _spec("longest_wait", Unit.SECONDS, "How long the first of the waiting clients has been waiting", "clients"),
        _spec("servers_active", Unit.COUNT, "Connections to the server that a client has", "servers"),
        _spec("servers_idle", Unit.COUNT, "Connections to the server that are free", "servers"),
        MeasurementSpec(
            "clients_used", Unit.RATIO, "Share in use of the clients that PgBouncer takes", topic="client limit"
        ),
        _spec("transactions", Unit.COUNT, "Transactions", counter=True),
        _spec("queries", Unit.COUNT, "Queries", counter=True),
        _spec("received", Unit.BYTES, "Received from clients", counter=True),
        _spec("sent", Unit.BYTES, "Sent to clients", counter=True),
        _spec("query_time", Unit.SECONDS, "Time that queries took together", counter=True),
        _spec("wait_time", Unit.SECONDS, "Time that clients waited for a connection together", counter=True),
        MeasurementSpec("paused", Unit.COUNT, "Databases that are paused or disabled by hand", topic="paused"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "clients_waiting > 0 for 1m"),
        (Severity.WARNING, "longest_wait > 1s for 2x"),
        (Severity.WARNING, "clients_used > 80% for 2m until clients_used < 70%"),
        (Severity.WARNING, "paused > 0 for 5m"),
    )

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Ask the admin console."""
        run.measure("connect_time", session.connect_time)
        console = Console(session.connection)
        try:
            pools = await self._show(run, console, "POOLS")
            stats = await self._show(run, console, "STATS")
            databases = await self._show(run, console, "DATABASES")
            config = {row.get("key", ""): row.get("value", "") for row in await self._show(run, console, "CONFIG")}
        except ConsoleError as error:
            hint = "the DSN must name the database pgbouncer, and the user stand in stats_users or admin_users"
            return run.unknown("permission", f"{self.target} refuses SHOW: {error}; {hint}")
        except NoConsoleError as error:
            return run.down("protocol", f"failed while {run.step}: {error}")
        if not pools or "cl_waiting" not in pools[0]:
            return run.unknown("content", f"{self.target} shows no pools; does the DSN name the database pgbouncer?")
        waiting = self._measure_pools(run, pools, config)
        for row in stats:
            self._measure_totals(run, row)
        run.measure("paused", sum(_number(row, "paused") > 0 or _number(row, "disabled") > 0 for row in databases))
        clients = sum(_number(row, "cl_active") for row in pools)
        waits = f"; waiting: {', '.join(waiting[:3])}" if waiting else ", nobody waits"
        return run.up(f"{clients:.0f} clients in {len(_by_database(pools))} pools{waits}")

    async def _show(self, run: Run, console: Console, what: str) -> Rows:
        run.step = f"waiting for SHOW {what} of {self.target}"
        return await console.rows(f"SHOW {what}")

    def _measure_pools(self, run: Run, pools: Rows, config: Mapping[str, str]) -> list[str]:
        """Measure by database; the waiting ones in words."""
        waiting = []
        for database, rows in _by_database(pools).items():
            for name, column in (*_CLIENTS.items(), *_SERVERS.items()):
                run.measure(name, sum(_number(row, column) for row in rows), database=database)
            longest = max(_number(row, "maxwait") + _number(row, "maxwait_us") / 1e6 for row in rows)
            run.measure("longest_wait", longest, database=database)
            waiting += [
                f"{_number(row, 'cl_waiting'):.0f} as {row.get('user', '?')} in {database}, "
                f"up to {format_duration(longest)}"
                for row in rows
                if _number(row, "cl_waiting")
            ]
        if waiting:
            run.evidence["waiting"] = "\n".join(waiting[:MOST_NAMED])
        most = _number(config, "max_client_conn")
        if most > 0:
            taken = sum(_number(row, column) for row in pools for column in _CLIENTS.values())
            run.measure("clients_used", taken / most)
        return waiting

    def _measure_totals(self, run: Run, row: Mapping[str, str]) -> None:
        database = row.get("database", "")
        for name, column in _TOTALS.items():
            if column in row:
                run.measure(name, _number(row, column), database=database)
        for name, column in _TIMES.items():
            if column in row:
                run.measure(name, _number(row, column) / 1e6, database=database)


def _by_database(pools: Iterable[dict[str, str]]) -> dict[str, Rows]:
    """The pools of each database but the console's own; a database has one for each user."""
    found: dict[str, Rows] = {}
    for row in pools:
        if row.get("database") != "pgbouncer":
            found.setdefault(row.get("database", ""), []).append(row)
    return found


def _number(row: Mapping[str, str], column: str) -> float:
    text = row.get(column, "")
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0
