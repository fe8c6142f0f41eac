"""A virtual year of etc/: all its tasks fall due when they should, by the local clocks.

From the end of 2027 to the end of 2028, in zones that move their clocks by an hour, by half an hour and never. Tasks
are reminded of, run and overdue, those too that the daemon makes for its contacts, also when there was no daemon when
they became due. The real desk, the real check of each task and the real engine; only the time is a number, and the
programs are not run. What is expected is reckoned anew by ``calendar_year``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.simulation.calendar_year import (
    DAY,
    FIRST,
    LAST,
    LORD_HOWE,
    NEW_YORK,
    ZONES,
    changes,
    configured,
    expected,
    instant,
    midnight,
    seconds,
    shipped,
    window_opens,
)
from wcr_watchd.config.load import loads
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

IN_TIME, LATE = 60.0, 2 * DAY
"""Seconds before it is due, and after the end of its grace, at which a person does it."""
RUN_LATER = 0.01
"""Seconds after the edge for which it is run that a check begins."""
TASKS = shipped()
PEOPLE = sorted(name for name, table in TASKS.items() if "run" not in table)
RUNS = sorted(name for name, table in TASKS.items() if "run" in table)


# --- what happens -----------------------------------------------------------------------------------------------------


class Year:
    """The desk and the engine through that year; people sign off what ``diligent`` says, in time or late."""

    def __init__(self, shared: SharedHelpers, zone: ZoneInfo, *, diligent: bool) -> None:
        self.at = self.begin = midnight(FIRST, zone)
        self.end = midnight(LAST + timedelta(days=1), zone)
        self.zone = zone
        self.loaded = configured(zone)
        self.setup: Setup = self.loaded.setup
        self.shared = shared
        self.diligent = diligent
        self.book = shared.get(TaskBook)
        self.state = State()
        self.runs: dict[str, list[float]] = defaultdict(list)
        self.told: dict[str, list[tuple[EventKind, Severity, float]]] = defaultdict(list)
        self._judge: set[str] = set()
        self._signing: dict[str, float] = {}
        self.asleep: list[tuple[float, float]] = []
        """From when to when there is no daemon."""
        self.start()

    def start(self) -> None:
        """Begin a life of the daemon, which knows what the one before stored."""
        self.desk = TaskDesk(self.book, self, self, self.shared, str, self._run_soon)
        self.desk.replace(self.loaded.probes)

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
            while self.asleep and self.at >= self.asleep[0][0]:
                _, until = self.asleep.pop(0)
                if self.at < until:
                    self.at = until
                    self.start()

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
            run = Run(check, "here", self.at + RUN_LATER, 10.0, self.monotonic, self.shared)
            decision = engine.observe(self.setup, self.state, await self.loaded.probes[check].run(run), self.at)
            engine.apply(self.state, decision)
            for event in decision.events:
                if event.kind in (EventKind.OPENED, EventKind.RAISED, EventKind.REMINDED, EventKind.RESOLVED):
                    self.told[check].append((event.kind, event.severity, self.at))
        self._judge.clear()


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run succeeds, and takes no time."""

    async def carry_out(command: TaskCommand, *_: object) -> RunEnd:
        return RunEnd(Attempt(well=True, text=f"{command.words[0]} ended well", status=0), 1)

    monkeypatch.setattr(task_desk, "carry_out", carry_out)


def dues(table: dict[str, Any], year: Year, late: float) -> list[float]:
    """When a task for people is due, who do it so many seconds late (early: negative)."""
    if "schedule" in table:
        ahead = LAST + timedelta(days=60)
        return [due for due in expected(table["schedule"], year.zone, ahead) if due > year.begin]
    found = []
    done = year.begin  # one that was never done counts from the day on which it was written down
    while done < year.end:
        found.append(done + seconds(table["period"]))
        done = found[-1] + late
    return found


def told_of(name: str, year: Year) -> list[tuple[EventKind, Severity, float]]:
    """What should be told of a task for people, from its reminders on."""
    table, diligent = TASKS[name], year.diligent
    remind, grace = seconds(table.get("remind", "1d")), seconds(table.get("grace", "1d"))
    late = -IN_TIME if diligent else grace + LATE
    found = []
    for due in dues(table, year, late):
        found.append((EventKind.OPENED, Severity.INFO, max(due - remind, year.begin)))
        if not diligent:
            found.append((EventKind.REMINDED, Severity.INFO, due))
            can_wait = table.get("warning") == []
            overdue = (EventKind.REMINDED, Severity.INFO) if can_wait else (EventKind.RAISED, Severity.WARNING)
            found.append((*overdue, due + grace))
        was = Severity.INFO if diligent or table.get("warning") == [] else Severity.WARNING
        found.append((EventKind.RESOLVED, was, due + late))
    return [one for one in found if one[2] < year.end]


IN_TIME_OR_LATE = [*((zone, True) for zone in ZONES), (NEW_YORK, False), (LORD_HOWE, False)]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(("zone", "diligent"), IN_TIME_OR_LATE, ids=str)
async def test_people_are_reminded_and_told_what_is_overdue(
    shared: SharedHelpers, zone: ZoneInfo, diligent: bool
) -> None:
    year = Year(shared, zone, diligent=diligent)
    await year.live()
    for name in PEOPLE:
        assert year.told[f"task.{name}"] == told_of(name, year), name
    assert sum(map(len, year.told.values())) > 500
    for name in RUNS:
        due = [at for at in expected(TASKS[name]["schedule"], zone) if at > year.begin]
        begun = [window_opens(at, zone) if "window" in TASKS[name] else at for at in due]
        assert year.runs[f"task.{name}"] == [at for at in begun if at < year.end], name
        assert year.told[f"task.{name}"] == [], name


@cache
def outages(zone: ZoneInfo) -> tuple[tuple[float, float], ...]:
    """Times without a daemon: the nights in which the clocks are moved, the leap day, and three weeks of summer."""
    nights = [(midnight(day, zone), midnight(day, zone) + 12 * 3_600) for day in changes(zone)]
    leap, june = midnight(date(2028, 2, 29), zone), midnight(date(2028, 6, 3), zone)
    return tuple(sorted([*nights, (leap, leap + DAY), (june, june + 21 * DAY)]))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("zone", [NEW_YORK, LORD_HOWE], ids=str)
async def test_what_was_due_without_a_daemon_is_made_up_for_once_or_left_out(
    shared: SharedHelpers, zone: ZoneInfo
) -> None:
    year = Year(shared, zone, diligent=True)
    year.asleep = list(outages(zone))
    await year.live()
    made_up, ends = 0, {until for _, until in outages(zone)}
    for name in RUNS:
        table = TASKS[name]
        begun: list[float] = []
        for due in expected(table["schedule"], zone):
            starts = seen(due, zone)
            while "window" in table and starts != (starts := seen(window_opens(starts, zone), zone)):
                pass  # the window may open while there is no daemon
            too_late = not table.get("catch_up", True) and starts > due + seconds(table.get("grace", "1h"))
            if year.begin < due and starts < year.end and not too_late and starts not in begun:
                begun.append(starts)
                made_up += starts != due
        # So many are due at once after three weeks that some wait for others.
        waited = [begins - at for begins, at in zip(year.runs[f"task.{name}"], begun, strict=True)]
        assert all(0 <= wait < 60 and (not wait or at in ends) for wait, at in zip(waited, begun, strict=True)), name
    assert made_up > 20


def seen(at: float, zone: ZoneInfo) -> float:
    """When a daemon notices what comes at that time."""
    return next((until for since, until in outages(zone) if since <= at < until), at)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("zone", [NEW_YORK, LORD_HOWE], ids=str)
async def test_people_are_told_at_once_of_what_became_due_without_a_daemon(
    shared: SharedHelpers, zone: ZoneInfo
) -> None:
    year = Year(shared, zone, diligent=False)
    year.asleep = list(outages(zone))
    await year.live()
    # Who does what is due every week late does it for all the weeks before: only what comes in few months is reckoned.
    rare = [name for name in PEOPLE if "schedule" in TASKS[name] and "*" not in TASKS[name]["schedule"].split()[2:4]]
    for name in rare:
        stands: dict[float, Severity] = {}
        for kind, severity, at in told_of(name, year):
            stands[seen(at, zone)] = Severity.OK if kind is EventKind.RESOLVED else severity
        assert [
            (at, Severity.OK if kind is EventKind.RESOLVED else severity)
            for kind, severity, at in year.told[f"task.{name}"]
        ] == [
            (at, now) for (_, before), (at, now) in pairwise([(0.0, Severity.OK), *stands.items()]) if before or now
        ], name
    assert len(rare) > 15


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_the_year_has_all_that_is_odd_about_calendars(zone: ZoneInfo) -> None:
    daily = expected(TASKS["backup-production"]["schedule"], zone)
    local = [datetime.fromtimestamp(at, zone) for at in daily]
    skipped = {NEW_YORK: [(3, 12, 3, 0)], LORD_HOWE: [(10, 1, 2, 30)], ZoneInfo("Europe/Berlin"): [(3, 26, 3, 0)]}
    odd = [(at.month, at.day, at.hour, at.minute) for at in local if (at.hour, at.minute) != (2, 0)]
    assert odd == skipped.get(zone, [])
    assert datetime(2028, 2, 29, 2, tzinfo=zone) in local
    gaps = {(after - before) / 3_600 for before, after in pairwise(daily)}
    moved = {NEW_YORK: {23, 25}, ZoneInfo("Europe/Berlin"): {23, 25}, LORD_HOWE: {23.5, 24.5}}
    assert gaps == {24} | moved.get(zone, set())
    assert len(daily) == 371


def is_last(day: date) -> bool:
    """Whether it is the last day of its month."""
    return (day + timedelta(days=1)).day == 1


RARE: dict[str, Callable[[date], bool]] = {
    "0 9 29 2 *": lambda day: (day.month, day.day) == (2, 29),
    "0 9 31 * *": lambda day: day.day == 31,
    "0 9 L * *": is_last,
    "*-*~01 09:00": is_last,
    "*-02~01 09:00": lambda day: day.month == 2 and is_last(day),
    "0 9 * * 2#1": lambda day: day.weekday() == 1 and day.day <= 7,
    "0 9 * * 1#5": lambda day: day.weekday() == 0 and day.day > 28,
    "Tue *-*-08..14 09:00": lambda day: day.weekday() == 1 and 8 <= day.day <= 14,
    "Sun *-3,10-01..07 09:00": lambda day: day.weekday() == 6 and day.month in (3, 10) and day.day <= 7,
}


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("schedule", RARE)
async def test_ends_of_months_leap_days_and_the_nth_weekday(
    shared: SharedHelpers, schedule: str, zone: ZoneInfo
) -> None:
    text = f'[task.x]\nschedule = "{schedule}"\n[watchd]\ntimezone = "{zone.key}"\n'
    probe: Any = loads(text, "x").probes["task.x"]
    at, due = midnight(date(2027, 1, 1), zone), []
    while len(due) < 9:
        due.append(at := await probe.due(at, shared))
    days_ = (date(2027, 1, 1) + timedelta(days=number) for number in range(40 * 366))
    nines = (instant(datetime(day.year, day.month, day.day, 9), zone) for day in days_ if RARE[schedule](day))  # noqa: DTZ001
    assert due == list(islice(nines, 9))


@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_a_time_that_comes_twice_is_due_once_and_every_half_hour_is_every_half_hour(
    shared: SharedHelpers, zone: ZoneInfo
) -> None:
    text = f'[watchd]\ntimezone = "{zone.key}"\n[task.once]\nschedule = "45 1 * * *"\n'
    probes: Any = loads(text + '[task.often]\nschedule = "*/30 * * * *"\n', "x").probes
    for day in changes(zone) or [FIRST]:
        begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        first = instant(datetime(day.year, day.month, day.day, 1, 45), zone)  # noqa: DTZ001
        assert await probes["task.once"].due(begin, shared) == first
        assert await probes["task.once"].due(first, shared) >= end
        at, often = begin - 1, []
        while (at := await probes["task.often"].due(at, shared)) < end:
            often.append(at)
        assert often == [begin + 1_800 * number for number in range(int(end - begin) // 1_800)]
