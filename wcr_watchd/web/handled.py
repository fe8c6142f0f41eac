"""How the incidents of an objective's checks were handled over its period; for its page and the API."""

from __future__ import annotations

from wcr_watchd.core.handling import Handling, handling
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.view import View

MOST_INCIDENTS = 1_000
"""Incidents that are looked at, the newest."""


async def handled(view: View, objective: Objective) -> Handling:
    """Mean times to acknowledge, to resolve and between failures, as reports tell them. Raises ``StoreError``."""
    now = view.now()
    wanted = Wanted(checks=frozenset(objective.checks), since=objective.span(now)[0], until=now)
    return handling(await view.store.find_incidents(wanted, limit=MOST_INCIDENTS))
