"""Calls that may block for long (name look-ups, files on a dead mount), in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_IDLE = 4
"""Threads that are kept for the next call; to start one takes the loop a millisecond."""

MOST_RUNNING = 256
"""Calls by :meth:`Threads.run` at a time, hanging ones among them."""


class StillBlockedError(Exception):
    """An earlier call for the same thing hangs still (or very many others do), so that it was not tried again."""


class Threads:
    """Runs blocking calls without holding up the event loop, the other calls, or the end of the program.

    Not the loop's own pool: its few threads would all be held by a handful of hanging calls, and both the loop and
    the interpreter wait for it when they end. Here there is always a thread for the next call, a hanging one holds
    one daemon thread, and a second call of the same function with the same arguments joins the first one, so that
    a check of something dead, repeated for weeks, still holds one.
    """

    def __init__(self) -> None:
        self._running: dict[_Call, asyncio.Future[Any]] = {}
        self._idle: list[_Worker] = []

    async def close(self) -> None:
        """Let the idle threads end; those that hang are left behind."""
        while self._idle:
            self._idle.pop().end()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args)``, or raise what it raises. Positional arguments only, and hashable."""
        assert not kwargs, "arguments are told apart by position"
        call = _Call(function, args)
        future = self._running.get(call)
        if future is None:
            future = self._start(call)
        result: T = await asyncio.shield(future)
        return result

    async def run(self, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args)``, or raise what it raises; raise :class:`StillBlockedError` at once, instead of
        joining it, while an earlier call under this ``key`` hangs. Who is cancelled leaves the call to itself.
        """
        call = _Call(functools.partial(function, **kwargs), args, key)
        if call in self._running:
            raise StillBlockedError(f"{key}: the attempt before this one still hangs")
        if len(self._running) >= MOST_RUNNING:
            raise StillBlockedError(f"{key}: not tried, {len(self._running)} other calls hang")
        result: T = await asyncio.shield(self._start(call))
        return result

    def _start(self, call: _Call) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        future.add_done_callback(_seen)
        self._running[call] = future
        worker = self._idle.pop() if self._idle else _Worker()

        def ended(result: Any, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile: nobody waits
                loop.call_soon_threadsafe(self._settle, call, worker, result, error)

        worker.do(call, ended)
        return future

    def _settle(self, call: _Call, worker: _Worker, result: Any, error: BaseException | None) -> None:
        future = self._running.pop(call)
        if len(self._idle) < MOST_IDLE:
            self._idle.append(worker)
        else:
            worker.end()
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _seen(future: asyncio.Future[Any]) -> None:
    """Nobody may be waiting for it any more; asyncio need not complain about an error that nobody asked for."""
    if not future.cancelled():
        future.exception()


class _Call:
    """A function and its arguments, equal when both are; or, where a name is given, when the names are."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], name: str = "") -> None:
        self.run = functools.partial(function, *args)
        self._key = name or (function, args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


Ended = Callable[[Any, BaseException | None], None]


class _Worker:
    """One thread, doing one call after another."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[_Call, Ended] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="watchd-blocking-call", daemon=True).start()

    def do(self, call: _Call, ended: Ended) -> None:
        """Carry the call out and say how it ended, from this thread."""
        self._calls.put((call, ended))

    def end(self) -> None:
        """There is nothing more to do."""
        self._calls.put(None)

    def _work(self) -> None:
        while (given := self._calls.get()) is not None:
            call, ended = given
            try:
                result = call.run()
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                ended(None, error)
            else:
                ended(result, None)
            del given, call, ended
