"""A name server on loopback (dnspython, UDP and TCP on one port) that answers out of a zone, or as told."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]
"""What is answered to a question: a message, bytes that are none, or nothing at all."""

ZONE = """\
$ORIGIN example.org.
$TTL 300
@       IN SOA   ns1 hostmaster 2026112301 7200 3600 1209600 300
@       IN NS    ns1
@       IN NS    ns2
@       IN MX    10 mail
@       IN MX    20 backup.mail
@       IN TXT   "v=spf1 ip4:192.0.2.1 -all"
@       IN CAA   0 issue "letsencrypt.org"
@       IN A     192.0.2.1
ns1     IN A     192.0.2.53
ns2     IN A     192.0.2.54
mail    IN A     192.0.2.25
www 60  IN A     192.0.2.1
www     IN A     192.0.2.2
www     IN AAAA  2001:db8::1
shop    IN CNAME www
key._domainkey IN TXT "v=DKIM1; p=MIGfMA0GCSq" "GSIb3DQEBAQUAA"
_sip._tcp IN SRV 10 60 5060 www
"""
REVERSE = """\
$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@ IN SOA ns1.example.org. hostmaster.example.org. 1 7200 3600 1209600 300
@ IN NS ns1.example.org.
1 IN PTR www.example.org.
"""


@dataclass
class NameServer:
    """A name server; ``questions`` are the messages it got, ``by_tcp`` how many of them came by TCP."""

    answer: Answer
    port: int = 0
    questions: list[dns.message.Message] = field(default_factory=list)
    by_tcp: int = 0

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def reply(self, wire: bytes, longest: int = 65535) -> bytes | None:
        """The answer to a question in wire format; cut and marked so when it is too long (RFC 1035, 4.2.1)."""
        try:
            question = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        self.questions.append(question)
        answer = self.answer(question)
        if answer is None or isinstance(answer, bytes):
            return answer
        found = answer.to_wire(max_size=65535)
        if len(found) <= longest:
            return found
        cut = dns.message.make_response(question)
        cut.flags |= dns.flags.TC
        return cut.to_wire()


def zone_answer(*zones: str) -> Answer:
    """Answers out of these zones, of which it is the authority; it refuses all others."""
    known = [dns.zone.from_text(text, relativize=False) for text in zones or (ZONE, REVERSE)]

    def answer(question: dns.message.Message) -> dns.message.Message:
        asked = question.question[0]
        response = dns.message.make_response(question)
        zone = next((zone for zone in known if zone.origin is not None and asked.name.is_subdomain(zone.origin)), None)
        if zone is None:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        name = asked.name
        while (alias := zone.get_rrset(name, "CNAME")) is not None and asked.rdtype != dns.rdatatype.CNAME:
            response.answer.append(alias)
            name = alias[0].target
        if zone.get_node(name) is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif (found := zone.get_rrset(name, asked.rdtype)) is not None:
            response.answer.append(found)
        return response

    return answer


def status_answer(rcode: str) -> Answer:
    """Answers everything with this status."""

    def answer(question: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(question)
        response.set_rcode(dns.rcode.from_text(rcode))
        return response

    return answer


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.reply(data, longest=512)
        if reply is not None:
            self._transport.sendto(reply, addr)


class _Running:
    """All that listens in one test."""

    def __init__(self) -> None:
        self._streams: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, answer: Answer | None = None, *, udp: bool = True, tcp: bool = True) -> NameServer:
        server = NameServer(answer or zone_answer())
        while True:
            # The port must be free for both: TCP chooses it, and another is tried when UDP has it already.
            stream = await asyncio.start_server(lambda r, w: self._serve(server, r, w), "127.0.0.1", 0)
            server.port = stream.sockets[0].getsockname()[1]
            try:
                if udp:
                    await self._listen_for_datagrams(server)
            except OSError:
                stream.close()
            else:
                break
        if tcp:
            self._streams.append(stream)
        else:
            stream.close()
        return server

    async def _listen_for_datagrams(self, server: NameServer) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(server), local_addr=("127.0.0.1", server.port)
        )
        self._datagrams.append(transport)

    async def _serve(self, server: NameServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                server.by_tcp += 1
                reply = server.reply(await reader.readexactly(length))
                if reply is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def stop(self) -> None:
        for stream in self._streams:
            stream.close()
        for transport in self._datagrams:
            transport.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
async def name_server() -> AsyncIterator[Callable[..., Awaitable[NameServer]]]:
    """``await name_server(answer)`` starts one; without ``answer`` it serves ``example.org`` and its reverse zone.

    ``udp=False`` or ``tcp=False`` leaves one of the two closed.
    """
    running = _Running()
    yield running.start
    await running.stop()
