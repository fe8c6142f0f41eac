"""Canaries: small test messages on a schedule, so that a dead channel is known before a page is lost on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.escalation import recipients, unreachable
from wcr_watchd.core.message import trial
from wcr_watchd.core.model import Message, Recipient
from wcr_watchd.core.notices import channels_that_fail
from wcr_watchd.core.protocols import Receipt
from wcr_watchd.core.setup import Canary, Setup, Target
from wcr_watchd.core.state import State
from wcr_watchd.core.view import Counters

log = structlog.get_logger(__name__)

ATTEMPTS = 3
"""Canaries in a row that must fail in passing before somebody is told; one that is refused for good is told at once."""
AGAIN = 60.0
"""Seconds between them; a channel that is known to fail is tried as often."""
LONGEST_WAIT = 30.0
"""Seconds after which it is looked again what is due: a reload may have changed it, a message may have got through."""
FIRST = datetime(2024, 1, 1, 10)  # noqa: DTZ001 - a local time
"""From here canaries are counted on the clocks of the daemon's time zone: those once a day come when people are up."""


class Channels(Protocol):
    """Whose channels fail or deliver."""

    setup: Setup
    state: State

    def channel_fails(self, channel: str, why: str) -> None:
        """A channel does not deliver."""
        ...

    def channel_delivers(self, channel: str, why: str) -> None:
        """A channel delivers again, or is not looked after any more."""
        ...


class Canaries:
    """Sends the canaries that are due.

    ``wanted`` says by channel how often and to whom; ``send`` hands a message over at once; ``now`` is the time (epoch
    seconds). ``counters`` tell of real messages that got through.
    """

    def __init__(
        self,
        wanted: Callable[[], Mapping[str, Canary]],
        channels: Channels,
        send: Callable[[Recipient, Message], Awaitable[Receipt]],
        now: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._wanted = wanted
        self._channels = channels
        self._send = send
        self._now = now
        self._counters = counters
        self._due: dict[str, tuple[Canary, float]] = {}
        self._failed: dict[str, int] = {}
        self._failing_since: dict[str, float] = {}

    async def serve(self) -> None:
        """Send canaries until cancelled."""
        while True:  # a clock is waited for, not an event
            wait = await self.look()
            await asyncio.sleep(wait)

    async def look(self) -> float:
        """Send what is due; returns the seconds until more is, or until it is worth looking again."""
        wanted = self._wanted()
        for channel in channels_that_fail(self._channels.state):
            if channel not in wanted:
                self._channels.channel_delivers(channel, f"the channel {channel} has no canary any more")
            elif self._delivered_since(channel):
                self._works(channel, "a message was accepted")
        due = [name for name, canary in wanted.items() if self._due_at(name, canary) <= self._now()]
        # Side by side: a provider that hangs must not keep the others from being tried.
        await asyncio.gather(*(self._try(name, wanted[name]) for name in due))
        self._due = {name: known for name, known in self._due.items() if name in wanted}
        waits = [self._due_at(name, canary) - self._now() for name, canary in wanted.items()]
        return max(0.1, min([LONGEST_WAIT, *waits]))

    def _due_at(self, name: str, canary: Canary) -> float:
        """When the next one is due; a channel that is known to fail is tried at once after a start."""
        known = self._due.get(name)
        if known is None or known[0] != canary:
            failing = name in channels_that_fail(self._channels.state)
            known = self._due[name] = (canary, self._now() if failing else self._next(canary))
        return known[1]

    def _next(self, canary: Canary) -> float:
        base = FIRST.replace(tzinfo=ZoneInfo(self._channels.setup.timezone)).timestamp()
        return base + (math.floor((self._now() - base) / canary.every) + 1) * canary.every

    def _delivered_since(self, channel: str) -> bool:
        """Whether a real message got through since the canary failed."""
        known = self._counters.channels.get(channel)
        last, since = known.last_success_at if known else None, self._failing_since.get(channel)
        return last is not None and since is not None and last > since

    async def _try(self, name: str, canary: Canary) -> None:
        setup, target = self._channels.setup, Target(name, canary.to)
        to = recipients(setup, (target,), self._now())
        if not to:
            (why,) = unreachable(setup, (target,), self._now())
            self._fails(name, canary, f"its canary has nobody to go to: {why}", for_good=True)
            return
        reason = "a canary: it shows that this channel delivers"
        message = trial(
            watchd=setup.name, location=setup.location, timezone=setup.timezone, at=self._now(), reason=reason
        )
        try:
            await self._send(to[0], message)
        except ChannelError as error:
            self._fails(name, canary, error.summary, for_good=error.permanent)
        except KeyError:  # the channel went with a reload just now
            return
        else:
            self._due[name] = (canary, self._next(canary))
            self._works(name, "its canary was accepted")

    def _fails(self, name: str, canary: Canary, why: str, *, for_good: bool) -> None:
        count = self._failed[name] = self._failed.get(name, 0) + 1
        self._failing_since.setdefault(name, self._now())
        self._due[name] = (canary, self._now() + min(AGAIN, canary.every))
        log.warning("canary is not accepted", channel=name, error=why, attempts=count)
        if for_good or count >= ATTEMPTS:
            self._channels.channel_fails(name, why)

    def _works(self, name: str, why: str) -> None:
        self._failed.pop(name, None)
        self._failing_since.pop(name, None)
        self._channels.channel_delivers(name, f"the channel {name} delivers: {why}")
