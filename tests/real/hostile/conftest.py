"""What the hostile suite needs around its cases: certificates of every kind, and a look at what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import ssl
import threading
import time
from collections.abc import AsyncIterator, Mapping

import psutil
import pytest

from tests.real.servers.certificates import Authority, Pair

MOST_GROWTH = 96 * 1024 * 1024
"""Bytes by which this process may grow at most while all cases of one probe run at once, their servers included."""
PATIENCE = 20.0


@pytest.fixture(autouse=True)
async def left_behind() -> AsyncIterator[None]:
    """Fails when tasks, descriptors, threads or children are left once servers and helpers are closed, or memory grew.

    It is set up before all others, so that it looks when they are gone.
    """
    tasks, held, peak = asyncio.all_tasks(), _held(), _peak()
    yield
    deadline = time.monotonic() + PATIENCE
    while (left := _left(tasks, held)) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    gc.collect()  # an unclosed transport would warn here, and warnings are errors
    assert not left
    assert _peak() - peak < MOST_GROWTH


def _left(tasks: set[asyncio.Task[object]], held: Mapping[str, int]) -> list[str]:
    """What there is now that was not there before, in words."""
    tasks_now = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    more = [f"{count - held[name]} {name}" for name, count in _held().items() if count > held[name]]
    return [*map(repr, tasks_now), *more]


def _held() -> dict[str, int]:
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": len(psutil.Process().children(recursive=True)),
    }


def _peak() -> int:
    """The most memory this process ever had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serving(pair: Pair, ciphers: str = "") -> ssl.SSLContext:
    """What a server needs to speak TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture(scope="session")
def contexts(authority: Authority) -> dict[str, ssl.SSLContext | None]:
    """TLS servers by name; ``-`` is one that speaks none although it is asked to."""
    return {"-": None, "good": serving(authority.issue("127.0.0.1"))}
