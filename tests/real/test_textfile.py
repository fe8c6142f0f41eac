"""The textfile probe on files as scripts write them for node_exporter."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.running import Observe, Watch, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import textfile as probe

GOOD = "# TYPE backup_last_success_timestamp_seconds gauge\nbackup_last_success_timestamp_seconds 1795881094\n"


async def test_files_are_read_together(watch: Callable[..., Watch], tmp_path: Path) -> None:
    (tmp_path / "backup.prom").write_text(GOOD)
    (tmp_path / "jobs.prom").write_text('# TYPE jobs_total counter\njobs_total{job="a"} 5\n')
    (tmp_path / "more.prom").write_text('jobs_total{job="b"} 1\n')
    (tmp_path / "half.prom.tmp").write_text("not for us")
    check = watch(
        "textfile",
        path=str(tmp_path),
        values={
            "last_backup": "backup_last_success_timestamp_seconds",
            "jobs": {"metric": "jobs_total", "by": ["job"]},
        },
    )
    now = time.time()
    os.utime(tmp_path / "jobs.prom", (now - 500, now - 500))
    seen = await check.run(started=now)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "files") == 3
    assert measured(seen, "samples") == 3
    assert measured(seen, "files_broken") == 0
    assert measured(seen, "file_age", file="jobs.prom") == pytest.approx(500)
    assert measured(seen, "last_backup") == 1795881094
    (tmp_path / "jobs.prom").write_text('# TYPE jobs_total counter\njobs_total{job="a"} 8\n')
    seen = await check.run(started=now + 60)
    assert measured(seen, "jobs", job="a") == pytest.approx(0.05)
    assert measured(seen, "jobs", job="b") == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not { metrics\n", "not"),
        (b"a 1\nb 2", "cut short"),
        (b"a 1\n" * 300_000, "more than 1048576 bytes"),
        (b"a" * 20_000 + b" 1\n", "more than 16384 characters"),
    ],
)
async def test_the_broken_file_is_named(content: bytes, words: str, observe: Observe, tmp_path: Path) -> None:
    (tmp_path / "good.prom").write_text(GOOD)
    (tmp_path / "bad.prom").write_bytes(content)
    seen = await observe("textfile", path=str(tmp_path), values={"at": "backup_last_success_timestamp_seconds"})
    assert (seen.outcome, seen.reason) == (Outcome.UP, "parse")
    assert "bad.prom is broken" in seen.summary
    assert words in seen.evidence["broken"]
    assert measured(seen, "files_broken") == 1
    assert measured(seen, "at") == 1795881094


async def test_what_is_no_file_is_broken(observe: Observe, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.prom")
    (tmp_path / "folder.prom").mkdir()
    (tmp_path / "gone.prom").symlink_to("/no/such/file")
    seen = await observe("textfile", path=str(tmp_path), values={"a": "b"})
    assert measured(seen, "files_broken") == 2
    assert seen.evidence["absent"] == "a: there is no such series"


async def test_a_folder_that_cannot_be_read_is_unknown(
    observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = await observe("textfile", path=str(tmp_path / "none"))
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    assert not names(missing)
    (tmp_path / "file").touch()
    assert (await observe("textfile", path=str(tmp_path / "file"))).reason == "missing"

    def refused(path: str, _: object) -> None:
        """Root, who runs the tests, may list everything."""
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(probe, "_look", refused)
    seen = await observe("textfile", path=str(tmp_path))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")


async def test_too_many_files_are_said(observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.prom").write_text("a 1\n")
    seen = await observe("textfile", path=str(tmp_path))
    assert measured(seen, "files") == 5
    assert measured(seen, "samples") == 3
    assert seen.evidence["files"].startswith("2 more were not read")


async def test_a_folder_that_does_not_answer(
    shared: SharedHelpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a dead mount: the call hangs, the run does not, and the next one does not hang a second thread."""
    hanging = []

    def hangs(path: str, _: object) -> None:
        hanging.append(path)
        released.wait(60)

    released = threading.Event()
    monkeypatch.setattr(probe, "_look", hangs)
    check = probe_of("textfile", {"path": str(tmp_path)})
    for _ in range(2):
        seen = await carry_out(check, new_run(shared, timeout=0.3))
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert len(hanging) == 1
    running = asyncio.create_task(carry_out(check, new_run(SharedHelpers())))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    released.set()
