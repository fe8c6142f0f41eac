"""What happens, as it happens: the API's stream of server-sent events (WHATWG HTML, section 9.2).

Every event is encoded once for all streams, when the first of them needs it, and so is all of one step: streams go
in step, a few of them at a time, so that five hundred do not hold the loop. Events have ids; a program that lost its
connection says the last one it got (``Last-Event-ID``) and gets what it missed, or is told that it must look anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web
from pydantic import Field

from wcr_watchd.core.view import Touched, View
from wcr_watchd.web import shapes
from wcr_watchd.web.access.gate import ACCESS
from wcr_watchd.web.api.forms import Query
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import STREAMS

PATH = "/api/v1/events"
TAG = "about"
KEPT = 5_000
"""Events that a program can have missed and still catch up on."""
PACE = 1.0
"""Seconds between two steps: many changes of one check become one."""
AT_A_TIME = 25
"""Streams that are woken before others have their turn: some 2 ms of work."""
PING_INTERVAL = 20.0
"""Seconds without an event after which a comment keeps proxies from closing the stream."""
WRITTEN_WITHIN = 30.0
"""Seconds for a reader to take what it is sent; a slower one is dropped, and may come back and catch up."""


class Wanted(Query):
    """Which events."""

    check: str | None = Field(None, description="Only those of this check.")
    kind: str | None = Field(None, description="Only `check` or only `incident`.")


@dataclass(slots=True)
class Entry:
    """One event: its number, what was touched, and its frame once somebody needed it."""

    number: int
    touched: Touched
    frame: bytes = b""

    @property
    def kind(self) -> str:
        """What it is about."""
        return "incident" if self.touched.incident else "check"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which events a stream is about; empty: all."""

    check: str
    kind: str

    def takes(self, entry: Entry) -> bool:
        """Whether an event is one of those."""
        return self.check in ("", entry.touched.check) and self.kind in ("", entry.kind)


class Feed:
    """The last events of the daemon, for any number of streams."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._life = secrets.token_hex(4)
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._waiting: set[asyncio.Future[None]] = set()
        self._pieces: dict[tuple[int, Wish], bytes | None] = {}
        self.newest = 0

    async def serve(self) -> None:
        """Note what happens, until cancelled."""
        async for batch in self._view.touched():
            self._note(batch)
            await self._wake()
            await asyncio.sleep(PACE)

    def _note(self, batch: tuple[Touched, ...]) -> None:
        for touched in batch:
            if touched.incident or touched.check in self._view.setup.checks:
                self.newest += 1
                self._entries.append(Entry(self.newest, touched))
        self._pieces.clear()

    async def _wake(self) -> None:
        for number, one in enumerate(tuple(self._waiting), 1):
            if not one.done():
                one.set_result(None)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def wait(self, seen: int) -> None:
        """Wait until there is something after the event ``seen``."""
        while self.newest <= seen:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.add(turn)
            try:
                await turn
            finally:
                self._waiting.discard(turn)

    def piece(self, seen: int, wish: Wish) -> bytes | None:
        """The wished events after ``seen`` as they are sent; None when some of them are not kept any more."""
        if (seen, wish) not in self._pieces:
            found = self.after(seen)
            self._pieces[seen, wish] = (
                None if found is None else b"".join(self.frame(one) for one in found if wish.takes(one))
            )
        return self._pieces[seen, wish]

    def after(self, seen: int) -> list[Entry] | None:
        """The events after ``seen``; None when some of them are not kept any more."""
        if self._entries and self._entries[0].number > seen + 1:
            return None
        missed = self.newest - seen
        return list(self._entries)[-missed:] if missed > 0 else []

    def number_of(self, identifier: str) -> int | None:
        """The number of the event with this id; None when it is of another life, or no id at all."""
        life, _, number = identifier.partition("-")
        if life != self._life or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return None
        return int(number) if int(number) <= self.newest else None

    def frame(self, entry: Entry) -> bytes:
        """The event as it is sent, with its check or incident as it stands now."""
        if not entry.frame:
            entry.frame = self._framed(entry.number, entry.kind, self._body(entry.touched))
        return entry.frame

    def hello(self, kind: str) -> bytes:
        """An event of the stream itself."""
        return self._framed(self.newest, kind, {})

    def _framed(self, number: int, kind: str, body: shapes.Json) -> bytes:
        return f"id: {self._life}-{number}\nevent: {kind}\ndata: {json.dumps(body)}\n\n".encode()

    def _body(self, touched: Touched) -> shapes.Json:
        view = self._view
        if touched.incident:
            found = view.state.incidents.get(touched.incident)
            gone = {"id": touched.incident, "check": touched.check, "state": "resolved"}
            return shapes.incident(found) if found else gone
        if touched.check not in view.setup.checks:  # a reload took it away since
            return {"name": touched.check, "gone": True}
        return shapes.check(view, touched.check) | {"recent": [list(run) for run in view.recent(touched.check)[-1:]]}


FEED = web.AppKey("feed", Feed)


def add_routes(app: web.Application) -> None:
    """Put the stream into the application, and let it note what happens from its start on."""
    app.router.add_get(PATH, events, allow_head=False)
    app.cleanup_ctx.append(_noting)


async def _noting(app: web.Application) -> AsyncIterator[None]:
    app[FEED] = Feed(app[CONTROL])
    task = asyncio.create_task(app[FEED].serve(), name="events for streams")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@operation(TAG, query=Wanted, media="text/event-stream")
async def events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: `check` with a check as it stands now, `incident` likewise.

    The first one is `hello`, or what was missed since `Last-Event-ID`. After `reset` something was missed: ask for
    everything anew.
    """
    feed = request.app[FEED]
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    task = asyncio.current_task()
    assert task is not None
    request.app[STREAMS].add(task)
    try:
        await stream.prepare(request)
        await _follow(request, stream, feed)
    except (ConnectionError, TimeoutError):  # the reader went away, or takes nothing any more
        pass
    finally:
        request.app[STREAMS].discard(task)
    return stream


async def _follow(request: web.Request, stream: web.StreamResponse, feed: Feed) -> None:
    last = request.headers.get("Last-Event-ID", "")
    seen = feed.number_of(last) if last else None
    if seen is None:
        seen = feed.newest
        await _write(stream, feed.hello("reset" if last else "hello"))
    wish = Wish(request.query.get("check", ""), request.query.get("kind", ""))
    while request.app[ACCESS].visitor(request) is not None:  # signed out meanwhile, or not allowed any more
        piece = feed.piece(seen, wish)
        seen = feed.newest
        if piece is None:
            await _write(stream, feed.hello("reset"))
        elif piece:
            await _write(stream, piece)
        try:
            async with asyncio.timeout(PING_INTERVAL):
                await feed.wait(seen)
        except TimeoutError:
            await _write(stream, b": alive\n\n")


async def _write(stream: web.StreamResponse, frames: bytes) -> None:
    async with asyncio.timeout(WRITTEN_WITHIN):
        await stream.write(frames)
