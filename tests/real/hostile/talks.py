"""How hostile servers talk, out of a few words: say, wait for, drip, babble, stall, break off."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from tests.real.servers.odd import Talk

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Act = Callable[[Reader, Writer], Awaitable[None]]


def talk(*acts: bytes | Act) -> Talk:
    """One act after the other; bytes are said. At the end the server closes the connection."""

    async def carry_on(reader: Reader, writer: Writer) -> None:
        for act in acts:
            if isinstance(act, bytes):
                writer.write(act)
                await writer.drain()
            else:
                await act(reader, writer)

    return carry_on


async def head(reader: Reader, writer: Writer) -> None:
    """Read the head of an HTTP request."""
    await reader.readuntil(b"\r\n\r\n")


async def line(reader: Reader, writer: Writer) -> None:
    """Read one line."""
    await reader.readuntil(b"\n")


async def something(reader: Reader, writer: Writer) -> None:
    """Read whatever comes first."""
    await reader.read(65536)


async def stall(reader: Reader, writer: Writer) -> None:
    """Listen and say no more, until the other side goes."""
    while await reader.read(65536):
        pass


async def reset(reader: Reader, writer: Writer) -> None:
    """Break the connection off without a goodbye: TCP's RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def exactly(count: int) -> Act:
    """Read so many bytes."""

    async def read(reader: Reader, writer: Writer) -> None:
        await reader.readexactly(count)

    return read


def drip(data: bytes, pause: float = 0.1, repeat: bool = False) -> Act:
    """Say it one byte at a time; ``repeat``: again and again."""

    async def drop(reader: Reader, writer: Writer) -> None:
        going = True
        while going:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(pause)
            going = repeat
        await stall(reader, writer)

    return drop


def babble(data: bytes) -> Act:
    """Say it again and again, as fast as it is taken."""
    block = data * max(1, 65536 // len(data))

    async def on(reader: Reader, writer: Writer) -> None:
        while True:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(0)  # drain() does not yield while the other side keeps up

    return on
