"""Keeps alive what a provider forgets unless it is told again: the alerts at an Alertmanager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Never, Protocol, runtime_checkable

import structlog

from wcr_watchd.core.model import Delivery, DeliveryState, EventKind, Incident, Message, Recipient
from wcr_watchd.core.protocols import Channel, Store
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.templates import Wording

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between looks at which channel is due."""
MOST_OF_ONE = 50
"""Messages about one incident that are looked at, the newest."""
MOST_DIGESTS = 50
"""Digests that are looked at, the newest; each is up to a hundred messages."""


@runtime_checkable
class Sustaining(Protocol):
    """A channel whose provider wants to hear again and again of what is still wrong."""

    @property
    def sustain_every(self) -> float:
        """Seconds between two times."""
        ...

    async def sustain(self, messages: Sequence[Message], shared: Shared) -> None:
        """Say again what these messages said; raises ``ChannelError``."""
        ...


class Standing:
    """Tells sustaining channels again of all open incidents that they were told of.

    What they were told comes from the outbox, so it holds across restarts of this daemon as of the provider's.
    ``channels`` and ``wordings`` give those of the configuration in force, ``incidents`` the open incidents.
    """

    def __init__(
        self,
        channels: Callable[[], Mapping[str, Channel]],
        wordings: Callable[[], Mapping[str, Wording]],
        incidents: Callable[[], Mapping[int, Incident]],
        store: Store,
        shared: Shared,
    ) -> None:
        self._channels = channels
        self._wordings = wordings
        self._incidents = incidents
        self._store = store
        self._shared = shared
        self._due: dict[str, float] = {}
        self._failing: set[str] = set()

    async def serve(self) -> Never:
        """Keep alive until cancelled; the first time at once, since the last life may be long ago."""
        loop = asyncio.get_running_loop()
        while True:
            for name, channel in self._channels().items():
                if isinstance(channel, Sustaining) and self._due.get(name, 0.0) <= loop.time():
                    self._due[name] = loop.time() + channel.sustain_every
                    await self._sustain(name, channel)
            await asyncio.sleep(LOOK_EVERY)

    async def _sustain(self, name: str, channel: Channel) -> None:
        assert isinstance(channel, Sustaining)
        try:
            messages = await self._told(name)
            wording = self._wordings().get(name)
            async with asyncio.timeout(channel.timeout):
                await channel.sustain([wording.of(one) if wording else one for one in messages], self._shared)
        except Exception as error:  # noqa: BLE001 - a channel may be anybody's; its defect must not stop the daemon
            if name not in self._failing:
                log.warning("alerts are not kept alive", channel=name, error=str(error) or "no answer in time")
            self._failing.add(name)
        else:
            if name in self._failing:
                log.info("alerts are kept alive again", channel=name)
            self._failing.discard(name)

    async def _told(self, name: str) -> list[Message]:
        """The newest message that the channel has taken about each incident that is still open."""
        told = {
            number: incident
            for number, incident in self._incidents().items()
            if any(who.channel == name for who in incident.told)
        }
        if not told:
            return []
        recipients = {who for incident in told.values() for who in incident.told if who.channel == name}
        since = min(incident.opened_at for incident in told.values())
        rows: list[Delivery] = []
        for recipient in recipients:  # in small portions: what the store reads is unpacked on the event loop
            for number in told:
                rows += await self._delivered(number, recipient, since, MOST_OF_ONE)
            rows += await self._delivered(0, recipient, since, MOST_DIGESTS)
        # Asked anew: what ended meanwhile has been told of, and must not be brought back to life.
        return newest(rows, told.keys() & self._incidents().keys())

    async def _delivered(self, incident: int, to: Recipient, since: float, most: int) -> Sequence[Delivery]:
        taken = (DeliveryState.DELIVERED,)
        return await self._store.deliveries(incident=incident, states=taken, recipient=to, since=since, limit=most)


def newest(rows: Iterable[Delivery], numbers: Collection[int]) -> list[Message]:
    """Of the messages in the rows, digests taken apart, the newest about each of the incidents."""
    found: dict[int, Message] = {}
    for row in rows:
        for message in row.notification.message.items or (row.notification.message,):
            known = found.get(message.incident)
            if message.incident in numbers and (known is None or known.at <= message.at):
                found[message.incident] = message
    return [message for message in found.values() if message.event is not EventKind.RESOLVED]
