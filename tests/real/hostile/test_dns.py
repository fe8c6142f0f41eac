"""Name servers at their worst."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dns.message
import dns.name
import dns.rrset
import pytest

from tests.real.hostile.case import Case, problems, run_all, watch
from tests.real.hostile.talks import babble, drip, exactly, reset, something, stall, talk
from tests.real.servers.dns import NameServer, status_answer
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

UP = Outcome.UP
Message = dns.message.Message
WIRE = bytes.fromhex
"""A message as it travels, behind the identifier."""
QUESTION = b"\x03www\x07example\x03org\x00\x00\x01\x00\x01"
NO_ANSWER = "sent no proper answer"


def records(kind: str, *values: str, name: str = "") -> Callable[[Message], Message]:
    """Answers every question with these."""

    made = dns.rrset.from_text(name or "www.example.org.", 300, "IN", kind, *values) if values else None

    def answer(question: Message) -> Message:
        response = dns.message.make_response(question)
        if made is not None:
            response.answer.append(made)
        return response

    return answer


def wire(rest: bytes, *, other_id: bool = False) -> Callable[[Message], bytes]:
    """Answers with these bytes behind the question's identifier, or behind another one."""
    return lambda question: struct.pack("!H", question.id ^ (0x5555 if other_id else 0)) + rest


def changed(change: Callable[[Message], None]) -> Callable[[Message], bytes]:
    """Answers with the right address, in a message that something was done to."""

    def answer(question: Message) -> bytes:
        response = records("A", "192.0.2.1")(question)
        change(response)
        return response.to_wire()

    return answer


def truncated(question: Message) -> bytes:
    """Always too long, by TCP too."""
    response = dns.message.make_response(question)
    response.flags |= dns.flags.TC
    return response.to_wire()


def circle(question: Message) -> Message:
    """A name whose other name is itself."""
    name = question.question[0].name.to_text()
    return records("CNAME", name)(question)


def chain(question: Message) -> Message:
    """A hundred names of which each is the next one's, and an address at their end."""
    response = dns.message.make_response(question)
    owner = question.question[0].name
    for number in range(100):
        target = dns.name.from_text(f"n{number}.example.org.")
        response.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", target.to_text()))
        owner = target
    response.answer.append(dns.rrset.from_text(owner, 300, "IN", "A", "192.0.2.1"))
    return response


def other_question(message: Message) -> None:
    message.question = [dns.rrset.RRset(dns.name.from_text("evil.example."), 1, 1)]  # type: ignore[list-item]


def not_an_answer(message: Message) -> None:
    message.flags &= ~dns.flags.QR


def header(flags: int, *counts: int) -> bytes:
    """Everything of a header but the identifier."""
    return struct.pack("!5H", flags, *counts)


TXT: dict[str, Any] = {"record": "TXT"}
HUGE = tuple(f"10.{high}.{low // 256}.{low % 256}" for high in range(3) for low in range(1000))
ANSWERS: list[tuple[str, Any, str, str, dict[str, Any], Outcome]] = [
    ("silence", lambda question: None, "timeout", "waiting for the answer of 127.0.0.1", {}, Outcome.DOWN),
    ("NXDOMAIN", status_answer("NXDOMAIN"), "dns", "the name does not exist", {}, Outcome.DOWN),
    ("SERVFAIL", status_answer("SERVFAIL"), "dns", "answered SERVFAIL; expected NOERROR", {}, Outcome.DOWN),
    ("REFUSED", status_answer("REFUSED"), "dns", "answered REFUSED; expected NOERROR", {}, Outcome.DOWN),
    ("FORMERR", status_answer("FORMERR"), "dns", "answered FORMERR; expected NOERROR", {}, Outcome.DOWN),
    ("NOTIMP", status_answer("NOTIMP"), "dns", "answered NOTIMP; expected NOERROR", {}, Outcome.DOWN),
    ("no record", records("A"), "content", "has no A record", {}, Outcome.DOWN),
    ("wrong id", wire(header(0x8180, 1, 0, 0, 0) + QUESTION, other_id=True), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("another question", changed(other_question), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("the question back", changed(not_an_answer), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("only a header", wire(header(0x8180, 0, 0, 0, 0)), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("a header that lies", wire(header(0x8180, 65535, 65535, 65535, 65535)), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("half a header", wire(b"\x81"), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("one byte", lambda question: b"\0", "protocol", NO_ANSWER, {}, Outcome.DOWN),
    ("noise", lambda question: random.Random(1).randbytes(400), "protocol", NO_ANSWER, {}, Outcome.DOWN),
    (
        "a name that points to itself",
        wire(header(0x8180, 1, 1, 0, 0) + QUESTION + b"\xc0\x21\0\1\0\1\0\0\0\1\0\4abcd"),
        "protocol",
        NO_ANSWER,
        {},
        Outcome.DOWN,
    ),
    (
        "a record longer than the message",
        wire(header(0x8180, 1, 1, 0, 0) + QUESTION + b"\xc0\x0c\0\1\0\1\0\0\0\1\xff\xffab"),
        "protocol",
        NO_ANSWER,
        {},
        Outcome.DOWN,
    ),
    (
        "an address of three bytes",
        wire(header(0x8180, 1, 1, 0, 0) + QUESTION + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\3abc"),
        "protocol",
        NO_ANSWER,
        {},
        Outcome.DOWN,
    ),
    (
        "rubbish behind it",
        changed(lambda message: message.additional.append(dns.rrset.from_text("x.", 1, "IN", "TXT", "y" * 200))),
        "",
        "192.0.2.1",
        {},
        UP,
    ),
    ("a name in a circle", circle, "content", "come to no end", {}, Outcome.DOWN),
    ("a chain of a hundred names", chain, "content", "come to no end", {}, Outcome.DOWN),
    ("three thousand addresses", records("A", *HUGE), "", "and 2992 more", {}, UP),
    (
        "a text of 60 KB",
        records("TXT", *(f'"{"x" * 250}"' for _ in range(1)), f'"{" ".join(["y"] * 100)}"'),
        "",
        "x",
        TXT,
        UP,
    ),
    ("codes for a terminal", records("TXT", '"\\027[2J\\007\\255\\000"'), "", "www.example.org TXT", TXT, UP),
    (
        "someone else's address",
        records("A", "192.0.2.1", name="evil.example."),
        "content",
        "has no A record",
        {},
        Outcome.DOWN,
    ),
]
BY_TCP = [
    Case("silence", talk(stall), "timeout", "waiting for the answer"),
    Case("closes at once", talk(something), "connect", "closed the connection"),
    Case("resets at once", talk(something, reset), "connect", "reset"),
    Case("drips its length", talk(exactly(2), drip(b"\0\x40" + b"\0" * 50)), "timeout", "waiting for the answer"),
    Case("less than its length", talk(something, b"\xff\xff" + bytes(20), stall), "timeout", "waiting for the answer"),
    Case("closes within its length", talk(something, b"\xff\xff" + bytes(20)), "connect", "closed the connection"),
    Case("resets within its length", talk(something, b"\xff\xff" + bytes(20), reset), "connect", "reset"),
    Case("a length of nothing", talk(something, b"\0\0", stall), "protocol", NO_ANSWER),
    Case("babbles", talk(something, babble(b"\0\x0c" + bytes(12))), "protocol", NO_ANSWER),
    Case("speaks HTTP", talk(something, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "connect", "closed the connection"),
]
"""A long answer is fetched by TCP, so these are what a truncated one leads to as well."""

Start = Callable[..., Awaitable[NameServer]]


async def test_dns(name_server: Start, shared: SharedHelpers) -> None:
    async def one(
        transport: str, name: str, answer: Any, reason: str, words: str, options: Any, outcome: Any
    ) -> list[str]:
        server = await name_server(answer)
        case = Case(f"{name} by {transport}", b"", reason, words, options, outcome)
        asked = {"name": "www.example.org", "server": server.address, "transport": transport, **options}
        return problems(case, await watch("dns", asked, case.seconds, shared), str(server.port))

    found = await asyncio.gather(*(one(transport, *answer) for transport in ("udp", "tcp") for answer in ANSWERS))
    if told := [problem for wrong in found for problem in wrong]:
        pytest.fail("\n".join(told), pytrace=False)


async def test_dns_by_tcp(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"name": "www.example.org", "server": server.address, "transport": "tcp"}

    await run_all("dns", BY_TCP, aim, odd, shared, {})


async def test_a_long_answer_that_nobody_hands_out(name_server: Start, shared: SharedHelpers) -> None:
    """Truncated by UDP, and then: truncated by TCP too; nobody there by TCP."""
    endless, alone = await name_server(truncated), await name_server(truncated, tcp=False)
    for server, reason, words in ((endless, "content", "has no A record"), (alone, "connect", "connection refused")):
        seen = await watch("dns", {"name": "www.example.org", "server": server.address}, 20, shared)
        assert problems(Case("truncated", b"", reason, words), seen, server.address) == []


@dataclass
class Babbler(asyncio.DatagramProtocol):
    """Answers every question again and again, always with the wrong identifier, until it is closed."""

    going: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.going is None:
            self.going = asyncio.get_running_loop().create_task(self.babble(data, addr))

    async def babble(self, data: bytes, addr: Any) -> None:
        while True:
            self.transport.sendto(b"\0\0" + data[2:], addr)
            await asyncio.sleep(0.001)


@pytest.fixture
async def babbler() -> AsyncIterator[str]:
    """Where such a one listens."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Babbler, local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    yield f"{host}:{port}"
    if protocol.going is not None:
        protocol.going.cancel()
        with suppress(asyncio.CancelledError):
            await protocol.going
    transport.close()


async def test_answers_to_what_nobody_asked(babbler: str, shared: SharedHelpers) -> None:
    seen = await watch("dns", {"name": "www.example.org", "server": babbler}, 20, shared)
    assert problems(Case("babble", b"", "protocol", NO_ANSWER), seen, babbler) == []
