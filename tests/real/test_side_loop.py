"""Coroutines beside the daemon's loop: they end, fail and are cancelled as others, and leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from wcr_watchd.kit.side_loop import SideLoop


@pytest.fixture
async def side_loop() -> AsyncIterator[SideLoop]:
    made = SideLoop()
    yield made
    if made._thread.is_alive():
        await made.close()


async def test_a_coroutine_returns_or_raises_in_a_thread_of_its_own(side_loop: SideLoop) -> None:
    async def named() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    async def wrong() -> None:
        raise ZeroDivisionError

    assert await side_loop.run(named()) == "watchd-side-loop"
    with pytest.raises(ZeroDivisionError):
        await side_loop.run(wrong())


async def test_who_is_cancelled_cancels_the_coroutine(side_loop: SideLoop) -> None:
    started, ended = threading.Event(), threading.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(side_loop.run(endless()))
    async with asyncio.timeout(20):
        while not started.is_set():
            await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(20):
        while not ended.is_set():
            await asyncio.sleep(0.005)


async def test_work_that_waits_for_nothing_holds_up_only_its_like(side_loop: SideLoop) -> None:
    freed = threading.Event()

    async def busy() -> bool:
        return freed.wait(20)

    working = asyncio.create_task(side_loop.run(busy()))
    await asyncio.sleep(0)  # the loop of the test goes on, or this would not come to an end
    freed.set()
    assert await working


async def test_closing_ends_what_runs(side_loop: SideLoop) -> None:
    waiting = asyncio.create_task(side_loop.run(asyncio.Event().wait()))
    await asyncio.sleep(0)
    await side_loop.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not side_loop._thread.is_alive()
