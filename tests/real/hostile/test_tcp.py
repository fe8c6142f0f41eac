"""Servers of any protocol at their worst, asked by the tcp probe."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from tests.real.hostile.case import STALL, Case, problems, run_all, watch
from tests.real.hostile.talks import babble, drip, line, reset, something, stall, talk
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

UP = Outcome.UP
HELLO: dict[str, Any] = {"expect": "hello"}
PATTERN: dict[str, Any] = {"expect": "/^hello .*there$/"}
SCRIPT: dict[str, Any] = {"script": [{"expect": "220", "send": "EHLO x\r\n"}, {"expect": "250", "send": "QUIT\r\n"}]}


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read nothing at all."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    while not writer.transport.is_closing():
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.05)


CASES = [
    Case("silence", talk(stall), "timeout", "waiting for 'hello'", HELLO),
    Case("drips", talk(drip(b"hell" * 100)), "timeout", "waiting for 'hello'", HELLO),
    Case("drips what a pattern wants", talk(drip(b"hello hello " * 100, 0.02)), "timeout", "waiting for", PATTERN),
    Case("drips the right thing", talk(drip(b"hello there\n", 0.01)), "", "said 'hello there'", PATTERN, UP),
    Case("stops in the middle", talk(b"hel", stall), "timeout", "waiting for 'hello'", HELLO),
    Case("babbles something else", talk(babble(b"no ")), "content", ("got 65536 bytes", "expected 'hello'"), HELLO),
    Case("babbles lines", talk(babble(b"no\n")), "content", "got 65536 bytes", PATTERN),
    Case("babbles zeros", talk(babble(b"\0")), "content", "got 65536 bytes", HELLO),
    Case("babbles half characters", talk(babble(b"\xc3")), "content", "got 65536 bytes", HELLO),
    Case("codes for a terminal", talk(b"\x1b[2J\x1b]0;owned\x07\r\n"), "content", "expected 'hello'", HELLO),
    Case("says who it is in codes", talk(b"hello \x1b[31m\xff\n"), "", "said", HELLO, UP),
    Case("closes at once", talk(), "content", "got nothing and then no more", HELLO),
    Case("closes in the middle", talk(b"hel"), "content", "got 'hel' and then no more", HELLO),
    Case("resets at once", talk(reset), "protocol", "broke", HELLO),
    Case("resets in the middle", talk(b"hel", something, reset), "protocol", "broke", {"send": "x", **HELLO}),
    Case("script: stops after the first", talk(b"220 a\r\n", line, stall), "timeout", "waiting for '250'", SCRIPT),
    Case("script: resets after the first", talk(b"220 a\r\n", line, reset), "protocol", "broke", SCRIPT),
    Case("script: refuses", talk(b"220 a\r\n", line, b"500 no\r\n"), "content", "expected '250'", SCRIPT),
    Case("script: all at once", talk(b"220 a\r\n250 ok\r\n", stall), "", "said '250 ok'", SCRIPT, UP),
    Case("never reads what is sent", deaf, "timeout", "sending to", {"send": "x" * 20_000_000}),
    Case("resets while it is sent to", talk(something, reset), "protocol", "", {"send": "x" * 20_000_000}),
    Case(
        "a pattern that never ends",
        talk(b"a" * 40_000 + b"\n", stall),
        "pattern",
        "too slow",
        {"expect": "/(a+a+)+b/"},
        Outcome.UNKNOWN,
    ),
    Case("closes after the connection, nothing wanted", talk(), "", "accepts connections", {}, UP),
]


async def test_tcp(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    await run_all("tcp", CASES, lambda server: {"address": server.address}, odd, shared, {})


async def test_a_server_that_accepts_nobody(shared: SharedHelpers) -> None:
    """With its queue full the kernel answers nothing, as a firewall that drops: every probe waits at the same place."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        where = f"127.0.0.1:{full.getsockname()[1]}"
        aims = {
            "tcp": {"address": where},
            "tls": {"address": where},
            "http": {"url": f"http://{where}/"},
            "smtp": {"url": f"smtp://{where}"},
            "redis": {"url": f"redis://{where}"},
            "postgres": {"dsn": f"postgresql://u@{where}/db"},
        }
        seen = await asyncio.gather(*(watch(kind, options, STALL, shared) for kind, options in aims.items()))
        wrong = [
            problem
            for kind, one in zip(aims, seen, strict=True)
            for problem in problems(Case(kind, b"", "timeout", "connecting"), one, where)
        ]
        assert wrong == []
