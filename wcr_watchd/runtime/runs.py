"""One run of one check, from its probe to all who take in what it found; and the runs that somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.protocols import Accepting, Probe
from wcr_watchd.core.setup import Setup

log = structlog.get_logger(__name__)

FEW_CHECKS = 50
"""Checks of which every first result is logged; of more, only what is not up."""
LONGER = 5.0
"""Seconds that a run which somebody waits for may take beyond two timeouts of its check: it waits its turn first."""


class Watch(Protocol):
    """What is watched, and what is known of it."""

    setup: Setup

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check."""
        ...


class Carrier(Protocol):
    """Carries checks out."""

    async def run(self, name: str, accepted_by: str = "") -> Observation | None:
        """Run a check once; None when the run is void."""
        ...


def must_be_configured(setup: Setup, check: str) -> None:
    """Raises ``CommandError`` when there is no such check."""
    if check not in setup.checks:
        raise CommandError(f"there is no check named {check!r}; `wcr-watchd list` shows all")


class Runs:
    """Carries runs out for the scheduler, and has checks run out of turn for people.

    ``probes`` are those in force, ``run_soon(check, delay)`` asks the scheduler for another run, ``see`` are those who
    take in what a run found, in this order.
    """

    def __init__(
        self,
        watch: Watch,
        carrier: Carrier,
        probes: Callable[[], Mapping[str, Probe]],
        run_soon: Callable[[str, float], None],
        see: Sequence[Callable[[Observation], None]],
    ) -> None:
        self._watch = watch
        self._carrier = carrier
        self._probes = probes
        self._run_soon = run_soon
        self._see = see
        self._waiting: dict[str, list[asyncio.Future[Observation]]] = {}
        self._accepting: dict[str, tuple[str, asyncio.Future[Observation]]] = {}

    async def carry_out(self, name: str) -> None:
        """One run of one check, from probe to engine."""
        by, accepting = self._accepting.pop(name, ("", None))
        observation = await self._carrier.run(name, by)
        if observation is None:
            if check := self._watch.setup.checks.get(
                name
            ):  # void: what it would have told is not left to the next slot
                self._run_soon(name, check.retry.every)
            if accepting and not accepting.done():
                accepting.set_exception(CommandError(f"{name} was not accepted: its run came to nothing; try again"))
            return
        for see in self._see:
            see(observation)
        for future in (*self._waiting.pop(name, ()), *((accepting,) if accepting else ())):
            if not future.done():
                future.set_result(observation)

    async def run_now(self, check: str) -> Observation:
        """Run a check out of turn, but never beside itself, and return what it found.

        Raises ``CommandError`` when there is no such check, or when it gives no result in time.
        """
        must_be_configured(self._watch.setup, check)
        future: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(check, []).append(future)
        return await self._result(check, future)

    async def accept(self, check: str, by: str) -> Observation:
        """Run a check and take what it finds as being right from now on; returns what it found.

        Raises ``CommandError`` when there is no such check, or it compares with nothing.
        """
        must_be_configured(self._watch.setup, check)
        if not isinstance(self._probes()[check], Accepting):
            raise CommandError(f"{check} compares with nothing that could be accepted")
        if check in self._accepting:
            raise CommandError(f"somebody else is accepting {check} just now")
        future: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()
        # A run that is going on began before this was asked, so it is the next one that accepts.
        self._accepting[check] = by, future
        try:
            return await self._result(check, future)
        finally:
            self._accepting.pop(check, None)

    async def _result(self, check: str, future: asyncio.Future[Observation]) -> Observation:
        self._run_soon(check, 0.0)
        patience = 2 * self._watch.setup.checks[check].timeout + LONGER
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            raise CommandError(f"{check} gave no result within {patience:g} s; is the daemon overloaded?") from None


class FirstRound:
    """Logs the first results after a start, so that whoever started the daemon sees what it sees."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._missing = set(watch.setup.checks)

    def see(self, observation: Observation) -> None:
        """Log this result if it is the check's first, and the sum of all once there is one of each."""
        if observation.check not in self._missing:
            return
        self._missing.discard(observation.check)
        if observation.outcome is not Outcome.UP or len(self._watch.setup.checks) <= FEW_CHECKS:
            outcome, summary = observation.outcome.value, observation.summary
            log.info("first result", check=observation.check, outcome=outcome, summary=summary)
        if not self._missing & self._watch.setup.checks.keys():
            self._missing.clear()
            outcomes = [seen.outcome for seen in self._watch.latest.values()]
            log.info("first round done", **{outcome.value: outcomes.count(outcome) for outcome in Outcome})
