"""Watches the machine's clock: that a time service keeps it right, how wrong it may be, and that it does not jump.

The kernel tells what its time service told it (adjtimex(2)); where chrony is that service, it is asked as well
(chronyc(1)), because it tells how far off the clock is and what it goes by.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from pydantic import PrivateAttr

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.clock import ClockState, read_clock
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, has, said

_FIELDS = 14
"""Fields of ``chronyc -c tracking``."""


class Clock(Options):
    """Options of a check of the clock; none is needed."""

    type: ClassVar[str] = "clock"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = "chrony = true\n"
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("synchronised", Unit.COUNT, "1 while a time service keeps the clock, else 0"),
        MeasurementSpec(
            "deviation", Unit.SECONDS, "What the clock is off by, as far as its service knows, in either way"
        ),
        MeasurementSpec("error", Unit.SECONDS, "What the clock may be off by at most; it grows without a service"),
        MeasurementSpec("step", Unit.SECONDS, "What the clock was set by since the last run, in either way"),
        MeasurementSpec("stratum", Unit.COUNT, "How many servers away chrony's source of time is; 0 without one"),
        MeasurementSpec("source_age", Unit.SECONDS, "Time since chrony last heard of its source"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "synchronised == 0 for 17m"),
        (Severity.WARNING, "deviation > 100ms for 5m"),
        (Severity.CRITICAL, "deviation > 10s for 2m"),
        (Severity.INFO, "step > 1s"),
    )

    chrony: bool = True
    """Whether chrony is asked where it is installed."""

    _before: tuple[float, float] | None = PrivateAttr(default=None)

    @property
    def target(self) -> str:
        """The clock of this machine."""
        return "clock"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask the kernel, and chrony where it is there."""
        run.step = "asking the kernel about its clock"
        self._measure_step(run)
        try:
            kernel = read_clock()
        except OSError as error:
            kernel = None
            run.missing(["synchronised", "error"], f"the kernel does not tell: {error.strerror or error}")
        tracking = await self._ask_chrony(run)
        if kernel is None and tracking is None:
            return run.unknown("permission", f"nothing tells of the clock: {run.evidence['absent']}")
        return _judge(run, kernel, tracking)

    def _measure_step(self, run: Run) -> None:
        """Compare how far the clock went since the last run with one that nobody can set."""
        now = (time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))
        if self._before is not None:
            run.measure("step", abs((now[0] - self._before[0]) - (now[1] - self._before[1])))
        self._before = now

    async def _ask_chrony(self, run: Run) -> Tracking | None:
        if not self.chrony or not await run.shared.get(Threads).call(has, "chronyc"):
            return None
        try:
            finished = await ask(run, "chronyc", "-n", "-c", "tracking")
            if finished.status != 0:
                raise NoAnswerError("exec", f"chronyc says: {said(finished)}")
            return parse_tracking(finished.stdout)
        except (NoAnswerError, ValueError) as error:
            run.missing(["stratum", "source_age"], str(error))
        return None


@dataclass(frozen=True, slots=True)
class Tracking:
    """What chrony says: what it goes by, and how many seconds the clock is off (``leap`` is the state in a word)."""

    source: str
    stratum: int
    heard: float
    offset: float
    leap: str

    @property
    def synchronised(self) -> bool:
        """Whether chrony keeps the clock by something."""
        return self.leap != "Not synchronised"


def parse_tracking(text: str) -> Tracking:
    """Read what ``chronyc -c tracking`` prints; ``ValueError`` when it is something else."""
    fields = text.strip().split(",")
    if len(fields) != _FIELDS:
        raise ValueError(f"chronyc tells {len(fields)} values in place of {_FIELDS}: {text[:80]!r}")
    return Tracking(fields[1] or fields[0], int(fields[2]), float(fields[3]), float(fields[4]), fields[13])


def _judge(run: Run, kernel: ClockState | None, tracking: Tracking | None) -> Observation:
    offsets = [one.offset for one in (kernel, tracking) if one is not None]
    synchronised = any(one.synchronised for one in (kernel, tracking) if one is not None)
    deviation = max(map(abs, offsets))
    run.measure_all({"synchronised": synchronised, "deviation": deviation, "error": kernel.error if kernel else None})
    by = ""
    if tracking is not None:
        run.measure("stratum", tracking.stratum)
        if tracking.synchronised:
            run.measure("source_age", max(0.0, run.started - tracking.heard))
            by = f" by {tracking.source} (stratum {tracking.stratum})"
    if not synchronised:
        return run.up(
            "no time service keeps the clock: is one installed, and does it reach its servers?", reason="clock"
        )
    return run.up(f"the clock is kept right{by}, off by {format_duration(deviation)}")
