"""Blocking calls that hang hold up nothing: not the loop, not their successors, not the end of the program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from wcr_watchd.kit import threads as module
from wcr_watchd.kit.threads import StillBlockedError, Threads


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """What hanging calls wait for; it comes at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


async def settled(threads: Threads) -> None:
    """Wait until no call runs any more."""
    async with asyncio.timeout(20):
        while threads._running:
            await asyncio.sleep(0.005)


async def test_it_returns_what_the_call_returns_and_raises_what_it_raises() -> None:
    threads = Threads()
    assert await threads.run("one", int, "12") == 12
    assert await threads.run("one", int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run("one", int, "x")
    await threads.close()


async def test_a_hanging_call_is_not_tried_again_until_it_ends(dead: threading.Event) -> None:
    threads = Threads()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await threads.run("mount", dead.wait)
    before = threading.active_count()
    for _ in range(100):
        with pytest.raises(StillBlockedError, match="mount"):
            await threads.run("mount", dead.wait)
    assert threading.active_count() == before
    assert await threads.run("another mount", int, "1") == 1, "others go on"
    dead.set()
    await settled(threads)
    assert await threads.run("mount", dead.wait) is True
    await threads.close()


async def test_the_number_of_hanging_calls_is_bounded(dead: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RUNNING", 3)
    threads = Threads()
    hanging = [asyncio.create_task(threads.run(f"mount {number}", dead.wait)) for number in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StillBlockedError, match="3 other calls"):
        await threads.run("one more", int, "1")
    dead.set()
    assert await asyncio.gather(*hanging) == [True] * 3
    assert await threads.run("one more", int, "1") == 1
    await threads.close()


async def test_calls_of_the_same_join(dead: threading.Event) -> None:
    threads = Threads()
    before = threading.active_count()
    waiting = [asyncio.create_task(threads.call(dead.wait)) for _ in range(50)]
    await asyncio.sleep(0.01)
    assert threading.active_count() <= before + 1
    dead.set()
    assert await asyncio.gather(*waiting) == [True] * 50
    await threads.close()


def test_a_hanging_call_does_not_keep_the_program_alive() -> None:
    script = """
import asyncio, threading
from wcr_watchd.kit.threads import Threads

async def main():
    threads = Threads()
    try:
        async with asyncio.timeout(0.05):
            await threads.run("mount", threading.Event().wait)
    except TimeoutError:
        print("left behind")
    await threads.close()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "left behind\n", "")
