"""A job that reports by itself when it has run: silence is the alarm.

The job calls `/ping/<key>` on this daemon when it has succeeded, and may call `/ping/<key>/start`, `/fail`, `/log` or
`/<exit status>`, as with healthchecks: curl from cron, borgmatic's healthchecks hook, another daemon's `[heartbeat]`.
`/ping/<ping_key>/<slug>` is the same by name. It is expected every `period`, or by the `schedule`, and is down when it
is later than `grace`, when it reports a failure, or when a run that it began does not end within `grace`. Before its
first signal nothing is expected. Every signal is judged at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr, model_validator

from wcr_watchd.core import heartbeat
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Standing, Terms
from wcr_watchd.core.heartbeat_words import evidence, told
from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run, Shared
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.calendars import Calendar, recurring, schedule_line
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.options import Duration, Options, TimeZone
from wcr_watchd.kit.ping_keys import JobKey, PingKey

Words = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=20)]


class Heartbeat(Options):
    """Judges what a job has reported."""

    type: ClassVar[str] = "heartbeat"
    target_key: ClassVar[str] = "period"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("age", Unit.SECONDS, "Since the job last reported success or failure"),
        MeasurementSpec("overdue", Unit.SECONDS, "How long it is past due; 0 while it is not"),
        MeasurementSpec("run_time", Unit.SECONDS, "How long its last run took, from start to end"),
        MeasurementSpec("running", Unit.SECONDS, "How long the run that is going on has taken so far"),
        MeasurementSpec("exit_status", Unit.COUNT, "The exit status that it reported last"),
        MeasurementSpec("signals", Unit.COUNT, "Signals received", counter=True),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)
    example: ClassVar[str] = 'key = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"\nperiod = "1d"\ngrace = "2h"\n'

    key: JobKey | None = None
    """The UUID that the job reports by, at `/ping/<key>`; who knows it can report."""
    ping_key: PingKey | None = None
    """A key that several jobs share: they report at `/ping/<ping_key>/<slug>`."""
    slug: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")] | None = None
    """The job's name in that address; default: the check's, with - for what an address cannot have."""
    period: Annotated[Duration, Field(gt=0)] | None = None
    """How long after a success the next one is due."""
    schedule: str | tuple[str, ...] | None = None
    """When it is due: a cron expression ("0 2 * * *"), or calendar events of systemd ("Mon..Fri 02:00"), of which there
    may be several."""
    timezone: TimeZone | None = None
    """Time zone of the schedule; default: this machine's."""
    grace: Annotated[Duration, Field(gt=0)] = 3_600.0
    """How late it may be, and how long a run may take that it has begun."""
    post_only: bool = False
    """Keep and ignore all that is not sent by POST, such as the visits of link previews."""
    paused: bool = False
    """Keep and ignore everything; nothing is expected."""
    success_words: Words = ()
    """Judge by the body, whatever the address says: a success has one of these in it."""
    start_words: Words = ()
    """Judge by the body: a start has one of these in it."""
    failure_words: Words = ()
    """Judge by the body: a failure has one of these in it; they are looked for first."""
    else_fail: bool = False
    """Judge by the body: what has none of the words is a failure; else it is ignored."""

    _calendar: Calendar = PrivateAttr()

    @model_validator(mode="after")
    def _fits_together(self) -> Heartbeat:
        if self.key is None and self.ping_key is None:
            raise ValueError("needs a `key` (a UUID) or a `ping_key` that the job reports by")
        if (self.period is None) == (self.schedule is None):
            raise ValueError("needs either `period` or `schedule`: when the job is due")
        self._calendar = recurring(self.period, self.schedule, self.timezone or local_timezone())
        return self

    @property
    def target(self) -> str:
        """When it is due."""
        if self.schedule is None:
            return f"every {format_duration(self.period or 0.0)}"
        return schedule_line(self.schedule, self.timezone)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    @property
    def terms(self) -> Terms:
        """What signals it accepts."""
        return Terms(
            grace=self.grace,
            post_only=self.post_only,
            paused=self.paused,
            success_words=self.success_words,
            start_words=self.start_words,
            failure_words=self.failure_words,
            else_fail=self.else_fail,
        )

    def addresses(self, check: str) -> Sequence[tuple[str, str]]:
        """Where its signals arrive."""
        slug = self.slug or re.sub(r"[^A-Za-z0-9_-]+", "-", check)
        own = [(self.key.get_secret_value(), "")] if self.key else []
        return own + ([(self.ping_key.get_secret_value(), slug)] if self.ping_key else [])

    async def due(self, state: HeartbeatState, shared: Shared) -> float | None:
        """When the next success is due. Raises ``ScheduleError``."""
        if self.paused or state.standing is not Standing.UP or state.last_at is None:
            return None
        return await self._calendar.after(state.last_at, shared)

    async def run(self, run: Run) -> Observation:
        """Judge what is known by now."""
        book = run.shared.get(Book)
        if not book.kept:
            return run.unknown("missing", "only the daemon knows what was reported; see `wcr-watchd status`")
        state = book.of(run.check)
        run.step = "asking when the job is due"
        try:
            due = await self.due(state, run.shared)
        except ScheduleError as error:
            return run.unknown("schedule", str(error))
        run.measure_all(
            {
                "age": None if state.last_at is None else max(0.0, run.started - state.last_at),
                "overdue": heartbeat.overdue(state, due, run.started),
                "run_time": state.duration,
                "running": None if state.started_at is None else max(0.0, run.started - state.started_at),
                "exit_status": state.exit_status,
                "signals": state.count,
            }
        )
        zone = self.timezone or local_timezone()
        run.evidence.update(evidence(state, run.started, zone))
        if self.paused:
            return run.up("paused: signals are kept and ignored, and nothing is expected")
        summary = told(state, due, self.grace, run.started, zone, book.away)
        now = heartbeat.phase(state, due, self.grace, run.started)
        return run.down(now.value, summary) if now.is_down else run.up(summary)
