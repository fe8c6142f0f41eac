"""What a daemon under attack watches and tells: sites that fail to order, and receivers with moods of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

from aiohttp import web

from tests.real.servers.providers import WebhookReceiver


@dataclass
class Site:
    """One thing to watch: ``mood`` is ``up``, ``down`` (status 500) or ``hang``; ``seen`` has when it was asked."""

    mood: str = "up"
    seen: list[tuple[float, str]] = field(default_factory=list)


class Sites:
    """An HTTP server with one site per path, on a loop and thread of its own. Times are monotonic seconds."""

    def __init__(self, names: list[str]) -> None:
        self.sites = {name: Site() for name in names}
        self.port = 0

    def start(self) -> None:
        """Listen on a free port."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(60)

    def stop(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    async def _open(self) -> None:
        self._gone = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        self._gone.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        site = self.sites[request.match_info["name"]]
        site.seen.append((time.monotonic(), site.mood))
        if site.mood == "hang":
            await self._gone.wait()
        return web.Response(status=200 if site.mood == "up" else 500, text=site.mood)


@dataclass
class Taken:
    """A message that a receiver took: when (monotonic seconds), and when its answer was sent, if it was."""

    key: str
    event: str
    incident: int
    at: float
    answered: float | None = None


class MoodyReceiver(WebhookReceiver):
    """A receiver that fails, dawdles and loses answers as its seed wants, and remembers every Idempotency-Key.

    ``delay`` is the longest time before an answer (seconds), ``trouble`` the part of first and second attempts that
    fail. A third attempt is always taken, so that all is delivered in the end.
    """

    def __init__(self, seed: int = 0, delay: float = 0.0, trouble: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.trouble = trouble
        self.taken: list[Taken] = []
        self.attempts: Counter[str] = Counter()
        self._chance = Random(seed)

    def calm_down(self) -> None:
        """From now on it takes everything at once."""
        self.delay = self.trouble = 0.0

    def let_go(self) -> None:
        """Answer at once whoever waits for an answer now."""
        self._loop.call_soon_threadsafe(self._released.set)

    def told(self, event: str) -> list[Taken]:
        """What it took about events of one kind."""
        return [one for one in self.taken if one.event == event]

    async def _open(self) -> None:
        self._released = asyncio.Event()
        await super()._open()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        raw = await request.read()
        fields, answer = self.take(request, raw)
        key = request.headers["Idempotency-Key"]
        self.attempts[key] += 1
        mood = "take"
        if self._chance.random() < self.trouble and self.attempts[key] <= 2:
            mood = self._chance.choice(["refuse", "reset", "lose the answer"])
        if mood == "refuse":
            return web.Response(status=503, text="not now")
        if mood == "take" or mood == "lose the answer":
            taken = Taken(key, fields["event"], fields["incident"]["id"], time.monotonic())
            self.taken.append(taken)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(0, self.delay)):
                await self._released.wait()
        if mood != "take":
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        taken.answered = time.monotonic()
        return answer


@contextmanager
def running(*servers: Sites | MoodyReceiver) -> Iterator[None]:
    """Start servers, and stop them in the end."""
    begun: list[Sites | MoodyReceiver] = []
    try:
        for server in servers:
            server.start()
            begun.append(server)
        yield
    finally:
        for server in begun:
            server.stop()
