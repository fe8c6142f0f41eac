"""Servers that answer what no proper server does: silence, garbage, floods, endings in the middle."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Odd:
    """A server on loopback that talks as told; ``requests`` are the heads of the HTTP requests it got."""

    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        """An http URL."""
        return f"http://{self.address}{path}"


@pytest.fixture
async def odd() -> AsyncIterator[Callable[..., Awaitable[Odd]]]:
    """``await odd(talk)`` serves connections by a coroutine; ``await odd(answer)`` sends bytes after a request."""
    servers: list[asyncio.Server] = []
    made: list[Odd] = []

    async def start(talk: Talk | bytes, tls: ssl.SSLContext | None = None) -> Odd:
        server = Odd()
        made.append(server)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.connections += 1
            server.open.add(writer)
            try:
                if isinstance(talk, bytes):
                    head = await reader.readuntil(b"\r\n\r\n")
                    server.requests.append(head.decode("latin-1"))
                    writer.write(talk)
                    await writer.drain()
                else:
                    await talk(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                server.open.discard(writer)
                writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        servers.append(listening)
        server.port = listening.sockets[0].getsockname()[1]
        return server

    yield start
    for listening in servers:
        listening.close()
    for server in made:
        for writer in list(server.open):
            writer.transport.abort()
    await asyncio.sleep(0)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, listen, and say nothing until the other side goes."""
    while await reader.read(65536):
        pass
