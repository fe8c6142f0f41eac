"""What became of notifications, written to the store as soon as it takes it: the only writer of the outbox rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Never

import structlog

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Delivery, Notification
from wcr_watchd.core.protocols import Batch, Store

log = structlog.get_logger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Ledger:
    """Keeps what happened to notifications in memory until the store has it.

    Several changes of one row become one, everything noted together is written in one transaction, and a store
    that refuses is asked again, so that a message that was accepted is never sent twice in one life of the daemon.
    """

    def __init__(self, store: Store, redact: Callable[[str], str]) -> None:
        self._store = store
        self._redact = redact
        self._notifications: dict[str, Notification] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._noted = 0
        self._written = 0
        self._something = asyncio.Event()
        self._works = asyncio.Event()
        self._progress = asyncio.Condition()
        self._refused = False

    @property
    def waiting(self) -> int:
        """Rows that the store does not have yet."""
        return len(self._notifications) + len(self._deliveries)

    def note(self, deliveries: Iterable[Delivery] = (), notifications: Iterable[Notification] = ()) -> None:
        """Remember new notifications and where others now stand; written soon, all of one call together."""
        self._notifications |= {notification.id: notification for notification in notifications}
        self._deliveries |= {delivery.notification.id: delivery for delivery in deliveries}
        self._noted += 1
        self._something.set()

    def write_soon(self) -> None:
        """The store works again: do not wait for the end of the pause."""
        self._works.set()

    async def written(self, patience: float) -> bool:
        """Wait until all noted so far is in the store, at most ``patience`` seconds; returns whether it is."""
        target = self._noted
        try:
            async with asyncio.timeout(patience), self._progress:
                await self._progress.wait_for(lambda: self._written >= target)
        except TimeoutError:
            return False
        return True

    async def run(self) -> Never:
        """Write what is noted. Runs until cancelled."""
        pause = FIRST_PAUSE
        while True:
            await self._something.wait()
            self._works.clear()
            works = await self._write() or await self._pause(pause)
            pause = FIRST_PAUSE if works else min(pause * 2, LONGEST_PAUSE)

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the store is known to work; returns whether it is."""
        try:
            async with asyncio.timeout(seconds):
                await self._works.wait()
        except TimeoutError:
            return False
        return True

    async def flush(self, within: float) -> None:
        """Try once more to write what is noted, at most ``within`` seconds; for the end of the daemon's life."""
        try:
            async with asyncio.timeout(within):
                await self._write()
        except TimeoutError:
            pass
        if self.waiting:
            log.error("the store did not take what became of notifications; some may be sent again", rows=self.waiting)

    async def _write(self) -> bool:
        """Write all that is noted in one transaction; whatever the store does not take stays noted."""
        upto, notifications, deliveries = self._noted, self._notifications, self._deliveries
        self._something.clear()
        if not notifications and not deliveries:
            return True
        self._notifications, self._deliveries = {}, {}
        stored = False
        try:
            batch = Batch(notifications=tuple(notifications.values()), deliveries=tuple(deliveries.values()))
            await self._store.commit(batch)
            stored = True
        except StoreError as error:
            self._say_refused(error)
        finally:
            if not stored:  # also when cancelled meanwhile: writing a row twice does no harm, losing one does
                self._notifications = notifications | self._notifications
                self._deliveries = deliveries | self._deliveries
                self._something.set()
        if stored:
            await self._say_written(upto)
        return stored

    async def _say_written(self, upto: int) -> None:
        if self._refused:
            log.info("the store takes what became of notifications again")
        self._refused = False
        async with self._progress:
            self._written = upto
            self._progress.notify_all()

    def _say_refused(self, error: StoreError) -> None:
        if not self._refused:
            log.warning(
                "the store does not take what became of notifications; kept in memory and tried again",
                error=self._redact(str(error)),
                rows=self.waiting,
            )
        self._refused = True
