"""Watches a PostgreSQL database's indexes: invalid ones, ones that nobody uses, duplicates, and how bloated they are.

Looks at the one database that the DSN names. How bloated an index is, is estimated: from the rows it has and the widths
of its columns that ANALYZE found, which the role may see only of tables that it may read (``pg_read_all_data``).
(PostgreSQL documentation, 24.2, 51.26 and 64.4; a B-tree's pages are filled to 90 %.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_value
from wcr_watchd.kit.options import Duration, Size
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session

DAY = 86400.0
BLOATED = 0.5
"""Share of an index that is empty from which on it is told."""
MOST_NAMED = 10


class PostgresIndexes(PostgresServer):
    """Options of a check of a database's indexes."""

    type: ClassVar[str] = "postgres_indexes"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = DAY
    timeout: ClassVar[float] = 60.0
    example: ClassVar[str] = 'dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("indexes", Unit.COUNT, "Indexes in this database"),
        MeasurementSpec("indexes_size", Unit.BYTES, "Size of all indexes"),
        MeasurementSpec(
            "invalid_indexes",
            Unit.COUNT,
            "Indexes that are kept up and not used, because building failed",
            topic="invalid",
        ),
        MeasurementSpec("unused_indexes", Unit.COUNT, "Large indexes that were never scanned", topic="unused"),
        MeasurementSpec("unused_size", Unit.BYTES, "Size of large indexes that were never scanned", topic="unused"),
        MeasurementSpec("duplicate_indexes", Unit.COUNT, "Indexes that another one makes superfluous", topic="unused"),
        MeasurementSpec("bloated_indexes", Unit.COUNT, "Large B-trees that are over half empty", topic="bloat"),
        MeasurementSpec("bloat_size", Unit.BYTES, "What is empty in large B-trees, by estimate", topic="bloat"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "invalid_indexes > 0"),
        (Severity.INFO, "unused_indexes > 0 or duplicate_indexes > 0"),
        (Severity.INFO, "bloated_indexes > 0"),
    )

    least_size: Size = 10 * 2**20
    """Below this size, it is no matter whether an index is used or bloated."""
    least_statistics: Duration = 7 * DAY
    """For how long statistics must have been gathered before an index counts as unused."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Read the catalogue of all indexes."""
        server = await session.server()
        names = ("indexes", "indexes_size")
        rows = await session.rows_or_missing(_INDEXES, "the indexes", names)
        if rows is None:
            return session.untold(self.target)
        sums = {name: rows[0][name] if rows else 0 for name in names}
        run.measure_all(sums)
        invalid = [row for row in rows if not row["valid"]]
        self._tell(run, "invalid_indexes", "invalid (DROP INDEX or REINDEX)", invalid)
        same = await session.rows_or_missing(_DUPLICATES, "indexes that are the same", ("duplicate_indexes",))
        if same is not None:
            run.measure("duplicate_indexes", sum(row["times"] - 1 for row in same))
            if same:
                run.evidence["duplicates"] = "\n".join(row["names"] for row in same[:MOST_NAMED])
        unused = await self._look_at_use(run, session, rows, bool(server["in_recovery"]))
        await self._look_at_bloat(run, session)
        await session.end()
        problems = {"invalid": invalid, "never used": unused}
        said = [f"{word}: {', '.join(row['name'] for row in found[:3])}" for word, found in problems.items() if found]
        return run.up(
            "; ".join([f"{sums['indexes']} indexes of {format_value(sums['indexes_size'], Unit.BYTES)}", *said])
        )

    async def _look_at_use(self, run: Run, session: Session, rows: Sequence[Row], standby: bool) -> Sequence[Row]:
        """Large indexes that were never scanned, when that has been counted for long enough."""
        names = ("unused_indexes", "unused_size")
        counted = await session.row(_COUNTED, "since when use is counted")
        if standby:
            run.missing(names, "a standby does not know what is used on the primary")
        elif counted["seconds"] is None or counted["seconds"] < self.least_statistics:
            run.missing(names, "the server has not counted for long enough: see least_statistics")
        else:
            # One that enforces something is needed though nobody reads it.
            unused = [row for row in rows if not row["scans"] and not row["enforces"] and row["valid"]]
            unused = [row for row in unused if row["size"] >= self.least_size]
            self._tell(run, "unused_indexes", "never used", unused)
            run.measure("unused_size", sum(row["size"] for row in unused))
            return unused
        return ()

    async def _look_at_bloat(self, run: Run, session: Session) -> None:
        names = ("bloated_indexes", "bloat_size")
        rows = await session.rows_or_missing(_BLOAT, "how full the indexes are", names, self.least_size)
        if rows is None:
            return
        known = [row for row in rows if row["width"] is not None]
        if rows and not known:
            run.missing(names, "the role may not see the tables' statistics: GRANT pg_read_all_data, and ANALYZE")
            return
        empty = {row["name"]: max(0.0, 1 - row["needed"] / row["size"]) for row in known}
        bloated = [row for row in known if empty[row["name"]] > BLOATED]
        self._tell(
            run,
            "bloated_indexes",
            "bloated (REINDEX INDEX CONCURRENTLY)",
            bloated,
            lambda row: f", {format_value(empty[row['name']], Unit.RATIO)} empty",
        )
        run.measure("bloat_size", sum(empty[row["name"]] * row["size"] for row in known))

    def _tell(
        self, run: Run, name: str, heading: str, rows: Sequence[Row], more: Callable[[Row], str] = lambda row: ""
    ) -> None:
        """Measure how many these are, and name them."""
        run.measure(name, len(rows))
        if rows:
            run.evidence[heading] = "\n".join(
                f"{row['name']} on {row['table']}, {format_value(row['size'], Unit.BYTES)}{more(row)}"
                for row in rows[:MOST_NAMED]
            )


_INDEXES = """
SELECT *, (count(*) OVER ())::int AS indexes, (sum(size) OVER ())::float8 AS indexes_size
FROM (SELECT format('%s.%s', s.schemaname, s.indexrelname) AS name, s.relname::text AS table, s.idx_scan AS scans,
             coalesce(pg_relation_size(s.indexrelid), 0) AS size,
             i.indisvalid
                 OR EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS valid,
             i.indisunique OR i.indisexclusion OR i.indisreplident
                 OR EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid) AS enforces
      FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid)) AS known
ORDER BY valid, size DESC LIMIT 1000
"""
"""The invalid ones, and the largest."""

_DUPLICATES = """
SELECT count(*)::int AS times, string_agg(i.indexrelid::regclass::text, ', ' ORDER BY i.indexrelid) AS names
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND i.indisvalid
GROUP BY i.indrelid, c.relam, i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
         pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)
HAVING count(*) > 1
LIMIT 1000
"""

_COUNTED = """
SELECT extract(epoch FROM clock_timestamp()
               - coalesce(stats_reset, pg_postmaster_start_time()))::float8 AS seconds
FROM pg_stat_database WHERE datname = current_database()
"""

_BLOAT = """
SELECT format('%s.%s', n.nspname, c.relname) AS name, t.relname::text AS table, w.width,
       pg_relation_size(c.oid) AS size,
       (c.reltuples * (w.width + 16) / 0.9)::float8 AS needed
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
CROSS JOIN LATERAL (
    SELECT CASE WHEN count(*) = i.indnatts THEN ceil(sum(s.avg_width) / 8.0) * 8 END AS width
    FROM pg_attribute k
    JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = k.attname
    WHERE k.attrelid = t.oid AND k.attnum = ANY (i.indkey::int2[]) AND NOT s.inherited
) AS w
WHERE a.amname = 'btree' AND pg_relation_size(c.oid) >= $1 AND c.reltuples >= 0 AND i.indisvalid AND i.indexprs IS NULL
  AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
LIMIT 2000
"""
