"""Canaries go out on their schedule; what fails in passing is tried again before anybody is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.core.world import check, setup
from tests.runtime.test_duty import LoopClock
from wcr_watchd.core import engine, notices
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import EventKind, Message, Recipient
from wcr_watchd.core.protocols import Receipt
from wcr_watchd.core.setup import Canary
from wcr_watchd.core.state import State
from wcr_watchd.core.view import ChannelCounters, Counters
from wcr_watchd.runtime.canary import Canaries

DAY = 86_400.0


class Field:
    """Channels that fail as told, and the engine's state of it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.setup = replace(setup(check("api")), timezone="Europe/Berlin")
        self.state = State()
        self.wanted = {"slack": Canary(DAY)}
        self.sent: list[tuple[float, str, str]] = []
        self.error: ChannelError | None = None
        self.events: list[tuple[EventKind, float]] = []
        self.counters = Counters()

    async def send(self, who: Recipient, message: Message) -> Receipt:
        self.sent.append((self.clock.now(), who.channel, who.contact))
        if self.error:
            raise self.error
        assert message.incident == 0
        return Receipt("ok")

    def channel_fails(self, channel: str, why: str) -> None:
        self._take(notices.channel_fails(self.setup, self.state, channel, why, self.clock.now()))

    def channel_delivers(self, channel: str, why: str) -> None:
        self._take(notices.channel_delivers(self.setup, self.state, channel, why, self.clock.now()))

    def _take(self, decision: engine.Decision) -> None:
        engine.apply(self.state, decision)
        self.events += [(event.kind, event.at) for event in decision.events]

    def serve(self) -> asyncio.Task[None]:
        canaries = Canaries(lambda: self.wanted, self, self.send, self.clock.now, self.counters)
        return asyncio.create_task(canaries.serve())


def failing(*, permanent: bool = False) -> ChannelError:
    return ChannelError("no answer", reason="timeout", permanent=permanent)


@pytest.mark.looptime
async def test_once_a_day_it_comes_when_people_are_up() -> None:
    field = Field()
    serving = field.serve()
    await asyncio.sleep(3 * DAY)
    serving.cancel()
    assert len(field.sent) == 3
    hours = {datetime.fromtimestamp(at, UTC).strftime("%H:%M") for at, _, _ in field.sent}
    assert hours == {"09:00"}, "ten o'clock in Berlin in winter"
    assert field.events == []


@pytest.mark.looptime
async def test_what_fails_in_passing_is_tried_again_before_it_is_told() -> None:
    field = Field()
    serving = field.serve()
    field.error = failing()
    await asyncio.sleep(DAY + 600.0)
    first = field.sent[0][0]
    assert [at for at, _, _ in field.sent[:3]] == pytest.approx([first, first + 60, first + 120], abs=1)
    assert field.events == [(EventKind.OPENED, pytest.approx(first + 120, abs=1))]
    field.error = None
    await asyncio.sleep(120.0)
    serving.cancel()
    assert [kind for kind, _ in field.events] == [EventKind.OPENED, EventKind.RESOLVED]


@pytest.mark.looptime
async def test_what_is_refused_for_good_is_told_at_once_and_ends_with_a_real_message() -> None:
    field = Field()
    serving = field.serve()
    field.error = failing(permanent=True)
    await asyncio.sleep(DAY + 1.0)
    assert [kind for kind, _ in field.events] == [EventKind.OPENED]
    field.counters.channels["slack"] = ChannelCounters(sent=1, last_success_at=field.clock.now())
    await asyncio.sleep(61.0)
    assert [kind for kind, _ in field.events][:2] == [EventKind.OPENED, EventKind.RESOLVED]
    serving.cancel()


@pytest.mark.looptime
async def test_without_a_canary_or_anybody_to_send_it_to() -> None:
    field = Field()
    field.wanted = {"sms": Canary(DAY, "nobody")}
    serving = field.serve()
    await asyncio.sleep(DAY + 1.0)
    assert field.sent == []
    assert [kind for kind, _ in field.events] == [EventKind.OPENED]
    assert "there is no contact 'nobody'" in field.state.incidents[1].summary
    field.wanted = {}
    await asyncio.sleep(31.0)
    serving.cancel()
    assert [kind for kind, _ in field.events] == [EventKind.OPENED, EventKind.RESOLVED]
