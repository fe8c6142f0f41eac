"""By what a change is verified: what its checks find now, and how they are beside before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from wcr_watchd.core.changes import Change, Verified
from wcr_watchd.core.comparison import MOST_VALUES, Compared, compare
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Observation, Severity
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.versions import another

VERIFY_WITHIN = 45.0
"""Seconds within which the checks must have run by which a change is verified."""
AT_A_TIME = 10
"""Checks that are run at once for that."""
RUNS_COMPARED = 20 * MOST_VALUES
"""Runs of a check that are read for a comparison at most."""


class Engine(Protocol):
    """What is known of the checks."""

    setup: Setup
    state: State

    async def flush(self) -> bool:
        """Store what waits."""
        ...


class Verification:
    """Runs checks by ``run_now`` and compares what the store has of them."""

    def __init__(self, engine: Engine, store: Store, run_now: Callable[[str], Awaitable[Observation]]) -> None:
        self._engine = engine
        self._store = store
        self._run_now = run_now

    async def verified(self, change: Change) -> tuple[Verified, ...]:
        """What the checks find now by which the change is verified."""
        seen = await self.results(change.plan.verify)
        return tuple(self._verdict(name, seen.get(name, ""), change.version) for name in change.plan.verify)

    def _verdict(self, name: str, seen: Observation | str, version: str) -> Verified:
        if isinstance(seen, str):
            return Verified(name, "unknown", "ok", seen or "it is not watched any more")
        known = self._engine.state.checks.get(name)
        severity = known.severity if known is not None else Severity.OK
        other = another(seen, version) if version else ""
        if other and severity <= Severity.INFO:
            return Verified(name, seen.outcome.value, Severity.WARNING.word, f"sees {other}, not {version}")
        return Verified(name, seen.outcome.value, severity.word, seen.summary)

    async def results(self, names: Sequence[str]) -> dict[str, Observation | str]:
        """What each of these checks finds now, or why it was not run."""
        some = asyncio.Semaphore(AT_A_TIME)

        async def one(name: str) -> Observation | str:
            try:
                async with some:
                    return await self._run_now(name)
            except CommandError as error:
                return str(error)

        running = {name: asyncio.create_task(one(name), name=f"verify {name}") for name in dict.fromkeys(names)}
        try:
            if running:
                await asyncio.wait(running.values(), timeout=VERIFY_WITHIN)
        finally:
            for task in running.values():
                task.cancel()
        late = f"no result within {VERIFY_WITHIN:g} s"
        return {name: task.result() if task.done() and not task.cancelled() else late for name, task in running.items()}

    async def comparison(self, change: Change) -> tuple[Compared, ...]:
        """How the checks are after the update, beside how they were before the change began."""
        if change.started_at is None or change.updated_at is None:
            return ()
        await self._engine.flush()
        span = change.plan.category.comparison
        # While maintenance mode was on, visitors saw something else: after the end only what follows it counts.
        since = change.updated_at if change.finished_at is None else max(change.updated_at, change.finished_at)
        names = [name for name in change.plan.compare if name in self._engine.setup.checks]
        old = {name: await self._runs(name, change.started_at - span, change.started_at) for name in names}
        new = {name: await self._runs(name, since, since + span) for name in names}
        units, worse_by = self._engine.setup.units, change.plan.category.worse_by
        return await asyncio.to_thread(compare, old, new, units, worse_by)

    async def _runs(self, check: str, since: float, until: float) -> list[Observation]:
        found = await self._store.observations(check, since=since, limit=RUNS_COMPARED)
        return [one for one in found if one.at < until]
