"""The command probe on real programs: verdicts, limits, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import psutil
import pytest

from tests.real.running import Observe, measured
from wcr_watchd.core.model import Outcome


def script(folder: Path, text: str) -> list[str]:
    path = folder / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


async def test_a_real_plugin(observe: Observe) -> None:
    seen = await observe(
        "command", run=["/usr/lib/nagios/plugins/check_load", "-w", "900,900,900", "-c", "999,999,999"]
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert "load average" in seen.summary.lower()
    assert measured(seen, "perfdata", label="load1") >= 0


@pytest.mark.parametrize(("status", "outcome"), [(0, Outcome.UP), (1, Outcome.DOWN), (3, Outcome.DOWN)])
async def test_exit_protocol(status: int, outcome: Outcome, tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, f"echo inactive; exit {status}"), protocol="exit")
    assert seen.outcome is outcome
    assert "inactive" in seen.summary


async def test_what_cannot_be_run_is_unknown(tmp_path: Path, observe: Observe) -> None:
    missing = await observe("command", run=["/no/such/program"])
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    (tmp_path / "plain").write_text("text")
    denied = await observe("command", run=[str(tmp_path / "plain")])
    assert (denied.outcome, denied.reason) == (Outcome.UNKNOWN, "permission")
    asked = await observe("command", run=["/no/such/program"], on_exec_error="down")
    assert asked.outcome is Outcome.DOWN


async def test_endless_output_is_bounded(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "echo first; head -c 20000000 /dev/zero; echo; exit 1"))
    assert measured(seen, "plugin_state") == 1
    assert seen.summary.startswith("first")


async def test_a_hanging_program_and_its_children_are_ended(tmp_path: Path, observe: Observe) -> None:
    pids = tmp_path / "pids"
    words = script(tmp_path, f"echo $$ >> {pids}\n(echo $BASHPID; sleep 600) &\nsleep 600 & echo $! >> {pids}\nwait")
    seen = await observe("command", run=words, timeout=1.0)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    for pid in map(int, pids.read_text().split()):
        for _ in range(100):
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    await asyncio.sleep(0.05)
                    continue
            break
        else:
            pytest.fail(f"process {pid} was left behind")


async def test_a_child_sees_none_of_the_daemons_secrets(
    tmp_path: Path, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAEMON_SECRET", "do-not-tell")
    seen = await observe("command", run=script(tmp_path, "env"), env={"GIVEN": "told"})
    everything = seen.summary + " ".join(seen.evidence.values())
    assert "do-not-tell" not in everything
    assert "GIVEN=told" in everything


async def test_no_descriptor_is_left_open(tmp_path: Path, observe: Observe) -> None:
    words = script(tmp_path, "exit 0")
    await observe("command", run=words)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await observe("command", run=words)
    assert len(os.listdir("/proc/self/fd")) <= before
