"""Calls that may block for long (name look-ups, files on a dead mount), each in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking calls without holding up the event loop, the other calls, or the end of the program.

    Not the loop's own pool: its few threads would all be held by a handful of hanging calls, and both the loop and
    the interpreter wait for it when they end. Here a hanging call holds one daemon thread, and a second call of the
    same function with the same arguments joins the first one, so that a check of something dead, repeated for
    weeks, still holds one.
    """

    def __init__(self) -> None:
        self._running: dict[Callable[[], Any], asyncio.Future[Any]] = {}

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args)``, or raise what it raises. Positional arguments only, and hashable."""
        assert not kwargs, "arguments are told apart by position"
        work = _Call(function, args)
        future = self._running.get(work)
        if future is None:
            future = self._start(work)
        return await asyncio.shield(future)

    def _start(self, work: _Call) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._running[work] = future
        future.add_done_callback(functools.partial(self._forget, work))
        threading.Thread(target=_work, args=(work, loop, future), name=f"watchd {work}", daemon=True).start()
        return future

    def _forget(self, work: _Call, future: asyncio.Future[Any]) -> None:
        del self._running[work]
        if not future.cancelled():
            future.exception()  # nobody may be waiting any more; asyncio need not complain about that


class _Call:
    """A function and its arguments, equal when both are."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args

    def __call__(self) -> Any:
        return self.function(*self.args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and (self.function, self.args) == (other.function, other.args)

    def __hash__(self) -> int:
        return hash((self.function, self.args))

    def __str__(self) -> str:
        return getattr(self.function, "__name__", "call")


def _work(work: _Call, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        settle = functools.partial(_settle, future, None, error)
    else:
        settle = functools.partial(_settle, future, result, None)
    with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody waits
        loop.call_soon_threadsafe(settle)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("the call raised StopIteration"))
    else:
        future.set_exception(error)
