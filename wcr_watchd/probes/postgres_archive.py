"""Watches whether a PostgreSQL server could be recovered to this minute: its archive of log, and the log on its disk.

Without an archive one can only go back to the last dump, and that is told. A role with ``pg_monitor`` sees how much
waits; to one without it, that is absent. (PostgreSQL documentation, 25.3.)
"""

from __future__ import annotations

from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.postgres.archive import ARCHIVE_MEASUREMENTS, SLOT_MEASUREMENTS, look_at_archive, look_at_slots
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session


class PostgresArchive(PostgresServer):
    """Options of a check of a server's archive."""

    type: ClassVar[str] = "postgres_archive"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec(
            "archiving",
            Unit.COUNT,
            "1 when log is archived by archive_mode or streamed to a slot, else 0",
            topic="mode",
        ),
        *ARCHIVE_MEASUREMENTS,
        MeasurementSpec("wal_size", Unit.BYTES, "Size of the log on the server's disk", topic="disk"),
        MeasurementSpec("wal_files", Unit.COUNT, "Files of the log on the server's disk", topic="disk"),
        *SLOT_MEASUREMENTS,
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "archiving == 0"),
        (Severity.WARNING, "archive_failing == 1 for 2m"),
        (Severity.WARNING, "archive_age > 15m until archive_age < 10m"),
        (Severity.CRITICAL, "archive_age > 1h until archive_age < 15m"),
        (Severity.WARNING, "archive_waiting > 15m until archive_waiting < 5m"),
        (Severity.CRITICAL, "slot_lost == 1"),
        (Severity.WARNING, "wal_size > 20GiB until wal_size < 15GiB"),
    )

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Ask the archiver, the slots and the folder of the log."""
        server = await session.server()
        mode = server["archive_mode"]
        on = mode == "always" or (mode == "on" and not server["in_recovery"])
        if on:
            await look_at_archive(run, session, server)
        await look_at_slots(run, session, server["version"])
        await _look_at_log(run, session, server)
        await session.end()
        streamed = any(one.name == "slot_active" and one.value for one in run.measurements)
        if not server["in_recovery"]:
            run.measure("archiving", on or streamed)
        return run.up(_summary(run, server, on))


async def _look_at_log(run: Run, session: Session, server: Row) -> None:
    names = ("wal_size", "wal_files")
    if not server["may_list_archive"]:
        run.missing(names, f"role {server['own_role']} lacks pg_monitor: GRANT pg_monitor TO {server['own_role']}")
        return
    for row in await session.rows_or_missing(_LOG, "the folder of the log", names) or ():
        run.measure_all({"wal_size": row["size"], "wal_files": row["files"]})


def _summary(run: Run, server: Row, on: bool) -> str:
    values = {one.name: one.value for one in run.measurements if not one.labels}
    if server["in_recovery"] and not on:
        return "a standby, which archives nothing itself"
    if not on:
        streams = values.get("archiving")
        return (
            "archive_mode is off; its log is streamed to a slot"
            if streams
            else "archive_mode is off: it can be recovered to its last dump only (set archive_mode and archive_command)"
        )
    said = ["archiving"]
    if values.get("archive_failing"):
        said = [run.evidence["archive"]]
    elif "archive_age" in values:
        said.append(
            f"the last file {format_duration(values['archive_age'])} ago" if values["archive_age"] else "up to date"
        )
    if values.get("archive_backlog"):
        waiting = round(values["archive_backlog"])
        said.append(f"{waiting} file waits" if waiting == 1 else f"{waiting} files wait")
    if "wal_size" in values:
        said.append(f"log of {format_value(values['wal_size'], Unit.BYTES)} on disk")
    return ", ".join(said)


_LOG = "SELECT coalesce(sum(size), 0)::float8 AS size, count(*)::int AS files FROM pg_ls_waldir()"
