"""When something that recurs comes next: every so often, by a cron expression, or by systemd's calendar events.

A cron expression (crontab(5)) is followed as Debian's cron follows it, also when the clocks are changed; that is the
library cronsim's. Calendar events (systemd.time(7)) are read by systemd itself: ``systemd-analyze calendar`` says when
they elapse next, so that what is meant here is what the timer does.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import floor
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.subprocess import DEFAULT_PATH, locate, run_child
from wcr_watchd.kit.threads import Threads

ANALYZE = "systemd-analyze"
ANSWERS_WITHIN = 5.0
"""Seconds; it takes some milliseconds."""
MOST_EXPRESSIONS = 20
LONGEST_EXPRESSION = 200
REMEMBERED = 1_000
"""Answers of systemd that are kept: a check asks for the same one again and again until something happens."""

_ENVIRONMENT = {"PATH": DEFAULT_PATH, "TZ": "UTC", "LC_ALL": "C"}
_ELAPSES = re.compile(r"^ *Next elapse: (?:never|\w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC)$", re.MULTILINE)


class Calendar(Protocol):
    """Something that recurs."""

    async def after(self, at: float, shared: Shared) -> float | None:
        """When it comes next after ``at`` (epoch seconds); None: never again. Raises :class:`ScheduleError`."""
        ...


@dataclass(frozen=True, slots=True)
class Period:
    """Every so many seconds after the last time."""

    seconds: float

    async def after(self, at: float, shared: Shared) -> float | None:
        """See :class:`Calendar`."""
        return at + self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression on the wall clocks of a zone."""

    expression: str
    timezone: str

    async def after(self, at: float, shared: Shared) -> float | None:
        """See :class:`Calendar`."""
        return next_by_cron(self.expression, self.timezone, at)


@lru_cache(REMEMBERED)
def next_by_cron(expression: str, timezone: str, at: float) -> float | None:
    """When a cron expression is next after ``at`` (epoch seconds) on the clocks of the zone; None: never again."""
    local = datetime.fromtimestamp(at, ZoneInfo(timezone))
    found = next(CronSim(expression, local), None)
    return None if found is None else found.timestamp()


class OnCalendar:
    """Calendar events of systemd; of several, whichever comes first."""

    def __init__(self, expressions: Sequence[str], timezone: str) -> None:
        self._expressions = tuple(_with_zone(expression, timezone) for expression in expressions)
        self._answers: dict[int, float | None] = {}

    async def after(self, at: float, shared: Shared) -> float | None:
        """See :class:`Calendar`."""
        base = floor(at)
        if base not in self._answers:
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            self._answers[base] = await self._ask(base, shared)
        return self._answers[base]

    async def _ask(self, base: int, shared: Shared) -> float | None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                file = await shared.get(Threads).call(locate, ANALYZE)
                done = await run_child(_words(self._expressions, base), _ENVIRONMENT, file=file)
        except (OSError, TimeoutError) as error:
            said = str(error) or f"no answer within {ANSWERS_WITHIN:g} s"
            raise ScheduleError(f"{ANALYZE} cannot say when the schedule is next: {said}") from error
        return _first(done.stdout, len(self._expressions), done.stderr)


def read_schedule(text: str | Sequence[str], timezone: str) -> Calendar:
    """A cron expression of five or six fields, or calendar events, one a line. Raises :class:`ScheduleError`."""
    lines = text.splitlines() if isinstance(text, str) else text
    expressions = [line.strip() for line in lines if line.strip()]
    if not 0 < len(expressions) <= MOST_EXPRESSIONS or max(map(len, expressions)) > LONGEST_EXPRESSION:
        raise ScheduleError(f"there must be 1 to {MOST_EXPRESSIONS} expressions of {LONGEST_EXPRESSION} characters")
    if len(expressions) == 1 and len(expressions[0].split()) in (5, 6):
        try:
            CronSim(expressions[0], datetime(2000, 1, 1, tzinfo=UTC))
            return Cron(expressions[0], timezone)
        except CronSimError as error:
            because = f"; as a cron expression: {error}"
    else:
        because = ""
    _check_events(tuple(_with_zone(expression, timezone) for expression in expressions), because)
    return OnCalendar(expressions, timezone)


def recurring(period: float | None, schedule: str | Sequence[str] | None, timezone: str) -> Calendar:
    """By a schedule in a time zone, or without one every ``period`` seconds. Raises ``ValueError`` for a false one."""
    if schedule is None:
        return Period(period or 0.0)
    try:
        return read_schedule(schedule, timezone)
    except ScheduleError as error:
        raise ValueError(f"`schedule` {error}") from error


def schedule_line(schedule: str | Sequence[str], timezone: str | None) -> str:
    """A schedule in one line, with the time zone that is written with it."""
    lines = schedule.splitlines() if isinstance(schedule, str) else schedule
    return f"{', '.join(line.strip() for line in lines)} {timezone or ''}".strip()


@lru_cache(REMEMBERED)
def _check_events(expressions: tuple[str, ...], because: str) -> None:
    """Have systemd read calendar events; blocks for some milliseconds, as reading a configuration does."""
    try:
        words = _words(expressions, 0)
        done = subprocess.run(
            words, env=_ENVIRONMENT, capture_output=True, text=True, timeout=ANSWERS_WITHIN, check=False
        )
    except FileNotFoundError as error:
        raise ScheduleError(
            f"is no cron expression, and {ANALYZE}, which reads calendar events, is not on this machine{because}"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScheduleError(f"{ANALYZE} cannot be asked whether this is a calendar event: {error}") from error
    if done.returncode:
        raise ScheduleError(f'is neither a cron expression ("0 2 * * *") nor a calendar event ("02:00"){because}')
    _first(done.stdout, len(expressions), done.stderr)


def _with_zone(expression: str, timezone: str) -> str:
    """The expression with its time zone, unless it names one."""
    try:
        ZoneInfo(expression.rpartition(" ")[2])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f"{expression} {timezone}"
    return expression


def _words(expressions: Sequence[str], base: int) -> list[str]:
    return [ANALYZE, "calendar", "--iterations=1", f"--base-time=@{base}", "--", *expressions]


def _first(said: str, expected: int, errors: str) -> float | None:
    found = _ELAPSES.findall(said)
    if len(found) != expected:
        raise ScheduleError(f"{ANALYZE} said something else than when the schedule is next: {(errors or said)[:200]!r}")
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in found if text]
    return min(times, default=None)
