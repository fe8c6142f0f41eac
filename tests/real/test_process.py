"""The process probe on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

MARK = f"watchd-test-{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", MARK])
    yield process
    process.kill()
    process.wait()


async def test_a_running_program_is_up_with_its_numbers(sleeper: subprocess.Popen[bytes], observe: Observe) -> None:
    seen = await observe("process", match=MARK)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "processes") == 1
    assert measured(seen, "memory_rss") > 1_000_000
    assert measured(seen, "open_files") >= 3
    assert "cpu_used" not in names(seen), "one look tells no usage"


async def test_processor_time_between_two_runs(shared: SharedHelpers) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass", MARK + "-busy"])
    try:
        probe = probe_of("process", {"match": MARK + "-busy"})
        await carry_out(probe, new_run(shared))
        begun = time.monotonic()
        while time.monotonic() - begun < 0.3:
            pass
        seen = await carry_out(probe, new_run(shared))
        assert 0.02 < measured(seen, "cpu_used") < 1.5
    finally:
        busy.kill()
        busy.wait()


async def test_a_program_that_ended_is_down(sleeper: subprocess.Popen[bytes], observe: Observe) -> None:
    sleeper.kill()
    sleeper.wait()
    seen = await observe("process", match=MARK)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "missing")
    assert measured(seen, "processes") == 0


async def test_a_zombie_is_not_a_running_program(observe: Observe) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", "import os, time\nif os.fork() == 0: os._exit(0)\ntime.sleep(600)", MARK + "-parent"]
    )
    try:
        for _ in range(200):
            children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/stat").read_text().split(")")[-1].split()[0] == "Z":
                break
            time.sleep(0.02)
        pidfile = Path(f"/tmp/{MARK}.pid")
        pidfile.write_text(children[0])
        seen = await observe("process", pidfile=str(pidfile))
        pidfile.unlink()
        assert seen.outcome is Outcome.DOWN
        assert measured(seen, "zombies") == 1
    finally:
        parent.kill()
        parent.wait()


async def test_too_many_are_down(sleeper: subprocess.Popen[bytes], observe: Observe) -> None:
    seen = await observe("process", match=MARK, min=0, max=0)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "too_many")


async def test_pidfiles(sleeper: subprocess.Popen[bytes], observe: Observe, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    missing = await observe("process", pidfile=str(pidfile))
    assert (missing.outcome, missing.reason) == (Outcome.DOWN, "missing")
    pidfile.write_text(f"{sleeper.pid}\n")
    assert (await observe("process", pidfile=str(pidfile))).outcome is Outcome.UP
    pidfile.write_text("not a number")
    assert (await observe("process", pidfile=str(pidfile))).outcome is Outcome.UNKNOWN


HIDDEN = """
import asyncio, os, subprocess, sys
from tests.real.running import carry_out, new_run, probe_of
from wcr_watchd.kit.shared import SharedHelpers

options = {"match": sys.argv[1]}, {"pidfile": sys.argv[2]}, {"match": "^sleep 999$"}
probes = [probe_of("process", one) for one in options]

async def main():
    for probe in probes:
        seen = await carry_out(probe, new_run(SharedHelpers()))
        print(seen.outcome.value, seen.reason)

os.setgroups([]), os.setgid(65534), os.setuid(65534)
own = subprocess.Popen(["sleep", "999"])
asyncio.run(main())
own.kill()
"""


@pytest.mark.parametrize("hidepid", [1, 2])
def test_what_is_hidden_from_this_user_is_unknown_and_not_down(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, hidepid: int
) -> None:
    pidfile = Path(f"/tmp/{MARK}-hidden.pid")
    pidfile.write_text(str(sleeper.pid))
    mounted = f'mount -t proc -o hidepid={hidepid} proc /proc && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mounted, "sh", sys.executable, "-c", HIDDEN, MARK, str(pidfile)]
    try:
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    finally:
        pidfile.unlink()
    *others, own = said.splitlines()
    assert set(others) == {"unknown permission"}
    assert own == "up ", "its own processes it may see"


async def test_a_process_table_that_hangs_is_unknown(
    sleeper: subprocess.Popen[bytes], observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr("wcr_watchd.probes.process.Process._look", lambda self: released.wait() and [])
    try:
        first = await observe("process", match=MARK, timeout=0.2)
        second = await observe("process", match=MARK, timeout=0.2)
    finally:
        released.set()
    assert [(one.outcome, one.reason) for one in (first, second)] == [(Outcome.UNKNOWN, "timeout")] * 2


@pytest.mark.parametrize(
    "options", [{}, {"name": "a", "match": "b"}, {"match": "("}, {"name": "a", "min": 2, "max": 1}]
)
def test_options_that_say_nothing_or_too_much_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        probe_of("process", options)
