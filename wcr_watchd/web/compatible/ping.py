"""``/ping/…``: where jobs report, as they would to healthchecks (https://healthchecks.io/docs/http_api/).

``/ping/<key>`` or ``/ping/<ping key>/<name>``, then nothing (success), ``/start``, ``/fail``, ``/log`` or an exit
status 0-255, with ``?rid=<run id>`` and, for a job that announces itself, ``?create=1``. Who knows the key may report;
nothing is told to who does not. This module reads requests and words answers, no more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from aiohttp import web

from wcr_watchd.core.heartbeat import BODY_LIMIT, LONGEST_AGENT, Door, Ping, PingKind
from wcr_watchd.web.access.allowance import Allowance

ROUTE = "/ping/{rest:.*}"
ROUTES = frozenset({"/ping/{rest}"})
"""The key is what lets in."""
METHODS = ("HEAD", "GET", "POST", "PUT")
BODY_WITHIN = 10.0
"""Seconds for all of a request to come in."""
MOST_A_MINUTE = 120
"""Signals to one address; a script that runs wild must not fill the disk."""
MOST_ADDRESSES = 10_000
"""Addresses whose signals are counted; beyond it counting begins anew."""

_KEY = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_END = r"(?:/(?P<action>start|fail|log)|/(?P<status>\d{1,9}))?"
_BY_KEY = re.compile(rf"(?P<key>{_KEY})(?:/|{_END})")
_BY_NAME = re.compile(rf"(?P<key>[A-Za-z0-9_-]{{1,64}})/(?P<name>[A-Za-z0-9_-]{{1,100}}){_END}")
_RUN_ID = re.compile(_KEY)


class Desk(Protocol):
    """Where signals are taken."""

    def doors(self, key: str, name: str = "") -> Sequence[Door]:
        """Whose signals arrive at a key, or at a ping key and a name."""
        ...

    def has_room(self, door: Door) -> bool:
        """Whether one more job may announce itself there."""
        ...

    async def take(self, door: Door, ping: Ping) -> bool:
        """Take a signal; whether it is stored."""
        ...


@dataclass(slots=True)
class Counter:
    """How many signals to one address are taken; ``clock`` gives monotonic seconds."""

    clock: Callable[[], float]
    body_limit: int = BODY_LIMIT
    _left: dict[tuple[str, str], Allowance] = field(default_factory=dict)

    def take(self, address: tuple[str, str]) -> bool:
        """Whether there may be one more now."""
        if address not in self._left and len(self._left) >= MOST_ADDRESSES:
            self._left.clear()
        return self._left.setdefault(address, Allowance(self.clock, most=MOST_A_MINUTE)).take()


DESK: web.AppKey[Desk] = web.AppKey("desk", Desk)
COUNTER = web.AppKey("counter", Counter)


def add_routes(app: web.Application) -> None:
    """Put the route into the application."""
    for method in METHODS:
        app.router.add_route(method, ROUTE, ping)


async def ping(request: web.Request) -> web.Response:
    """Take a signal. Answered as healthchecks does, so that clients of it understand."""
    path = request.path.removeprefix("/ping/")
    found = _BY_KEY.fullmatch(path) or _BY_NAME.fullmatch(path)
    if found is None:
        return _answer(request, 404, "not found")
    body = await _body(request)
    # From here to the desk nothing is waited for: a reload may close the door.
    address = found["key"], found.groupdict().get("name") or ""
    doors = request.app[DESK].doors(*address)
    if not doors or not (doors[0].known or request.query.get("create") == "1"):
        return _answer(request, 404, "not found")
    if len(doors) > 1:
        return _answer(request, 409, "ambiguous slug")
    if int(found["status"] or 0) > 255:
        return _answer(request, 400, "invalid url format")
    run_id = request.query.get("rid")
    if run_id is not None and not _RUN_ID.fullmatch(run_id.lower()):
        return _answer(request, 400, "invalid uuid format")
    if not request.app[COUNTER].take(address):
        return _answer(request, 429, "rate limited")
    (door,) = doors
    if not door.known and not request.app[DESK].has_room(door):
        return _answer(request, 404, "not found")
    if not await request.app[DESK].take(door, _signal(request, found, run_id, body)):
        return _answer(request, 503, "not stored yet; send it again")
    return _answer(request, 200, "OK") if door.known else _answer(request, 201, "Created")


def _signal(request: web.Request, found: re.Match[str], run_id: str | None, body: bytes) -> Ping:
    status = None if found["status"] is None else int(found["status"])
    kind = PingKind(found["action"]) if found["action"] else PingKind.FAIL if status else PingKind.SUCCESS
    return Ping(
        kind,
        exit_status=status,
        run_id=str(UUID(run_id)) if run_id else "",
        method=request.method,
        scheme=request.headers.get("X-Forwarded-Proto", request.scheme)[:10],
        remote=_remote(request),
        agent=request.headers.get("User-Agent", "")[:LONGEST_AGENT],
        body=body,
    )


async def _body(request: web.Request) -> bytes:
    """The beginning of the body, as long as is kept; the rest is left unread."""
    limit = request.app[COUNTER].body_limit
    kept = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            while len(kept) < limit and (chunk := await request.content.read(limit - len(kept))):
                kept += chunk
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the request did not come in time\n") from error
    return bytes(kept)


def _remote(request: web.Request) -> str:
    """Who says so, as far as that can be told: what a proxy says is believed, as nothing is decided by it."""
    first = request.headers.get("X-Forwarded-For", "").split(",")[0].strip() or request.remote or ""
    with_port = re.fullmatch(r"([0-9.]+):\d+", first)
    return (with_port[1] if with_port else first)[:64]


def _answer(request: web.Request, status: int, text: str) -> web.Response:
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
    headers["Ping-Body-Limit"] = str(request.app[COUNTER].body_limit)
    return web.Response(status=status, text=text, headers=headers)
