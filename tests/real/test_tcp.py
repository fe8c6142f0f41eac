"""The tcp probe: connections, dialogues and what odd servers make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, measured, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome

Start = Callable[..., Awaitable[Odd]]


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 hello there\r\n")
    word = await reader.readline()
    writer.write(b"you said " + word)
    await writer.drain()
    writer.close()


async def test_a_port_that_accepts(odd: Start, observe: Observe) -> None:
    seen = await observe("tcp", address=(await odd(silence)).address)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "connect_time") <= measured(seen, "response_time")


@pytest.mark.parametrize("expect", ["hello", "/^220 .*there/"])
async def test_a_banner(expect: str, odd: Start, observe: Observe) -> None:
    seen = await observe("tcp", address=(await odd(greet)).address, expect=expect)
    assert seen.outcome is Outcome.UP, seen.summary
    assert "220 hello there" in seen.summary


async def test_a_dialogue_in_steps(odd: Start, observe: Observe) -> None:
    script = [{"expect": "220", "send": "QUIT\r\n"}, {"expect": "you said QUIT"}]
    seen = await observe("tcp", address=(await odd(greet)).address, script=script)
    assert seen.outcome is Outcome.UP, seen.summary


async def test_another_banner_is_down_and_shown(odd: Start, observe: Observe) -> None:
    script = [{"expect": "220", "send": "x\r\n"}, {"expect": "SSH-2.0"}]
    seen = await observe("tcp", address=(await odd(greet)).address, script=script)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "you said x" in seen.summary
    assert "SSH-2.0" in seen.summary


async def test_nothing_listens(observe: Observe) -> None:
    seen = await observe("tcp", address="127.0.0.1:1")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert "refused" in seen.summary


async def test_silence_where_something_is_expected_ends_with_the_deadline(odd: Start, observe: Observe) -> None:
    seen = await observe("tcp", address=(await odd(silence)).address, expect="hello", timeout=0.3)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "hello" in seen.summary


async def test_endless_babble_is_bounded(odd: Start, observe: Observe) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    seen = await observe("tcp", address=(await odd(babble)).address, expect="hello")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")


async def test_a_unix_socket(tmp_path: Path, observe: Observe) -> None:
    path = tmp_path / "app.sock"
    server = await asyncio.start_unix_server(greet, path)
    async with server:
        seen = await observe("tcp", address=f"unix:{path}", expect="hello")
    assert seen.outcome is Outcome.UP, seen.summary
    gone = await observe("tcp", address=f"unix:{tmp_path}/none")
    assert gone.outcome is Outcome.DOWN


async def test_tls(nginx: Callable[..., Nginx], authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("localhost")))
    ask = {"send": "GET / HTTP/1.0\r\n\r\n", "expect": "200 OK", "tls": True}
    seen = await observe("tcp", address=f"localhost:{server.port}", ca_file=authority.ca_file, **ask)
    assert seen.outcome is Outcome.UP, seen.summary
    untrusted = await observe("tcp", address=f"localhost:{server.port}", **ask)
    assert (untrusted.outcome, untrusted.reason) == (Outcome.DOWN, "tls")
    unchecked = await observe("tcp", address=f"localhost:{server.port}", verify=False, **ask)
    assert unchecked.outcome is Outcome.UP


@pytest.mark.parametrize(
    "options", [{"address": "nowhere"}, {"address": "unix:x"}, {"address": "a:1", "expect": "/(/"}]
)
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        probe_of("tcp", options)
