"""Jobs that announce themselves: each name that reports under one ping key is watched from then on.

A job calls `/ping/<ping_key>/<name>?create=1` on this daemon whenever it has succeeded (also with `/start`, `/fail`,
`/log` or an exit status), as with healthchecks. Its first call adds it; every job has an incident of its own. A job
that is configured by a check of type `heartbeat` with the same ping key is that check's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from wcr_watchd.core import heartbeat
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Standing, Terms
from wcr_watchd.core.heartbeat_words import evidence, told
from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run, Shared
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.ping_keys import PingKey

NAMED = 5
"""Jobs whose trouble is told in the summary; all of it is in the evidence and the measurements."""


class Heartbeats(Options):
    """Judges what each of the jobs has reported."""

    type: ClassVar[str] = "heartbeats"
    target_key: ClassVar[str] = "ping_key"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("jobs", Unit.COUNT, "Jobs that have announced themselves"),
        MeasurementSpec("broken", Unit.COUNT, "1 when the job failed, hangs or is overdue", ("job",), topic="job"),
        MeasurementSpec("age", Unit.SECONDS, "Since the job last reported an end", ("job",), topic="job"),
        MeasurementSpec("run_time", Unit.SECONDS, "How long its last run took", ("job",), topic="job"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "broken == 1"),
        (Severity.WARNING, "down"),
    )
    example: ClassVar[str] = 'ping_key = "jHq2mWc0Zr8Lk4Xv9TnB1s"\nperiod = "1d"\n'

    ping_key: PingKey
    """The key that the jobs share; who knows it can report, and add jobs."""
    period: Annotated[Duration, Field(gt=0)] = 86_400.0
    """How long after a success the next one is due."""
    grace: Annotated[Duration, Field(gt=0)] = 3_600.0
    """How late a job may be, and how long a run may take that it has begun."""
    forget: Annotated[Duration, Field(gt=0)] = 30 * 86_400.0
    """After how long a job that is not heard of at all is taken for gone for good."""
    most: Annotated[int, Field(ge=0, le=1_000)] = 100
    """How many jobs may announce themselves."""

    @property
    def target(self) -> str:
        """What is waited for."""
        return f"jobs that report every {format_duration(self.period)}"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    @property
    def terms(self) -> Terms:
        """What signals it accepts."""
        return Terms(grace=self.grace, most_jobs=self.most, forget_after=self.forget)

    def addresses(self, check: str) -> Sequence[tuple[str, str]]:
        """Where the signals of its jobs arrive."""
        return [(self.ping_key.get_secret_value(), "*")]

    async def due(self, state: HeartbeatState, shared: Shared) -> float | None:
        """When the next success of a job is due."""
        if state.standing is not Standing.UP or state.last_at is None:
            return None
        return state.last_at + self.period

    async def run(self, run: Run) -> Observation:
        """Judge what is known of every job by now."""
        book = run.shared.get(Book)
        if not book.kept:
            return run.unknown("missing", "only the daemon knows what was reported; see `wcr-watchd status`")
        jobs = book.jobs(run.check)
        run.measure("jobs", len(jobs))
        broken = [state.job for state in jobs if await self._is_broken(run, state)]
        if not broken:
            return run.up(f"{len(jobs)} jobs have reported as they should" if jobs else "no job has reported yet")
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        return run.up(f"{len(broken)} of {len(jobs)} jobs did not run well: {', '.join(broken[:NAMED])}{more}")

    async def _is_broken(self, run: Run, state: HeartbeatState) -> bool:
        due, now = await self.due(state, run.shared), run.started
        gone = heartbeat.forgotten_at(state, self.forget) <= now
        down = heartbeat.phase(state, due, self.grace, now).is_down and not gone
        run.measure("broken", down, job=state.job)
        if state.last_at is not None:
            run.measure("age", max(0.0, now - state.last_at), job=state.job)
        if state.duration is not None:
            run.measure("run_time", state.duration, job=state.job)
        if down:
            zone = local_timezone()
            run.evidence[state.job] = told(state, due, self.grace, now, zone, run.shared.get(Book).away)
            run.evidence.update((f"{state.job} {name}", text) for name, text in evidence(state, now, zone).items())
        return down
