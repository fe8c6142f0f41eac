"""The tempfiles probe on real folders."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import tempfiles


async def test_what_is_in_a_folder(observe: Observe, tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "one").write_bytes(b"x" * 100_000)
    (tmp_path / "two").write_bytes(b"x" * 50_000)
    (tmp_path / "link").symlink_to("/usr")
    seen = await observe("tempfiles", folders=[str(tmp_path)], started=time.time() + 5 * 86_400)
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    folder = str(tmp_path)
    assert measured(seen, "files", folder=folder) == 2, "a link leads nowhere"
    assert 150_000 <= measured(seen, "size", folder=folder) < 200_000
    space = os.statvfs(tmp_path)
    whole = space.f_blocks * space.f_frsize
    assert measured(seen, "used", folder=folder) == pytest.approx(measured(seen, "size", folder=folder) / whole)
    assert measured(seen, "oldest", folder=folder) == pytest.approx(5 * 86_400, abs=60)
    assert "in 2 files" in seen.summary


async def test_a_file_that_is_read_is_not_old(
    observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel sets the time of a file's last change by itself, so an older one is played."""
    (tmp_path / "a").touch()
    told = SimpleNamespace(st_atime=2_000, st_mtime=1_000, st_ctime=1_500, st_blocks=8, st_dev=1)

    def changed_long_ago(path: str) -> SimpleNamespace:
        return told

    monkeypatch.setattr("wcr_watchd.kit.trees.os.lstat", changed_long_ago)
    seen = await observe("tempfiles", folders=[str(tmp_path)], started=10_000)
    assert measured(seen, "oldest", folder=str(tmp_path)) == 8_000


async def test_an_empty_folder(observe: Observe, tmp_path: Path) -> None:
    seen = await observe("tempfiles", folders=[str(tmp_path)])
    assert measured(seen, "files", folder=str(tmp_path)) == 0
    assert "oldest" not in names(seen)


async def test_more_files_than_are_looked_at(observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfiles, "_MOST", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    seen = await observe("tempfiles", folders=[str(tmp_path)])
    assert measured(seen, "files", folder=str(tmp_path)) == 3
    assert "more than 3 files" in seen.evidence["absent"]


async def test_what_is_not_there(observe: Observe, tmp_path: Path) -> None:
    seen = await observe("tempfiles", folders=["/no/such/folder"])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    (tmp_path / "file").touch()
    seen = await observe("tempfiles", folders=[str(tmp_path / "file")])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")


async def test_too_slow_and_cancelled(
    observe: Observe, shared: SharedHelpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfiles, "_look", lambda folder: time.sleep(2))
    seen = await observe("tempfiles", folders=[str(tmp_path)], timeout=0.2)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    run = new_run(shared)
    running = asyncio.create_task(carry_out(probe_of("tempfiles", {}), run))
    while run.step == "starting":
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
