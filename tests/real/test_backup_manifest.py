"""The backup_manifest probe on real folders, archives by tar and mirrors as rsync leaves them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.backup_files import HOUR, PASSPHRASE, encrypted
from tests.real.running import Observe, carry_out, children, measured, names, new_run, probe_of
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers

Look = Callable[..., Awaitable[Observation]]


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A folder with thirty files, in two folders, and a second name of one of them."""
    folder = tmp_path / "srv" / "uploads"
    for index in range(30):
        path = folder / ("events" if index % 2 else "profiles") / f"photo {index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(500 + index))
    os.symlink("/etc/hostname", folder / "link")
    os.link(folder / "profiles" / "photo 0.jpg", folder / "same.jpg")
    return folder


@pytest.fixture
def look(uploads: Path, shared: SharedHelpers) -> Look:
    """``await look(archives=…)`` runs a check on the folder; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(later: float = 0.0, **options: Any) -> Observation:
        run = new_run(shared, 90, time.time() + later)
        run.memory = kept
        return await carry_out(probe_of("backup_manifest", {"folder": str(uploads), **options}), run)

    return once


def archived(folder: Path, inside: Path, *words: str, age: float = -1.0) -> Path:
    """The folder archived by tar as it is now, as if that was done so long ago; ``inside`` is where tar stands."""
    path = folder / "archives" / "uploads.tar.gz"
    path.parent.mkdir(exist_ok=True)
    subprocess.run(("tar", "-C", str(inside), "-czf", str(path), *words), check=True)
    os.utime(path, (time.time() - age,) * 2)
    return path


def finished(path: Path) -> dict[str, Any]:
    """The options for an archive whose mtime lies ahead a little: so it is not taken for one in the making."""
    os.utime(path, (time.time() + 2,) * 2)
    return {"path": str(path)}


@pytest.mark.parametrize("how", ["whole path", "last part", "dot"])
async def test_an_archive_in_order(uploads: Path, tmp_path: Path, look: Look, how: str) -> None:
    inside, words = {
        "whole path": (Path("/"), str(uploads).lstrip("/")),
        "last part": (uploads.parent, "uploads"),
        "dot": (uploads, "."),
    }[how]
    seen = await look(archives=finished(archived(tmp_path, inside, words)))
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "files") == measured(seen, "copy_files") == 31
    assert measured(seen, "size") == sum(500 + index for index in range(30)) + 500
    assert measured(seen, "copy_size") == measured(seen, "size") - 500, "an archive holds it once"
    assert measured(seen, "missing") == measured(seen, "different") == measured(seen, "waiting") == 0
    assert measured(seen, "sampled") in (19, 20), "a second name has no content of its own"
    assert 0 <= measured(seen, "newest_age") < 60
    assert "with seed" in seen.evidence["sample"]
    assert "all 31 that should be there are" in seen.summary
    assert "files_kept" not in names(seen)


async def test_what_is_missing_and_what_differs(uploads: Path, tmp_path: Path, look: Look) -> None:
    excluded = "--exclude=photo 3.jpg"
    spoilt, longer = uploads / "profiles" / "photo 4.jpg", uploads / "events" / "photo 5.jpg"
    before = spoilt.read_bytes()
    spoilt.write_bytes(b"!" * len(before))
    archive = archived(tmp_path, uploads.parent, excluded, "uploads")
    spoilt.write_bytes(before)
    longer.write_bytes(b"longer" * 200)
    seen = await look(archives=finished(archive), sample=31)  # all: of 30, the spoilt one was now and then the 31st
    assert seen.outcome is Outcome.UP
    assert measured(seen, "missing") == 1
    assert seen.evidence["missing"] == "events/photo 3.jpg"
    assert measured(seen, "different") == 2
    assert seen.evidence["different"] in (
        "events/photo 5.jpg, profiles/photo 4.jpg", "profiles/photo 4.jpg, events/photo 5.jpg",
    )  # fmt: skip
    assert "1 missing and 2 different" in seen.summary


async def test_what_came_later_is_not_owed_and_waits(uploads: Path, tmp_path: Path, look: Look) -> None:
    archive = archived(tmp_path, uploads.parent, "uploads")
    os.utime(archive, (time.time() - HOUR,) * 2)
    seen = await look(archives={"path": str(archive)}, later=27 * HOUR)
    assert measured(seen, "missing") == measured(seen, "different") == measured(seen, "sampled") == 0
    assert measured(seen, "waiting") == pytest.approx(27 * HOUR, abs=60), "all came after the archive"
    assert measured(seen, "copy_age") == pytest.approx(28 * HOUR, abs=60)
    assert "the first that came later waits for 1 d 3 h" in seen.summary


async def test_an_encrypted_and_a_damaged_archive(uploads: Path, tmp_path: Path, look: Look) -> None:
    archive = archived(tmp_path, uploads.parent, "uploads")
    plain = archive.read_bytes()
    archive.write_bytes(encrypted(plain))
    opened = await look(archives=finished(archive), decrypt={"passphrase": PASSPHRASE})
    assert measured(opened, "missing") == 0, opened.summary
    shut = await look(archives=finished(archive))
    assert (shut.outcome, shut.reason) == (Outcome.UNKNOWN, "missing")
    assert "no passphrase is given" in shut.summary
    archive.write_bytes(plain[:-2000])
    damaged = await look(archives=finished(archive))
    assert (damaged.outcome, damaged.reason) == (Outcome.DOWN, "content")
    archive.write_bytes(b"no archive")
    assert (await look(archives=finished(archive))).outcome is Outcome.UNKNOWN


async def test_a_mirror(uploads: Path, tmp_path: Path, look: Look) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(uploads, mirror, symlinks=True)
    same = await look(mirror=str(mirror), settle="0s")
    assert measured(same, "missing") == measured(same, "different") == measured(same, "waiting") == 0
    assert measured(same, "sampled") == 20
    assert "copy_age" not in names(same)
    (mirror / "events" / "photo 1.jpg").unlink()
    copied = mirror / "events" / "photo 3.jpg"
    copied.write_bytes(bytes(len(copied.read_bytes())))
    wrong = await look(mirror=str(mirror), settle="0s", sample=40)
    assert measured(wrong, "missing") == measured(wrong, "different") == 1
    lately = await look(mirror=str(mirror), settle="1h")
    assert measured(lately, "missing") == 0, "they may have come while the copy was made"
    (uploads / "new.jpg").write_bytes(b"new")
    waiting = await look(mirror=str(mirror), settle="0s", later=HOUR)
    assert measured(waiting, "waiting") == pytest.approx(HOUR, abs=60)


async def test_files_that_are_lost(uploads: Path, look: Look) -> None:
    first = await look()
    assert first.outcome is Outcome.UP
    assert "no copy is named" in first.summary
    shutil.rmtree(uploads / "events")
    assert measured(await look(), "files_kept") == pytest.approx(16 / 31)


async def test_what_is_not_there(uploads: Path, tmp_path: Path, look: Look, observe: Observe) -> None:
    nowhere = await observe("backup_manifest", folder=f"{tmp_path}/none")
    assert (nowhere.outcome, nowhere.reason) == (Outcome.UNKNOWN, "missing")
    (tmp_path / "archives").mkdir()
    never = await look(archives={"path": f"{tmp_path}/archives/uploads_%Y%m%d.tar.gz"})
    assert (never.outcome, never.reason) == (Outcome.DOWN, "missing")
    unmounted = await look(mirror=f"{tmp_path}/none")
    assert (unmounted.outcome, unmounted.reason) == (Outcome.UNKNOWN, "missing")
    for options in ({"folder": "relative"}, {"folder": "/a", "mirror": "/b", "archives": {"path": "/c"}}):
        with pytest.raises(ValidationError):
            probe_of("backup_manifest", options)


async def test_cancelling_leaves_no_process(uploads: Path, tmp_path: Path, look: Look) -> None:
    (uploads / "video.mp4").write_bytes(os.urandom(3_000_000))
    archive = finished(archived(tmp_path, uploads.parent, "uploads"))
    others = children()
    running = asyncio.create_task(look(archives=archive, rate="100kB"))
    async with asyncio.timeout(60):
        while not any("compare" in " ".join(one.cmdline()) for one in children() - others):
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not children() - others
