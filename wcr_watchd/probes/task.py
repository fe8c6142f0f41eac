"""A task that recurs: carried out by the daemon, or signed off by a person; not done in time is the alarm.

Written as `[task.NAME]`, which is the check `task.NAME`. With `run` the daemon carries it out by the schedule: never
beside itself, in its `window` only, again when it fails, and made up for after a time without the daemon. Without `run`
a person does it and signs it off (`wcr-watchd task done NAME`), with a note and evidence. With `key` or `ping_key` in
place of both, the job reports by itself: the table is then a check of type [heartbeat](heartbeat.md), whose rules are a
task's: a warning when it is down. It is an info `remind` before it is due, and down when it is `grace` late or has
failed; a turn that was left out is an info.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from wcr_watchd.core import task
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run, Shared
from wcr_watchd.core.task import TaskBook, TaskCommand, TaskKind, TaskPhase, TaskState, TaskTerms
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.calendars import Calendar, recurring, schedule_line
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.kit.options import Duration, Options, TimeZone
from wcr_watchd.kit.programs import Variables, Word, environment
from wcr_watchd.kit.refused import RefusedError
from wcr_watchd.kit.week_hours import WeekHours

GRACE_OF_RUN = 3_600.0
DAY = 86_400.0
_ONLY_OF_A_RUN = ("user", "env", "cwd", "time_limit", "retries", "retry_after", "nice", "io", "window", "catch_up")


class Task(Options):
    """Tells how a task stands."""

    type: ClassVar[str] = "task"
    target_key: ClassVar[str] = "schedule"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("due", Unit.TIMESTAMP, "When it is due, now or next"),
        MeasurementSpec("overdue", Unit.SECONDS, "How long it is past due; 0 while it is not"),
        MeasurementSpec("soon", Unit.COUNT, "1 from its reminder on until it is done, else 0"),
        MeasurementSpec("last_success", Unit.TIMESTAMP, "When it was last done"),
        MeasurementSpec("age", Unit.SECONDS, "Since it was last done"),
        MeasurementSpec("run_time", Unit.SECONDS, "How long its last run took, with all attempts"),
        MeasurementSpec("running", Unit.SECONDS, "How long the run that is going on has taken so far"),
        MeasurementSpec("missed", Unit.COUNT, "How often in a row its turn was left out since it was last done"),
        MeasurementSpec("exit_status", Unit.COUNT, "The exit status of its last run"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down or missed >= 3"),
        (Severity.INFO, "soon == 1 or missed >= 1"),
        (Severity.INFO, "soon == 1 and overdue > 0"),
        (Severity.INFO, "soon == 1 and down"),
    )
    example: ClassVar[str] = 'schedule = "0 9 1 * *"\nabout = "Restore last night\'s dump by hand and look at it"\n'

    schedule: str | tuple[str, ...] | None = None
    """When it is due: a cron expression ("0 2 * * *"), or calendar events of systemd ("Mon..Fri 02:00"), of which there
    may be several."""
    period: Annotated[Duration, Field(gt=0)] | None = None
    """In place of `schedule`: how long after it was last done it is due again."""
    timezone: TimeZone | None = None
    """Time zone of schedule and window; default: that of [watchd]."""
    about: str = ""
    """What is to be done, for whoever does it."""
    grace: Annotated[Duration, Field(gt=0)] | None = None
    """How late it may be; default: 1h for what the daemon runs, 1d for what a person does."""
    remind: Duration | None = None
    """How long before it is due it is reminded of, as an info; default: 1d for what a person does, else not at all. A
    sign-off within that time counts for the coming time."""
    evidence: bool = False
    """Whether it is signed off only with evidence: a link, a file, a ticket."""
    run_words: Annotated[tuple[Word, ...], Field(min_length=1)] | None = Field(default=None, alias="run")
    """The program that the daemon runs, and its arguments, each for itself; no shell reads them."""
    user: str = ""
    """Whose rights the run has; another user than the daemon's own takes a daemon that is root."""
    env: Variables = Field(default_factory=dict)
    """Environment variables of the run, beside PATH, LANG, LC_ALL and TZ."""
    cwd: Word = "/"
    """The folder it runs in."""
    time_limit: Annotated[Duration, Field(gt=0)] = 3_600.0
    """How long one attempt may take; then it is asked to end (SIGTERM), and killed ten seconds later."""
    retries: Annotated[int, Field(ge=0, le=20)] = 0
    """How often it is tried again when it fails."""
    retry_after: Annotated[Duration, Field(gt=0)] = 300.0
    """How long after a failed attempt."""
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    """How much it makes way for others on the processors: 0 not at all, 19 most (nice(1))."""
    io: Literal["", "idle", "best-effort"] = ""
    """Its class for disks (ionice(1)): `idle` only when nobody else wants them."""
    window: WeekHours | None = None
    """When a run may begin: "Tue 03:00-05:00", "22:00-06:00", or a list; what is due outside waits for it."""
    catch_up: bool = True
    """Whether a run whose time passed while it could not begin is made up for, once; else it is left out after
    `grace`, which is an info until it is done again, and a warning when it happens three times in a row."""

    _calendar: Calendar = PrivateAttr()

    @model_validator(mode="after")
    def _fits_together(self) -> Task:
        if (self.period is None) == (self.schedule is None):
            raise ValueError("needs either `schedule` or `period`: when it is due")
        given = [name for name in _ONLY_OF_A_RUN if name in self.model_fields_set]
        if self.run_words is None and given:
            raise RefusedError(f"has `{given[0]}`, which is for what the daemon runs", "give `run`, or take it out")
        if self.run_words is not None and self.evidence:
            raise RefusedError("has `run` and `evidence`", "what a run wrote is its evidence: take `evidence` out")
        self._calendar = recurring(self.period, self.schedule, self.zone)
        return self

    @property
    def zone(self) -> str:
        """The time zone of its schedule."""
        return self.timezone or local_timezone()

    @property
    def target(self) -> str:
        """When it is due."""
        if self.schedule is None:
            return f"{format_duration(self.period or 0.0)} after it was last done"
        return schedule_line(self.schedule, self.timezone)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    @property
    def terms(self) -> TaskTerms:
        """What is expected of it."""
        runs = self.run_words is not None
        usual = (GRACE_OF_RUN, 0.0) if runs else (DAY, DAY)
        return TaskTerms(
            kind=TaskKind.RUN if runs else TaskKind.SIGNED,
            grace=usual[0] if self.grace is None else self.grace,
            remind=usual[1] if self.remind is None else self.remind,
            window=None if self.window is None else Hours(self.zone, self.window),
            catch_up=self.catch_up,
            drifting=self.schedule is None,
            needs_evidence=self.evidence,
        )

    @property
    def command(self) -> TaskCommand | None:
        """What the daemon runs; None: nothing."""
        if self.run_words is None:
            return None
        return TaskCommand(
            words=self.run_words,
            environment=environment(self.env),
            folder=self.cwd,
            user=self.user,
            time_limit=self.time_limit,
            retries=self.retries,
            retry_after=self.retry_after,
            nice=self.nice,
            io_class=self.io,
        )

    async def due(self, after: float, shared: Shared) -> float | None:
        """When it is due next after that time (epoch seconds; None: never again). Raises ``ScheduleError``."""
        return await self._calendar.after(after, shared)

    def told(self, state: TaskState, due: float | None, now: float, timezone: str = "") -> str:
        """How it stands, in a sentence; times are of this zone, else of that of its schedule."""
        return task.told(state, self.terms, due, now, timezone or self.zone)

    async def run(self, run: Run) -> Observation:
        """Judge what is known by now."""
        book = run.shared.get(TaskBook)
        state = book.states.get(run.check)
        if not book.kept or state is None:
            return run.unknown("missing", "only the daemon looks after tasks; see `wcr-watchd task list`")
        run.step = "asking when it is due"
        try:
            due = await self.due(task.reckoned_from(state), run.shared)
        except ScheduleError as error:
            return run.unknown("schedule", str(error))
        now = run.started
        stands = task.phase(state, self.terms, due, now)
        run.measure_all(
            {
                "due": due,
                "overdue": max(0.0, now - due) if due is not None else 0.0,
                "soon": float(due is not None and now >= due - self.terms.remind and self._is_reminded_of),
                "last_success": state.last_success_at,
                "age": None if state.last_success_at is None else max(0.0, now - state.last_success_at),
                "run_time": state.duration,
                "running": None if state.started_at is None else max(0.0, now - state.started_at),
                "missed": float(state.missed),
                "exit_status": None if state.last is None else state.last.exit_status,
            }
        )
        if self.about:
            run.evidence["to do"] = self.about
        run.evidence.update(task.evidence(state, self.zone, now))
        summary = self.told(state, due, now)
        if stands.is_down:
            return run.down(stands.value, summary)
        return run.up(summary, "due" if stands in (TaskPhase.SOON, TaskPhase.DUE) else "")

    @property
    def _is_reminded_of(self) -> bool:
        """What the daemon runs by itself needs nobody, unless somebody wants to know before."""
        return self.terms.kind is not TaskKind.RUN or self.terms.remind > 0
