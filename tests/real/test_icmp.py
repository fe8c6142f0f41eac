"""The icmp probe on loopback, where everything answers; what is lost there is lost on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import icmplib
import pytest
from pydantic import ValidationError

from tests.real.running import Observe, carry_out, descriptors, measured, names, new_run, none_left_open, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

Lose = Callable[[Callable[[int], bool]], None]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Lose:
    """``lose(lambda sequence: …)``: of which packets the answer gets lost on its way."""
    receive = icmplib.AsyncSocket.receive

    def install(lost: Callable[[int], bool]) -> None:
        async def some(self: icmplib.AsyncSocket, request: Any, timeout: float) -> Any:
            if not lost(request.sequence):
                return await receive(self, request, timeout)
            await asyncio.sleep(timeout)
            raise icmplib.TimeoutExceeded(timeout)

        monkeypatch.setattr(icmplib.AsyncSocket, "receive", some)

    return install


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_an_answering_host(host: str, observe: Observe) -> None:
    seen = await observe("icmp", host=host, interval=0.01)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "packet_loss") == 0
    assert 0 < measured(seen, "rtt_min") <= measured(seen, "rtt_avg") <= measured(seen, "rtt_max")
    assert measured(seen, "jitter") >= 0
    assert "3 of 3" in seen.summary


async def test_one_packet_has_no_jitter(observe: Observe) -> None:
    seen = await observe("icmp", host="127.0.0.1", count=1)
    assert seen.outcome is Outcome.UP
    assert "jitter" not in names(seen)


async def test_a_part_lost_is_up_and_counted(lose: Lose, observe: Observe) -> None:
    lose(lambda sequence: sequence == 1)
    seen = await observe("icmp", host="127.0.0.1", count=4, interval=0.01)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "packet_loss") == 0.25
    assert "3 of 4" in seen.summary


async def test_a_silent_host_is_down_before_the_deadline(lose: Lose, observe: Observe) -> None:
    lose(lambda sequence: True)
    seen = await observe("icmp", host="127.0.0.1", count=20, interval=0.01, timeout=2.0)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "no_answer"), seen.summary
    assert measured(seen, "packet_loss") == 1
    assert "rtt_avg" not in names(seen)


async def test_what_the_system_does_not_send_is_lost_and_said_why(observe: Observe) -> None:
    seen = await observe("icmp", host="255.255.255.255", count=2, interval=0.01)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "no_answer")
    assert measured(seen, "packet_loss") == 1
    assert "broadcast" in seen.summary


@pytest.mark.parametrize(
    ("source", "said"), [("192.0.2.254", ": 192.0.2.254 answered destination"), (None, ": destination")]
)
async def test_a_router_that_says_no_is_named(
    observe: Observe, monkeypatch: pytest.MonkeyPatch, source: str | None, said: str
) -> None:
    async def unreachable(self: object, request: Any, timeout: float) -> icmplib.ICMPReply:
        return icmplib.ICMPReply(source, 4, request.id, request.sequence, 3, 1, 64, 0.0)

    monkeypatch.setattr(icmplib.AsyncSocket, "receive", unreachable)
    seen = await observe("icmp", host="127.0.0.1", count=1)
    assert seen.outcome is Outcome.DOWN
    assert said in seen.summary


def refuse(monkeypatch: pytest.MonkeyPatch, *, privileged: bool, unprivileged: bool) -> list[bool]:
    """Let the kernel refuse one kind of socket or both; returns which were asked for."""
    asked: list[bool] = []
    make = icmplib.ICMPv4Socket.__init__

    def init(self: Any, address: str | None = None, privileged: bool = True) -> None:
        asked.append(privileged)
        self._sock = None
        if refused[privileged]:
            raise icmplib.SocketPermissionError(privileged)
        make(self, address, privileged=True)  # what this machine permits

    refused = {True: privileged, False: unprivileged}
    monkeypatch.setattr(icmplib.ICMPv4Socket, "__init__", init)
    return asked


async def test_without_any_permission_it_is_unknown_and_says_what_to_do(
    observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, privileged=True, unprivileged=True)
    seen = await observe("icmp", host="127.0.0.1")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "CAP_NET_RAW" in seen.summary
    assert "ping_group_range" in seen.summary


async def test_the_unprivileged_socket_is_the_second_choice(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = refuse(monkeypatch, privileged=True, unprivileged=False)
    seen = await observe("icmp", host="127.0.0.1", interval=0.01)
    assert seen.outcome is Outcome.UP, seen.summary
    assert asked == [True, False]


async def test_a_name_that_does_not_exist_is_down(observe: Observe) -> None:
    seen = await observe("icmp", host="no-such-name.invalid")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")


async def test_many_at_a_time_do_not_take_each_others_answers(lose: Lose, observe: Observe) -> None:
    hosts = [f"127.0.0.{last}" for last in range(1, 31)]
    seen = await asyncio.gather(*(observe("icmp", host=host, interval=0.01) for host in hosts))
    assert {one.outcome for one in seen} == {Outcome.UP}
    assert {measured(one, "packet_loss") for one in seen} == {0}


async def test_nothing_is_left_open_when_cancelled(lose: Lose, shared: SharedHelpers) -> None:
    lose(lambda sequence: True)
    probe = probe_of("icmp", {"host": "127.0.0.1"})
    await carry_out(probe, new_run(shared, timeout=0.2))
    before = descriptors()
    running = asyncio.create_task(carry_out(probe, new_run(shared)))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await none_left_open(before)


@pytest.mark.parametrize("options", [{"host": "a b"}, {"host": "h", "count": 0}, {"host": "h", "interval": 9}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        probe_of("icmp", options)
