"""One run of one probe: deadline, redaction, bounds, and void results."""

from __future__ import annotations

import asyncio
import math
import os
import resource
from collections.abc import Awaitable, Callable

import pytest

from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome
from wcr_watchd.core.run import Run
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.units import Unit
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.descriptors import ENOUGH, allow_enough, ran_out
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.runner import Runner

pytestmark = pytest.mark.looptime

Behaviour = Callable[[Run], Awaitable[Observation]]


class LoopClock:
    def now(self) -> float:
        return 1_000.0 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Probe:
    """A probe that behaves as a test wants."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.run = behaviour

    def specs(self) -> tuple[MeasurementSpec, ...]:
        return (MeasurementSpec("speed", Unit.SECONDS, "x"), MeasurementSpec("disk", Unit.RATIO, "x", ("mount",)))


def runner(behaviour: Behaviour, stalled: Callable[[float], float] = lambda begun: 0.0) -> Runner:
    check = Check(name="check", probe="fake", target="t", every=60.0, timeout=5.0, rules=())
    setup = Setup("prod", "here", "UTC", "", {"check": check})
    redactor = Redactor(["hunter2-secret"])
    probes = {"check": Probe(behaviour)}
    return Runner(probes, setup, SharedHelpers(), redactor, LoopClock(), Counters(), stalled)  # type: ignore[arg-type]


async def test_a_hanging_probe_is_cut_off_with_what_it_was_doing() -> None:
    async def hang(run: Run) -> Observation:
        run.measure("speed", 1.0)
        run.step = "waiting for the banner of mail:25"
        await asyncio.sleep(1e6)
        raise AssertionError

    seen = await runner(hang).run("check")
    assert seen is not None
    assert (seen.outcome, seen.reason, seen.duration) == (Outcome.DOWN, "timeout", pytest.approx(5.0))
    assert seen.summary == "no result within 5 s; was waiting for the banner of mail:25"
    assert [one.name for one in seen.measurements] == ["speed"]


async def test_a_probe_that_raises_is_unknown_not_down() -> None:
    async def fail(run: Run) -> Observation:
        raise ZeroDivisionError("a bug with hunter2-secret")

    seen = await runner(fail).run("check")
    assert seen is not None
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "probe_error")
    assert "hunter2" not in seen.summary


async def test_secrets_are_masked_and_evidence_is_bounded() -> None:
    async def tell(run: Run) -> Observation:
        run.evidence["body"] = "x" * 4_090 + "hunter2-secret" + "y" * 9_000
        run.evidence["more"] = "z" * 100
        return run.up("the answer was hunter2-secret\nand " + "more " * 100)

    seen = await runner(tell).run("check")
    assert seen is not None
    assert "hunter2" not in seen.summary + "".join(seen.evidence.values())
    assert "\n" not in seen.summary
    assert len(seen.summary) <= 300
    assert sum(len(text.encode()) for text in seen.evidence.values()) <= 4_096


async def test_only_declared_numbers_are_kept() -> None:
    async def measure(run: Run) -> Observation:
        run.measure("speed", math.nan)
        run.measure("undeclared", 1.0)
        run.measure("disk", 0.5)
        run.measure("disk", 0.7, mount="/")
        return run.up("fine")

    seen = await runner(measure).run("check")
    assert seen is not None
    assert [(one.name, one.value) for one in seen.measurements] == [("disk", 0.7)]


async def test_a_result_from_while_the_process_was_held_up_is_void_three_times_then_unknown() -> None:
    async def slow(run: Run) -> Observation:
        return run.down("timeout", "nothing came")

    held = runner(slow, lambda begun: 30.0)
    assert await held.run("check") is None
    assert await held.run("check") is None
    seen = await held.run("check")
    assert seen is not None
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "watcher")


async def test_what_fails_for_want_of_file_descriptors_is_unknown_not_down() -> None:
    opened: list[int] = []

    async def use_all(run: Run) -> Observation:
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            return run.down("connect", str(error))

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_000, limits[1]), limits[1]))
    try:
        seen = await runner(use_all).run("check")
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert seen is not None
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "watcher")


def test_a_low_limit_on_open_files_is_raised() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_000, limits[1]))
    try:
        allow_enough()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert raised == (min(ENOUGH, limits[1]), limits[1])
    assert not ran_out()


async def test_a_check_that_is_gone_gives_nothing() -> None:
    async def never(run: Run) -> Observation:
        raise AssertionError

    assert await runner(never).run("another") is None


# --- memory ----------------------------------------------------------------------------------------------------


def remembering(behaviour: Behaviour, memories: dict[str, str], probe: str = "fake") -> Runner:
    check = Check(name="check", probe=probe, target="t", every=60.0, timeout=5.0, rules=())
    setup = Setup("prod", "here", "UTC", "", {"check": check})
    probes = {"check": Probe(behaviour)}
    redactor = Redactor([])
    return Runner(probes, setup, SharedHelpers(), redactor, LoopClock(), Counters(), memories=memories)  # type: ignore[arg-type]


async def count(run: Run) -> Observation:
    run.memory["runs"] = run.memory.get("runs", 0) + 1
    return run.up(f"run {run.memory['runs']}")


async def test_what_a_run_leaves_in_its_memory_the_next_one_finds_also_in_another_life() -> None:
    memories: dict[str, str] = {}
    life = remembering(count, memories)
    first, second = await life.run("check"), await life.run("check")
    assert first is not None
    assert second is not None
    assert (first.summary, second.summary) == ("run 1", "run 2")
    assert second.memory == memories["check"]
    third = await remembering(count, {"check": second.memory or ""}).run("check")
    assert third is not None
    assert third.summary == "run 3"


async def test_memory_that_did_not_change_is_not_stored_again() -> None:
    async def same(run: Run) -> Observation:
        run.memory["cursor"] = 7
        return run.up("x")

    life = remembering(same, {})
    first, second = await life.run("check"), await life.run("check")
    assert first is not None
    assert second is not None
    assert first.memory is not None
    assert second.memory is None


@pytest.mark.parametrize("end", ["hangs", "raises", "keeps what is no JSON", "keeps too much"])
async def test_what_an_unfinished_run_leaves_is_thrown_away(end: str) -> None:
    async def run_on(run: Run) -> Observation:
        run.memory["runs"] = 2
        if end == "hangs":
            await asyncio.sleep(1e6)
        if end == "raises":
            raise RuntimeError("a bug")
        run.memory["odd"] = {1, 2} if end == "keeps what is no JSON" else "x" * 300_000
        return run.up("x")

    memories: dict[str, str] = {}
    await remembering(count, memories).run("check")
    before = memories["check"]
    seen = await remembering(run_on, memories).run("check")
    assert seen is not None
    assert seen.outcome is not Outcome.UP
    assert seen.memory is None
    assert memories["check"] == before


async def test_what_a_void_run_saw_is_seen_again() -> None:
    memories: dict[str, str] = {}
    life = remembering(count, memories)
    await life.run("check")
    life._stalled_since = lambda begun: 30.0  # the process was held up
    assert await life.run("check") is None
    life._stalled_since = lambda begun: 0.0
    again = await life.run("check")
    assert again is not None
    assert again.summary == "run 2"


async def test_a_check_of_another_type_does_not_find_what_it_cannot_read() -> None:
    memories: dict[str, str] = {}
    await remembering(count, memories).run("check")
    seen = await remembering(count, memories, probe="other").run("check")
    assert seen is not None
    assert seen.summary == "run 1"


async def test_memory_read_out_of_damaged_records_is_begun_anew() -> None:
    seen = await remembering(count, {"check": '{"probe": "fak\ufffd'}).run("check")
    assert seen is not None
    assert seen.summary == "run 1"
