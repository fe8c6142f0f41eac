"""A virtual year of the tasks of etc/: each is reminded of, run and overdue when it should be, by the local clocks.

From the end of 2027 to the end of 2028: both changes of the clocks and a leap day. The real desk, the real check of
each task and the real engine; only the time is a number, and the programs are not run. What is expected is worked out
anew here, day by day of the local calendar, without the library that the daemon uses.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.config.load import Loaded, loads
from wcr_watchd.core import engine
from wcr_watchd.core.model import EventKind, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.task import TaskBook, TaskCommand, TaskOutcome, TaskRecord, TaskState
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime import task_desk
from wcr_watchd.runtime.task_desk import TaskDesk
from wcr_watchd.runtime.task_run import Attempt, RunEnd

ETC = Path(__file__).parents[2] / "etc" / "conf.d"
ZONE = ZoneInfo("America/New_York")
FIRST, LAST = date(2027, 12, 27), date(2028, 12, 31)
DAY = 86_400.0
IN_TIME, LATE = 60.0, 2 * DAY
"""Seconds before it is due, and after the end of its grace, at which a person does it."""


def shipped() -> dict[str, dict[str, Any]]:
    """The tables of all tasks of etc/, those that are off as well."""
    return {
        name: {key: value for key, value in table.items() if key != "enabled"}
        for file in sorted(ETC.glob("*.toml"))
        for name, table in tomllib.loads(file.read_text()).get("task", {}).items()
    }


TASKS = shipped()
PEOPLE = sorted(name for name, table in TASKS.items() if "run" not in table)
RUNS = sorted(name for name, table in TASKS.items() if "run" in table)


def configured() -> Loaded:
    """All tasks of etc/, on, in a configuration of their own."""
    text = "".join(file.read_text() for file in sorted(ETC.glob("*-tasks.toml")))
    text = re.sub(r'"\$\{credential:\w+\}"', '"a secret"', text).replace("enabled = false\n", "")
    return loads(f'[watchd]\ntimezone = "{ZONE.key}"\n{text}', "etc")


# --- what is expected -------------------------------------------------------------------------------------------------


def fits(field: str, value: int) -> bool:
    """Whether a value is meant by a field of a cron expression: ``*``, ``5``, ``1,4``."""
    return field == "*" or value in map(int, field.split(","))


def instant(local: datetime) -> float:
    """When the clocks of New York first show this; a time that they skip is when they are moved."""
    at = local.replace(tzinfo=ZONE).timestamp()
    while datetime.fromtimestamp(at, ZONE).replace(tzinfo=None) != local:
        local += timedelta(minutes=1)
        at = local.replace(tzinfo=ZONE).timestamp()
    return at


def expected(schedule: str, last: date = LAST) -> list[float]:
    """When it is due in that year, by the days of the local calendar."""
    minute, hour, day_of_month, month, day_of_week = schedule.split()
    found = []
    day = FIRST
    while day <= last:
        sunday_is_0 = (day.weekday() + 1) % 7
        if fits(day_of_month, day.day) and fits(month, day.month) and fits(day_of_week, sunday_is_0):
            found.append(instant(datetime(day.year, day.month, day.day, int(hour), int(minute))))  # noqa: DTZ001
        day += timedelta(days=1)
    return found


def window_opens(at: float) -> float:
    """When it is Tuesday between 03:00 and 05:00 in New York, from then on."""
    local = datetime.fromtimestamp(at, ZONE)
    while not (local.weekday() == 1 and 3 <= local.hour < 5):
        local = datetime.fromtimestamp(at := at - at % 60 + 60, ZONE)
    return at


def seconds(text: str) -> float:
    return float(text[:-1]) * {"h": 3_600.0, "d": DAY, "m": 60.0}[text[-1]]


# --- what happens -----------------------------------------------------------------------------------------------------


class Year:
    """The desk and the engine through that year; people sign off what ``diligent`` says, in time or late."""

    def __init__(self, shared: SharedHelpers, loaded: Loaded, *, diligent: bool) -> None:
        self.at = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE).timestamp()
        self.begin = self.at
        self.end = datetime(LAST.year + 1, 1, 1, tzinfo=ZONE).timestamp()
        self.loaded = loaded
        self.setup: Setup = loaded.setup
        self.shared = shared
        self.diligent = diligent
        self.book = shared.get(TaskBook)
        self.state = State()
        self.runs: dict[str, list[float]] = defaultdict(list)
        self.told: dict[str, list[tuple[EventKind, Severity, float]]] = defaultdict(list)
        self._judge: set[str] = set()
        self._signing: dict[str, float] = {}
        self.desk = TaskDesk(self.book, self, self, shared, str, self._run_soon)
        self.desk.replace(loaded.probes)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def task_is(self, state: TaskState, record: TaskRecord | None = None) -> None:
        self.book.states[state.task] = state
        if record is not None and record.outcome is TaskOutcome.DONE and record.started_at is not None:
            self.runs[state.task].append(record.started_at)

    async def flush(self) -> bool:
        return True

    def _run_soon(self, check: str, delay: float) -> None:
        self._judge.add(check)

    async def live(self) -> None:
        while self.at < self.end:
            async with asyncio.TaskGroup() as runs:
                await self.desk._look(runs)
            await self._sign_off()
            await self._have_judged()
            following = min((*self.desk._edges.values(), *self._signing.values(), self.end), default=self.end)
            self.at = max(self.at, following)

    async def _sign_off(self) -> None:
        for name in PEOPLE:
            if name not in self._signing:
                self._signing[name] = await self._signs_at(name)
            if self._signing[name] <= self.at:
                await self.desk.sign_off(name, "ann", evidence=["https://wiki/1"])
                self._signing[name] = await self._signs_at(name)

    async def _signs_at(self, name: str) -> float:
        """When a person does it next: in time, or long after it is overdue."""
        probe: Any = self.loaded.probes[f"task.{name}"]
        due: float = await probe.due(self.book.states[f"task.{name}"].settled_at, self.shared)
        return due - IN_TIME if self.diligent else due + float(probe.terms.grace) + LATE

    async def _have_judged(self) -> None:
        for check in sorted(self._judge):
            run = Run(check, "here", self.at, 10.0, self.monotonic, self.shared)
            decision = engine.observe(self.setup, self.state, await self.loaded.probes[check].run(run), self.at)
            engine.apply(self.state, decision)
            for event in decision.events:
                if event.kind in (EventKind.OPENED, EventKind.RAISED, EventKind.RESOLVED):
                    self.told[check].append((event.kind, event.severity, self.at))
        self._judge.clear()


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


async def lived(shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch, *, diligent: bool) -> Year:
    """The year, over. Every run succeeds at once."""

    async def carry_out(command: TaskCommand, *_: object) -> RunEnd:
        return RunEnd(Attempt(well=True, text=f"{command.words[0]} ended well", status=0), 1)

    monkeypatch.setattr(task_desk, "carry_out", carry_out)
    year = Year(shared, configured(), diligent=diligent)
    await year.live()
    return year


def told_of(name: str, begin: float, end: float, *, diligent: bool) -> list[tuple[EventKind, Severity, float]]:
    """What should be told of a task for people, from its reminders on."""
    table = TASKS[name]
    remind, grace = seconds(table.get("remind", "1d")), seconds(table.get("grace", "1d"))
    found = []
    for due in expected(table["schedule"], LAST + timedelta(days=60)):
        if due <= begin:
            continue
        found.append((EventKind.OPENED, Severity.INFO, max(due - remind, begin)))
        if not diligent and table.get("warning") != []:
            found.append((EventKind.RAISED, Severity.WARNING, due + grace))
        done = due - IN_TIME if diligent else due + grace + LATE
        found.append(
            (EventKind.RESOLVED, Severity.INFO if diligent or table.get("warning") == [] else Severity.WARNING, done)
        )
    return [one for one in found if one[2] < end]


@pytest.mark.parametrize("diligent", [True, False], ids=["in time", "late"])
async def test_people_are_reminded_and_told_what_is_overdue(
    shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch, diligent: bool
) -> None:
    year = await lived(shared, monkeypatch, diligent=diligent)
    for name in PEOPLE:
        begin = year.begin
        assert year.told[f"task.{name}"] == told_of(name, begin, year.end, diligent=diligent), name
    assert sum(map(len, year.told.values())) > 500
    for name in RUNS:
        due = [at for at in expected(TASKS[name]["schedule"]) if at > year.begin]
        begun = [window_opens(at) if "window" in TASKS[name] else at for at in due]
        assert year.runs[f"task.{name}"] == [at for at in begun if at < year.end], name
        assert year.told[f"task.{name}"] == [], name


def test_the_year_has_all_that_is_odd_about_calendars() -> None:
    daily = expected(TASKS["backup-production"]["schedule"])
    local = [datetime.fromtimestamp(at, ZONE) for at in daily]
    assert [at for at in local if (at.hour, at.minute) != (2, 0)] == [datetime(2028, 3, 12, 3, tzinfo=ZONE)]
    assert datetime(2028, 2, 29, 2, tzinfo=ZONE) in local
    gaps = {round(after - before) for before, after in pairwise(daily)}
    assert gaps == {23 * 3_600, 24 * 3_600, 25 * 3_600}
    assert len(daily) == 371


async def test_what_is_due_on_a_leap_day_waits_for_one(shared: SharedHelpers) -> None:
    probe: Any = loads('[task.x]\nschedule = "0 9 29 2 *"\n[watchd]\ntimezone = "Europe/Berlin"\n', "x").probes[
        "task.x"
    ]
    at = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
    due = [at := await probe.due(at, shared) for _ in range(2)]
    assert [datetime.fromtimestamp(one, UTC).isoformat() for one in due] == [
        "2028-02-29T08:00:00+00:00",
        "2032-02-29T08:00:00+00:00",
    ]


async def test_an_hour_that_comes_twice_is_due_once(shared: SharedHelpers) -> None:
    probe: Any = loads(f'[task.x]\nschedule = "30 1 * * *"\ntimezone = "{ZONE.key}"\n', "x").probes["task.x"]
    at = datetime(2028, 11, 4, 12, tzinfo=UTC).timestamp()
    due = [at := await probe.due(at, shared) for _ in range(2)]
    assert [datetime.fromtimestamp(one, UTC).isoformat() for one in due] == [
        "2028-11-05T05:30:00+00:00",
        "2028-11-06T06:30:00+00:00",
    ]
