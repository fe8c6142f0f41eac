"""The command probe on real programs: verdicts, limits, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from tests.real.running import Observe, descriptors, measured, names, none_left_open, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.perfdata import parse


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
    assert seen.reason == "plugin"


async def test_a_hanging_program_and_its_children_are_ended(tmp_path: Path, observe: Observe) -> None:
    pids = tmp_path / "pids"
    words = script(tmp_path, f"echo $$ >> {pids}\n(echo $BASHPID; sleep 600) &\nsleep 600 & echo $! >> {pids}\nwait")
    seen = await observe("command", run=words, timeout=1.0)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert "was killed" in seen.summary
    await all_gone(pids)


async def all_gone(pids: Path) -> None:
    for pid in map(int, pids.read_text().split()):
        for _ in range(100):
            with contextlib.suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    await asyncio.sleep(0.05)
                    continue
            break
        else:
            pytest.fail(f"process {pid} was left behind")


async def test_what_a_plugin_leaves_running_delays_nothing_and_is_ended(tmp_path: Path, observe: Observe) -> None:
    pids = tmp_path / "pids"
    words = script(tmp_path, f"echo $$ >> {pids}\necho fine\nsleep 600 & echo $! >> {pids}\nexit 0")
    seen = await observe("command", run=words)
    assert seen.outcome is Outcome.UP, seen.summary
    assert seen.summary == "fine"
    await all_gone(pids)


async def test_cancelling_ends_the_program(tmp_path: Path, observe: Observe) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(observe("command", run=script(tmp_path, f"echo $$ > {pids}\nexec sleep 600")))
    while not (pids.exists() and pids.read_text().strip()):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await all_gone(pids)


@pytest.mark.parametrize(("protocol", "outcome"), [("nagios", Outcome.UNKNOWN), ("exit", Outcome.DOWN)])
async def test_what_no_end_in_time_means(protocol: str, outcome: Outcome, tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "exec sleep 600"), protocol=protocol, timeout=2)
    assert (seen.outcome, seen.reason) == (outcome, "timeout")
    asked = await observe(
        "command", run=script(tmp_path, "exec sleep 600"), protocol=protocol, timeout=2, on_exec_error="down"
    )
    assert asked.outcome is Outcome.DOWN


async def test_a_program_ended_by_a_signal(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "kill -SEGV $$"))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "signal")
    assert "signal 11" in seen.summary
    assert "exit_status" not in names(seen)


async def test_a_label_that_comes_twice_is_one_series(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "echo 'ok | a=1 a=2 b=3s a=4s'"))
    assert [(one.name, one.value) for one in seen.measurements if one.labels] == [
        ("perfdata", 1),
        ("perfdata_time", 3),
        ("perfdata_time", 4),
    ]


async def test_performance_data_in_base_units(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "echo 'ok | t=250ms m=2KiB l=25% c=7c n=5 u=U x=1furlong'"))
    assert measured(seen, "perfdata_time", label="t") == 0.25
    assert measured(seen, "perfdata_size", label="m") == 2048
    assert measured(seen, "perfdata_share", label="l") == 0.25
    assert measured(seen, "perfdata_counter", label="c") == 7
    assert measured(seen, "perfdata", label="n") == 5
    assert measured(seen, "perfdata", label="x") == 1
    assert ("label", "u") not in {label for one in seen.measurements for label in one.labels}, "unknown is not 0"


async def test_a_flood_of_performance_data_is_bounded(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "printf 'ok |'; seq -f ' a%.0f=1' 1 3000 | tr -d '\\n'"))
    assert len(seen.measurements) < 250
    assert "only the first" in seen.evidence["performance data"]


@pytest.mark.parametrize("text", [" " * 60_000, "\n" * 60_000, "a|b=1" + " " * 60_000 + "x", "|" * 60_000])
async def test_reading_takes_no_longer_than_the_text_is_long(text: str) -> None:
    began = time.process_time()
    parse(text)
    assert time.process_time() - began < 5, "it held up everything else"


async def test_a_missing_folder_is_told_apart_from_a_missing_program(tmp_path: Path, observe: Observe) -> None:
    seen = await observe("command", run=script(tmp_path, "exit 0"), cwd=str(tmp_path / "none"))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "(cwd)" in seen.summary


async def test_a_script_without_an_interpreter_line(tmp_path: Path, observe: Observe) -> None:
    path = tmp_path / "script"
    path.write_text("exit 0\n")
    path.chmod(0o755)
    seen = await observe("command", run=[str(path)])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "exec")


async def test_a_program_is_found_by_path_and_by_folder(tmp_path: Path, observe: Observe) -> None:
    script(tmp_path, "pwd; echo $0")
    by_folder = await observe("command", run=["./script"], cwd=str(tmp_path))
    assert by_folder.summary == str(tmp_path)
    by_path = await observe("command", run=["script"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert by_path.outcome is Outcome.UP, by_path.summary


@pytest.mark.parametrize(
    "options", [{"run": []}, {"run": ["a\0b"]}, {"run": ["a"], "env": {"A=B": "c"}}, {"run": "ls"}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        probe_of("command", options)


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
    before = descriptors()
    for _ in range(5):
        await observe("command", run=words)
    await none_left_open(before)
