"""A second event loop, in a thread, for libraries that work long between two waits.

dnspython reads an answer of 64 KiB, which any name server may send, in 0.2 s of pure Python within the coroutine that
waited for it. Here that holds up other such coroutines and not the daemon: the interpreter hands its lock on every few
milliseconds. Unlike a blocking call in :class:`wcr_watchd.kit.threads.Threads`, a coroutine can be cancelled, and
thousands that wait need one thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SideLoop:
    """Runs coroutines beside the loop of the daemon. They must not touch what belongs to that one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="watchd-side-loop", daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns, or raise what it raises; who is cancelled cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def close(self) -> None:
        """Cancel what still runs, and end the thread."""
        await self.run(_cancel_the_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()  # nothing is left that could keep it

    def _work(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


async def _cancel_the_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
