"""Hosts that answer pings as no host should, played by a raw socket beside the kernel's own answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import icmplib
import pytest

from tests.real.hostile.case import STALL, Case, problems, watch
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

Reply = Callable[[Any, float], Any]
DOWN = Outcome.DOWN


def refusal(kind: int, code: int) -> Reply:
    """A router's answer in place of the host's (RFC 792)."""
    return lambda request, patience: icmplib.ICMPReply(
        "192.0.2.254", 4, request.id, request.sequence, kind, code, 64, 0.0
    )


def failing(error: Exception) -> Reply:
    """The system fails to send or receive."""

    def fail(request: Any, patience: float) -> Any:
        raise error

    return fail


HOSTS: list[tuple[Case, Reply | None]] = [
    (Case("never answers", b"", "no_answer", "answered none of 3 pings"), None),
    (Case("network unreachable", b"", "no_answer", "192.0.2.254 answered"), refusal(3, 0)),
    (Case("host unreachable", b"", "no_answer", "192.0.2.254 answered"), refusal(3, 1)),
    (Case("forbidden", b"", "no_answer", "192.0.2.254 answered"), refusal(3, 13)),
    (Case("goes in circles", b"", "no_answer", "192.0.2.254 answered"), refusal(11, 0)),
    (Case("a kind nobody knows", b"", "no_answer", "192.0.2.254 answered"), refusal(99, 7)),
    (
        Case("the network is down", b"", "no_answer", "network is down"),
        failing(icmplib.ICMPSocketError("[Errno 100] Network is down")),
    ),
]


@pytest.mark.parametrize(("case", "reply"), HOSTS, ids=lambda one: getattr(one, "name", ""))
async def test_icmp(case: Case, reply: Reply | None, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive(self: object, request: Any, patience: float) -> Any:
        if reply is None:
            await asyncio.sleep(patience)
            raise icmplib.TimeoutExceeded(patience)
        return reply(request, patience)

    monkeypatch.setattr(icmplib.AsyncSocket, "receive", receive)
    seen = await watch("icmp", {"host": "127.0.0.1", "interval": 0.01}, STALL, shared)
    assert problems(case, seen, "127.0.0.1") == []
