"""The recovery_point probe on real dumps and on the write-ahead log that a real PostgreSQL archives."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.backup_files import DAY, HOUR, put, put_dump, spoil, sql_dump
from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from tests.real.servers.odd import Odd, silence
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.kit.backups.archives import pg_program
from wcr_watchd.kit.backups.wal_archive import recoverable
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.recovery_point import RecoveryPoint

NAME = "production_%Y%m%d_%H%M%S.sql.gz"
Repeat = Callable[..., Awaitable[Observation]]


@pytest.fixture
def repeat(shared: SharedHelpers) -> Repeat:
    """``await repeat(path=…)`` runs a check of these options; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(later: float = 0.0, timeout: float = 60.0, **options: Any) -> Observation:
        run = new_run(shared, timeout, time.time() + later)
        run.memory = kept
        return await carry_out(probe_of("recovery_point", {"timezone": "UTC", **options}), run)

    return once


def fires(seen: Observation) -> set[Severity]:
    """The severities of the default rules that fire."""
    found = set()
    for severity, text in RecoveryPoint.default_rules:
        rule = parse_rule(text, severity, RecoveryPoint.measurements)
        state, history = RuleState(), History()
        for minute in range(3):
            now = Observation("", "", minute * 60.0, 0, seen.outcome, seen.reason, "", seen.measurements)
            history = remember(history, [rule], now)
            state = evaluate(rule, state, history, now, 2)
        if any(instance.verdict is Verdict.FIRING for _, instance in state.instances):
            found.add(severity)
    return found


# --- dumps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (20 * HOUR, {Severity.INFO}),
        (27 * HOUR, {Severity.INFO, Severity.WARNING}),
        (51 * HOUR, {Severity.INFO, Severity.WARNING, Severity.CRITICAL}),
    ],
)
async def test_a_dump_a_day_cannot_meet_an_hour(
    tmp_path: Path, observe: Observe, age: float, expected: set[Severity]
) -> None:
    """That is said once, and nobody is woken every day; a dump that does not come is another thing."""
    put_dump(tmp_path, age)
    seen = await observe("recovery_point", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "exposure") == pytest.approx(age, abs=60)
    assert measured(seen, "source_age", source="backup") == measured(seen, "exposure")
    assert measured(seen, "unmet_by_design") == 1
    assert measured(seen, "rhythm_used") == pytest.approx(age / (26 * HOUR), abs=0.01)
    assert "objective_used" not in names(seen)
    assert "the fastest source comes every 1 d" in seen.summary
    assert fires(seen) == expected


@pytest.mark.parametrize(
    ("age", "expected"),
    [(1200, set()), (2400, {Severity.WARNING}), (4000, {Severity.WARNING, Severity.CRITICAL})],
)
async def test_a_dump_every_half_hour_can(
    tmp_path: Path, observe: Observe, age: float, expected: set[Severity]
) -> None:
    put_dump(tmp_path, age)
    seen = await observe("recovery_point", path=f"{tmp_path}/{NAME}", timezone="UTC", period="30m")
    assert measured(seen, "objective") == HOUR
    assert measured(seen, "objective_used") == pytest.approx(age / HOUR, abs=0.02)
    assert measured(seen, "unmet_by_design") == 0
    assert fires(seen) == expected


async def test_only_what_is_whole_counts(tmp_path: Path, repeat: Repeat) -> None:
    path = f"{tmp_path}/{NAME}"
    put_dump(tmp_path, 5 * HOUR)
    assert measured(await repeat(path=path), "exposure") == pytest.approx(5 * HOUR, abs=60)
    spoil(newer := put_dump(tmp_path, HOUR))
    seen = await repeat(path=path)
    assert measured(seen, "exposure") == pytest.approx(5 * HOUR, abs=60)
    assert f"newer ones are not known to be whole: {newer.name}" in seen.summary
    trusting = await repeat(path=path, verified=False)
    assert measured(trusting, "exposure") == pytest.approx(HOUR, abs=60)
    newer.write_bytes(gzip.compress(sql_dump()))
    os.utime(newer, (time.time() - HOUR + 70,) * 2)
    assert measured(await repeat(path=path), "exposure") == pytest.approx(HOUR, abs=60)


async def test_a_backup_check_of_the_same_path_is_believed(tmp_path: Path, repeat: Repeat, observe: Observe) -> None:
    path = f"{tmp_path}/{NAME}"
    put_dump(tmp_path, 5 * HOUR)
    await observe("backup", path=path, timezone="UTC")
    put_dump(tmp_path, HOUR)
    seen = await repeat(path=path)
    assert measured(seen, "exposure") == pytest.approx(5 * HOUR, abs=60), "it has not read the newer one yet"
    await observe("backup", path=path, timezone="UTC")
    assert measured(await repeat(path=path), "exposure") == pytest.approx(HOUR, abs=60)
    put_dump(tmp_path, 0.5 * HOUR)
    gone = await repeat(path=path, later=3 * DAY)
    assert measured(gone, "exposure") == pytest.approx(3 * DAY + 0.5 * HOUR, abs=60), (
        "that check is gone: it reads itself"
    )


async def test_nothing_could_be_restored(tmp_path: Path, observe: Observe, repeat: Repeat) -> None:
    path = f"{tmp_path}/{NAME}"
    none = await observe("recovery_point", path=path)
    assert (none.outcome, none.reason) == (Outcome.DOWN, "missing")
    assert "Make a backup now" in none.summary
    missing = await observe("recovery_point", path=f"{tmp_path}/no/{NAME}")
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    spoil(put_dump(tmp_path, HOUR))
    damaged = await repeat(path=path)
    assert damaged.outcome is Outcome.DOWN
    assert "was found whole" in damaged.summary
    assert not {"exposure", "objective_used", "rhythm_used"} & names(damaged)


async def test_what_could_not_be_read_is_not_known(tmp_path: Path, repeat: Repeat) -> None:
    """With a folder in place of the file of checksums, reading it fails, and says nothing of the backup."""
    made = put_dump(tmp_path, HOUR)
    made.with_name(made.name + ".sha256").mkdir()
    path = f"{tmp_path}/{NAME}"
    seen = await repeat(path=path)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "add a check of type backup" in seen.evidence["absent"]
    assert "absent" not in (await repeat(path=path)).evidence, "it is not tried again every minute"
    made.with_name(made.name + ".sha256").rmdir()
    assert (await repeat(path=path, later=2 * HOUR)).outcome is Outcome.UP


# --- the write-ahead log ----------------------------------------------------------------------------------------------


@pytest.fixture
def archive() -> Iterator[Path]:
    """A folder that PostgreSQL's user may write to; a new session of pytest closes the way to ``tmp_path`` to it."""
    with tempfile.TemporaryDirectory(prefix="watchd-wal-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def archiving(start_postgres: Callable[..., Postgres], tmp_path: Path, archive: Path) -> tuple[Postgres, Path]:
    """A server that archives its log, with a base backup in the folder ``base``; and the archive."""
    server = start_postgres(archive_mode="on", archive_command=f"cp %p {archive}/%f")
    base = subprocess.run(
        (pg_program("pg_basebackup"), "-h", str(server.folder), "-p", str(server.port), "-U", "postgres", "-D", "-",
         "-Ft", "-X", "none", "-c", "fast"),
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    put(tmp_path / "base", gzip.compress(base, 1), 200, "base_%Y%m%d_%H%M%S.tar.gz", took=130)
    return server, archive


def segments(server: Postgres, archive: Path, count: int) -> list[Path]:
    """Have so many more segments written and archived; all that are there, in order."""
    for _ in range(count):
        server.sql("CREATE TABLE IF NOT EXISTS t (v int)")
        server.sql("INSERT INTO t VALUES (1)")
        last = server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        server.sql("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 60
    while not (archive / last).exists() or (archive / last).stat().st_size < 16 * 2**20:
        assert time.monotonic() < deadline, server.sql("SELECT * FROM pg_stat_archiver")
        time.sleep(0.05)
    return sorted(archive.glob("?" * 24))


async def test_the_archive_of_a_real_server(archiving: tuple[Postgres, Path], tmp_path: Path, repeat: Repeat) -> None:
    server, archive = archiving
    found = segments(server, archive, 3)
    for index, segment in enumerate(reversed(found)):
        os.utime(segment, (time.time() - 600 - index * 60,) * 2)
    for label in archive.glob("*.backup"):
        os.utime(label, (time.time() - 60,) * 2)
    options = {"path": f"{tmp_path}/base/base_%Y%m%d_%H%M%S.tar.gz", "wal": {"folder": str(archive)}}
    seen = await repeat(**options)
    assert seen.outcome is Outcome.UP, (seen.summary, seen.evidence)
    assert measured(seen, "source_age", source="wal") == pytest.approx(600, abs=20)
    assert measured(seen, "source_age", source="backup") == pytest.approx(200, abs=20)
    assert measured(seen, "unmet_by_design") == 0
    assert measured(seen, "wal_gap") == 0
    for segment in found[-2:]:
        os.utime(segment, (time.time() - 20,) * 2)
    assert measured(await repeat(**options), "exposure") == pytest.approx(20, abs=15)
    found[-2].unlink()
    gap = await repeat(**options)
    assert measured(gap, "wal_gap") == 1
    assert measured(gap, "source_age", source="wal") > 600
    assert found[-2].name[8:] in gap.evidence["wal"], "it names the one that is missing"
    assert Severity.CRITICAL in fires(gap)


async def test_a_server_without_anything_to_archive_loses_nothing(
    archiving: tuple[Postgres, Path], tmp_path: Path, repeat: Repeat
) -> None:
    server, archive = archiving
    found = segments(server, archive, 2)
    for segment in found:
        os.utime(segment, (time.time() - 10 * HOUR,) * 2)
    for label in archive.glob("*.backup"):
        os.utime(label, (time.time() - 60,) * 2)
    base = next((tmp_path / "base").iterdir())
    os.utime(base, (time.time() - 11 * HOUR + 60,) * 2)
    os.utime(next(archive.glob("*.backup")), (time.time() - 11 * HOUR,) * 2)
    wal = {"folder": str(archive), "source": server.dsn_of("plain")}
    options = {"path": f"{tmp_path}/base/*.tar.gz", "wal": wal}
    off = await repeat(**options)
    assert measured(off, "exposure") == pytest.approx(10 * HOUR, abs=60), "without archive_timeout nothing is promised"
    server.sql("ALTER SYSTEM SET archive_timeout = '10min'")
    server.sql("SELECT pg_reload_conf()")
    idle = await repeat(**options)
    assert measured(idle, "exposure") == pytest.approx(600, abs=5), idle.evidence
    assert "nothing to archive" in idle.evidence["wal"]
    found[-1].unlink()
    behind = await repeat(**options)
    assert measured(behind, "exposure") == pytest.approx(10 * HOUR, abs=60), "what was written last is not there"
    refused = await repeat(**{**options, "wal": {**wal, "source": server.dsn_of("plain", "wrong")}})
    assert measured(refused, "exposure") == pytest.approx(10 * HOUR, abs=60)
    assert "password authentication failed" in refused.evidence["absent"]


async def test_an_archive_that_nothing_can_be_replayed_on(
    archiving: tuple[Postgres, Path], tmp_path: Path, observe: Observe
) -> None:
    _, archive = archiving
    options = {"timezone": "UTC", "wal": {"folder": str(archive)}}
    no_base = await observe("recovery_point", path=f"{tmp_path}/base/none_%Y.gz", **options)
    assert no_base.outcome is Outcome.DOWN
    assert "no base backup to be replayed on" in no_base.summary
    for label in archive.glob("*.backup"):
        label.unlink()
    base = f"{tmp_path}/base/base_%Y%m%d_%H%M%S.tar.gz"
    no_label = await observe("recovery_point", path=base, **options)
    assert "no history file" in no_label.evidence["wal"]
    assert measured(no_label, "exposure") == pytest.approx(200, abs=30), "the base backup itself can be restored"
    no_folder = await observe("recovery_point", path=base, timezone="UTC", wal={"folder": f"{tmp_path}/gone"})
    assert "does not exist" in no_folder.evidence["wal"]


def test_segments_by_name_size_and_position(tmp_path: Path) -> None:
    def segment(name: str, at: float, size: int = 16) -> None:
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * 2**20)
        os.utime(tmp_path / name, (at, at))

    segment("0000000100000000000000FE.00000028.backup", 1000, 0)
    segment("0000000100000000000000FE", 900)
    segment("0000000100000000000000FF", 1100)
    segment("000000020000000100000000", 1200)  # the next log, on a new timeline
    segment("00000002.history", 1300, 0)
    segment("000000020000000100000001.gz", 1400, 1)
    segment("000000020000000100000002.partial", 1500)
    segment("000000020000000100000002", 1600, 3)  # still being copied
    found = recoverable(str(tmp_path), 2000)
    assert found == {"point": 1400, "base": 1000, "gap": "", "last": 257, "segments": 4}
    segment("000000020000000100000004", 1700)
    assert recoverable(str(tmp_path), 2000)["gap"] == "0000000100000002"
    assert recoverable(str(tmp_path), 999)["base"] is None, "that label is of a later base backup"


# --- a provider -------------------------------------------------------------------------------------------------------


def answer(body: str, status: str = "200 OK") -> bytes:
    """An answer of an API."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def listed(*ages: float) -> str:
    """Backups in the shape of a provider's API."""
    times = [datetime.fromtimestamp(time.time() - age, UTC).isoformat().replace("+00:00", "Z") for age in ages]
    return '{"backups": [' + ", ".join(f'{{"created_at": "{at}"}}' for at in times) + "]}"


VALUE = "backups[].created_at"


async def test_what_a_provider_says(tmp_path: Path, repeat: Repeat, odd: Callable[..., Awaitable[Odd]]) -> None:
    """The shape of DigitalOcean's list of a managed database's backups."""
    put_dump(tmp_path, 20 * HOUR)
    api = await odd(answer(listed(3 * HOUR, 27 * HOUR)))
    provider = {"url": api.url("/v2/backups"), "value": VALUE, "headers": {"Authorization": "Bearer a-secret"}}
    path = f"{tmp_path}/{NAME}"
    seen = await repeat(path=path, provider=provider)
    assert measured(seen, "source_age", source="provider") == pytest.approx(3 * HOUR, abs=60)
    assert measured(seen, "exposure") == pytest.approx(3 * HOUR, abs=60)
    assert measured(seen, "unmet_by_design") == 1
    assert "Authorization: Bearer a-secret" in api.requests[0]
    assert "a-secret" not in str(seen)
    promised = await repeat(path=path, provider={**provider, "point_in_time": "10m"})
    assert measured(promised, "exposure") == pytest.approx(600, abs=60)
    assert measured(promised, "unmet_by_design") == 0
    broken = await repeat(path=path, provider={**provider, "point_in_time": "10m", "period": "1h"})
    assert measured(broken, "exposure") == pytest.approx(3 * HOUR, abs=60), "a promise without backups is none"
    assert Severity.CRITICAL in fires(broken)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (answer("no", "401 Unauthorized"), "status 401"),
        (answer("[" * 30000), "cannot be read as JSON"),
        (answer("not json"), "cannot be read as JSON"),
        (answer('{"backups": 3}'), "names no time"),
        (answer('{"backups": [{"created_at": "soon"}, {"created_at": true}]}'), "names no time"),
        (answer("x" * 100_000), "a short body"),
        (b"nonsense\r\n\r\n", "not proper HTTP"),
    ],
)
async def test_a_provider_that_makes_no_sense(
    tmp_path: Path, observe: Observe, odd: Callable[..., Awaitable[Odd]], talk: bytes, words: str
) -> None:
    put_dump(tmp_path, HOUR)
    api = await odd(talk)
    provider = {"url": api.url(), "value": VALUE}
    seen = await observe("recovery_point", path=f"{tmp_path}/{NAME}", timezone="UTC", provider=provider)
    assert seen.outcome is Outcome.UP, "the dump is there all the same"
    assert words in seen.evidence["provider"]
    assert measured(seen, "exposure") == pytest.approx(HOUR, abs=60)
    alone = await observe("recovery_point", path=f"{tmp_path}/none_%Y", timezone="UTC", provider=provider)
    assert alone.outcome is Outcome.UNKNOWN, "what the provider has is not known"


async def test_a_silent_provider_is_cut_off(
    tmp_path: Path, observe: Observe, odd: Callable[..., Awaitable[Odd]]
) -> None:
    put_dump(tmp_path, HOUR)
    api = await odd(silence)
    options = {"path": f"{tmp_path}/{NAME}", "provider": {"url": api.url(), "value": VALUE}}
    seen = await observe("recovery_point", **options, timezone="UTC", verified=False, timeout=12)
    assert seen.outcome is Outcome.UP, "it is given up in time, and the dump counts"
    assert "no answer within" in seen.evidence["provider"]


def test_wrong_options() -> None:
    for provider, words in (
        ({"url": "ftp://a", "value": "a"}, "http"),
        ({"url": "http://a", "value": "a["}, "JMESPath"),
    ):
        with pytest.raises(ValidationError, match=words):
            probe_of("recovery_point", {"path": "/a", "provider": provider})
