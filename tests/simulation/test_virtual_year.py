"""A virtual year of etc/: all that recurs in it falls when it should, by the local clocks.

From the end of 2027 to the end of 2028: both changes of the clocks and a leap day. Tasks are reminded of, run and
overdue, those too that the daemon makes for its contacts; windows are announced, begin and end; people hand over;
reports are written of whole local weeks, months and quarters. The real desk, the real check of each task and the real
engine; only the time is a number, and the programs are not run. What is expected is worked out anew here, day by day of
the local calendar, without the library that the daemon uses.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.config.load import Loaded, loads
from wcr_watchd.core import engine
from wcr_watchd.core.announcements import announcements, edges, next_edge, next_notice
from wcr_watchd.core.model import EventKind, Severity
from wcr_watchd.core.on_call import turns
from wcr_watchd.core.report import Audience, Document, Wanted
from wcr_watchd.core.run import Run
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.task import TaskBook, TaskCommand, TaskOutcome, TaskRecord, TaskState
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime import reports, task_desk
from wcr_watchd.runtime.duty import DutyWatch
from wcr_watchd.runtime.reports import Records, Reporter
from wcr_watchd.runtime.task_desk import TaskDesk
from wcr_watchd.runtime.task_run import Attempt, RunEnd
from wcr_watchd.runtime.windows import WindowWatch

ETC = Path(__file__).parents[2] / "etc" / "conf.d"
ZONE = ZoneInfo("America/New_York")
FIRST, LAST = date(2027, 12, 27), date(2028, 12, 31)
DAY = 86_400.0
IN_TIME, LATE = 60.0, 2 * DAY
"""Seconds before it is due, and after the end of its grace, at which a person does it."""


def shipped() -> dict[str, dict[str, Any]]:
    """The tables of all tasks of etc/, those that are off as well, and those that the daemon makes for its contacts."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(ETC.glob("*.toml")):
        written = tomllib.loads(file.read_text())
        for name, table in written.get("task", {}).items():
            found[name] = {key: value for key, value in table.items() if key != "enabled"}
        if (asked := written.get("contacts")) is not None:
            of_a_contact = {"period": asked["verify_every"], "grace": "14d", "remind": "7d"}
            found |= {f"verify-{contact}": of_a_contact for contact in written["contact"]}
    return found


TASKS = shipped()
PEOPLE = sorted(name for name, table in TASKS.items() if "run" not in table)
RUNS = sorted(name for name, table in TASKS.items() if "run" in table)


def configured() -> Loaded:
    """All of etc/, with what is off turned on, as one text; secrets are made up."""
    main = (ETC.parent / "watchd.toml").read_text().replace('include = ["conf.d/*.toml"]\n', "")
    text = "\n".join([main, *(file.read_text() for file in sorted(ETC.glob("*.toml")))])
    text = text.replace("${credential:slack_webhook}", "https://hooks.example/secret")
    text = re.sub(r"(dsn = \")\$\{credential:\w+\}", r"\1postgresql://watch@db.example/wcr", text)
    text = re.sub(r"\$\{credential:\w+\}", "a-secret-of-some-length", text)
    return loads(text.replace("enabled = false\n", ""), "etc")


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


def dues(table: dict[str, Any], begin: float, end: float, late: float) -> list[float]:
    """When a task for people is due from ``begin`` on, who do it so many seconds late (early: negative)."""
    if "schedule" in table:
        return [due for due in expected(table["schedule"], LAST + timedelta(days=60)) if due > begin]
    found = []
    done = begin  # one that was never done counts from the day on which it was written down
    while done < end:
        found.append(done + seconds(table["period"]))
        done = found[-1] + late
    return found


def told_of(name: str, begin: float, end: float, *, diligent: bool) -> list[tuple[EventKind, Severity, float]]:
    """What should be told of a task for people, from its reminders on."""
    table = TASKS[name]
    remind, grace = seconds(table.get("remind", "1d")), seconds(table.get("grace", "1d"))
    late = -IN_TIME if diligent else grace + LATE
    found = []
    for due in dues(table, begin, end, late):
        found.append((EventKind.OPENED, Severity.INFO, max(due - remind, begin)))
        if not diligent and table.get("warning") != []:
            found.append((EventKind.RAISED, Severity.WARNING, due + grace))
        was = Severity.INFO if diligent or table.get("warning") == [] else Severity.WARNING
        found.append((EventKind.RESOLVED, was, due + late))
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


# --- windows, hand-overs and reports ----------------------------------------------------------------------------------


class Hands:
    """A clock that is set, and what the watches of windows and of duties ask for."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.state = State()
        self.at = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE).timestamp()
        self.notices: list[tuple[float, str]] = []
        self.edges: list[tuple[float, bool]] = []
        self.turns: list[tuple[float, tuple[str, ...], float | None]] = []

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def pass_edges(self, since: float) -> None:
        self.notices += [(self.at, one.message.summary) for one in announcements(self.setup, since, self.at)]
        self.edges += [(edge.at, edge.begins) for edge in edges(self.setup, since, self.at)]

    def hand_over(self, schedule: str, people: tuple[str, ...], until: float | None) -> None:
        self.turns.append((self.at, people, until))


def weekly(weekday: int, hour: int, last: date = LAST) -> list[float]:
    """When it is this hour on that day of each week."""
    sunday_is_0 = (weekday + 1) % 7
    return expected(f"0 {hour} * * {sunday_is_0}", last)


def test_windows_are_announced_and_kept_by_the_local_clocks() -> None:
    hands = Hands(configured().setup)
    begin, end = hands.at, datetime(LAST.year + 1, 1, 1, tzinfo=ZONE).timestamp()
    watch = WindowWatch(hands, hands, begin)
    while hands.at < end:
        watch.look()
        following = [next_notice(hands.setup, hands.at), next_edge(hands.setup, hands.at)]
        hands.at = min(at for at in following if at is not None)
    starts = weekly(1, 3, LAST + timedelta(days=8))
    notices = sorted(
        (start - before, f"maintenance weekly begins in {word}: ")
        for start in starts
        for before, word in ((7 * DAY, "7 d"), (DAY, "1 d"), (3_600.0, "1 h"))
        if begin < start - before < end
    )
    assert [(at, said[: said.index(": ") + 2]) for at, said in hands.notices] == notices
    # On a Tuesday no clock is changed, so that each of them has its two hours.
    spans = [(at, begins) for start in starts for at, begins in ((start, True), (start + 7_200, False)) if at < end]
    assert hands.edges == spans
    # Announced a week before, by the clocks that hold then: across a change the notice comes an hour earlier or later.
    assert {datetime.fromtimestamp(at, ZONE).hour for at, said in hands.notices if "in 7 d" in said} == {2, 3, 4}


def test_people_hand_over_at_nine_by_the_local_clocks() -> None:
    hands = Hands(configured().setup)
    watch = DutyWatch(hands, hands, hands.at)
    end = datetime(LAST.year + 1, 1, 1, tzinfo=ZONE).timestamp()
    while hands.at < end:
        watch.look()
        hands.at = turns(hands.setup.on_call["ops"], hands.at, hands.at + 14 * DAY)[0].end
    mondays = weekly(0, 9, LAST + timedelta(days=8))
    assert [at for at, _, _ in hands.turns] == [at for at in mondays if at < end]
    assert [until for _, _, until in hands.turns] == mondays[1 : len(hands.turns) + 1]
    people = [who for _, who, _ in hands.turns]
    assert set(people) == {("lead",), ("second",)}
    assert all(before != after for before, after in pairwise(people))


class Shelf:
    """Keeps no report."""

    async def reports(self, limit: int) -> list[Any]:
        return []

    async def commit(self, batch: object) -> None:
        pass


def local(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, tzinfo=ZONE).timestamp()


async def test_reports_come_by_the_local_clocks_and_are_of_whole_local_times(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = configured()
    hands = Hands(loaded.setup)
    written: list[tuple[float, Wanted]] = []

    async def write(wanted: Wanted) -> Document:
        written.append((hands.at, wanted))
        return Document(
            wanted.name, wanted.kind, wanted.audience, "", "", made_at=hands.at, since=wanted.since, until=wanted.until
        )

    monkeypatch.setattr(reports, "_written", write)
    records: Any = Records(Shelf(), Path("nowhere"))  # type: ignore[arg-type]
    watch: Any = hands
    watch.report_is_written = lambda name: None
    outbox: Any = Hands
    outbox.owe = lambda owed: None
    reporter = Reporter(lambda: loaded.reports, dict, watch, records, outbox, hands.now, hands.at)
    end = datetime(LAST.year + 1, 1, 1, tzinfo=ZONE).timestamp()
    while hands.at < end:
        await reporter.look()
        hands.at = min(at for _, at in reporter._due.values())
    came = {name: [(at, one) for at, one in written if one.name == name] for name in loaded.reports}
    assert [at for at, _ in came["weekly"]] == weekly(0, 9)
    for name, schedule in (
        ("monthly", "0 9 1 * *"),
        ("stakeholders", "30 9 1 * *"),
        ("drill", "0 9 1 1,4,7,10 *"),
    ):
        assert [at for at, _ in came[name]] == expected(schedule), name
    for at, one in came["weekly"]:
        today = datetime.fromtimestamp(at, ZONE).date()
        monday = [instant(datetime.combine(today - timedelta(days=days), time())) for days in (14, 7, 0)]
        assert [one.before, one.since, one.until] == monday
    spans = {(one.until - one.since) / 3_600 for _, one in came["weekly"]}
    assert spans == {7 * 24, 7 * 24 - 1, 7 * 24 + 1}
    months = [(one.since, one.until) for _, one in came["monthly"]]
    firsts = [local(2027, 12, 1), *(local(2028, month, 1) for month in range(1, 13))]
    assert months == list(pairwise(firsts))
    assert months[2] == (local(2028, 2, 1), local(2028, 3, 1))
    assert months[2][1] - months[2][0] == 29 * DAY
    assert [(one.since, one.until) for _, one in came["drill"]] == [
        (local(2027, 10, 1), local(2028, 1, 1)),
        *((local(2028, month, 1), local(2028, month + 3, 1)) for month in (1, 4, 7)),
    ]
    rehearsed = ("restore-by-hand", "procedure-validation", "recovery-drill", "full-system-test")
    assert came["drill"][0][1].rehearsable.tasks == tuple(f"task.{name}" for name in rehearsed)
    assert [one.audience for _, one in came["stakeholders"]] == [Audience.STAKEHOLDERS] * 12
