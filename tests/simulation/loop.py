"""An event loop whose time is a number: waiting costs nothing, and the same seed gives the same steps.

looptime does the same for single tests; it looks up some forty times before each jump, which a simulated day with its
hundred thousand jumps cannot afford, and its time cannot be pushed as a stall of the process pushes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REAL_WORK_WITHIN = 60.0
"""Seconds of real time that a thread may take."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to whatever is due next. Threads are not used, but by what runs within :meth:`hold`."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self._holding = 0
        self._really_select = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.at

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Call it at once: with a thread, nothing would come twice in the same order."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let real threads do their work while the time stands still."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1

    def _jump(self, timeout: float | None) -> Any:
        if self._holding:
            found = self._really_select(0 if timeout == 0 else REAL_WORK_WITHIN)
            if not found and timeout != 0:
                raise RuntimeError("a thread does not come back")
            return found
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen")
        self.at += timeout
        return ()
