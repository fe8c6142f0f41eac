"""The logrotate probe on the state that the real logrotate writes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.running import Observe, Watch, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes import logrotate

WatchOf = Callable[..., Watch]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in a folder of its own, with a name that has to be escaped."""
    path = tmp_path / "logs" / 'the "app".log'
    path.parent.mkdir(mode=0o755)
    path.write_text("a line\n")
    return path


@pytest.fixture
def state(log: Path, tmp_path: Path) -> str:
    """The state after one run of the real logrotate."""
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(f"{log.parent}/*.log {{\n rotate 9\n su root root\n}}\n")
    configuration.chmod(0o644)
    command = ["logrotate", "--force", "--state", str(tmp_path / "status"), str(configuration)]
    subprocess.run(command, check=True, capture_output=True)
    return str(tmp_path / "status")


async def test_it_ran(log: Path, state: str, observe: Observe) -> None:
    seen = await observe(
        "logrotate", state=state, logs=[str(log)], folders=[str(log.parent)], started=time.time() + 3_600
    )
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "state_age") == pytest.approx(3_600, abs=60)
    assert measured(seen, "logs") == 1
    assert measured(seen, "rotated", log=str(log)) == 1
    assert measured(seen, "rotation_age", log=str(log)) == pytest.approx(3_600, abs=60)
    assert "logrotate ran 1 h ago and knows 1 logs" in seen.summary


async def test_the_time_is_local(observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of today may also have no time of day (versions before 3.8)."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        (tmp_path / "status").write_text(
            'logrotate state -- version 2\n"/a" 2026-7-1-6:0:0\n"/b" 2026-7-1\nnonsense\n"/c" 2026-99-1\n'
        )
        seen = await observe(
            "logrotate", state=str(tmp_path / "status"), logs=["/a", "/b"], folders=[], started=1_782_907_200.0
        )  # 2026-07-01 12:00 UTC, 08:00 in New York
    finally:
        monkeypatch.undo()
        time.tzset()
    assert measured(seen, "rotation_age", log="/a") == 2 * 3_600
    assert measured(seen, "rotation_age", log="/b") == 8 * 3_600


async def test_a_log_that_nobody_rotates(log: Path, state: str, observe: Observe) -> None:
    seen = await observe("logrotate", state=state, logs=["/var/log/forgotten.log"], folders=[])
    assert measured(seen, "rotated", log="/var/log/forgotten.log") == 0
    assert "rotation_age" not in names(seen)
    assert "does not know /var/log/forgotten.log" in seen.summary
    assert seen.reason == "log"


async def test_big_files(log: Path, state: str, watch: WatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logrotate, "_BIG", 1_000_000)
    big = log.parent / "deep" / "big.log"
    big.parent.mkdir()
    big.write_bytes(b"x" * 2_000_000)
    with (log.parent / "holes").open("wb") as file:
        file.truncate(1 << 40)
    check = watch("logrotate", state=state, folders=[str(log.parent), "/no/such/folder"])
    seen = await check.run()
    assert measured(seen, "log_size", log=str(big)) == pytest.approx(2_000_000, rel=0.05)
    assert measured(seen, "largest_log") == measured(seen, "log_size", log=str(big))
    assert 2_000_000 <= measured(seen, "logs_size") < 2_200_000
    assert len([one for one in seen.measurements if one.name == "log_size"]) == 1
    assert "big.log 1.9" in seen.summary
    big.unlink()
    assert measured(await check.run(), "log_size", log=str(big)) == 0, "that it is over is said once"
    assert "log_size" not in names(await check.run())


async def test_more_files_than_are_looked_at(
    log: Path, state: str, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logrotate, "_MOST_ENTRIES", 3)
    for number in range(5):
        (log.parent / str(number)).touch()
    seen = await observe("logrotate", state=state, folders=[str(log.parent)])
    assert "more than 3 files" in seen.evidence["absent"]


async def test_it_never_ran(observe: Observe, tmp_path: Path) -> None:
    seen = await observe("logrotate", state=str(tmp_path / "none"), folders=[])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert not names(seen)
    seen = await observe("logrotate", state=str(tmp_path), folders=[])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")


async def test_where_distributions_keep_it(
    log: Path, state: str, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logrotate, "_WHERE", ("/no/such/status", state))
    assert measured(await observe("logrotate", folders=[]), "logs") == 1


async def test_too_slow_and_cancelled(observe: Observe, shared: SharedHelpers, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status")
    seen = await observe("logrotate", state=str(tmp_path / "status"), folders=[], timeout=0.2)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    run = new_run(shared)
    running = asyncio.create_task(
        carry_out(probe_of("logrotate", {"state": str(tmp_path / "status"), "folders": []}), run)
    )
    while run.step == "starting":
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with (tmp_path / "status").open("w"):  # lets the reading thread go
        pass
