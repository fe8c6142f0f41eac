"""Checks carried out once, without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wcr_watchd.config.load import Loaded
from wcr_watchd.core.model import Observation
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.clock import Clock
from wcr_watchd.runtime.runner import Runner

AT_A_TIME = 50
"""Checks that are carried out beside each other."""


async def run_checks_once(
    loaded: Loaded, names: tuple[str, ...], redactor: Redactor, done: Callable[[], None], again: float = 0.0
) -> list[Observation]:
    """Carry checks out once, without a daemon, some at a time; ``done`` is called after each.

    With ``again``, each is carried out once more after so many seconds, knowing what it kept of the first run.
    """
    shared, clock = SharedHelpers(), Clock()
    runner = Runner(loaded.probes, loaded.setup, shared, redactor, clock, Counters())
    some = asyncio.Semaphore(AT_A_TIME)

    async def once(name: str) -> Observation:
        while (observation := await runner.run(name)) is None:
            pass  # this process was held up: what it saw says nothing about the target
        return observation

    async def one(name: str) -> Observation:
        async with some:
            observation = await once(name)
            if again:
                await asyncio.sleep(again)
                observation = await once(name)
            done()
            return observation

    try:
        return list(await asyncio.gather(*(one(name) for name in names)))
    finally:
        await shared.close()
