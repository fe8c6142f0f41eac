"""One run of one probe: under its deadline, redacted, bounded, and void when this process was held up."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import structlog

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.model import Fact, Measurement, MeasurementSpec, Observation, Outcome
from wcr_watchd.core.protocols import Accepting, Probe
from wcr_watchd.core.run import LONGEST_MEMORY, Announced, Run, Shared
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.view import Counters
from wcr_watchd.kit import descriptors
from wcr_watchd.kit.plain_text import plain

log = structlog.get_logger(__name__)

SUMMARY_LENGTH = 300
EVIDENCE_BYTES = 4_096
HELD_UP = 0.5
"""Seconds for which this process may be held up during a run before what it saw is void."""
VOID_IN_A_ROW = 3
"""Void runs after which it is said that nothing is known; a watcher that cannot see must not be silent about it."""


class Redactor(Protocol):
    """Takes secrets out of texts."""

    def text(self, text: str) -> str:
        """The text without any secret."""
        ...


def _never(begun: float) -> float:
    return 0.0


def _nothing() -> tuple[Announced, ...]:
    return ()


class MemoryUnusableError(Exception):
    """A probe left something for its next run that cannot be kept: a bug in it."""


class Runner:
    """Carries checks out.

    ``stalled_since`` says for how long this process was held up since a monotonic time. ``memories`` is what probes
    keep for their next run, as JSON by check; what a run leaves is put there. ``announced`` is the work of the last
    days.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        setup: Setup,
        shared: Shared,
        redactor: Redactor,
        clock: Clock,
        counters: Counters,
        stalled_since: Callable[[float], float] = _never,
        memories: dict[str, str] | None = None,
        announced: Callable[[], tuple[Announced, ...]] = _nothing,
    ) -> None:
        self._shared = shared
        self._redactor = redactor
        self._clock = clock
        self._counters = counters
        self._stalled_since = stalled_since
        self._memories = {} if memories is None else memories
        self._announced = announced
        self._void: dict[str, int] = {}
        self._reported: set[str] = set()
        self.replace(probes, setup)

    def replace(self, probes: Mapping[str, Probe], setup: Setup) -> None:
        """Go on with other checks."""
        self._probes = probes
        self._setup = setup
        self._series = {name: _series(probe.specs()) for name, probe in probes.items()}
        for name in [name for name in self._memories if name not in probes]:
            del self._memories[name]

    async def run(self, name: str, accepted_by: str = "") -> Observation | None:
        """Run a check once; None when the run is void because this process was held up, or the check is gone.

        With ``accepted_by`` what it finds is taken as being right from now on, as that person says.
        """
        check, probe = self._setup.checks.get(name), self._probes.get(name)
        if check is None or probe is None:
            return None
        run = Run(name, self._setup.location, self._clock.now(), check.timeout, self._clock.monotonic, self._shared)
        run.memory = self._recalled(check)
        run.announced = self._announced()
        observation = await self._carry_out(check, probe, run, accepted_by)
        if observation.outcome is Outcome.DOWN and descriptors.ran_out():
            observation = run.unknown("watcher", "this watcher may not open more files (raise LimitNOFILE=)")
        if self._is_void(check, run):
            return self._void_run(run)
        self._void.pop(name, None)
        if observation.memory is not None:
            self._memories[name] = observation.memory
        return self._finished(observation, self._series[name])

    async def _carry_out(self, check: Check, probe: Probe, run: Run, accepted_by: str) -> Observation:
        try:
            async with asyncio.timeout(check.timeout):
                if accepted_by and isinstance(probe, Accepting):
                    return self._with_memory(check, run, await probe.accept(run, accepted_by))
                return self._with_memory(check, run, await probe.run(run))
        except TimeoutError:
            return run.down("timeout", f"no result within {check.timeout:g} s; was {run.step}")
        except Exception as error:  # noqa: BLE001 - the runner's edge: a third party's probe may raise anything
            self._report(check, error)
            return run.unknown("probe_error", f"the {check.probe} probe failed: {type(error).__name__}: {error}")

    def _recalled(self, check: Check) -> dict[str, Any]:
        """What the last finished run left; nothing, when the check was of another type then."""
        text = self._memories.get(check.name)
        if text is None:
            return {}
        try:
            kept = json.loads(text)
        except ValueError:  # read out of damaged records
            return {}
        return dict(kept["memory"]) if kept["probe"] == check.probe else {}

    def _with_memory(self, check: Check, run: Run, observation: Observation) -> Observation:
        """The observation with what the run left in its memory, if that changed.

        Raises :class:`MemoryUnusableError`.
        """
        before = self._memories.get(check.name)
        if not run.memory and before is None:
            return observation
        kept = {"probe": check.probe, "memory": run.memory}
        try:
            left = json.dumps(kept, separators=(",", ":"), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise MemoryUnusableError(f"what it keeps is no JSON: {error}") from error
        if len(left) > LONGEST_MEMORY:
            raise MemoryUnusableError(f"it keeps {len(left)} bytes, more than {LONGEST_MEMORY}")
        return observation if left == before else replace(observation, memory=left)

    def _report(self, check: Check, error: Exception) -> None:
        """A probe should never raise: say so with the traceback, once per kind of error."""
        kind = f"{check.probe} {type(error).__name__} {error}"
        if kind not in self._reported and len(self._reported) < 1_000:
            self._reported.add(kind)
            log.error("a probe failed by itself; this is a bug in it", check=check.name, exc_info=error)

    def _is_void(self, check: Check, run: Run) -> bool:
        overshoot = run.elapsed - check.timeout
        return max(overshoot, self._stalled_since(run.begun)) > max(HELD_UP, 0.2 * check.timeout)

    def _void_run(self, run: Run) -> Observation | None:
        self._counters.runs_void += 1
        count = self._void.get(run.check, 0) + 1
        self._void[run.check] = count
        if count < VOID_IN_A_ROW:
            return None
        run.measurements.clear()
        return run.unknown("watcher", f"this watcher was held up in {count} runs in a row; nothing is known")

    def _finished(self, observation: Observation, series: _Series) -> Observation:
        summary = plain(" ".join(self._redactor.text(observation.summary).split()))
        if len(summary) > SUMMARY_LENGTH:
            summary = summary[: SUMMARY_LENGTH - 1] + "…"
        return replace(
            observation,
            summary=summary,
            measurements=tuple(one for one in observation.measurements if _is_sound(one, series)),
            evidence=self._bounded(observation.evidence),
            facts=self._clean_facts(observation.facts),
        )

    def _clean_facts(self, facts: tuple[Fact, ...] | None) -> tuple[Fact, ...] | None:
        """The facts without secrets. Most have none, and there may be thousands: they are first looked at as one."""
        if not facts:
            return facts
        together = "\n".join(text for fact in facts for text in (fact.name, fact.value, fact.before))
        return facts if self._clean(together) == together else tuple(map(self._clean_fact, facts))

    def _clean_fact(self, fact: Fact) -> Fact:
        return replace(
            fact, name=self._clean(fact.name), value=self._clean(fact.value), before=self._clean(fact.before)
        )

    def _clean(self, text: str) -> str:
        return plain(self._redactor.text(text))

    def _bounded(self, evidence: Mapping[str, str]) -> dict[str, str]:
        """The evidence without secrets, cut to what may be kept in all."""
        left, kept = EVIDENCE_BYTES, dict[str, str]()
        for name, text in evidence.items():
            # Redact before cutting: half a secret is one that nothing recognises any more.
            clean = plain(self._redactor.text(text)[:left])
            cut = clean.encode()[:left].decode(errors="ignore")
            left -= len(cut.encode())
            if cut:
                kept[name] = cut
        return kept


_Series = Mapping[str, tuple[str, ...]]
"""The label names, sorted, of every measurement that a check may have."""


@lru_cache(maxsize=1_000)
def _series(specs: tuple[MeasurementSpec, ...]) -> _Series:
    """Kept, as most checks of one type have the same ones."""
    return {spec.name: tuple(sorted(spec.labels)) for spec in specs}


def _is_sound(measured: Measurement, series: _Series) -> bool:
    """Whether a measurement is declared, with these labels, and a number."""
    labels = tuple([name for name, _ in measured.labels])
    return series.get(measured.name) == labels and math.isfinite(measured.value)
