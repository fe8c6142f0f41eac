"""The helpers under the probes: blocking calls, patterns, TLS contexts, names."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.real.servers.certificates import Authority
from wcr_watchd.kit import tls
from wcr_watchd.kit.network import NameResolver
from wcr_watchd.kit.patterns import LONGEST_GROUP, PatternsTooSlowError, found, search
from wcr_watchd.kit.threads import MOST_IDLE, Threads
from wcr_watchd.kit.tls import CONTEXT_AGE, TlsContexts, TlsSettings, UnusableFileError


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads()
    yield made
    await made.close()


def alive() -> int:
    return sum(thread.name == "watchd-blocking-call" for thread in threading.enumerate())


async def test_a_call_returns_or_raises(threads: Threads) -> None:
    assert await threads.call(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        await threads.call(divmod, 1, 0)


async def test_the_same_call_is_made_once_and_shared(threads: Threads) -> None:
    released, made = threading.Event(), []

    def slow(number: int) -> int:
        made.append(number)
        released.wait(20)
        return number

    waiting = [asyncio.create_task(threads.call(slow, number)) for number in (1, 1, 1, 2)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever goes away takes nothing from the others
    await asyncio.sleep(0.05)
    released.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1, 2]
    assert sorted(made) == [1, 2]
    assert await threads.call(slow, 1) == 1  # a later call is a new one
    assert len(made) == 3


async def test_hanging_calls_hold_up_no_other(threads: Threads) -> None:
    released = threading.Event()
    hanging = [asyncio.create_task(threads.call(lambda number: released.wait(20), number)) for number in range(40)]
    await asyncio.sleep(0)
    assert await threads.call(max, 1, 2) == 2
    released.set()
    await asyncio.gather(*hanging)


async def test_few_threads_are_kept(threads: Threads) -> None:
    before = alive()
    await asyncio.gather(*(threads.call(time.sleep, number / 1000) for number in range(20)))
    await asyncio.sleep(0)
    deadline = time.monotonic() + 20
    while alive() - before > MOST_IDLE:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await threads.close()
    while alive() > before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_error_that_nobody_waits_for_any_more_is_no_noise(threads: Threads) -> None:
    released = threading.Event()

    def fail() -> None:
        released.wait(20)
        raise OSError("too late")

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    waiting = asyncio.create_task(threads.call(fail))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    released.set()
    await threads.call(max, 1, 2)
    await asyncio.sleep(0.05)
    assert complaints == []


def test_a_hanging_call_does_not_keep_the_program_from_ending() -> None:
    program = """
        import asyncio, time
        from wcr_watchd.kit.threads import Threads
        async def main():
            waiting = asyncio.create_task(Threads().call(time.sleep, 3600))
            await asyncio.sleep(0.1)
            waiting.cancel()
        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


async def test_patterns() -> None:
    assert await found([("^a.c$", "abc"), ("x", "abc"), ("ü", "grün"), ("(?i)ABC", "abc")]) == [True, False, True, True]
    assert await found([]) == []
    with pytest.raises(PatternsTooSlowError):
        await found([("(a+a+)+b", "a" * 100)], budget=0.5)


async def test_what_a_pattern_found() -> None:
    text = "caf\ud800 grün 42"
    one, two, three = await search([(r"(?P<word>gr\S+) (\d+)(x)?", text), ("nothing", text), ("^caf", text)])
    assert one is not None
    assert (one.span, one.groups, one.names) == ((5, 12), ("grün 42", "grün", "42", None), {"word": "grün"})
    assert two is None
    assert three is not None
    large = await search([("(?s).*", "x" * 3_000_000), ("x$", "x" * 3_000_000)])
    assert [len(match.groups[0] or "") for match in large if match] == [LONGEST_GROUP, 1]


async def test_patterns_end_with_whoever_asked() -> None:
    def children() -> set[psutil.Process]:
        return set(psutil.Process().children())

    before = children()
    waiting = asyncio.create_task(found([("(a+a+)+b", "a" * 100)], budget=60))
    deadline = time.monotonic() + 20
    while children() == before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert children() == before


async def test_contexts_are_shared_until_a_file_changes(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = TlsContexts()
    default = await contexts.get(TlsSettings())
    assert await contexts.get(TlsSettings()) is default
    assert await contexts.get(TlsSettings(verify=False)) is not default
    file = tmp_path / "ca.pem"
    settings = TlsSettings(ca_file=str(file))
    with pytest.raises(UnusableFileError):
        await contexts.get(settings)
    file.write_bytes(Path(authority.ca_file).read_bytes())
    first = await contexts.get(settings)
    assert await contexts.get(settings) is first
    assert "Root of the tests" in contexts.authorities(settings)
    file.write_bytes(Path(authority.ca_file).read_bytes() * 2)
    assert await contexts.get(settings) is first, "looked at a moment ago"
    monkeypatch.setattr(tls, "LOOK_AGAIN", 0.0)
    assert await contexts.get(settings) is not first
    await contexts.close()


async def test_contexts_are_made_anew_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = TlsContexts()
    first = await contexts.get(TlsSettings())
    later = time.monotonic() + CONTEXT_AGE + 1
    monkeypatch.setattr("wcr_watchd.kit.tls.time.monotonic", lambda: later)
    assert await contexts.get(TlsSettings()) is not first
    await contexts.close()


async def test_names_and_addresses() -> None:
    names = NameResolver()
    assert (await names.addresses("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
    assert (await names.addresses("::1", 80))[0][0] == socket.AF_INET6
    assert {entry[0] for entry in await names.addresses("localhost", 80, "4")} == {socket.AF_INET}
    with pytest.raises(socket.gaierror):
        await names.addresses("no-such-name.invalid", 80)
    await names.close()
