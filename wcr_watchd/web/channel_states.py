"""How each channel stands: whether it delivers, what waits, and what bounds it. For page and API alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wcr_watchd.core.model import Delivery, DeliveryState
from wcr_watchd.core.notices import channels_that_fail
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.view import ChannelCounters, ChannelView, View

MOST_WAITING = 1_000
"""Messages that wait, which are looked at."""
_ORDER = ("critical", "warning", "new", "ok")


@dataclass(frozen=True, slots=True)
class Standing:
    """How one channel is; ``people`` are whom a test can go to."""

    channel: ChannelView
    state: str
    sentence: str
    counters: ChannelCounters
    waiting: int
    last_error: str
    limits: tuple[str, ...]
    people: tuple[str, ...]


async def standings(view: View) -> list[Standing]:
    """All channels, those that fail first."""
    waiting = await view.store.deliveries(states=(DeliveryState.PENDING,), limit=MOST_WAITING)
    found = (_standing(view, one, waiting) for one in view.channels())
    return sorted(found, key=lambda one: _ORDER.index(one.state))


def _standing(view: View, channel: ChannelView, waiting: Sequence[Delivery]) -> Standing:
    counters = view.counters.channels.get(channel.name, ChannelCounters())
    mine = [one for one in waiting if one.notification.recipient.channel == channel.name]
    errors = [one.last_error for one in mine if one.last_error]
    if channel.name in channels_that_fail(view.state):
        state, sentence = "critical", "does not deliver"
    elif errors:
        state, sentence = "warning", "is being tried again"
    elif counters.last_success_at is None:
        state, sentence = "new", "has not been used since the start"
    else:
        state, sentence = "ok", "delivers"
    kind = channel.address_kind
    reachable = [name for name, one in view.setup.contacts.items() if one.addresses.get(kind)] if kind else []
    return Standing(
        channel,
        state,
        sentence,
        counters,
        len(mine),
        errors[0] if errors else "",
        _limits(channel),
        (*reachable, *view.setup.on_call) if kind else (),
    )


def _limits(channel: ChannelView) -> tuple[str, ...]:
    said = []
    if channel.limit:
        said.append(f"{channel.limit[0]} in {format_duration(channel.limit[1])} by the configuration")
    if channel.rate:
        said.append(f"{channel.rate[0]} in {format_duration(channel.rate[1])} by the provider")
    return tuple(said)
