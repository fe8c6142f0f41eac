"""How a PostgreSQL server's log gets into its archive, and what is kept back of it for whoever reads it later."""

from __future__ import annotations

import re

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.postgres.server import Row, Session

UNARCHIVED_LEAST = 64 * 1024
"""Bytes written since the last archived file that count as something to archive; the server itself writes a little."""

ARCHIVE_MEASUREMENTS = (
    MeasurementSpec(
        "archive_failures", Unit.COUNT, "Failed attempts to archive a log file", counter=True, topic="archive"
    ),
    MeasurementSpec(
        "archive_failing",
        Unit.COUNT,
        "1 when the latest attempt to archive a log file failed, else 0",
        topic="archive",
    ),
    MeasurementSpec(
        "archive_age", Unit.SECONDS, "Time since something was archived, 0 when nothing is to be", topic="archive"
    ),
    MeasurementSpec("archive_backlog", Unit.COUNT, "Finished log files that wait to be archived", topic="archive"),
    MeasurementSpec(
        "archive_waiting", Unit.SECONDS, "How long the oldest finished log file has been waiting", topic="archive"
    ),
)
"""What :func:`look_at_archive` measures."""

SLOT_MEASUREMENTS = (
    MeasurementSpec(
        "slot_behind", Unit.BYTES, "Log that is kept back for a replication slot", ("slot",), topic="replication"
    ),
    MeasurementSpec(
        "slot_active", Unit.COUNT, "1 while somebody uses a replication slot, else 0", ("slot",), topic="replication"
    ),
    MeasurementSpec(
        "slot_lost",
        Unit.COUNT,
        "1 when log that a slot needs is lost or about to be, else 0",
        ("slot",),
        topic="replication",
    ),
)
"""What :func:`look_at_slots` measures."""


async def look_at_archive(run: Run, session: Session, server: Row) -> None:
    """Measure the archiver and what waits for it.

    ``server`` has ``segment_size``, ``version``, ``may_list_archive`` and ``own_role``.
    """
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
            end = end_of(row["archived_file"] or "", server["segment_size"])
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


async def look_at_slots(run: Run, session: Session, version: int) -> None:
    """Measure what each replication slot keeps back."""
    lost = "wal_status IN ('unreserved', 'lost')" if version >= 130000 else "NULL::bool"
    slots = await session.rows_or_missing(_SLOTS.format(lost=lost), "replication slots", ("slot_behind", "slot_lost"))
    for row in slots or ():
        for name, value in (("slot_behind", row["behind"]), ("slot_active", row["active"]), ("slot_lost", row["lost"])):
            if value is not None:
                run.measure(name, value, slot=row["slot"])


def end_of(name: str, segment_size: int) -> int | None:
    """Position in the log behind a file of that name (timeline, upper, lower half: 8 hexadecimal digits each)."""
    if not re.match(r"[0-9A-F]{24}", name):
        return None
    per_upper = 2**32 // segment_size
    return (int(name[8:16], 16) * per_upper + int(name[16:24], 16) + 1) * segment_size


_SLOTS = """
SELECT slot_name::text AS slot, active, {lost} AS lost,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::float8 AS behind
FROM pg_replication_slots WHERE NOT temporary
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
