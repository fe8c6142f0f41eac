"""What watches over the tests of all probes: one that holds the loop fails them, and a busy machine does not."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.real.running import ATTEMPTS, HeldTheLoopError, carry_out, new_run
from wcr_watchd.core.model import Observation
from wcr_watchd.core.run import Run
from wcr_watchd.kit.shared import SharedHelpers


class Busy:
    """A probe that works for so many seconds of processor time without a wait."""

    type = "busy"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def run(self, run: Run) -> Observation:
        until = time.thread_time() + self._seconds
        while time.thread_time() < until:
            pass
        return run.up("done")


async def test_a_probe_that_holds_the_loop_fails() -> None:
    with pytest.raises(HeldTheLoopError, match="busy held the loop"):
        await carry_out(Busy(0.02), new_run(SharedHelpers()))


class Delegating(Busy):
    """One that lets a task of its own work."""

    async def run(self, run: Run) -> Observation:
        return await asyncio.create_task(super().run(run))


async def test_what_a_probe_starts_is_watched_as_well() -> None:
    with pytest.raises(HeldTheLoopError, match=r"held the loop for 2\d\.\d ms in Busy\.run"):
        await carry_out(Delegating(0.02), new_run(SharedHelpers()))


async def test_what_others_do_meanwhile_is_not_its_fault() -> None:
    other = asyncio.create_task(Busy(0.02).run(new_run(SharedHelpers())))
    await carry_out(Delegating(0.0), new_run(SharedHelpers()))
    await other


TESTS = """
    import pytest
    from tests.real.running import carry_out, new_run
    from tests.real.test_running import Busy
    from wcr_watchd.kit.shared import SharedHelpers

    runs = []

    @pytest.fixture
    def anew():
        return []

    async def test_always():
        runs.append("always")
        await carry_out(Busy(0.02), new_run(SharedHelpers()))

    async def test_once(anew):
        anew.append("a run")
        assert len(anew) == 1
        runs.append("once")
        await carry_out(Busy(0.02 if runs.count("once") == 1 else 0.0), new_run(SharedHelpers()))

    def test_another_fault():
        runs.append("another")
        assert False

    def test_the_runs():
        assert [runs.count(name) for name in ("always", "once", "another")] == [ATTEMPTS, 2, 1]
"""


def test_what_holds_the_loop_each_time_fails_and_what_did_once_is_run_anew(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS.replace("ATTEMPTS", str(ATTEMPTS)))
    settings = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    done = pytester.runpytest_inprocess("-p", "tests.real.running", "-p", "no:cacheprovider", *settings)
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["*busy held the loop for 2?.? ms*"])
