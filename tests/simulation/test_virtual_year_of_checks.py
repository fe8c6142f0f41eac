"""A virtual year of etc/: jobs that report, what ends on a day, follow-ups, canaries, and what is to be read again.

The real desks and checks; only the time is a number. What is expected is reckoned anew by ``calendar_year``.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.runtime.test_canary import Field
from tests.runtime.test_follow_ups import World, planned
from tests.simulation.calendar_year import (
    DAY,
    ETC,
    FIRST,
    LAST,
    LORD_HOWE,
    NEW_YORK,
    ZONES,
    changes,
    checks_of_type,
    configured,
    days,
    expected,
    midnight,
    seconds,
)
from wcr_watchd.config.load import load
from wcr_watchd.core import engine
from wcr_watchd.core.follow_up import end_of_day
from wcr_watchd.core.heartbeat import Book, Door, HeartbeatState, Ping, PingKind
from wcr_watchd.core.model import EventKind, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.setup import Canary
from wcr_watchd.core.state import State
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.canary import Canaries
from wcr_watchd.runtime.pings import PingDesk

HOUR = 3_600.0
RETRY = 10.0
"""Seconds after which a run that failed is tried again, by the defaults of etc/."""
TOOK = 600.0
"""Seconds after it was due at which a job has run."""
JOBS = checks_of_type("heartbeat")

Told = tuple[EventKind, Severity, float]


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


class Watch:
    """A clock, and the engine that judges some checks of etc/ by it."""

    def __init__(self, shared: SharedHelpers, zone: ZoneInfo) -> None:
        self.loaded = configured(zone)
        self.shared = shared
        self.zone = zone
        self.state = State()
        self.at = self.begin = midnight(FIRST, zone)
        self.end = midnight(LAST + timedelta(days=1), zone)
        self.told: dict[str, list[Told]] = defaultdict(list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def judge(self, check: str) -> None:
        """Run a check, and again as the scheduler does until a failure is confirmed."""
        for again in range(4):
            run = Run(check, "here", self.at + again * RETRY, 10.0, self.monotonic, self.shared)
            seen = await self.loaded.probes[check].run(run)
            decision = engine.observe(self.loaded.setup, self.state, seen, run.started)
            engine.apply(self.state, decision)
            for event in decision.events:
                if event.kind in (EventKind.OPENED, EventKind.RAISED, EventKind.LOWERED, EventKind.RESOLVED):
                    self.told[check].append((event.kind, event.severity, run.started))


def same(told: list[Told], wanted: list[Told]) -> bool:
    """Whether this was told and nothing else, each at its time or as soon as it was confirmed."""
    return [one[:2] for one in told] == [one[:2] for one in wanted] and all(
        0 <= one[2] - other[2] <= 3 * RETRY for one, other in zip(told, wanted, strict=True)
    )


# --- jobs that report -------------------------------------------------------------------------------------------------


class Jobs(Watch):
    """Jobs that report by themselves: each when it is due and has run, but for those times that it ``misses``."""

    def __init__(self, shared: SharedHelpers, zone: ZoneInfo) -> None:
        super().__init__(shared, zone)
        self.book = shared.get(Book)
        self._soon: set[str] = set()
        self.desk = PingDesk(self.book, self, self, shared, str, lambda check, delay: self._soon.add(check))
        self.desk.replace({name: self.loaded.probes[name] for name in JOBS})

    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        self.book.states[(state.check, state.job)] = state

    async def flush(self) -> bool:
        return True

    async def live(self) -> None:
        calls = sorted((at + TOOK, name) for name in JOBS for at in [self.begin, *reports(name, self.zone)])
        for at, name in [*calls, (self.end, "")]:
            while (edge := min(self.desk._deadlines.values())) < at:
                self.at = max(self.at, edge)
                await self._judged()
            self.at = at
            if name:
                await self.desk.take(Door(name), Ping(PingKind.SUCCESS, method="POST"))
                await self._judged()

    async def _judged(self) -> None:
        await self.desk._pass_deadlines()
        for check in sorted(self._soon):
            await self.judge(check)
        self._soon.clear()


def misses(name: str, zone: ZoneInfo) -> list[float]:
    """The times at which a job was due and did not run: every third, and those of odd days where it comes each day."""
    due = [at for at in expected(JOBS[name]["schedule"], zone) if at > midnight(FIRST, zone) + TOOK]
    odd = {*changes(zone), date(2028, 2, 29)} if len(due) > 300 else set()
    return [at for number, at in enumerate(due) if number % 3 == 1 or datetime.fromtimestamp(at, zone).date() in odd]


def reports(name: str, zone: ZoneInfo) -> list[float]:
    """The times at which it was due and ran."""
    missed = misses(name, zone)
    due = expected(JOBS[name]["schedule"], zone)
    return [at for at in due if at not in missed and at > midnight(FIRST, zone) + TOOK]


def silence_of(name: str, zone: ZoneInfo, end: float) -> Iterator[Told]:
    """What should be told of a job that missed these times: its silence after the grace, and when it is heard again."""
    grace, ran = seconds(JOBS[name]["grace"]), [at + TOOK for at in reports(name, zone)]
    heard = midnight(FIRST, zone)
    for at in misses(name, zone):
        if at + grace < heard:
            continue  # it is down already
        heard = next((after for after in ran if after > at), float("inf"))
        yield EventKind.OPENED, Severity.WARNING, at + grace
        yield EventKind.RESOLVED, Severity.WARNING, heard


@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_a_job_that_does_not_report_is_told_of_after_its_grace_by_the_local_clocks(
    shared: SharedHelpers, zone: ZoneInfo
) -> None:
    year = Jobs(shared, zone)
    await year.live()
    for name in JOBS:
        wanted = [one for one in silence_of(name, zone, year.end) if one[2] < year.end]
        assert same(year.told[name], wanted), name
    assert len(JOBS) >= 12
    assert sum(map(len, year.told.values())) > 1_000


# --- what ends on a day -----------------------------------------------------------------------------------------------


def utc(day: date) -> float:
    """When a day begins in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


ENDING = checks_of_type("expiry")
LEADS = {"key": (30, 14, 0), "password": (30, 14, 0)}
"""Days before its end at which an info, a warning and an alarm come, as docs/probes/expiry.md has them."""


def severities(table: dict[str, Any]) -> Iterator[tuple[date, str, Severity]]:
    """From which day on what of it is how bad, by the calendar."""
    ends = date.fromisoformat(table["expires"])
    for lead, severity in zip(LEADS.get(table["kind"], (60, 30, 7)), list(Severity)[1:], strict=True):
        yield ends - timedelta(days=lead), "end", severity
    if "cancel_by" in table:
        over = date.fromisoformat(table["cancel_by"]) + timedelta(days=1)
        yield over - timedelta(days=30), "notice", Severity.WARNING
        yield over, "notice", Severity.OK
    if "created" in table:
        old = date.fromisoformat(table["created"]) + timedelta(days=int(table["rotate_after"][:-1]))
        yield old, "rotation", Severity.INFO


@pytest.mark.parametrize("check", sorted(ENDING))
async def test_what_ends_on_a_day_is_told_before_it_by_the_calendar(shared: SharedHelpers, check: str) -> None:
    watch = Watch(shared, NEW_YORK)
    first, last = FIRST - timedelta(days=60), LAST + timedelta(days=1)
    watch.at = utc(first)
    while watch.at < utc(last):
        await watch.judge(check)
        watch.at += 2 * HOUR
    wanted: list[Told] = []
    stands: dict[str, Severity] = {}
    for day, what, severity in sorted(severities(ENDING[check])):
        before = stands.get(what, Severity.OK)
        stands[what] = severity
        kind = EventKind.OPENED if before is Severity.OK else EventKind.RAISED
        if severity is Severity.OK:
            wanted.append((EventKind.RESOLVED, before, utc(day)))
        elif first <= day < last:
            wanted.append((kind, severity, utc(day)))
    assert same(watch.told[check], wanted), (watch.told[check], wanted)
    assert len(wanted) >= 3


# --- what people write down -------------------------------------------------------------------------------------------


class Reminders(World):
    """The world of follow-ups, with what is opened in it at its time."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__()
        self.setup = replace(self.setup, timezone=zone.key)
        self.told: list[tuple[float, str]] = []

    def trouble(self, subject: str, finding: Any, confirmed: str) -> None:
        if subject not in self.open:
            self.told.append((self.at, finding.severity.word))
        super().trouble(subject, finding, confirmed)


ODD = [date(2028, 2, 28), date(2028, 2, 29), date(2028, 1, 31), date(2028, 4, 30), date(2028, 12, 31)]
MIDNIGHTS = (*ZONES, ZoneInfo("America/Santiago"))
"""In Chile the clocks are moved at midnight: the 3rd of September begins at one."""


@pytest.mark.parametrize("zone", MIDNIGHTS, ids=str)
async def test_follow_ups_are_due_at_the_end_of_their_local_day(zone: ZoneInfo) -> None:
    moved = [day + timedelta(days=back) for day in changes(zone) for back in (-1, 0)]
    for day in [*ODD, *moved]:
        ends = midnight(day + timedelta(days=1), zone)
        world = Reminders(zone)
        world.at = ends - 10 * DAY
        desk = world.desk()
        await desk.add(planned(due=end_of_day(day.isoformat(), zone.key), at=world.at))
        for world.at in [ends + offset for offset in (-DAY - 60, -DAY, -60, 0, DAY)]:
            await desk.look()
        assert world.told == [(ends - DAY, "info"), (ends, "warning")], day
        # Who was away over that midnight is told as soon as there is a daemon again.
        world.open.clear()
        world.told.clear()
        world.at = ends + 9 * HOUR
        await world.desk().look()
        assert world.told == [(world.at, "warning")], day


def test_what_is_written_down_is_to_be_read_again_by_the_calendar(tmp_path: Path) -> None:
    """Read on New Year's Eve, and on the leap day: vendors and risks again after 90 days, all else after 180."""
    for read in (date(2027, 12, 31), date(2028, 2, 29)):
        folder = tmp_path / read.isoformat()
        shutil.copytree(ETC.parent / "knowledge", folder)
        for file in folder.rglob("*.md"):
            file.write_text(file.read_text().replace("+++\n", f"+++\nreviewed = {read}\n", 1))
        (tmp_path / "watchd.toml").write_text(f'[knowledge]\nfolder = "{folder}"\n')
        book = load(tmp_path / "watchd.toml").setup.knowledge
        first: dict[str, date] = {}
        for day in days():
            for one in book.late(utc(day)):
                first.setdefault(one.name, day)
        often = [file.stem for kind in ("vendors", "risks") for file in (folder / kind).glob("*.md")]
        due = {name: read + timedelta(days=90 if name in often else 180) for name in book.entries}
        assert first == due
        assert len(often) >= 9


@pytest.mark.parametrize("every", [DAY, 7 * DAY])
@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_canaries_come_all_the_year_while_people_are_up(zone: ZoneInfo, every: float) -> None:
    field, at = Field(), midnight(FIRST, zone)
    begin, end = at, midnight(LAST + timedelta(days=1), zone)
    field.setup = replace(field.setup, timezone=zone.key)
    sent: list[float] = []

    async def send(who: Any, message: Any) -> Any:
        sent.append(at)

    def canaries() -> Canaries:
        return Canaries(lambda: {"slack": Canary(every)}, field, send, lambda: at, field.counters)

    life = canaries()
    for _ in range(1_000):
        await life.look()
        at = life._due["slack"][1]
        if at >= end:
            break
    # Every 24 h (7 d) from ten o'clock of the first of January of 2024 on, whatever the clocks say.
    tens = [midnight(date(2024, 1, 1), zone) + 10 * HOUR + number * every for number in range(3_000)]
    assert sent == [ten for ten in tens if begin < ten < end]
    shown = {datetime.fromtimestamp(when, zone).strftime("%H:%M") for when in sent}
    summer = {NEW_YORK: "11:00", ZoneInfo("Europe/Berlin"): "11:00", LORD_HOWE: "09:30"}
    assert shown == {"10:00", summer.get(zone, "10:00")}
    # One that was due without a daemon is not made up for: the next one comes at its time.
    life, at, known = canaries(), tens[900] + HOUR, len(sent)
    await life.look()
    assert (len(sent), life._due["slack"][1]) == (known, tens[901])
