"""The restic probe on repositories that a real restic made."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.running import Observe, carry_out, children, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.restic import _snapshots

Restic = Callable[..., None]
HOUR = 3_600.0


@pytest.fixture
def restic(tmp_path: Path) -> Restic:
    """``restic("backup", …)`` runs restic on the repository ``repository``, whose password is ``right``."""
    environment = {
        "PATH": os.environ["PATH"], "RESTIC_PASSWORD": "right", "RESTIC_REPOSITORY": str(tmp_path / "repository"),
        "RESTIC_CACHE_DIR": str(tmp_path / "cache"), "TZ": "America/New_York",
    }  # fmt: skip

    def run(*words: str) -> None:
        subprocess.run(("restic", *words), env=environment, check=True, capture_output=True, timeout=100)

    run("init")
    return run


def add(restic: Restic, age: float, *words: str) -> None:
    """Make a snapshot that looks as if it was made so long ago, by a clock in New York."""
    os.environ["TZ"], before = "America/New_York", os.environ.get("TZ")
    time.tzset()
    try:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - age))
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
    restic("backup", "--time", at, *words, "/etc/hostname")


async def test_a_repository(restic: Restic, tmp_path: Path, observe: Observe) -> None:
    options = {"repository": str(tmp_path / "repository"), "passphrase": "right"}
    empty = await observe("restic", **options)
    assert (empty.outcome, empty.reason) == (Outcome.DOWN, "missing"), empty.summary
    add(restic, 50.5 * HOUR, "--host", "db", "--tag", "config", "--tag", "daily")
    add(restic, 2.5 * HOUR, "--host", "web")
    seen = await observe("restic", **options)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "age") == pytest.approx(2.5 * HOUR, abs=120)
    assert measured(seen, "snapshots") == 2
    assert measured(seen, "span") == pytest.approx(48 * HOUR, abs=120)
    assert measured(seen, "missed") == 0
    for only in ({"host": "db"}, {"snapshot_tags": ["config", "daily"]}):
        one = await observe("restic", **options, **only)
        assert measured(one, "snapshots") == 1, only
        assert measured(one, "missed") == 2
    assert (await observe("restic", **options, paths=["/var"])).reason == "missing"
    wrong = await observe("restic", **{**options, "passphrase": "wrong"})
    assert (wrong.outcome, wrong.reason) == (Outcome.UNKNOWN, "auth")
    assert not names(wrong)
    nowhere = await observe("restic", repository=f"{tmp_path}/none", passphrase="right")
    assert (nowhere.outcome, nowhere.reason) == (Outcome.DOWN, "missing")
    assert "there is no repository" in nowhere.summary


def test_times_with_nanoseconds() -> None:
    assert _snapshots(None) == {}
    found = _snapshots(
        [
            {"short_id": "a", "time": "2026-11-28T02:00:00.123456789-05:00"},
            {"short_id": "b", "time": "2026-11-28T07:00:00Z"},
        ]
    )
    assert found["a"] == found["b"]


async def test_without_restic_and_with_one_that_hangs_or_talks_nonsense(
    tmp_path: Path, observe: Observe, shared: SharedHelpers
) -> None:
    none = await observe("restic", repository="/r", program=f"{tmp_path}/restic")
    assert (none.outcome, none.reason) == (Outcome.UNKNOWN, "missing")
    program = tmp_path / "restic"
    for script, reason in (
        ("exec sleep 600", "timeout"),
        ("echo nonsense", "parse"),
        ("echo '[{}]'", "parse"),
        ("echo 'Fatal: the disk is on fire' >&2; exit 1", "exec"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        seen = await observe("restic", repository="/r", program=str(program), timeout=3 if reason == "timeout" else 60)
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, reason), seen.summary
    assert "the disk is on fire" in seen.summary
    for status, outcome in ((10, Outcome.DOWN), (12, Outcome.UNKNOWN)):  # as restic 0.17 and later end
        program.write_text(f"#!/bin/sh\nexit {status}\n")
        assert (await observe("restic", repository="/r", program=str(program))).outcome is outcome
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    others = children()
    running = asyncio.create_task(
        carry_out(probe_of("restic", {"repository": "/r", "program": str(program)}), new_run(shared))
    )
    async with asyncio.timeout(30):
        while not children() - others:
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not children() - others
