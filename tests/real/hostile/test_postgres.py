"""PostgreSQL servers at their worst."""

from __future__ import annotations

import base64
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from tests.real.hostile.case import PASSWORD, Case, run_all
from tests.real.hostile.talks import Act, Reader, Writer, babble, drip, exactly, reset, something, stall, talk
from tests.real.servers.odd import Odd
from wcr_watchd.kit.shared import SharedHelpers


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message of the protocol (PostgreSQL documentation, 55.7)."""
    return kind + struct.pack("!i", len(body) + 4) + body


def error(state: str, text: str, severity: str = "FATAL") -> bytes:
    """An ErrorResponse."""
    fields = {"S": severity, "V": severity, "C": state, "M": text}
    return message(b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


def authentication(kind: int, more: bytes = b"") -> bytes:
    """A request to sign in, or that one is."""
    return message(b"R", struct.pack("!i", kind) + more)


READY = message(b"Z", b"I")
SIGNED_IN = authentication(0) + message(b"S", b"server_version\x0016.1\x00") + message(b"K", bytes(8)) + READY
SCRAM = authentication(10, b"SCRAM-SHA-256\0\0")
NO_TLS: tuple[bytes | Act, ...] = (exactly(8), b"N", something)
"""The driver asks for TLS first; the server has none."""
AT_SIGN_IN = (*NO_TLS, authentication(3), something)
AT_QUERY = (*NO_TLS, SIGNED_IN, something)
AT_ROWS = (*AT_QUERY, message(b"C", b"BEGIN\0") + message(b"C", b"SET\0") + READY, something)
CONNECTING = "db on 127.0.0.1"


async def count_without_end(reader: Reader, writer: Writer) -> None:
    """Ask for so many rounds of the key derivation that they take hours (RFC 5802, 5.1)."""
    writer.write(SCRAM)
    first = await reader.read(65536)
    nonce = first.partition(b"r=")[2]
    salt = base64.b64encode(b"0123456789abcdef")
    writer.write(authentication(11, b"r=" + nonce + b"xyz,s=" + salt + b",i=2000000000"))
    await stall(reader, writer)


PHASES: list[tuple[str, tuple[bytes | Act, ...], str]] = [
    ("TLS", (exactly(8),), CONNECTING),
    ("start", NO_TLS, CONNECTING),
    ("sign-in", AT_SIGN_IN, CONNECTING),
    ("first query", AT_QUERY, "SELECT 1"),
    ("second query", AT_ROWS, "SELECT 1"),
]
AT_EVERY_STEP = [
    case
    for name, said, doing in PHASES
    for case in (
        Case(f"{name}: says nothing", talk(*said, stall), "timeout", doing, says_where=doing == CONNECTING),
        Case(
            f"{name}: drips",
            talk(*said, drip(message(b"S", b"x" * 900))),
            "timeout",
            doing,
            says_where=doing == CONNECTING,
        ),
        Case(f"{name}: closes", talk(*said), "connect", "db on"),
        Case(f"{name}: resets", talk(*said, reset), "connect", "db on"),
    )
]
LIES = [
    case
    for name, said, _ in PHASES[1:]
    for case in (
        Case(
            f"{name}: a message without bounds",
            talk(*said, b"D" + struct.pack("!i", 2**31 - 1), babble(b"x")),
            "protocol",
            "MiB",
        ),
        Case(
            f"{name}: a length below nothing",
            talk(*said, b"S" + struct.pack("!i", -5) + b"x" * 99, stall),
            "protocol",
            "db on",
        ),
        Case(f"{name}: settings without end", talk(*said, babble(message(b"S", b"a\0b\0"))), "protocol", "MiB"),
        Case(f"{name}: notices without end", talk(*said, babble(message(b"N", b"SNOTICE\0Mx\0\0"))), "protocol", "MiB"),
        Case(
            f"{name}: no PostgreSQL", talk(*said, b"HTTP/1.1 400 Bad Request\r\n\r\n" * 90, stall), "protocol", "db on"
        ),
        Case(f"{name}: zeros", talk(*said, bytes(5000), stall), "protocol", "db on"),
        Case(f"{name}: a message nobody knows", talk(*said, message(b"\xfe", b"x"), stall), "protocol", "db on"),
        Case(
            f"{name}: shutting down",
            talk(*said, error("57P01", "terminating connection")),
            "connect" if "query" in name else "refused",
            "terminating",
        ),
        Case(
            f"{name}: codes for a terminal",
            talk(*said, error("XX000", "\x1b[2J\x07 oh"), *([READY, stall] if "query" in name else [stall])),
            "protocol",
            "oh",
        ),
        Case(f"{name}: an error without fields", talk(*said, message(b"E", b"\0"), READY, stall), "protocol", "db on"),
    )
]
OTHERS = [
    Case("TLS that stalls", talk(exactly(8), b"S", stall), "timeout", CONNECTING),
    Case("TLS that is none", talk(exactly(8), b"S", something, b"500 what?\n"), "protocol", "db on"),
    Case("TLS answered with words", talk(exactly(8), b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls", "no TLS"),
    Case("starting", talk(*NO_TLS, error("57P03", "the database system is starting up")), "refused", "starting up"),
    Case("too many", talk(*NO_TLS, error("53300", "sorry, too many clients already")), "refused", "too many clients"),
    Case(
        "no such database", talk(*NO_TLS, error("3D000", 'database "db" does not exist')), "missing", "does not exist"
    ),
    Case(
        "no such password",
        talk(*NO_TLS, error("28P01", "password authentication failed")),
        "auth",
        "authentication failed",
    ),
    Case("wants Kerberos", talk(*NO_TLS, authentication(2), stall), "protocol", "db on"),
    Case("wants what nobody knows", talk(*NO_TLS, authentication(99), stall), "protocol", "db on"),
    Case("a mechanism nobody knows", talk(*NO_TLS, authentication(10, b"ODD-1\0\0"), stall), "protocol", "db on"),
    Case("says the password", talk(*AT_SIGN_IN, error("28000", f"no entry for {PASSWORD}"), stall), "auth", "***"),
    Case("keys without end", talk(*NO_TLS, count_without_end), "protocol", "rounds"),
    Case(
        "a long cancellation",
        talk(*AT_ROWS, error("57014", "canceling statement", "ERROR") + READY, stall),
        "refused",
        "canceling",
    ),
]
CASES = [*AT_EVERY_STEP, *LIES, *OTHERS]


async def test_postgres(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"dsn": f"postgresql://u:{PASSWORD}@{server.address}/db"}

    await run_all("postgres", CASES, aim, odd, shared, {})
