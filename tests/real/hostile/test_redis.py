"""Redis servers at their worst."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tests.real.hostile.case import PASSWORD, Case, run_all
from tests.real.hostile.talks import Act, babble, drip, reset, something, stall, talk
from tests.real.servers.certificates import Authority
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

UP = Outcome.UP
PONG = b"+PONG\r\n"
AT_SIGN_IN: tuple[bytes | Act, ...] = (something,)
AT_PING: tuple[bytes | Act, ...] = (something,)
AT_INFO: tuple[bytes | Act, ...] = (something, PONG, something)
SIGN_IN: dict[str, Any] = {"password": PASSWORD}


def info(text: bytes) -> bytes:
    """The answer to INFO."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


NONE = "does not answer as a Redis does"
PHASES: list[tuple[str, tuple[bytes | Act, ...], dict[str, Any], str]] = [
    ("sign-in", AT_SIGN_IN, SIGN_IN, "signing in"),
    ("PING", AT_PING, {}, "PING"),
    ("INFO", AT_INFO, {}, "INFO"),
]
AT_EVERY_STEP = [
    case
    for name, said, options, doing in PHASES
    for case in (
        Case(f"{name}: stalls", talk(*said, stall), "timeout", doing, options),
        Case(f"{name}: drips", talk(*said, drip(b"+PON" * 90)), "timeout", doing, options),
        Case(f"{name}: stops in a text", talk(*said, b"$100\r\nabc", stall), "timeout", doing, options),
        Case(f"{name}: closes", talk(*said), "protocol", (doing, "closed the connection"), options),
        Case(f"{name}: resets", talk(*said, reset), "protocol", (doing, "connection reset"), options),
        Case(
            f"{name}: closes in a text",
            talk(*said, b"$100\r\nabc"),
            "protocol",
            (doing, "closed the connection"),
            options,
        ),
        Case(
            f"{name}: a text without bounds", talk(*said, b"$99999999999\r\n", babble(b"x")), "protocol", "MiB", options
        ),
        Case(f"{name}: a line without end", talk(*said, babble(b"+x")), "protocol", NONE, options),
        Case(
            f"{name}: a list without bounds",
            talk(*said, b"*2147483647\r\n", babble(b":1\r\n")),
            "protocol",
            NONE,
            options,
        ),
        Case(f"{name}: lists in lists", talk(*said, b"*1\r\n" * 100_000, stall), "protocol", NONE, options),
        Case(f"{name}: no Redis", talk(*said, b"HTTP/1.1 400 Bad Request\r\n\r\n", stall), "protocol", NONE, options),
        Case(f"{name}: zeros", talk(*said, b"\0\0\0\r\n", stall), "protocol", NONE, options),
        Case(f"{name}: a length that is none", talk(*said, b"$abc\r\n", stall), "protocol", NONE, options),
        Case(f"{name}: a length below nothing", talk(*said, b"$-7\r\n", stall), "protocol", NONE, options),
        Case(
            f"{name}: loading",
            talk(*said, b"-LOADING Redis is loading the dataset in memory\r\n", stall),
            "refused",
            "loading",
            options,
        ),
        Case(
            f"{name}: too many clients",
            talk(*said, b"-ERR max number of clients reached\r\n", stall),
            "refused",
            "max number of clients",
            options,
        ),
    )
]
OTHERS = [
    Case(
        "wants a sign-in",
        talk(something, b"-NOAUTH Authentication required.\r\n", stall),
        "auth",
        "check username and password",
    ),
    Case(
        "refuses the sign-in",
        talk(something, b"-WRONGPASS no\r\n", stall),
        "auth",
        "check username and password",
        SIGN_IN,
    ),
    Case(
        "says the password",
        talk(something, b"-ERR got " + PASSWORD.encode() + b"\r\n", stall),
        "protocol",
        "***",
        SIGN_IN,
    ),
    Case(
        "protected mode",
        talk(something, b"-DENIED Redis is running in protected mode\r\n", stall),
        "refused",
        "protected mode",
    ),
    Case(
        "no master",
        talk(something, PONG, something, b"-MASTERDOWN Link with MASTER is down\r\n", stall),
        "refused",
        "MASTER",
    ),
    Case("PING: a number", talk(something, b":1\r\n", stall), "content", "expected PONG"),
    Case("PING: nothing", talk(something, b"$-1\r\n", stall), "content", "expected PONG"),
    Case("PING: an empty list", talk(something, b"*0\r\n", stall), "protocol", NONE),
    Case("PING: codes for a terminal", talk(something, b"+\x1b[2J\xff\r\n", stall), "content", "expected PONG"),
    Case(
        "PING: an error in codes",
        talk(something, b"-ERR \x1b[2J\xff\x07\r\n", stall),
        "protocol",
        "answers with an error",
    ),
    Case("INFO: a number", talk(*AT_INFO, b":1\r\n", stall), "", "answered PING", {}, UP),
    Case(
        "INFO: words", talk(*AT_INFO, info(b"used_memory:lots\r\nmaxmemory:\r\n"), stall), "", "answered PING", {}, UP
    ),
    Case(
        "INFO: no numbers",
        talk(*AT_INFO, info(b"used_memory:nan\r\nmaxmemory:inf\r\nuptime_in_seconds:1e999\r\n"), stall),
        "",
        "answered PING",
        {},
        UP,
    ),
    Case("INFO: noise", talk(*AT_INFO, info(bytes(range(256)) * 10), stall), "", "answered PING", {}, UP),
    Case("INFO: long", talk(*AT_INFO, info(b"x:y\r\n" * 50_000), stall), "", "answered PING", {}, UP),
    Case("INFO: forbidden", talk(*AT_INFO, b"-NOPERM no\r\n", stall), "", "not permitted", {}, UP),
]
CASES = [*AT_EVERY_STEP, *OTHERS]


async def test_redis(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    await run_all("redis", CASES, lambda server: {"url": f"redis://{server.address}"}, odd, shared, {})


async def test_redis_over_tls(
    odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers, contexts: dict[str, ssl.SSLContext], authority: Authority
) -> None:
    cases = [
        Case("silence", talk(stall), "timeout", "in the TLS handshake", certificate="-"),
        Case("no TLS", talk(something, b"-ERR\r\n", stall), "tls", "does not speak TLS", certificate="-"),
        Case("closes in TLS", talk(something), "tls", "closed the connection during the handshake", certificate="-"),
        Case("resets in TLS", talk(something, reset), "tls", "broke during the handshake", certificate="-"),
        Case(
            "nobody trusts it",
            talk(stall),
            "tls",
            "neither sent by the server nor trusted here",
            {"ca_file": None},
            certificate="good",
        ),
        Case("TLS, then silence", talk(stall), "timeout", "PING", certificate="good"),
    ]

    def aim(server: Odd) -> dict[str, Any]:
        return {"url": f"rediss://{server.address}", "ca_file": authority.ca_file}

    await run_all("redis", cases, aim, odd, shared, contexts)
