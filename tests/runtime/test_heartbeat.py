"""Heartbeats go out while the daemon works, stop when it does not, and trouble with one is trouble of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from tests.real.servers.beats import Beats
from tests.real.servers.providers import Fault
from wcr_watchd.core.setup import Heartbeat
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.clock import Clock
from wcr_watchd.runtime.heartbeat import Heartbeats

OFTEN = 0.05


@dataclass
class Sender:
    """Heartbeats that run, and what they ask for."""

    wanted: dict[str, Heartbeat] = field(default_factory=dict)
    works: bool = True
    counters: Counters = field(default_factory=Counters)


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made, shared = Sender(), SharedHelpers()
    served = Heartbeats(lambda: made.wanted, lambda: made.works, Clock(), shared, made.counters)
    task = asyncio.create_task(served.serve())
    yield made
    task.cancel()
    await asyncio.wait([task])
    await shared.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_it_beats_at_once_and_then_by_its_interval(sender: Sender, beats: Beats) -> None:
    sender.wanted = {"one": Heartbeat(beats.url, OFTEN), "rare": Heartbeat(beats.url, 3_600.0, "GET")}
    await until(lambda: len(beats.accepted) >= 5)
    methods = [beat.fields["method"] for beat in beats.accepted]
    assert methods.count("GET") == 1
    assert methods.count("POST") >= 4
    assert not beats.refused
    counted = sender.counters.heartbeats["one"]
    await until(lambda: counted.sent >= 4)
    assert counted.failed == 0
    assert counted.last_success_at is not None


async def test_a_daemon_that_does_not_work_is_silent_and_never_says_fail(sender: Sender, beats: Beats) -> None:
    sender.works = False
    sender.wanted = {"one": Heartbeat(beats.url, OFTEN)}
    for _ in range(50):  # each turn of the loop is a chance to say something
        await asyncio.sleep(OFTEN / 10)
    assert beats.requests == 0
    sender.works = True
    await until(lambda: len(beats.accepted) >= 2)
    assert not beats.refused


async def test_what_does_not_arrive_is_logged_once_and_counted(sender: Sender, beats: Beats) -> None:
    beats.fault = Fault(status=503, body="out of order")
    counted = sender.counters.heartbeats
    with capture_logs() as logs:
        sender.wanted = {"one": Heartbeat(beats.url, OFTEN)}
        await until(lambda: "one" in counted and counted["one"].failed >= 3)
        beats.fault = None
        await until(lambda: counted["one"].sent >= 2)
    said = [(row["log_level"], row["event"]) for row in logs]
    assert said == [
        ("warning", "heartbeat does not arrive; whoever waits for it may raise an alarm"),
        ("info", "heartbeat arrives again"),
    ]
    assert "answered HTTP 503: out of order" in logs[0]["error"]
    assert "5bf66975" not in str(logs)


async def test_one_that_hangs_or_is_refused_holds_up_no_other(sender: Sender, beats: Beats) -> None:
    hanging = Beats(fault=Fault(hang=True))
    hanging.start()
    try:
        sender.wanted = {
            "hangs": Heartbeat(hanging.url, OFTEN),
            "refused": Heartbeat("http://127.0.0.1:1/", OFTEN),
            "one": Heartbeat(beats.url, OFTEN),
        }
        counted = sender.counters.heartbeats
        await until(lambda: len(counted) == 3 and counted["hangs"].failed >= 2 and counted["refused"].failed >= 2)
        assert counted["hangs"].sent == counted["refused"].sent == 0
        before = len(beats.accepted)
        await until(lambda: len(beats.accepted) >= before + 3)
    finally:
        hanging.stop()


async def test_another_configuration_is_followed(sender: Sender, beats: Beats) -> None:
    sender.wanted = {"one": Heartbeat(beats.url, OFTEN)}
    await until(lambda: len(beats.accepted) >= 2)
    sender.wanted = {"two": Heartbeat(beats.url, OFTEN)}
    await until(lambda: set(sender.counters.heartbeats) == {"two"} and sender.counters.heartbeats["two"].sent >= 2)
    sender.wanted = {}
    await until(lambda: not sender.counters.heartbeats)
