"""Mail round trips: a real mailbox (dovecot), and a relay that delivers into it as told."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.running import carry_out, measured, names, new_run, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.imap import PASSWORD, MailServer
from tests.real.servers.mail import MailRelay
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.threads import Threads

RESULTS = (
    "mx.example.org;\r\n dkim=pass (good, dmarc=fail once) header.d=example.org;\r\n"
    " spf=pass smtp.mailfrom=watch@example.org; dmarc=pass"
)


class Delivering(MailRelay):
    """A relay that puts what it takes into the mailbox; ``results`` is what it says of SPF and the like."""

    def __init__(self, server: MailServer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pair = server.authority.issue("localhost")
        context.load_cert_chain(pair.certificate, pair.key)
        super().__init__(context)
        self.server = server
        self.folder = "INBOX"
        self.results = [RESULTS]
        self.keeps = False
        self.kept: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        said = await super().handle_DATA(server, session, envelope)
        if said.startswith("250"):
            raw = envelope.original_content or b""
            head = "".join(f"Authentication-Results: {line}\r\n" for line in self.results).encode()
            self.kept.append(head + raw)
            if not self.keeps:
                await asyncio.to_thread(self.server.deliver, head + raw, self.folder)
        return said


@pytest.fixture
def relay(mail_server: MailServer) -> Iterator[Delivering]:
    made = Delivering(mail_server)
    made.start()
    yield made
    made.hang = False
    made.stop()


class Trips:
    """Round trips of one check, which remembers."""

    def __init__(self, relay: Delivering, shared: SharedHelpers, authority: Authority) -> None:
        self.relay = relay
        self.shared = shared
        self.memory: dict[str, Any] = {}
        self.options: dict[str, Any] = {
            "rcpt_to": relay.server.user,
            "password": PASSWORD,
            "smtp": relay.url,
            "imap": f"imap://127.0.0.1:{relay.server.port}",
            "ca_file": authority.ca_file,
            "wait": "300ms",
        }

    async def go(self, timeout: float = 60.0, **options: Any) -> Observation:
        run = new_run(self.shared, timeout)
        run.memory = self.memory
        return await carry_out(probe_of("mail", self.options | options), run)


@pytest.fixture
def trips(relay: Delivering, shared: SharedHelpers, authority: Authority) -> Trips:
    return Trips(relay, shared, authority)


async def test_a_mail_arrives_and_is_deleted(trips: Trips) -> None:
    trips.relay.server.deliver(b"Subject: somebody else's\r\n\r\nkeep me\r\n")
    seen = await trips.go(wait="30s")
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "missing") == 0
    assert measured(seen, "junk") == 0
    assert measured(seen, "send_time") >= 0
    assert 0 <= measured(seen, "latency") < 30
    assert [measured(seen, f"{method}_pass") for method in ("spf", "dkim", "dmarc")] == [1, 1, 1]
    assert trips.relay.server.subjects() == ["somebody else's"]
    (mail,) = trips.relay.mails
    assert mail.over_tls
    assert mail.message["Auto-Submitted"] == "auto-generated"


async def test_what_the_receiver_says_is_told(trips: Trips) -> None:
    trips.relay.results = ["other.example.net; spf=pass", "mx.example.org; spf=fail smtp.mailfrom=x; dkim=none"]
    seen = await trips.go(wait="30s", authserv="mx.example.org")
    assert (measured(seen, "spf_pass"), measured(seen, "dkim_pass")) == (0, 0)
    assert "dmarc_pass" not in names(seen)
    assert "dmarc_pass" in seen.evidence["absent"]
    assert "spf=fail" in seen.evidence["arrived"]


async def test_junk_is_told(trips: Trips) -> None:
    trips.relay.folder = "Junk"
    trips.relay.server.deliver(b"Subject: x\r\n\r\n", "Junk")
    seen = await trips.go(wait="30s", folders=["INBOX", "Junk"])
    assert seen.outcome is Outcome.UP
    assert measured(seen, "junk") == 1
    assert trips.relay.server.subjects("Junk") == ["x"]


async def test_what_does_not_arrive_is_missed_and_found_later(trips: Trips) -> None:
    trips.relay.keeps = True
    for missing in (1, 2):
        seen = await trips.go()
        assert (seen.outcome, seen.reason) == (Outcome.DOWN, "late")
        assert measured(seen, "missing") == missing
        assert "latency" not in names(seen)
    assert "nor have 1 before it" in seen.summary
    trips.relay.server.deliver(trips.relay.kept[1])
    trips.relay.keeps = False
    seen = await trips.go(wait="30s")
    assert seen.outcome is Outcome.UP
    assert measured(seen, "missing") == 0
    assert "an earlier mail arrived in INBOX" in seen.evidence["arrived"]
    assert trips.relay.server.subjects() == []


async def test_leftovers_of_another_life_go_after_a_week(trips: Trips) -> None:
    old = time.time() - 9 * 86_400
    for at, subject in ((old, "ours"), (time.time() - 86_400, "ours, young")):
        raw = f"Subject: {subject}\r\nX-Watchd-Round-Trip: another-life 1\r\n\r\n".encode()
        trips.relay.server.deliver(raw, at=at)
    trips.relay.server.deliver(b"Subject: old, and not ours\r\n\r\n", at=old)
    await trips.go(wait="30s")
    assert trips.relay.server.subjects() == ["ours, young", "old, and not ours"]


async def test_who_is_refused_is_told(trips: Trips) -> None:
    seen = await trips.go(password="wrong")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "auth")
    trips.relay.rcpt_reply = "550 5.1.1 no such user"
    seen = await trips.go()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "refused")
    assert "550 5.1.1 no such user" in seen.summary
    trips.relay.rcpt_reply = ""
    trips.relay.data_reply = "554 5.7.1 spam"
    seen = await trips.go()
    assert "554 5.7.1 spam" in seen.summary
    assert "missing" not in names(seen), "what was not sent is not missed"
    assert PASSWORD not in repr(seen)


async def test_what_is_not_there_is_told(trips: Trips, mail_ca: trustme.CA) -> None:
    seen = await trips.go(smtp="smtp://127.0.0.1:1")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    seen = await trips.go(imap="imaps://127.0.0.1:1")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    seen = await trips.go(folders=["Nowhere"])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "missing")
    seen = await trips.go(ca_file="/no/such/file")
    assert seen.outcome is Outcome.UNKNOWN
    seen = await trips.go(ca_file="")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    seen = await trips.go(imap=f"imaps://127.0.0.1:{trips.relay.server.port}")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")


async def test_tls_first(trips: Trips, authority: Authority) -> None:
    """A forwarder that speaks TLS first in front of the same mailbox."""
    pair = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    port, ends = free_port(), []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", trips.relay.server.port)
        ends.extend((writer, inner[1]))
        await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))

    server = await asyncio.start_server(forward, "127.0.0.1", port, ssl=context)
    seen = await trips.go(imap=f"imaps://127.0.0.1:{port}", wait="30s")
    server.close()
    for writer in ends:
        writer.transport.abort()
    assert seen.outcome is Outcome.UP, seen.summary


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def imap_that(*answers: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A server that greets and then answers each command with what is given, tagged by ``TAG``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        for answer in answers:
            tag = (await reader.readline()).split(b" ")[0]
            writer.write(answer.replace(b"TAG", tag))
        await reader.read()

    return talk


@pytest.mark.parametrize(
    "answers",
    [
        [b"\xff\xfe garbage\r\n"],
        [b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n", b"TAG OK\r\n", b"* 1 FETCH (BODY {999999999}\r\n"],
        [b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n", b"TAG OK\r\n", b"x" * 2_000_000],
        [b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n", b"TAG NO\r\n"],
        [],
    ],
)
async def test_odd_servers_are_down(trips: Trips, odd: Callable[..., Awaitable[Odd]], answers: list[bytes]) -> None:
    server = await odd(imap_that(*answers))
    seen = await trips.go(timeout=2.0, imap=f"imap://{server.address}", imap_starttls=False)
    assert seen.outcome is Outcome.DOWN
    assert seen.reason in ("auth", "protocol", "timeout")


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
async def test_cancelling_ends_the_thread_that_waits(
    trips: Trips, odd: Callable[..., Awaitable[Odd]], scheme: str
) -> None:
    server = await odd(silence)
    running = asyncio.create_task(trips.go(imap=f"{scheme}://{server.address}"))
    async with asyncio.timeout(20):
        while not server.open:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    async with asyncio.timeout(10):  # far less than the thread would wait by itself
        while server.open or trips.shared.get(Threads)._running:
            await asyncio.sleep(0.01)
    gc.collect()  # an unclosed socket would warn here, and warnings are errors


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rcpt_to": "nobody"}, "no mail address"),
        ({"rcpt_to": "a@b.example\r\nBcc: c"}, "no mail address"),
        ({"rcpt_to": "a@example.org", "smtp": "http://x"}, "none of: smtp://host"),
        ({"rcpt_to": "a@example.org", "imap": "imap://user@x"}, "none of: imap://host"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        probe_of("mail", options)
