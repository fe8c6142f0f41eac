"""Event streams that follow the daemon: one loop for pages and programs, ended when the daemon stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TypeVar

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.access.roles import VISITOR

PING_INTERVAL = 20.0
"""Seconds between two keep-alives of an event stream, so that proxies do not close it."""
SEND_WITHIN = 30.0
"""Seconds for a browser to take an event."""
PACE = 0.5
"""Seconds between two batches: people see no faster, and many changes of one check become one."""

STREAMS = web.AppKey("streams", set[asyncio.Task[None]])

T = TypeVar("T")

CHANGED = ("changed", "{}")
"""The event upon which a page asks for what it shows anew. It comes first of all as well: what happened between the
making of a page and its stream, or while the connection was gone, would not be shown before the next change."""

Event = tuple[str | None, str | bytes]
"""Name (None: unnamed) and data of a server-sent event; bytes are ``data:`` lines as they are sent to many."""


def set_up(app: web.Application) -> None:
    """Let the application end its streams when it stops; they would hold the stop up otherwise."""
    app[STREAMS] = set()

    async def end(app: web.Application) -> None:
        streams = app[STREAMS]
        for task in tuple(streams):
            task.cancel()

    app.on_shutdown.append(end)


async def follow(
    request: web.Request,
    first: Iterable[Event],
    events: Callable[[T], Iterable[Event]],
    source: AsyncIterable[T],
    stamp: Callable[[], str] = str,
) -> web.StreamResponse:
    """Send ``first``, then what ``events`` makes of all that comes from ``source``, until either side ends.

    ``stamp`` gives an id to what was sent; a browser that lost the connection says which it got last. The format is
    that of WHATWG HTML, section 9.2.
    """
    if request.transport is None:  # the browser went away while its page was looked up
        return web.Response()
    task = asyncio.current_task()
    assert task is not None
    request.app[STREAMS].add(task)
    try:
        async with sse_response(request, ping_interval=PING_INTERVAL) as stream:
            for event in first:
                await _send(stream, event, stamp())
                await asyncio.sleep(0)
            async for batch in source:
                if VISITOR in request and request.app[ACCESS].visitor(request) is None:
                    break  # signed out meanwhile, or not allowed any more
                for event in events(batch):
                    await _send(stream, event, stamp())
                    await asyncio.sleep(0)
                await asyncio.sleep(PACE)
    except ConnectionResetError:  # the browser went away in the middle of something, which is nothing to report
        return web.Response()
    except TimeoutError:  # or it sleeps; it will ask for what it missed
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    finally:
        request.app[STREAMS].discard(task)
    return stream


async def _send(stream: EventSourceResponse, event: Event, stamp: str) -> None:
    name, data = event
    if isinstance(data, str):
        await stream.send(data, id=stamp or None, event=name)
        return
    async with asyncio.timeout(SEND_WITHIN):
        await stream.write(b"%sid: %s\n\n" % (data, stamp.encode()))


def lines(html: str) -> bytes:
    """A piece of a page as the data of an event, in one line: sent to many, it is not looked through for each."""
    return b"data: %s\n" % " ".join(html.splitlines()).encode()
