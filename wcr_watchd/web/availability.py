"""How much of the last days a check was up: for page and API alike."""

from __future__ import annotations

import asyncio

from wcr_watchd.core.mute import planned_spans
from wcr_watchd.core.setup import Check
from wcr_watchd.core.uptime import Uptime, edges, joined, uptime
from wcr_watchd.core.view import View

DAY = 86_400.0
SPANS = (("24 hours", DAY), ("7 days", 7 * DAY), ("30 days", 30 * DAY), ("90 days", 90 * DAY))


async def availability(view: View, check: Check) -> list[tuple[str, Uptime, float]]:
    """Availability over some spans of time, with their words and lengths in seconds."""
    now = view.now()
    since = now - SPANS[-1][1]
    planned = joined(await asyncio.to_thread(planned_spans, view.setup, view.state, check, since, now))
    outcomes = await view.store.outcomes(check.name, since=since, until=now, cuts=edges(planned))

    def counted() -> list[tuple[str, Uptime, float]]:
        return [(words, uptime(outcomes, check.every, now - length, now, planned), length) for words, length in SPANS]

    return await asyncio.to_thread(counted)
