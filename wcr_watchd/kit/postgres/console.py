"""Rows of a command in PostgreSQL's simple query protocol, which is all that PgBouncer's admin console speaks.

asyncpg logs in (with all of its ways to do so) but returns rows only of the extended protocol; what comes after the
login is read here. Messages: PostgreSQL documentation, 55.7.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

LONGEST = 4 * 1024 * 1024
"""Bytes of one answer."""


class ConsoleError(Exception):
    """The server refuses the command; the text is its own."""


class NoConsoleError(Exception):
    """What came is no answer; the text says what is wrong with it."""


class Console(asyncio.Protocol):
    """Takes a connection of asyncpg over, after the login; nobody else may use that from then on."""

    def __init__(self, connection: Any) -> None:
        self._transport: asyncio.Transport = connection._transport  # noqa: SLF001 - there is no other way to it
        self._received = bytearray()
        self._come: asyncio.Future[None] | None = None
        self._lost = False
        self._transport.set_protocol(self)

    async def rows(self, command: str) -> list[dict[str, str]]:
        """The rows of a command, by name; NULL is the empty text.

        Raises :class:`ConsoleError` and :class:`NoConsoleError`.
        """
        text = command.encode() + b"\0"
        self._transport.write(b"Q" + struct.pack("!I", len(text) + 4) + text)
        names: list[str] = []
        found: list[dict[str, str]] = []
        refusal = ""
        async for kind, body in self._messages():
            try:
                if kind == b"T":
                    names = list(_names(body))
                elif kind == b"D":
                    found.append(dict(zip(names, _values(body), strict=False)))
            except (struct.error, ValueError) as error:
                raise NoConsoleError(f"it does not answer as a PostgreSQL server does: {error}") from error
            if kind == b"E":
                refusal = _said(body)
            elif kind == b"Z":
                break
        if refusal:
            raise ConsoleError(refusal)
        return found

    async def _messages(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Kind and content of one message after the other."""
        taken = 0
        while True:
            while len(self._received) < 5:
                await self._more()
            length = struct.unpack_from("!I", self._received, 1)[0]
            taken += length
            if length < 4 or taken > LONGEST:
                raise NoConsoleError("the answer is too long, or no answer of a PostgreSQL server")
            while len(self._received) < length + 1:
                await self._more()
            message = bytes(self._received[: length + 1])
            del self._received[: length + 1]
            yield message[:1], message[5:]

    async def _more(self) -> None:
        if self._lost:
            raise NoConsoleError("the server closed the connection")
        self._come = asyncio.get_running_loop().create_future()
        await self._come

    def data_received(self, data: bytes) -> None:
        """More of an answer has come."""
        self._received += data
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._come is not None and not self._come.done():
            self._come.set_result(None)


def _names(body: bytes) -> Iterator[str]:
    """Of a RowDescription."""
    at = 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        end = body.index(b"\0", at)
        yield body[at:end].decode(errors="replace")
        at = end + 19


def _values(body: bytes) -> Iterator[str]:
    """Of a DataRow."""
    at = 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        yield body[at : at + max(0, length)].decode(errors="replace")
        at += max(0, length)


def _said(body: bytes) -> str:
    """The message of an ErrorResponse."""
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    return fields.get(b"M", b"an error without words").decode(errors="replace")
