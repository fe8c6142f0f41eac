"""Watches how a PostgreSQL database's tables wear: dead rows, vacuum and analyze, sizes.

Looks at the tables of the one database that the DSN names. (PostgreSQL documentation, 24.1 and 27.2.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session

DEAD_SHARE, DEAD_ROWS = 0.2, 10_000
"""A table has too many dead rows when they are more than this share of all, and more than this many."""
MANY_ROWS = 10_000
"""Rows from which on a table that was never analyzed matters."""
CHANGED_SHARE = 0.2
"""Statistics are old when more than this share of the rows changed since they were gathered."""
MOST_NAMED = 10


class PostgresTables(PostgresServer):
    """Options of a check of a database's tables."""

    type: ClassVar[str] = "postgres_tables"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = 'dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("tables", Unit.COUNT, "Tables in this database"),
        MeasurementSpec(
            "wasteful_tables", Unit.COUNT, "Tables of which over 20 % and 10 000 rows are dead", topic="dead rows"
        ),
        MeasurementSpec("dead_share", Unit.RATIO, "Share of dead rows in a large table", ("table",), topic="dead rows"),
        MeasurementSpec("never_analyzed", Unit.COUNT, "Tables of over 10 000 rows never analyzed", topic="statistics"),
        MeasurementSpec(
            "old_statistics", Unit.COUNT, "Tables of which over 20 % changed since they were analyzed", topic="old"
        ),
        MeasurementSpec("vacuum_age", Unit.SECONDS, "Time since a large table was vacuumed", ("table",)),
        MeasurementSpec("analyze_age", Unit.SECONDS, "Time since a large table was analyzed", ("table",)),
        MeasurementSpec("table_size", Unit.BYTES, "Size of a large table with its indexes", ("table",), topic="size"),
        MeasurementSpec("tables_size", Unit.BYTES, "Size of all tables with their indexes", topic="size"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "wasteful_tables > 0 for 2x"),
        (Severity.WARNING, "never_analyzed > 0 for 2x"),
        (Severity.INFO, "old_statistics > 0 for 2x"),
    )

    largest: Annotated[int, Field(ge=1, le=200)] = 20
    """How many tables have measurements of their own: the largest ones."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Read the statistics of all tables and the sizes of the largest."""
        server = await session.server()
        if server["in_recovery"]:
            return run.unknown("standby", f"{self.target} is a standby, which has no statistics; ask the primary")
        names = ("tables", "tables_size")
        rows = await session.rows_or_missing(_TABLES, "the tables' statistics", names)
        if rows is None:
            return session.untold(self.target)
        await session.end()
        for row in rows[:1]:
            run.measure_all({name: row[name] for name in names})
        wasteful = [row for row in rows if row["dead"] > DEAD_ROWS and _dead_share(row) > DEAD_SHARE]
        never = [row for row in rows if row["analyzed"] is None and row["live"] > MANY_ROWS]
        old = [row for row in rows if row["analyzed"] is not None and row["changed"] > _many(row)]
        for name, found in (("wasteful_tables", wasteful), ("never_analyzed", never), ("old_statistics", old)):
            run.measure(name, len(found))
        for row in rows[: self.largest]:
            _measure(run, row)
        _name(run, "dead rows (VACUUM)", wasteful, lambda row: format_value(_dead_share(row), Unit.RATIO))
        _name(run, "never analyzed (ANALYZE)", never, lambda row: f"{row['live']} rows")
        _name(run, "changed since (ANALYZE)", old, lambda row: f"{row['changed']} of {row['live']} rows")
        return run.up(_summary(rows, wasteful, never))


def _dead_share(row: Row) -> float:
    return float(row["dead"] / max(1, row["dead"] + row["live"]))


def _many(row: Row) -> float:
    return float(max(MANY_ROWS, CHANGED_SHARE * row["live"]))


def _measure(run: Run, row: Row) -> None:
    table = row["name"]
    if row["size"] is not None:
        run.measure("table_size", row["size"], table=table)
    run.measure("dead_share", _dead_share(row), table=table)
    for name, age in (("vacuum_age", row["vacuumed"]), ("analyze_age", row["analyzed"])):
        if age is not None:
            run.measure(name, age, table=table)


def _name(run: Run, heading: str, rows: Sequence[Row], said: Callable[[Row], str]) -> None:
    if rows:
        shown = [f"{row['name']}: {said(row)}, vacuumed {_ago(row['vacuumed'])}" for row in rows[:MOST_NAMED]]
        run.evidence[heading] = "\n".join([*shown, *(["…"] if len(rows) > MOST_NAMED else [])])


def _ago(age: float | None) -> str:
    return "never" if age is None else f"{format_duration(age)} ago"


def _summary(rows: Sequence[Row], wasteful: Sequence[Row], never: Sequence[Row]) -> str:
    if not rows:
        return "this database has no tables"
    count, size = rows[0]["tables"], format_value(rows[0]["tables_size"] or 0, Unit.BYTES)
    said = [f"{count} {'table' if count == 1 else 'tables'} of {size}"]
    if wasteful:
        said.append(f"too many dead rows in {', '.join(row['name'] for row in wasteful[:3])}")
    if never:
        said.append(f"never analyzed: {', '.join(row['name'] for row in never[:3])}")
    return "; ".join(said)


_TABLES = """
SELECT *, (count(*) OVER ())::int AS tables, (sum(size) OVER ())::float8 AS tables_size
FROM (SELECT format('%s.%s', schemaname, relname) AS name, n_live_tup AS live, n_dead_tup AS dead,
             n_mod_since_analyze AS changed, pg_total_relation_size(relid) AS size,
             extract(epoch FROM clock_timestamp() - greatest(last_vacuum, last_autovacuum))::float8 AS vacuumed,
             extract(epoch FROM clock_timestamp() - greatest(last_analyze, last_autoanalyze))::float8 AS analyzed
      FROM pg_stat_user_tables) AS known
ORDER BY size DESC NULLS LAST LIMIT 1000
"""
"""The thousand largest: what wears in smaller ones costs nobody anything."""
