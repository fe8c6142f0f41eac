"""The dead-letter list: what could not be delivered, to be sent again or let go by a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.model import Delivery, DeliveryState
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.view import Counters
from wcr_watchd.runtime.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

MOST = 1000
"""Messages that are listed, and sent again or let go at a time: the newest."""


class DeadLetters:
    """What the store says could not be delivered; the dispatcher puts messages on the list and takes them off."""

    def __init__(self, store: Store, dispatcher: Dispatcher, counters: Counters) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._counters = counters

    async def count(self) -> None:
        """Count what earlier lives left; from then on the dispatcher counts."""
        try:
            self._counters.dead_letters = len(await self._rows())
        except StoreError as error:
            log.warning("the store does not tell what could not be delivered", error=str(error))

    async def resend(self, ids: Collection[str] | None) -> str:
        """Send these again (None: all) under their own keys; returns a sentence.

        Raises ``CommandError`` when one is not on the list, or when none can be sent.
        """
        rows = await self._chosen(ids)
        known = [row for row in rows if self._dispatcher.delivers_by(row.notification.recipient.channel)]
        gone = sorted({row.notification.recipient.channel for row in rows} - _channels(known))
        stay = f"no channel {' or '.join(map(repr, gone))} is configured" if gone else ""
        if not known:
            raise CommandError(f"nothing can be sent again: {stay}")
        for row in known:
            self._dispatcher.send_again(row)
        sentence = f"{_messages(len(known))} will be sent again"
        return f"{sentence}; {len(rows) - len(known)} cannot: {stay}" if gone else sentence

    async def discard(self, ids: Collection[str] | None, by: str) -> str:
        """Take these off the list (None: all); they need not be told any more. Returns a sentence."""
        rows = await self._chosen(ids)
        for row in rows:
            self._dispatcher.let_go(row, f"discarded by {by}")
        return f"{_messages(len(rows))} discarded"

    async def _chosen(self, ids: Collection[str] | None) -> list[Delivery]:
        rows = [row for row in await self._rows() if not self._dispatcher.owes(row.notification.id)]
        if ids is None:
            if not rows:
                raise CommandError("the dead-letter list is empty")
            return rows
        wanted = set(ids)
        found = [row for row in rows if row.notification.id in wanted]
        missing = sorted(wanted - {row.notification.id for row in found})
        if missing or not found:
            what = ", ".join(map(repr, missing)) or "nothing"
            raise CommandError(f"{what} is not on the dead-letter list; `wcr-watchd dead-letters` shows what is")
        return found

    async def _rows(self) -> list[Delivery]:
        """Oldest first, so that what is sent again keeps its order."""
        rows = await self._store.deliveries(states=(DeliveryState.FAILED,), limit=MOST)
        return list(reversed(rows))


def _channels(rows: Iterable[Delivery]) -> set[str]:
    return {row.notification.recipient.channel for row in rows}


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
