"""Watches which statements a PostgreSQL database spends its time on: the slowest, the greediest, those that are new.

Needs the extension pg_stat_statements in this database and the role ``pg_monitor``. The counters of two runs are
compared; after a reset, or when the server threw a statement out of its list, that one is counted from then on.
(PostgreSQL documentation, F.30.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session, without_values

REMEMBERED = 1_000
"""Statements whose counters are kept from run to run: those that took most time."""
TOP = 10
"""Statements that are named in the evidence."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a statement did since the last run: how often, for how long together (seconds), bytes of temporary files."""

    query: str
    calls: int
    time: float
    temporary: float

    @property
    def mean(self) -> float:
        """Seconds a call."""
        return self.time / self.calls


class PostgresStatements(PostgresServer):
    """Options of a check of a database's statements."""

    type: ClassVar[str] = "postgres_statements"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 20.0
    example: ClassVar[str] = 'dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("slowest_mean", Unit.SECONDS, "Mean time of the slowest statement since the last run"),
        MeasurementSpec("busy", Unit.COUNT, "Sessions that were working on statements, on average since the last run"),
        MeasurementSpec(
            "largest_share", Unit.RATIO, "Share of the database's time that one statement took", topic="share"
        ),
        MeasurementSpec("calls", Unit.COUNT, "Statements carried out in this database", counter=True),
        MeasurementSpec("temporary", Unit.BYTES, "Written to temporary files since the last run", topic="temporary"),
        MeasurementSpec(
            "new_on_top", Unit.COUNT, f"Statements among the {TOP} greediest that were never seen before", topic="new"
        ),
        MeasurementSpec("statements", Unit.COUNT, "Different statements that the server keeps counters of"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "slowest_mean > 1s for 5m until slowest_mean < 800ms for 2m"),
        (Severity.INFO, "largest_share > 30% and busy > 0.1 for 10m until largest_share < 20% or busy < 0.05"),
        (Severity.INFO, "new_on_top > 0 and busy > 0.1"),
    )

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Compare the counters with those of the last run."""
        server = await session.server()
        if not server["may_read_statistics"]:
            role = server["own_role"]
            return run.unknown(
                "permission", f"{self.target}: {role} may not see statements: GRANT pg_monitor TO {role}"
            )
        if lacking := await _lacking(session):
            return run.unknown("missing", f"{self.target}: {lacking}")
        reset = await _reset_at(session, server["version"])
        times = "total_exec_time" if server["version"] >= 130000 else "total_time"
        query = _STATEMENTS.format(time=times, limit=REMEMBERED)
        rows = await session.rows_or_missing(query, "the statements' counters", ("slowest_mean", "busy"))
        if rows is None:
            return session.untold(self.target)
        sums = await session.row(_SUMS.format(time=times), "the sum of the statements' counters")
        await session.end()
        run.measure_all({"calls": sums["calls"], "statements": sums["statements"]})
        before, run.memory["seen"] = run.memory.get("seen"), _kept(run, reset, rows, sums)
        if before is None or before["reset"] != reset or before["at"] >= run.started:
            return run.up("the counters of this run are the first ones, or the first after a reset; judged from now on")
        return self._compare(run, before, rows, sums)

    def _compare(self, run: Run, before: Mapping[str, Any], rows: Sequence[Row], sums: Row) -> Observation:
        since = run.started - before["at"]
        spent, new = since_then(before, rows)
        total = max(sums["time"] / 1000 - before["time"], sum(one.time for one in spent))
        top = sorted(spent, key=lambda one: one.time, reverse=True)[:TOP]
        slowest = max(spent, key=lambda one: one.mean, default=None)
        run.measure("busy", total / since)
        run.measure("slowest_mean", slowest.mean if slowest else 0)
        run.measure("largest_share", top[0].time / total if top and total > 0 else 0)
        run.measure("temporary", sum(one.temporary for one in spent))
        run.measure("new_on_top", sum(one.query in new for one in top))
        texts = {row["id"]: row["query"] for row in rows}
        run.evidence["statements"] = "\n".join(_line(one, total, texts, one.query in new) for one in top)
        if slowest is None:
            return run.up(f"no statement was carried out in the last {format_duration(since)}")
        shown = without_values(texts.get(slowest.query))
        return run.up(f"the slowest of {len(spent)} statements takes {format_duration(slowest.mean)} a call: {shown}")


async def _lacking(session: Session) -> str:
    """What is missing for there to be counters; empty when nothing is."""
    found = await session.rows("SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'", "the extension")
    loaded = await session.row("SELECT current_setting('pg_stat_statements.max', true) AS most", "the extension")
    if loaded["most"] is None:
        return "pg_stat_statements is not loaded: put it into shared_preload_libraries and restart the server"
    if not found:
        return "the extension is not in this database: CREATE EXTENSION pg_stat_statements"
    return ""


async def _reset_at(session: Session, version: int) -> str:
    """When the counters were last set to 0; before PostgreSQL 14 the server does not say."""
    if version < 140000:
        return ""
    rows = await session.rows_or_missing(
        "SELECT stats_reset::text AS at FROM pg_stat_statements_info", "the counters' last reset", ()
    )
    return str(rows[0]["at"]) if rows else ""


def _kept(run: Run, reset: str, rows: Sequence[Row], sums: Row) -> dict[str, Any]:
    """What the next run compares with; times in seconds. ``whole``: it holds all statements there are."""
    counters = {row["id"]: [row["calls"], round(row["time"] / 1000, 4), int(row["temporary"])] for row in rows}
    return {
        "at": run.started,
        "reset": reset,
        "time": sums["time"] / 1000,
        "whole": len(rows) < REMEMBERED,
        "counters": counters,
    }


def since_then(before: Mapping[str, Any], rows: Sequence[Row]) -> tuple[list[Spent], set[str]]:
    """What each statement did since the last run, and which of them are new.

    One whose counters went down was thrown out and taken in again, and is left out for this time; one that was not
    there is new where all there were are known.
    """
    spent, new = [], set()
    for row in rows:
        known = before["counters"].get(row["id"])
        if known is None:
            if not before["whole"]:
                continue
            new.add(row["id"])
        calls, time, temporary = known or (0, 0.0, 0)
        if row["calls"] > calls and row["time"] / 1000 >= time - 0.001:
            took = max(0.0, row["time"] / 1000 - time)
            spent.append(Spent(row["id"], row["calls"] - calls, took, max(0, int(row["temporary"]) - temporary)))
    return spent, new


def _line(one: Spent, total: float, texts: Mapping[str, str], is_new: bool) -> str:
    share = format_value(one.time / total, Unit.RATIO) if total > 0 else "no time"
    fresh = "new, " if is_new else ""
    return (
        f"{fresh}{share}: {one.calls} calls of {format_duration(one.mean)}, query id {one.query}: "
        f"{without_values(texts.get(one.query))}"
    )


_OF_THIS = "FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"

_STATEMENTS = f"""
SELECT queryid::text AS id, sum(calls)::int8 AS calls, sum({{time}})::float8 AS time, left(min(query), 300) AS query,
       (sum(temp_blks_written) * current_setting('block_size')::int)::float8 AS temporary
{_OF_THIS} AND queryid IS NOT NULL
GROUP BY queryid ORDER BY 3 DESC LIMIT {{limit}}
"""

_SUMS = f"""
SELECT coalesce(sum(calls), 0)::float8 AS calls, coalesce(sum({{time}}), 0)::float8 AS time, count(*)::int AS statements
{_OF_THIS}
"""
