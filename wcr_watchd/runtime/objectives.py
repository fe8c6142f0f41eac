"""Objectives as time passes: runs are counted, and somebody is told when an error budget goes too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import structlog

from wcr_watchd.core.burning import ALERTS, COARSE, FINE, Counts, Past, burn_rate, burning
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.mute import is_planned, planned_spans
from wcr_watchd.core.objectives import BURNS, SPENT, SUBJECT, Budget, Objective, Stretch, budget, spent, stretches
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.setup import OWN, Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.uptime import Uptime, edges, joined, uptime, uptimes
from wcr_watchd.core.view import Counters, ObjectiveFigures

log = structlog.get_logger(__name__)

LOOK_EVERY = 15.0
"""Seconds between two looks at the burn rates."""
RECKON_EVERY = 300.0
"""Seconds between two looks at how much of the budgets is used: each reads the records of a whole period."""


class Engine(Protocol):
    """What is configured and known, and where incidents of the daemon itself are opened."""

    setup: Setup
    state: State

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        """Open an incident of the daemon itself, unless it is open."""
        ...

    def trouble_over(self, subject: str, why: str) -> None:
        """End that incident, if it is open."""
        ...


@dataclass(frozen=True, slots=True)
class _Reckoned:
    """When the budget of an objective was reckoned last, what was found, and what share was used (None: not known)."""

    objective: Objective
    at: float
    found: Budget | None
    used: float | None


class ObjectiveWatch:
    """Counts the runs that objectives are about; those in planned maintenance and those that could not tell do not."""

    def __init__(self, engine: Engine, store: Store, clock: Clock, counters: Counters | None = None) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._figures = (counters or Counters()).objectives
        self._counts: dict[str, tuple[Objective, Counts]] = {}
        self._reckoned: dict[str, _Reckoned] = {}

    def see(self, observation: Observation) -> None:
        """Count a run."""
        wanted = [one for one in self._counts.values() if observation.check in one[0].checks]
        if not wanted:
            return
        setup, state = self._engine.setup, self._engine.state
        check = setup.checks.get(observation.check)
        if check is None:
            return
        counts_not = observation.outcome is Outcome.UNKNOWN or is_planned(setup, state, check, self._clock.now())
        down = None if counts_not else observation.outcome is Outcome.DOWN
        for _, counts in wanted:
            counts.see(check.name, observation.at, check.every, down)

    async def serve(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._reconfigure()
            except StoreError as error:
                log.warning("objectives know only what comes from now on", error=str(error))
            for objective, counts in list(self._counts.values()):
                self._judge(objective, counts)
                await self._reckon(objective)
                self._figures[objective.name] = ObjectiveFigures(
                    objective.target, self._reckoned[objective.name].found, self.rates(objective)
                )
            await asyncio.sleep(LOOK_EVERY)

    async def budget(self, objective: Objective) -> Budget:
        """The error budget over the period until now. Raises ``StoreError``."""
        until = self._clock.now()
        since, _ = objective.span(until)
        found = [await self._uptime(name, since, until) for name in objective.checks]
        return budget(objective, found, until)

    async def days(self, objective: Objective) -> tuple[Stretch, ...]:
        """The course of the budget over the period until now, day by day. Raises ``StoreError``."""
        until = self._clock.now()
        times = objective.days(until)
        found = [await self._uptimes(name, times) for name in objective.checks]
        parts = [(start, end, [one[number] for one in found]) for number, (start, end) in enumerate(pairwise(times))]
        return stretches(objective, parts)

    def rates(self, objective: Objective) -> list[tuple[float, float | None]]:
        """The burn rates now, as alerts reckon them: each window (seconds), and the rate in it (None: no run)."""
        known = self._counts.get(objective.name)
        counts, now = known[1] if known else Counts(), self._clock.now()
        windows = sorted({window for alert in ALERTS for window in (alert.long, alert.short)})
        return [(window, burn_rate(objective, counts, now, window)) for window in windows]

    def _judge(self, objective: Objective, counts: Counts) -> None:
        holds = {one.severity: one for one in reversed(burning(objective, counts, self._clock.now()))}
        louder = ""
        for severity, word in BURNS.items():
            subject = f"{SUBJECT} {objective.name} {word}"
            if severity not in holds:
                self._engine.trouble_over(subject, "the error budget goes no faster than it may")
            # Where nobody watched of late, whatever was told holds, and nothing new is. And whoever was told that it
            # burns fast knows that it burns: that is told when the other is over.
            elif holds[severity].because and (subject in self._opened() or louder not in self._opened()):
                self._tell(objective, subject, severity, holds[severity].because, "by its burn rates")
            louder = subject

    def _opened(self) -> Collection[str]:
        """The subjects of the daemon's own incidents that are open."""
        return self._engine.state.by_check.get(OWN.name, {}).keys()

    async def _reckon(self, objective: Objective) -> None:
        """Tell when much of the budget is used. What was told is an incident, so that a restart tells nothing again."""
        now, known = self._clock.now(), self._reckoned.get(objective.name)
        if known is not None and known.objective == objective and now - known.at < RECKON_EVERY:
            return
        same = known if known is not None and known.objective == objective else None
        before = same.used if same else None
        self._reckoned[objective.name] = _Reckoned(objective, now, same.found if same else None, before)
        try:
            found = await self.budget(objective)
        except StoreError as error:
            log.warning("how much of a budget is used is reckoned later", objective=objective.name, error=str(error))
            return
        used = before if found.left is None else 1.0 - found.left
        self._reckoned[objective.name] = _Reckoned(objective, now, found, used)
        opened = self._opened()
        told = [word for _, _, word in SPENT if f"{SUBJECT} {objective.name} {word}" in opened]
        for one in spent(objective, found, told, before):
            subject = f"{SUBJECT} {objective.name} {one.word}"
            if one.holds:
                self._tell(objective, subject, one.severity, one.because, "by its error budget")
            else:
                self._engine.trouble_over(subject, one.because)

    def _tell(self, objective: Objective, subject: str, severity: Severity, because: str, confirmed: str) -> None:
        """Open an incident, no worse than those of its checks can be: if their outage wakes nobody, no budget does."""
        checks = self._engine.setup.checks
        rules = (rule for name in objective.checks if name in checks for rule in checks[name].rules)
        worst = max((rule.severity for rule in rules), default=Severity.INFO)
        self._engine.trouble(subject, Finding(min(severity, worst), because, ""), confirmed)

    async def _reconfigure(self) -> None:
        """Count for the objectives of the present configuration; what is new begins with what the records say."""
        objectives = self._engine.setup.objectives
        for name in self._counts.keys() - objectives.keys():
            del self._counts[name]
            self._reckoned.pop(name, None)
            self._figures.pop(name, None)
        self._end_what_is_gone()
        for name, objective in objectives.items():
            known = self._counts.get(name)
            if known is None or known[0].checks != objective.checks:
                # Known before it is filled, so that a store that fails costs the past only.
                self._counts[name] = (objective, Counts())
                self._counts[name] = (objective, await self._filled(objective))
            elif known[0] != objective:
                self._counts[name] = (objective, known[1])

    def _end_what_is_gone(self) -> None:
        """End the incidents of objectives that are not there any more, also of those that the last life had."""
        words = (*BURNS.values(), *(word for _, _, word in SPENT))
        there = {f"{SUBJECT} {name} {word}" for name in self._engine.setup.objectives for word in words}
        for subject in list(self._opened()):
            if subject.startswith(f"{SUBJECT} ") and subject not in there:
                self._engine.trouble_over(subject, "there is no such objective any more")

    async def _filled(self, objective: Objective) -> Counts:
        """Counts of the past days by the records, without planned maintenance."""
        now, counts = self._clock.now(), Counts()
        for name in objective.checks:
            check = self._engine.setup.checks.get(name)
            if check is None:  # a reload has taken it away meanwhile
                continue
            planned = await self._planned(name, now - COARSE, now)
            fine = await self._store.outcomes(name, since=now - FINE, until=now, fine=True, cuts=edges(planned))
            coarse = await self._store.outcomes(name, since=now - COARSE, until=now, cuts=edges(planned))
            counts.recall(Past(fine, coarse), check.every, planned, now)
        return counts

    async def _uptime(self, name: str, since: float, until: float) -> Uptime:
        check = self._engine.setup.checks.get(name)
        if check is None:  # a reload has taken it away meanwhile
            return Uptime(unwatched=until - since)
        planned = await self._planned(name, since, until)
        outcomes = await self._store.outcomes(name, since=since, until=until, cuts=edges(planned))
        return await asyncio.to_thread(uptime, outcomes, check.every, since, until, planned)

    async def _uptimes(self, name: str, times: Sequence[float]) -> list[Uptime]:
        check, since, until = self._engine.setup.checks.get(name), times[0], times[-1]
        if check is None:  # a reload has taken it away meanwhile
            return [Uptime(unwatched=end - start) for start, end in pairwise(times)]
        planned = await self._planned(name, since, until)
        outcomes = await self._store.outcomes(name, since=since, until=until, cuts=edges(planned))
        return await asyncio.to_thread(uptimes, outcomes, check.every, times, planned)

    async def _planned(self, name: str, since: float, until: float) -> tuple[tuple[float, float], ...]:
        setup, state = self._engine.setup, self._engine.state
        check = setup.checks.get(name)
        return joined(await asyncio.to_thread(planned_spans, setup, state, check, since, until)) if check else ()
