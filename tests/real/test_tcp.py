"""The tcp probe against servers that talk, are silent, end in the middle, or are not there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.running import Observe, carry_out, descriptors, measured, new_run, none_left_open, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, Talk, silence
from tests.real.servers.redis import RedisServer
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

Start = Callable[..., Awaitable[Odd]]


def saying(*pieces: bytes, hang: bool = True) -> Talk:
    """Say these pieces, each as a segment of its own, and then nothing more."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        if hang:
            await silence(reader, writer)

    return talk


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet and answer like a mail server, all answers that are due in one segment."""
    writer.write(b"220 mail.example.org ESMTP\r\n")
    while line := await reader.readline():
        word = line.strip().upper()
        if word.startswith(b"EHLO"):
            writer.write(b"250-mail.example.org\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
        elif word == b"QUIT":
            writer.write(b"221 bye\r\n")
            return


async def test_an_open_port_is_up(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("tcp", address=server.address)
    assert seen.outcome is Outcome.UP, seen.summary
    assert 0 < measured(seen, "connect_time") <= measured(seen, "response_time")
    assert 0 < measured(seen, "response_phase", phase="connect") <= measured(seen, "connect_time")


async def test_the_phase_it_was_cut_off_in_is_measured(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("tcp", address=server.address, expect="welcome", timeout=0.3)
    assert seen.reason == "timeout"
    phases = {dict(one.labels)["phase"]: one.value for one in seen.measurements if one.name == "response_phase"}
    assert phases.keys() == {"dns", "connect", "dialogue"}
    assert max(phases, key=phases.__getitem__) == "dialogue"


async def test_a_closed_port_is_down(observe: Observe) -> None:
    seen = await observe("tcp", address=f"127.0.0.1:{free_port()}")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert "nothing listens there" in seen.summary


async def test_an_unknown_name_is_down(observe: Observe) -> None:
    seen = await observe("tcp", address="no-such-host.invalid:80")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")


async def test_ipv6(observe: Observe) -> None:
    with contextlib.closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as listening:
        port = listening.getsockname()[1]
        assert (await observe("tcp", address=f"[::1]:{port}")).outcome is Outcome.UP
        assert (await observe("tcp", address=f"[::1]:{port}", ip=6)).outcome is Outcome.UP
        seen = await observe("tcp", address=f"[::1]:{port}", ip=4)
        assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")


# --- dialogues --------------------------------------------------------------------------------------------------------


async def test_a_real_server_answers(redis_server: RedisServer, observe: Observe) -> None:
    seen = await observe("tcp", address=f"127.0.0.1:{redis_server.port}", send="PING\r\n", expect="+PONG")
    assert seen.outcome is Outcome.UP, seen.summary
    assert "+PONG" in seen.summary


@pytest.mark.parametrize("expect", ["SSH-2.0", "/^SSH-[12]/", "/OpenSSH_[0-9.]+$/"])
async def test_a_banner_that_comes_in_pieces(expect: str, odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"SS", b"H-2.0-Open", b"SSH_9.2", b"\r\n"))
    seen = await observe("tcp", address=server.address, expect=expect)
    assert seen.outcome is Outcome.UP, seen.summary


async def test_a_text_without_an_end_of_line(odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"login: "))
    assert (await observe("tcp", address=server.address, expect="login:")).outcome is Outcome.UP


async def test_another_banner_is_down(odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"HTTP/1.1 400 Bad Request\r\n", hang=False))
    seen = await observe("tcp", address=server.address, expect="SSH-2.0")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "'HTTP/1.1 400 Bad Request'" in seen.summary
    assert "expected 'SSH-2.0'" in seen.summary
    assert measured(seen, "connect_time") > 0


async def test_a_dialogue_in_steps(odd: Start, observe: Observe) -> None:
    server = await odd(answering)
    seen = await observe(
        "tcp",
        address=server.address,
        script=[
            {"expect": "/^220 /", "send": "EHLO watch\r\n"},
            {"expect": "/^250 /", "send": "QUIT\r\n"},
            {"expect": "221"},
        ],
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert "221 bye" in seen.summary


@pytest.mark.parametrize(("first", "second"), [("one", "two"), ("/^one$/", "/^two$/"), ("/one/", "two")])
async def test_two_texts_in_one_segment(first: str, second: str, odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"one\r\ntwo\r\n"))
    script = [{"expect": first}, {"expect": second}]
    seen = await observe("tcp", address=server.address, script=script, timeout=20)
    assert seen.outcome is Outcome.UP, seen.summary


async def test_a_text_answers_one_expectation_only(odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"250 ok\r\n", hang=False))
    seen = await observe("tcp", address=server.address, script=[{"expect": "250"}, {"expect": "250"}])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")


async def test_silence_is_a_timeout_that_says_what_was_awaited(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("tcp", address=server.address, expect="SSH-2.0", timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "waiting for 'SSH-2.0'" in seen.summary


async def test_thousands_of_short_lines_do_not_hold_the_loop(odd: Start, observe: Observe) -> None:
    """The harness fails a step of more than 5 ms; a pattern was looked for in each of the lines."""
    server = await odd(saying(b"a\n" * 30_000, b"welcome\n"))
    seen = await observe("tcp", address=server.address, expect="/welcome/")
    assert seen.outcome is Outcome.UP, seen.summary
    assert (await observe("tcp", address=server.address, expect="/^a$/")).outcome is Outcome.UP


@pytest.mark.parametrize("expect", ["never", "/never$/"])
async def test_a_flood_is_read_up_to_a_bound(expect: str, odd: Start, observe: Observe) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    server = await odd(flood)
    seen = await observe("tcp", address=server.address, expect=expect)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "65536 bytes" in seen.summary


async def test_a_broken_connection_is_down(odd: Start, observe: Observe) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    server = await odd(reset)
    seen = await observe("tcp", address=server.address, send="hello\r\n", expect="world")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol")


async def test_a_pattern_that_never_ends_is_unknown(odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"a" * 60 + b"!"))
    seen = await observe("tcp", address=server.address, expect="/^(a+)+$/")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "pattern")


# --- TLS --------------------------------------------------------------------------------------------------------------


def context_of(authority: Authority, *names: str, ends: float = 30) -> ssl.SSLContext:
    pair = authority.issue(*names, ends=ends)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


async def test_a_dialogue_over_tls(odd: Start, observe: Observe, authority: Authority) -> None:
    server = await odd(saying(b"* OK IMAP4rev1 ready\r\n"), context_of(authority, "127.0.0.1"))
    seen = await observe("tcp", address=server.address, tls=True, ca_file=authority.ca_file, expect="* OK")
    assert seen.outcome is Outcome.UP, seen.summary
    other = await observe(
        "tcp", address=server.address, tls=True, ca_file=authority.ca_file, server_name="imap.example.org"
    )
    assert (other.outcome, other.reason) == (Outcome.DOWN, "tls")
    assert "127.0.0.1" in other.summary
    assert "imap.example.org" in other.summary


async def test_a_real_server_over_tls(nginx: Callable[..., Nginx], authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("localhost")))
    ask = {"send": "GET / HTTP/1.0\r\n\r\n", "expect": "200 OK", "tls": True}
    seen = await observe("tcp", address=f"localhost:{server.port}", ca_file=authority.ca_file, **ask)
    assert seen.outcome is Outcome.UP, seen.summary
    untrusted = await observe("tcp", address=f"localhost:{server.port}", **ask)
    assert (untrusted.outcome, untrusted.reason) == (Outcome.DOWN, "tls")


async def test_an_expired_certificate_is_down_and_said_so(odd: Start, observe: Observe, authority: Authority) -> None:
    server = await odd(silence, context_of(authority, "127.0.0.1", ends=-1))
    seen = await observe("tcp", address=server.address, tls=True, ca_file=authority.ca_file)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    assert "expired" in seen.summary
    unchecked = await observe("tcp", address=server.address, tls=True, verify=False)
    assert unchecked.outcome is Outcome.UP, unchecked.summary


async def test_a_server_without_tls_is_down(odd: Start, observe: Observe) -> None:
    server = await odd(saying(b"220 plain\r\n"))
    seen = await observe("tcp", address=server.address, tls=True)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")


async def test_a_handshake_that_hangs_is_cut_off(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("tcp", address=server.address, tls=True, timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "TLS handshake" in seen.summary
    while server.open:
        await asyncio.sleep(0.01)


async def test_a_missing_ca_file_is_unknown(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("tcp", address=server.address, tls=True, ca_file="/no/such/file")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")


# --- Unix sockets -----------------------------------------------------------------------------------------------------


async def test_a_unix_socket(tmp_path: Path, observe: Observe) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    path = tmp_path / "app.sock"
    server = await asyncio.start_unix_server(greet, path)
    try:
        seen = await observe("tcp", address=f"unix:{path}", expect="hello")
        assert seen.outcome is Outcome.UP, seen.summary
    finally:
        server.close()


async def test_a_unix_socket_that_is_not_there_or_is_none(tmp_path: Path, observe: Observe) -> None:
    missing = await observe("tcp", address=f"unix:{tmp_path}/none")
    assert (missing.outcome, missing.reason) == (Outcome.DOWN, "connect")
    (tmp_path / "left-over").touch()
    nobody = await observe("tcp", address=f"unix:{tmp_path}/left-over")
    assert (nobody.outcome, nobody.reason) == (Outcome.DOWN, "connect")
    assert "nothing listens" in nobody.summary


async def test_a_program_that_accepts_nobody_is_not_up(tmp_path: Path, observe: Observe) -> None:
    path = str(tmp_path / "stuck.sock")
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(path)
        listening.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:  # until its queue is full
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(path)
        seen = await observe("tcp", address=f"unix:{path}", timeout=0.5)
        assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
        assert "accepts nobody" in seen.summary


async def test_nothing_is_left_open(odd: Start, shared: SharedHelpers) -> None:
    server = await odd(saying(b"hello\n"))
    probe = probe_of("tcp", {"address": server.address, "expect": "hello"})
    await carry_out(probe, new_run(shared))
    while server.open:
        await asyncio.sleep(0.01)
    before = descriptors()
    for _ in range(5):
        await carry_out(probe, new_run(shared))
    while server.open:
        await asyncio.sleep(0.01)
    await none_left_open(before)


@pytest.mark.parametrize(
    "options",
    [
        {"address": "localhost"},
        {"address": ":0"},
        {"address": "::1:80"},
        {"address": "localhost:99999"},
        {"address": "unix:app.sock"},
        {"address": "localhost:80", "expect": "/(/"},
        {"address": "localhost:80", "expect": "a", "script": [{"expect": "b"}]},
        {"address": "unix:/run/app.sock", "tls": True},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        probe_of("tcp", options)
