"""The backup probe on real files, as gzip, zstd, xz, tar, openssl, gpg and pg_dump make them."""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from tests.real.backup_files import DAY, HOUR, PASSPHRASE, checksum, encrypted, gpg, put, put_dump, spoil, sql_dump, tar
from tests.real.running import (
    Observe,
    carry_out,
    children,
    descriptors,
    measured,
    names,
    new_run,
    none_left_open,
    probe_of,
)
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.kit.backups.checksums import Checksum, expected_digest, parse_checksums
from wcr_watchd.kit.backups.names import NamePattern, pattern_of, time_in
from wcr_watchd.kit.backups.worker import main
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.backup import Backup

NAME = "production_%Y%m%d_%H%M%S.sql.gz"
Repeat = Callable[..., Awaitable[Observation]]


@pytest.fixture
def repeat(shared: SharedHelpers) -> Repeat:
    """``await repeat(path=…)`` runs a check of these options; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(later: float = 0.0, timeout: float = 60.0, **options: Any) -> Observation:
        run = new_run(shared, timeout, time.time() + later)
        run.memory = kept
        return await carry_out(probe_of("backup", {"timezone": "UTC", **options}), run)

    return once


def fires(seen: Observation) -> set[Severity]:
    """The severities of the default rules that fire."""
    found = set()
    for severity, text in Backup.default_rules:
        rule = parse_rule(text, severity, Backup.measurements)
        state, history = RuleState(), History()
        for minute in range(3):
            now = Observation("", "", minute * 60.0, 0, seen.outcome, seen.reason, "", seen.measurements)
            history = remember(history, [rule], now)
            state = evaluate(rule, state, history, now, 2)
        if any(instance.verdict is Verdict.FIRING for _, instance in state.instances):
            found.add(severity)
    return found


# --- a set in order, late, small --------------------------------------------------------------------------------------


async def test_a_set_in_order(tmp_path: Path, observe: Observe) -> None:
    for day in range(8, 0, -1):
        checksum(put_dump(tmp_path, day * DAY - 20 * HOUR))
    for beside in ("production.log", ".production_20260101_000000.sql.gz", "production_20260101_000000.sql.gz.part"):
        (tmp_path / beside).write_text("no backup")
    seen = await observe("backup", path=f"{tmp_path}/*", timezone="UTC")
    assert measured(seen, "files") == 8, "neither checksums nor logs nor hidden files count"
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "files") == 8
    assert measured(seen, "age") == pytest.approx(4 * HOUR, abs=60)
    assert measured(seen, "missed") == 0
    assert measured(seen, "time_gap") == pytest.approx(60, abs=1)
    assert measured(seen, "size_share") == pytest.approx(1, abs=0.2)
    assert measured(seen, "total_size") == sum(path.stat().st_size for path in tmp_path.glob("production_*.gz"))
    assert measured(seen, "without_checksum") == measured(seen, "damaged") == measured(seen, "uncompressed") == 0
    assert measured(seen, "read_speed") > 0
    assert "4 h old" in seen.summary
    assert "whole; 8 backups" in seen.summary
    assert fires(seen) == set()


@pytest.mark.parametrize(
    ("age", "expected"),
    [(25 * HOUR, set()), (27 * HOUR, {Severity.WARNING}), (51 * HOUR, {Severity.WARNING, Severity.CRITICAL})],
)
async def test_the_next_one_did_not_come(tmp_path: Path, observe: Observe, age: float, expected: set[Severity]) -> None:
    put_dump(tmp_path, age)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert fires(seen) == expected


async def test_a_weekly_one_goes_by_its_own_rhythm(tmp_path: Path, observe: Observe) -> None:
    put_dump(tmp_path, 7.5 * DAY)
    weekly = {"path": f"{tmp_path}/{NAME}", "timezone": "UTC", "period": "7d", "grace": "1d"}
    assert measured(await observe("backup", **weekly), "missed") == 0
    later = await observe("backup", **weekly, started=time.time() + 0.6 * DAY)
    assert measured(later, "missed") == 1


@pytest.mark.parametrize(("lines", "wrong"), [(60, True), (1000, True), (220, False)])
async def test_a_size_that_is_not_as_usual(tmp_path: Path, observe: Observe, lines: int, wrong: bool) -> None:
    for day in range(7, 0, -1):
        put_dump(tmp_path, day * DAY + HOUR)
    put_dump(tmp_path, HOUR, lines)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert (Severity.WARNING in fires(seen)) is wrong


async def test_two_earlier_ones_are_too_few_to_compare_with(tmp_path: Path, observe: Observe) -> None:
    for hours in (2, 26, 50):
        put_dump(tmp_path, hours * HOUR)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert "size_share" not in names(seen)
    assert "size_share" in seen.evidence["absent"]


async def test_none_at_all(tmp_path: Path, observe: Observe, repeat: Repeat) -> None:
    path = f"{tmp_path}/set/{NAME}"
    missing = await observe("backup", path=path)
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing"), "there never was such a folder"
    assert f"{tmp_path}/set does not exist" in missing.summary
    (tmp_path / "set").mkdir()
    empty = await observe("backup", path=path)
    assert (empty.outcome, empty.reason) == (Outcome.DOWN, "missing")
    assert "does the job run" in empty.summary
    made = put_dump(tmp_path / "set", HOUR)
    assert (await repeat(path=path)).outcome is Outcome.UP
    made.unlink()
    assert "1 that were there are gone" in (await repeat(path=path)).summary
    put_dump(tmp_path / "set", HOUR)
    await repeat(path=path)
    (tmp_path / "set").rename(tmp_path / "unmounted")
    gone = await repeat(path=path)
    assert (gone.outcome, gone.reason) == (Outcome.DOWN, "missing")
    assert "unmounted or removed" in gone.summary


async def test_one_that_is_being_written_is_not_judged(tmp_path: Path, observe: Observe) -> None:
    put_dump(tmp_path, 24 * HOUR)
    growing = put(tmp_path, b"half of", 300, took=300)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "in_progress") == 1
    assert measured(seen, "files") == 1
    assert measured(seen, "age") == pytest.approx(24 * HOUR, abs=60)
    os.utime(growing, (time.time() - 90, time.time() - 90))
    finished = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert measured(finished, "in_progress") == 0
    assert finished.outcome is Outcome.UP  # what is neither packed nor a dump can only be read


async def test_an_empty_one(tmp_path: Path, observe: Observe) -> None:
    put_dump(tmp_path, 24 * HOUR)
    put(tmp_path, b"", HOUR)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "0 bytes" in seen.summary


# --- names ------------------------------------------------------------------------------------------------------------


async def test_the_zone_of_the_name_counts(tmp_path: Path, observe: Observe) -> None:
    """A name in New York's time that is read as UTC would be hours off; the gap to the mtime tells."""
    put(tmp_path, gzip.compress(sql_dump()), HOUR, took=60)
    wrong = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="America/New_York")
    assert measured(wrong, "time_gap") < -3 * HOUR
    assert Severity.WARNING in fires(wrong)
    assert measured(wrong, "age") == pytest.approx(HOUR - 60, abs=30), "then the mtime is what can be relied on"


def test_the_hour_that_comes_twice() -> None:
    zone = ZoneInfo("America/New_York")
    read = {"at_Y": "2026", "at_m": "11", "at_d": "01", "at_H": "01", "at_M": "30", "at_S": "00"}
    first = datetime(2026, 11, 1, 1, 30, tzinfo=zone, fold=0).timestamp()
    assert time_in(read, first + 300, zone) == first
    assert time_in(read, first + 3600 + 300, zone) == first + 3600
    skipped = {**read, "at_m": "03", "at_d": "08", "at_H": "02"}
    assert time_in(skipped, first, zone) == datetime(2026, 3, 8, 3, 0, tzinfo=zone).timestamp()
    assert time_in({**read, "at_m": "13"}, first, zone) is None
    assert time_in({}, first, zone) is None
    assert time_in({"at_s": "1795881949"}, first, zone) == 1795881949
    utc = {**read, "at_z": "+0000"}
    assert time_in(utc, first, zone) == datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("UTC")).timestamp()
    assert (
        time_in({"at_y": "26", "at_j": "305"}, first, ZoneInfo("UTC"))
        == datetime(2026, 11, 1, tzinfo=ZoneInfo("UTC")).timestamp()
    )


async def test_a_regular_expression_and_folders_by_day(tmp_path: Path, observe: Observe) -> None:
    put_dump(tmp_path, HOUR).rename(
        tmp_path / time.strftime("db-%Y-%m-%dT%H%M-full.gz", time.gmtime(time.time() - HOUR))
    )
    regex = r"db-(?P<time>[\dT-]+)-full\.gz"
    seen = await observe("backup", path=str(tmp_path), regex=regex, time_format="%Y-%m-%dT%H%M", timezone="UTC")
    assert measured(seen, "age") == pytest.approx(HOUR, abs=90)
    put(tmp_path, gzip.compress(sql_dump()), 5 * HOUR, "day-%Y-%m-%d/app_%H%M.sql.gz")
    put(tmp_path, gzip.compress(sql_dump()), 30 * HOUR, "day-%Y-%m-%d/app_%H%M.sql.gz")
    (tmp_path / "day-nought").mkdir()
    days = await observe("backup", path=f"{tmp_path}/day-%Y-%m-%d/app_%H%M.sql.gz", timezone="UTC")
    assert measured(days, "files") == 2
    assert measured(days, "age") == pytest.approx(5 * HOUR, abs=90)


def test_patterns() -> None:
    assert NamePattern("/a/b/x_%Y.gz").folder == "/a/b"
    assert NamePattern("/a/*/x_%Y.gz").folder == "/a"
    assert NamePattern("/a/b/").folder == "/a/b"
    assert pattern_of("a.b%%*") == r"a\.b%[^/]*"
    for options, words in (
        ({"path": "relative_%Y"}, "absolute"),
        ({"path": "/a/%Q"}, "%Q is not known"),
        ({"path": "/a/%Y%Y"}, "stands twice"),
        ({"path": "/a", "regex": "(x"}, "go together"),
        ({"path": "/a", "regex": "(x", "time_format": "%Y"}, "not a pattern"),
        ({"path": "/a", "regex": "x", "time_format": "%Y"}, "needs a group"),
        ({"path": "/a", "timezone": "Mars/Base"}, "not a time zone"),
    ):
        with pytest.raises(ValidationError, match=words):
            probe_of("backup", options)


# --- checksums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "{digest}  /opt/backups/{name}\n", "{digest}  {name}\n", "{digest} *{name}\n", "{digest}\n",
        "SHA256 ({name}) = {digest}\n", "0000000000000000000000000000000000000000  other\n{digest}  {name}\n",
    ],
)  # fmt: skip
async def test_a_checksum_however_it_is_written(tmp_path: Path, observe: Observe, line: str) -> None:
    made = put_dump(tmp_path, HOUR)
    checksum(made, line)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert seen.outcome is Outcome.UP, seen.summary
    checksum(made, line.replace("{digest}", "0" * 64))
    wrong = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert (wrong.outcome, wrong.reason) == (Outcome.DOWN, "content")
    assert "its checksum is not the one in" in wrong.summary


def test_escaped_names_as_sha256sum_writes_them(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb\\c"
    odd.write_text("x")
    said = subprocess.run(("sha256sum", odd.name), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("\\")
    assert parse_checksums(said) == (Checksum(said[1:65], "a\nb\\c"),)
    assert expected_digest(said, str(odd)) == said[1:65]
    assert expected_digest(f"{'0' * 64}  other", "name") is None


async def test_a_checksum_of_another_file(tmp_path: Path, observe: Observe) -> None:
    checksum(put_dump(tmp_path, HOUR), "{digest}  other.gz\n")
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC")
    assert seen.outcome is Outcome.DOWN
    assert "holds no checksum for it" in seen.summary


async def test_without_a_checksum(tmp_path: Path, observe: Observe) -> None:
    put_dump(tmp_path, HOUR)
    path = f"{tmp_path}/{NAME}"
    assert "without_checksum" not in names(await observe("backup", path=path, timezone="UTC")), "the set uses none"
    required = await observe("backup", path=path, timezone="UTC", checksum="required")
    assert measured(required, "without_checksum") == 1
    checksum(put_dump(tmp_path, 25 * HOUR))
    assert measured(await observe("backup", path=path, timezone="UTC"), "without_checksum") == 1
    assert "without_checksum" not in names(await observe("backup", path=path, timezone="UTC", checksum="off"))


# --- what is inside ---------------------------------------------------------------------------------------------------


def packed(kind: str, content: bytes, folder: Path) -> bytes:
    """The content packed or encrypted."""
    if kind in ("zstd", "lz4", "bzip2"):
        return subprocess.run((kind, "-c"), input=content, capture_output=True, check=True).stdout
    if kind == "gzip+openssl":
        return encrypted(gzip.compress(content))
    if kind == "gzip+gpg":
        return gpg(gzip.compress(content), folder / "gnupg")
    return {"gzip": gzip.compress, "xz": lzma.compress, "plain": lambda content: content}[kind](content)


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd", "lz4", "bzip2", "xz", "gzip+openssl", "gzip+gpg"])
async def test_a_dump_that_is_cut_short_or_spoilt(tmp_path: Path, observe: Observe, kind: str) -> None:
    name = "dump.sql.gpg" if kind.endswith("gpg") else "dump.sql"
    options = {"path": f"{tmp_path}/{name}", "decrypt": {"passphrase": PASSPHRASE}, "encrypted": True}
    whole = packed(kind, sql_dump(), tmp_path)
    put(tmp_path, whole, HOUR, name)
    seen = await observe("backup", **options)
    assert seen.outcome is Outcome.UP, seen.summary
    assert ", whole;" in seen.summary
    assert measured(seen, "uncompressed") == (kind == "plain")
    assert measured(seen, "unencrypted") == ("+" not in kind)
    put(tmp_path, whole[: len(whole) * 2 // 3], HOUR, name)
    short = await observe("backup", **options)
    assert (short.outcome, short.reason) == (Outcome.DOWN, "content"), short.summary
    put(tmp_path, packed(kind, sql_dump()[:-60], tmp_path), HOUR, name)
    unfinished = await observe("backup", **options)
    assert "the dump is cut short" in unfinished.summary, "pg_dump died, and gzip ended well"
    if kind not in ("plain",):
        spoil(put(tmp_path, whole, HOUR, name))
        assert (await observe("backup", **options)).outcome is Outcome.DOWN


async def test_a_wrong_passphrase_and_none(tmp_path: Path, observe: Observe) -> None:
    put(tmp_path, encrypted(gzip.compress(sql_dump()), "another"), HOUR, "dump.sql.gz.enc")
    path = f"{tmp_path}/dump.sql.gz.enc"
    wrong = await observe("backup", path=path, decrypt={"passphrase": PASSPHRASE})
    assert wrong.outcome is Outcome.DOWN
    assert "wrong passphrase" in wrong.summary or "damaged" in wrong.summary
    none = await observe("backup", path=path, encrypted=True)
    assert none.outcome is Outcome.UP
    assert "its inside not seen" in none.summary
    assert "no passphrase is given" in none.evidence["absent"]
    assert measured(none, "unencrypted") == measured(none, "uncompressed") == 0, "its name says that it is packed"
    assert PASSPHRASE not in str(wrong)


async def test_a_link_is_not_what_it_leads_to(tmp_path: Path, observe: Observe) -> None:
    """An archive of .env as a link, without the file, was whole and had all that was required."""
    folder = tmp_path / "machine"
    (folder / "app").mkdir(parents=True)
    (folder / "srv").mkdir()
    (folder / "srv" / "env").write_text("KEY=1")
    (folder / "app" / ".env").symlink_to("../srv/env")
    (folder / "app" / "absolute").symlink_to("/srv/env")
    (folder / "app" / "gone").symlink_to("/srv/none")
    (folder / "srv" / "current").symlink_to("releases/5")
    (folder / "srv" / "releases" / "5").mkdir(parents=True)
    (folder / "srv" / "releases" / "5" / "unit").write_text("x")
    (folder / "app" / "unit").symlink_to("/srv/current/unit")
    (folder / "app" / "on").symlink_to("gone")
    (folder / "app" / "round").symlink_to("round")
    for name, packed, absent in (
        ("first", ["srv", "app"], ["app/gone", "app/on", "app/round"]),
        ("last", ["app", "srv"], ["app/gone", "app/on", "app/round"]),
        ("alone", ["app"], ["/app/absolute", "app/.env", "app/gone", "app/on", "app/round", "app/unit"]),
    ):
        archive = tmp_path / f"{name}.tar.gz"
        subprocess.run(["tar", "-czf", archive, "-C", folder, *packed], check=True)
        os.utime(archive, (time.time() - HOUR,) * 2)
        required = ["app", "app/.env", "/app/absolute", "app/gone", "app/on", "app/round", "app/unit"]
        seen = await observe("backup", path=str(archive), required=required)
        assert seen.evidence["absent from the archive"] == ", ".join(absent), name


async def test_required_paths(tmp_path: Path, observe: Observe) -> None:
    archive = tar({"./etc/nginx/nginx.conf": b"x", "etc/ssh/sshd_config": b"y", "opt/app/.env.production": b"z"})
    put(tmp_path, archive, HOUR, "config.tar.gz")
    required = ["etc/nginx", "/etc/ssh/sshd_config", "opt/app/.env.*", "etc/ufw", "etc/fail2ban"]
    seen = await observe("backup", path=f"{tmp_path}/config.tar.gz", required=required)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "absent_paths") == 2
    assert seen.evidence["absent from the archive"] == "etc/fail2ban, etc/ufw"
    put(tmp_path, archive[:-40], HOUR, "config.tar.gz")
    assert (await observe("backup", path=f"{tmp_path}/config.tar.gz")).outcome is Outcome.DOWN


async def test_a_zip_archive(tmp_path: Path, observe: Observe) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("etc/nginx/nginx.conf", os.urandom(2000))
    os.utime(tmp_path / "a.zip", (time.time() - HOUR,) * 2)
    seen = await observe("backup", path=f"{tmp_path}/a.zip", required=["etc/nginx", "etc/ufw"])
    assert measured(seen, "absent_paths") == 1
    spoil(tmp_path / "a.zip", 0.4)
    assert (await observe("backup", path=f"{tmp_path}/a.zip")).outcome is Outcome.DOWN


# --- old ones, again and again ----------------------------------------------------------------------------------------


async def test_old_ones_are_read_again(tmp_path: Path, repeat: Repeat) -> None:
    made = [put_dump(tmp_path, hours * HOUR) for hours in (73, 49, 25, 1)]
    path = f"{tmp_path}/{NAME}"
    first = await repeat(path=path)
    assert measured(first, "unread_for") == pytest.approx(0, abs=2)
    spoil(made[1])
    assert measured(await repeat(path=path, later=DAY), "damaged") == 0, "it was read yesterday"
    later = await repeat(path=path, later=6 * DAY)
    assert measured(later, "damaged") == 1
    assert made[1].name in later.evidence["damaged"]
    assert Severity.CRITICAL in fires(later)
    assert measured(await repeat(path=path, later=6.1 * DAY), "damaged") == 1, "it stays so"
    made[1].write_bytes(made[0].read_bytes())
    assert measured(await repeat(path=path, later=6.2 * DAY), "damaged") == 0, "it was put right"


async def test_what_could_not_be_read_for_long_is_told(
    tmp_path: Path, repeat: Repeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_dump(tmp_path, 25 * HOUR)
    put_dump(tmp_path, HOUR)
    path = f"{tmp_path}/{NAME}"
    assert "unread_for" not in names(await repeat(path=path, reread="0s")), "only the newest is read"
    monkeypatch.setattr("wcr_watchd.probes.backup._READING", 0.0)
    late = await repeat(path=path, later=9 * DAY)
    assert measured(late, "unread_for") == pytest.approx(9 * DAY, abs=60)
    assert "1 backups, for want of time" in late.evidence["not read again"]
    assert Severity.WARNING in fires(late)


async def test_a_newest_that_is_too_large_for_a_run(tmp_path: Path, observe: Observe) -> None:
    put(tmp_path, os.urandom(2_000_000), HOUR)
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timezone="UTC", rate="50kB", timeout=12)
    assert seen.outcome is Outcome.UP, seen.summary
    assert "not read" in seen.summary
    assert "give it a longer timeout or a higher rate" in seen.evidence["absent"]


async def test_the_newest_is_read_once(tmp_path: Path, repeat: Repeat) -> None:
    made = put_dump(tmp_path, HOUR)
    assert "whole" in (await repeat(path=f"{tmp_path}/{NAME}")).summary
    spoil(made)
    assert (await repeat(path=f"{tmp_path}/{NAME}")).outcome is Outcome.UP, "unchanged by all that can be seen"
    os.utime(made, (time.time() - 100, time.time() - 100))
    assert (await repeat(path=f"{tmp_path}/{NAME}")).outcome is Outcome.DOWN
    assert (await repeat(path=f"{tmp_path}/{NAME}")).outcome is Outcome.DOWN, "and stays so without being read again"


# --- what may go wrong with looking -----------------------------------------------------------------------------------


async def test_a_run_that_is_cut_off_leaves_no_process(tmp_path: Path, shared: SharedHelpers) -> None:
    put(tmp_path, encrypted(os.urandom(3_000_000)), HOUR)
    probe = probe_of("backup", {"path": f"{tmp_path}/{NAME}", "rate": "100kB", "decrypt": {"passphrase": PASSPHRASE}})
    before, others = descriptors(), children()
    running = asyncio.create_task(carry_out(probe, new_run(shared)))
    async with asyncio.timeout(30):
        while not any("openssl" in child.name() for child in children() - others):
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await none_left_open(before)
    assert not children() - others


def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    """Root may read everything, so this runs as nobody in a process of its own."""
    put_dump(tmp_path, HOUR)
    tmp_path.chmod(0)
    code = (
        "import os, sys\n"
        "from wcr_watchd.kit.backups.worker import _answer, scan_set\n"
        "os.geteuid() == 0 and os.seteuid(65534)\n"
        "job = dict(path=sys.argv[1], regex='', time_format='', timezone='UTC', most=9, daily=False, before=0)\n"
        "print(_answer(scan_set, job))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{tmp_path}/{NAME}"], capture_output=True, text=True, check=True
    )
    assert "'trouble': 'permission'" in done.stdout
    assert "may not be read by uid" in done.stdout


async def test_what_is_no_file_is_passed_over(tmp_path: Path, observe: Observe) -> None:
    """A named pipe in place of a backup is passed over, and no reading of it hangs."""
    os.mkfifo(tmp_path / "production_20260101_000000.sql.gz")
    seen = await observe("backup", path=f"{tmp_path}/{NAME}", timeout=20)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "missing")


def test_a_sandbox_that_forbids_to_step_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the unit's SystemCallFilter= does; reading goes on all the same."""

    def refuse(by: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    put_dump(tmp_path, HOUR)
    monkeypatch.setattr(os, "nice", refuse)
    monkeypatch.setenv("PATH", "")
    job = {"do": "scan", "path": f"{tmp_path}/*", "regex": "", "time_format": "", "timezone": "UTC", "most": 9}
    main(json.dumps({**job, "daily": False, "before": 0}))
    assert json.loads(capsys.readouterr().out)["count"] == 1
