"""The borg probe on repositories that a real Borg made."""

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

Borg = Callable[..., None]
HOUR = 3_600.0


@pytest.fixture
def borg(tmp_path: Path) -> Borg:
    """``borg("init", …)`` runs Borg with a home of its own and the passphrase ``right``."""
    environment = {
        "PATH": os.environ["PATH"], "BORG_BASE_DIR": str(tmp_path / "home"), "BORG_PASSPHRASE": "right", "TZ": "UTC",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
    }  # fmt: skip

    def run(*words: str) -> None:
        subprocess.run(("borg", *words), env=environment, check=True, capture_output=True, timeout=100)

    return run


def stamp(age: float) -> str:
    """A time that long ago as ``borg create --timestamp`` takes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - age))


def add(borg: Borg, repository: Path, name: str, age: float) -> None:
    """Make an archive that looks as if it was made so long ago."""
    borg("create", "--timestamp", stamp(age), f"{repository}::{name}", "/etc/hostname")


async def test_an_encrypted_repository(borg: Borg, tmp_path: Path, observe: Observe) -> None:
    repository = tmp_path / "repository"
    borg("init", "--encryption", "repokey-blake2", str(repository))
    options = {"repository": str(repository), "passphrase": "right"}
    empty = await observe("borg", **options)
    assert (empty.outcome, empty.reason) == (Outcome.DOWN, "missing")
    add(borg, repository, "uploads-1", 26.5 * HOUR)
    add(borg, repository, "uploads-2", 2.5 * HOUR)
    add(borg, repository, "config-1", 50.5 * HOUR)
    seen = await observe("borg", **options)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "age") == pytest.approx(2.5 * HOUR, abs=120)
    assert measured(seen, "snapshots") == 3
    assert measured(seen, "span") == pytest.approx(48 * HOUR, abs=60)
    assert measured(seen, "missed") == 0
    assert measured(seen, "unencrypted") == 0
    assert measured(seen, "list_time") > 0
    assert "uploads-2" in seen.summary
    config = await observe("borg", **options, archives="config-*")
    assert measured(config, "snapshots") == 1
    assert measured(config, "missed") == 2
    wrong = await observe("borg", **{**options, "passphrase": "wrong"})
    assert (wrong.outcome, wrong.reason) == (Outcome.UNKNOWN, "auth")
    assert "check passphrase" in wrong.summary
    assert not names(wrong)
    borg("with-lock", str(repository), "true")
    lock = repository / "lock.exclusive"
    lock.mkdir()
    (lock / "elsewhere.1-1").touch()
    assert (await observe("borg", **options)).outcome is Outcome.UP, "a backup that is going on is in nobody's way"


async def test_a_repository_without_encryption_and_none(borg: Borg, tmp_path: Path, observe: Observe) -> None:
    repository = tmp_path / "repository"
    borg("init", "--encryption", "none", str(repository))
    add(borg, repository, "a", HOUR)
    seen = await observe("borg", repository=str(repository))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "unencrypted") == 1
    missing = await observe("borg", repository=f"{tmp_path}/none")
    assert (missing.outcome, missing.reason) == (Outcome.DOWN, "missing")
    assert "there is no repository" in missing.summary
    (repository / "config").write_text("[repository]\nversion = 1\n")
    broken = await observe("borg", repository=str(repository))
    assert broken.outcome is not Outcome.UP
    assert str(repository) in broken.summary


async def test_without_borg_and_with_one_that_hangs_or_talks_nonsense(
    tmp_path: Path, observe: Observe, shared: SharedHelpers
) -> None:
    none = await observe("borg", repository="/r", program=f"{tmp_path}/borg")
    assert (none.outcome, none.reason) == (Outcome.UNKNOWN, "missing")
    program = tmp_path / "borg"
    for script, reason in (
        ("exec sleep 600", "timeout"),
        ("echo nonsense", "parse"),
        ("echo '{\"archives\": [{}]}'", "parse"),
        ("echo 'Host key verification failed.' >&2; exit 2", "exec"),
        ("exec head -c 3000000 /dev/zero", "parse"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        seen = await observe("borg", repository="/r", program=str(program), timeout=3 if reason == "timeout" else 60)
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, reason), seen.summary
    assert "Host key" not in seen.summary
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    others = children()
    running = asyncio.create_task(
        carry_out(probe_of("borg", {"repository": "/r", "program": str(program)}), new_run(shared))
    )
    async with asyncio.timeout(30):
        while not children() - others:
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not children() - others
