"""Asks a PostgreSQL database a query of one's own, in a read-only transaction, and measures what it answers.

With one row, each column named under ``values`` is a measurement. With several, ``label`` names the column that tells
them apart. A query that fails makes the check unknown, not down: the database may be well, the query is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import asyncpg
from pydantic import Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session, words

MOST_ROWS = 200
_UNITS = {
    "number": Unit.COUNT,
    "seconds": Unit.SECONDS,
    "bytes": Unit.BYTES,
    "ratio": Unit.RATIO,
    "timestamp": Unit.TIMESTAMP,
    "celsius": Unit.CELSIUS,
}
_REASONS = {"42501": "permission", "57014": "timeout"}
"""SQLSTATEs of a query that may not be asked, and of one that the server gave up."""

ValueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Sql(PostgresServer):
    """Options of a query against a database."""

    type: ClassVar[str] = "sql"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app?sslmode=require"
query = '''
SELECT state, count(*) AS payments, max(now() - created_at) AS oldest
FROM payments WHERE state IN ('pending', 'failed') GROUP BY state
'''
label = "state"
values = { payments = "number", oldest = "seconds" }
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("connect_time", Unit.SECONDS, "Time to connect and log in"),
        MeasurementSpec("query_time", Unit.SECONDS, "Time of the query"),
        MeasurementSpec("rows", Unit.COUNT, f"Rows that it found, {MOST_ROWS} at most"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)

    query: Annotated[str, Field(min_length=1)] = "SELECT 1"
    """One statement that only reads."""
    values: dict[ValueName, Literal["number", "seconds", "bytes", "ratio", "timestamp", "celsius"]] = Field(
        default_factory=dict
    )
    """Measurements: column = what it is: "number", "seconds" (intervals, too), "bytes", "ratio" (0-1), "timestamp"
    (points in time, too) or "celsius". Empty values (NULL) are absent."""
    label: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*)?$")] = ""
    """Column that tells rows apart; without it there must be one row, or none."""

    @model_validator(mode="after")
    def _names_are_free(self) -> Sql:
        if taken := {spec.name for spec in self.measurements} & set(self.values):
            raise ValueError(f"values.{min(taken)} has the name of a measurement that every such check has; rename it")
        if self.label in (*self.values, "le", "quantile"):
            raise ValueError(f"{self.label} cannot be the label")
        return self

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements and those under ``values``."""
        labels = (self.label,) if self.label else ()
        own = (
            MeasurementSpec(name, _UNITS[unit], f"Column {name} of the query", labels)
            for name, unit in self.values.items()
        )
        return (*self.measurements, *own)

    async def look(self, run: Run, session: Session) -> Observation:
        """Ask the query, and measure its columns."""
        run.measure("connect_time", session.connect_time)
        begun = run.clock()
        try:
            rows, columns = await self._asked(run, session)
        except asyncpg.PostgresError as error:
            if (reason := _our_fault(error)) is None:
                raise
            return run.unknown(reason, f"{self.target} does not answer the query: {words(error)} ({error.sqlstate})")
        seconds = run.clock() - begun
        run.measure("query_time", seconds)
        run.measure("rows", len(rows))
        if problem := self._not_as_declared(rows, columns):
            return run.unknown("content", f"{self.target}: {problem}")
        for row in rows:
            self._measure(run, row)
        if len(rows) == MOST_ROWS:
            run.evidence["rows"] = f"no more than {MOST_ROWS} are read"
        return run.up(f"{self.target} answered the query in {format_duration(seconds)}: {_counted(rows)}")

    async def _asked(self, run: Run, session: Session) -> tuple[Sequence[Row], Sequence[str]]:
        """The first rows of the query, and the names of its columns.

        What is prepared is one statement, so the query cannot end the read-only transaction and go on.
        """
        await session.rows("SELECT 1", f"{self.target} to begin a transaction")
        run.step = f"waiting for the answer of {self.target} to the query"
        statement = await session.connection.prepare(self.query)
        rows = await (await statement.cursor()).fetch(MOST_ROWS)
        await session.end()
        return rows, [attribute.name for attribute in statement.get_attributes()]

    def _not_as_declared(self, rows: Sequence[Row], columns: Sequence[str]) -> str:
        missing = [name for name in (*self.values, *filter(None, (self.label,))) if name not in columns]
        if missing:
            return f"the query has no column {missing[0]}; it has {', '.join(columns) or 'none'}"
        if len(rows) > 1 and self.values and not self.label:
            return f"the query found {_counted(rows)}, expected one: aggregate it, or set label"
        if self.label and len({str(row[self.label]) for row in rows}) < len(rows):
            return f"several rows have the same {self.label}: aggregate them"
        return ""

    def _measure(self, run: Run, row: Row) -> None:
        labels = {self.label: str(row[self.label])[:200]} if self.label else {}
        for name in self.values:
            number = _number(row[name])
            if number is not None:
                run.measure(name, number, **labels)
            elif row[name] is not None:
                run.missing((name,), f"a {type(row[name]).__name__} is no number")


def _number(value: Any) -> float | None:
    """A column's value as a number: intervals in seconds, points in time in epoch seconds; None for all else."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo is not None else None
    if isinstance(value, bool | int | float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _our_fault(error: asyncpg.PostgresError) -> str | None:
    """The reason when the query is at fault: wrong, not allowed, not only reading, or too slow; None when it is not.

    By class of the SQLSTATE (PostgreSQL documentation, appendix A).
    """
    state = error.sqlstate or ""
    if state in _REASONS:
        return _REASONS[state]
    return "parse" if state[:2] in ("22", "25", "42") else None


def _counted(rows: Sequence[Row]) -> str:
    return "one row" if len(rows) == 1 else f"{len(rows)} rows"
