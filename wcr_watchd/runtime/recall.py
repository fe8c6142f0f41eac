"""What the dispatcher must know of its last life: how much was sent, and who was told in somebody else's place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Delivery, DeliveryState, Recipient
from wcr_watchd.core.protocols import Store
from wcr_watchd.runtime.lane import CONCURRENCY, Key, Lane, keys_of
from wcr_watchd.runtime.patience import GIVE_UP_AFTER, due
from wcr_watchd.runtime.stand_ins import FALLBACK, StandIns

log = structlog.get_logger(__name__)

RECALLED = 1000
"""Deliveries of the last life that are looked at: to count against the cost caps, and for who was told instead."""
RECALLED_BEFORE = 3600.0
"""Seconds before the oldest open incident, or before the start, from which they are looked at."""


def in_order(pending: Sequence[Delivery]) -> list[Delivery]:
    """Put what is still owed in the order in which it is to be told: of each incident to each person, older news first.

    ``pending`` is by the time it was made. What stands for several may be younger than what has come since to one of
    its incidents: it moves before that.
    """
    ordered: list[Delivery] = []
    for delivery in pending:
        place = len(ordered)
        if delivery.notification.message.items:
            place = next((at for at, other in enumerate(ordered) if _tells_later(other, delivery)), place)
        ordered.insert(place, delivery)
    return ordered


def _tells_later(one: Delivery, other: Delivery) -> bool:
    """Whether it tells the same person something of the same incident that came after what the other tells."""
    if one.notification.recipient != other.notification.recipient:
        return False
    since: dict[int, float] = {}
    for item in other.notification.message.items:
        since[item.incident] = min(item.at, since.get(item.incident, item.at))
    message = one.notification.message
    return any(item.incident in since and item.at > since[item.incident] for item in message.items or (message,))


def on_their_way(ready: Sequence[Delivery], now: float) -> set[str]:
    """The ids of those that may have been on their way when the last life ended, or one before it.

    These are the ones that are due for longest to each recipient, as no more are on their way at a time: not those
    made first, whose quiet hours may have ended since. None is that comes after another one of its incident that
    was not. ``now`` in epoch seconds.
    """
    counted: Counter[Recipient] = Counter()
    found, behind = set(), set[Key]()
    for delivery in sorted(ready, key=lambda one: due(one, now)):
        counted[delivery.notification.recipient] += 1
        if counted[delivery.notification.recipient] <= CONCURRENCY:
            found.add(delivery.notification.id)
    for delivery in ready:
        keys = keys_of(delivery.notification)
        if delivery.notification.id not in found or not behind.isdisjoint(keys):
            found.discard(delivery.notification.id)
            behind.update(keys)
    return found


async def count_sent(store: Store, lanes: Mapping[str, Lane], now: float) -> None:
    """Count what the last life sent against the cost caps of the lanes, so that restarts do not lift them."""
    capped = {name: lane for name, lane in lanes.items() if lane.cap is not None}
    if not capped:
        return
    longest = max(lane.cap[1] for lane in capped.values() if lane.cap is not None)
    try:
        rows = await store.deliveries(
            states=(DeliveryState.DELIVERED,), since=now - longest - GIVE_UP_AFTER, limit=RECALLED
        )
    except StoreError as error:
        log.warning("cost caps start from nothing: the store does not tell what was sent", error=str(error))
        return
    for row in sorted(rows, key=lambda row: row.delivered_at or 0.0):
        lane = capped.get(row.notification.recipient.channel)
        if lane is not None and row.delivered_at is not None:
            lane.note_sent(row.delivered_at)


async def note_stand_ins(store: Store, stand_ins: StandIns, open_since: Mapping[int, float], now: float) -> None:
    """Know again who was told in somebody else's place: not to tell them twice, and to tell them the end.

    ``open_since`` says since when each open incident is (epoch seconds).
    """
    since = min(open_since.values(), default=now) - RECALLED_BEFORE
    try:
        rows = await store.deliveries(since=since, limit=RECALLED)
    except StoreError as error:
        log.warning("who was told in another's place is not known any more", error=str(error))
        return
    for notification in (row.notification for row in reversed(rows)):
        if FALLBACK in notification.id:
            stand_ins.note(notification, lambda incident: incident not in open_since)
        else:
            stand_ins.meant(notification)
