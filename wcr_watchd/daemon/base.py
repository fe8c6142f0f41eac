"""What every other part stands on: time, counters, the store with what the last life left in it, helpers, keys."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from wcr_watchd.config.load import Loaded
from wcr_watchd.core.errors import StoreDamagedError
from wcr_watchd.core.protocols import Restored, Store
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.tickets import KEY_BYTES, Tickets, kept_key
from wcr_watchd.runtime.clock import Clock
from wcr_watchd.runtime.first_seen import FirstSeen
from wcr_watchd.store.open import folder_of, from_url
from wcr_watchd.store.upkeep import Retention

log = structlog.get_logger(__name__)

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Base:
    """Times are in epoch seconds: ``started_at`` is when this life began, ``since`` when somebody last watched."""

    clock: Clock
    counters: Counters
    store: Store
    restored: Restored
    shared: SharedHelpers
    redactor: Redactor
    link_key: bytes
    """Signs links in messages, sessions and subscriptions."""
    tickets: Tickets
    started_at: float
    since: float
    first_seen: FirstSeen

    def aged(self, loaded: Loaded) -> Loaded:
        """The configuration with entries of the knowledge folder since when they are as they are, by the records."""
        setup = replace(loaded.setup, knowledge=self.first_seen.aged(loaded.setup.knowledge))
        return replace(loaded, setup=setup)


async def build_base(stack: contextlib.AsyncExitStack, loaded: Loaded, redactor: Redactor) -> Base:
    """Open the store and read back what it knows; ``stack`` closes what was opened. Raises ``StoreError``."""
    clock, counters = Clock(), Counters()
    counters.loop_progress_at = counters.store_progress_at = clock.monotonic()
    counters.scheduler_progress_at = counters.dispatcher_progress_at = clock.monotonic()
    store = from_url(loaded.store.url, retention=_retention(loaded))
    stack.push_async_callback(store.close)
    restored = await _open(store, clock, counters)
    clock.go_on_from(restored.last_seen_at or 0.0)
    started_at = counters.reload_at = clock.now()
    shared = SharedHelpers()
    stack.push_async_callback(shared.close)
    key = await asyncio.to_thread(_link_key, folder_of(loaded.store.url))
    since = restored.last_seen_at or clock.now()
    first_seen = FirstSeen(restored.facts)
    return Base(clock, counters, store, restored, shared, redactor, key, Tickets(key), started_at, since, first_seen)


async def _open(store: Store, clock: Clock, counters: Counters) -> Restored:
    """Open the store and read back what the last life knew; damaged records must not keep the daemon from watching."""
    try:
        await store.open()
        return await store.restore()
    except StoreDamagedError as error:
        log.error("the records are damaged", error=str(error))
        counters.store_mended = await store.mend(clock.now())
        log.error("the records were replaced", done=counters.store_mended)
        return await store.restore()


def _link_key(folder: Path) -> bytes:
    """The key that links in messages are signed with; of this life only, where no file can be kept."""
    path = folder / "links.key"
    try:
        return kept_key(path)
    except OSError as error:
        log.warning("links in messages will not outlive this run: their key cannot be kept", error=str(error))
        return secrets.token_bytes(KEY_BYTES)


def _retention(loaded: Loaded) -> Retention:
    kept = loaded.store.retention
    return Retention(kept.raw / DAY, kept.five_minutes / DAY, kept.rollup / DAY, kept.incidents / DAY)
