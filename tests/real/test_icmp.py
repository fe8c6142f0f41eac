"""The icmp probe on loopback, where everything answers, and on an address that nothing has."""

from __future__ import annotations

import icmplib
import pytest

from tests.real.running import Observe, measured, names
from wcr_watchd.core.model import Outcome


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_an_answering_host(host: str, observe: Observe) -> None:
    seen = await observe("icmp", host=host, interval=0.01)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "packet_loss") == 0
    assert 0 < measured(seen, "rtt_min") <= measured(seen, "rtt_avg") <= measured(seen, "rtt_max")
    assert "jitter" in names(seen)


async def test_a_silent_host_is_down(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address on loopback is silent, so the answers are lost on their way."""

    def deaf(self: icmplib.ICMPv4Socket, request: object, timeout: float) -> None:
        raise icmplib.TimeoutExceeded(timeout)

    async def deaf_too(self: object, request: object, timeout: float) -> None:
        raise icmplib.TimeoutExceeded(timeout)

    monkeypatch.setattr(icmplib.AsyncSocket, "receive", deaf_too)
    seen = await observe("icmp", host="127.0.0.1", interval=0.01)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "no_answer")
    assert measured(seen, "packet_loss") == 1
    assert "rtt_avg" not in names(seen)


async def test_without_the_privilege_it_is_unknown_and_says_what_to_do(
    observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: object, **__: object) -> None:
        raise icmplib.SocketPermissionError(privileged=True)

    monkeypatch.setattr(icmplib, "async_ping", forbidden)
    seen = await observe("icmp", host="127.0.0.1")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "CAP_NET_RAW" in seen.summary


async def test_a_name_that_does_not_exist_is_down(observe: Observe) -> None:
    seen = await observe("icmp", host="no-such-name.invalid")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
