"""What a PostgreSQL server may make us do: the driver takes whatever length it announces and counts as far as it says.

asyncpg gathers a message of any length in memory, goes round in circles for ever at a message whose length is below
that of its own head, and derives keys (SCRAM, RFC 5802) in as many rounds as the server asks for; in the last two this
whole process would stand still. It has no limits to set, so its protocol is replaced by one that looks at what comes in
before the driver does. Messages: PostgreSQL documentation, 55.7.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg.protocol

LONGEST = 4 * 1024 * 1024
"""Bytes that a server may send in one conversation; what is asked has some thousands."""
MOST_ROUNDS = 200_000
"""Rounds of the key derivation that are counted; servers ask for 4 096 unless told otherwise (scram_iterations)."""
PIECE = 8 * 1024
"""Bytes that are looked at before other work has its turn: one read may bring thousands of small messages."""
_BEGINNING = 16 * 1024
"""Bytes from the start in which the number of rounds is looked for; the sign-in is over long before."""

_ROUNDS = re.compile(rb"R....\x00\x00\x00\x0b[^\x00]*?,i=(\d+)", re.DOTALL)


@dataclass(slots=True)
class Conversation:
    """What has come from a server in one run; ``excess`` says what was too much (empty: nothing)."""

    received: int = 0
    beginning: bytes = b""
    excess: str = ""
    _head: bytes = b""
    _left: int = 0

    def take(self, data: bytes) -> bool:
        """Note what came; whether it may go on to the driver."""
        self.received += len(data)
        if self.received > LONGEST:
            self.excess = f"it sent more than {LONGEST // 2**20} MiB and would go on"
            return False
        self._follow(data)
        if len(self.beginning) < _BEGINNING:
            self.beginning += data[:_BEGINNING]
            rounds = _ROUNDS.search(self.beginning)
            if rounds and (len(rounds[1]) > 9 or int(rounds[1]) > MOST_ROUNDS):
                asked = rounds[1][:12].decode()
                self.excess = (
                    f"it asks for {asked} rounds of key derivation to sign in, {MOST_ROUNDS} are the most here"
                )
        return not self.excess

    def _follow(self, data: bytes) -> None:
        """Go from message to message: a letter, and the length of what follows with its own four bytes."""
        at = 0
        while at < len(data) and not self.excess:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
            else:
                step = min(5 - len(self._head), len(data) - at)
                self._head += data[at : at + step]
            at += step
            if len(self._head) == 5:
                length = int.from_bytes(self._head[1:], signed=True)
                if length < 4 or not self._head[:1].isalnum():
                    self.excess = "it does not speak as PostgreSQL does"
                elif length > LONGEST:
                    self.excess = f"it announces a message of {length} bytes, more than {LONGEST // 2**20} MiB"
                self._left, self._head = length - 4, b""


_current: ContextVar[Conversation | None] = ContextVar("current_conversation", default=None)


@contextmanager
def bounded() -> Iterator[Conversation]:
    """Connections that are made in this block, in this task, are ended when the server goes too far."""
    conversation = Conversation()
    token = _current.set(conversation)
    try:
        yield conversation
    finally:
        _current.reset(token)


_Driver: Any = asyncpg.protocol.Protocol


class _Bounded(_Driver):  # type: ignore[misc]
    """The driver's protocol behind a look at what comes in."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._conversation = _current.get()
        self._connection: asyncio.Transport | None = None
        self._waiting = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._connection = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._conversation is None:
            super().data_received(data)
        elif self._waiting:
            self._waiting += data
        else:
            self._waiting += data
            self._take_piece()

    def connection_lost(self, exc: Exception | None) -> None:
        while self._waiting:
            self._look_at(self._next_piece())
        super().connection_lost(exc)

    def _take_piece(self) -> None:
        """Hand a piece of what waits to the driver, and the next one when others had their turn."""
        if not self._waiting:  # the connection was lost meanwhile
            return
        self._look_at(self._next_piece())
        if self._connection is None or self._connection.is_closing():
            return
        if self._waiting:
            self._connection.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_piece)
        else:
            self._connection.resume_reading()

    def _next_piece(self) -> bytes:
        piece = bytes(self._waiting[:PIECE])
        del self._waiting[:PIECE]
        return piece

    def _look_at(self, data: bytes) -> None:
        conversation = self._conversation
        if conversation is None or conversation.excess:
            return
        if conversation.take(data):
            try:
                super().data_received(data)
            except Exception:  # noqa: BLE001 - whatever it is that the driver cannot make sense of
                conversation.excess = "it does not speak as PostgreSQL does"
        if conversation.excess and self._connection is not None:
            self._connection.abort()


asyncpg.protocol.Protocol = _Bounded  # type: ignore[misc,assignment]
