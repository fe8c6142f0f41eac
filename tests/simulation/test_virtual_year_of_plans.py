"""A virtual year of etc/: windows are announced, begin and end, people hand over, and reports are of whole local times.

The real watches and the real reporter; only the time is a number, and no report is written. What is expected is
reckoned anew by ``calendar_year``.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
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
    midnight,
    weekly,
)
from wcr_watchd.core.announcements import announcements, edges, next_edge, next_notice
from wcr_watchd.core.on_call import turns
from wcr_watchd.core.report import Audience, Document, Wanted
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State
from wcr_watchd.runtime import reports
from wcr_watchd.runtime.duty import DutyWatch
from wcr_watchd.runtime.reports import Records, Reporter
from wcr_watchd.runtime.windows import WindowWatch


class Hands:
    """A clock that is set, and what the watches of windows and of duties ask for."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.loaded = configured(zone)
        self.setup: Setup = self.loaded.setup
        self.state = State()
        self.at = self.begin = midnight(FIRST, zone)
        self.end = midnight(LAST + timedelta(days=1), zone)
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


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_windows_are_announced_and_kept_by_the_local_clocks(zone: ZoneInfo) -> None:
    hands = Hands(zone)
    watch = WindowWatch(hands, hands, hands.begin)
    while hands.at < hands.end:
        watch.look()
        following = [next_notice(hands.setup, hands.at), next_edge(hands.setup, hands.at)]
        hands.at = min(at for at in following if at is not None)
    starts = weekly(1, 3, zone, LAST + timedelta(days=8))
    notices = sorted(
        (start - before, f"maintenance weekly begins in {word}: ")
        for start in starts
        for before, word in ((7 * DAY, "7 d"), (DAY, "1 d"), (3_600.0, "1 h"))
        if hands.begin < start - before < hands.end
    )
    assert [(at, said[: said.index(": ") + 2]) for at, said in hands.notices] == notices
    # On a Tuesday no clock is changed, so that each of them has its two hours.
    spans = [(at, begins) for start in starts for at, begins in ((start, True), (start + 7_200, False))]
    assert hands.edges == [(at, begins) for at, begins in spans if at < hands.end]
    # Announced a week before, by the clocks that hold then: across a change the notice comes earlier or later.
    clocks = {f"{datetime.fromtimestamp(at, zone):%H:%M}" for at, said in hands.notices if "in 7 d" in said}
    hours = {"03:00", "02:00", "04:00"} if zone != LORD_HOWE else {"03:00", "02:30", "03:30"}
    assert clocks == (hours if changes(zone) else {"03:00"})


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_people_hand_over_at_nine_by_the_local_clocks(zone: ZoneInfo) -> None:
    hands = Hands(zone)
    watch = DutyWatch(hands, hands, hands.begin)
    while hands.at < hands.end:
        watch.look()
        hands.at = turns(hands.setup.on_call["ops"], hands.at, hands.at + 14 * DAY)[0].end
    mondays = weekly(0, 9, zone, LAST + timedelta(days=8))
    assert [at for at, _, _ in hands.turns] == [at for at in mondays if at < hands.end]
    assert [until for _, _, until in hands.turns] == mondays[1 : len(hands.turns) + 1]
    people = [who for _, who, _ in hands.turns]
    assert set(people) == {("lead",), ("second",)}
    assert all(before != after for before, after in pairwise(people))


def test_a_daemon_that_comes_back_hands_over_once_and_acts_on_edges_that_passed() -> None:
    """Away over the spring night, from Sunday to Tuesday 04:00: a hand-over, and the beginning of a window."""
    hands = Hands(NEW_YORK)
    sunday, tuesday = midnight(date(2028, 3, 12), NEW_YORK), midnight(date(2028, 3, 14), NEW_YORK)
    hands.at = tuesday + 4 * 3_600
    duty, windows = DutyWatch(hands, hands, sunday), WindowWatch(hands, hands, sunday)
    for _ in range(2):
        duty.look()
        windows.look()
        hands.at += 60
    nine = next(at for at in weekly(0, 9, NEW_YORK) if at > tuesday)
    assert [(at, until) for at, _, until in hands.turns] == [(tuesday + 4 * 3_600, nine)]
    assert hands.edges == [(tuesday + 3 * 3_600, True)]
    # The one of the week after was to be announced at three; the one that has begun is not announced any more.
    assert [said[: said.index(":")] for _, said in hands.notices] == ["maintenance weekly begins in 6 d 23 h"]


class Shelf:
    """Keeps no report."""

    async def reports(self, limit: int) -> list[Any]:
        return []

    async def commit(self, batch: object) -> None:
        pass


class Desk(Hands):
    """The reporter by that clock, which notes what it is to write."""

    def __init__(self, zone: ZoneInfo, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(zone)
        self.written: list[tuple[float, Wanted]] = []

        async def write(wanted: Wanted) -> Document:
            self.written.append((self.at, wanted))
            span = {"since": wanted.since, "until": wanted.until}
            return Document(wanted.name, wanted.kind, wanted.audience, "", "", made_at=self.at, **span)

        monkeypatch.setattr(reports, "_written", write)
        self.start(self.begin)

    def start(self, since: float) -> None:
        """Begin a life of the daemon, the last one of which was seen then."""
        records, here = Records(Shelf(), Path("nowhere")), self  # type: ignore[arg-type]
        self.reporter = Reporter(lambda: self.loaded.reports, dict, here, records, self, self.now, since)

    def report_is_written(self, report: str) -> None:
        pass

    def report_fails(self, report: str, why: str) -> None:
        raise AssertionError(why)

    def owe(self, owed: object) -> None:
        pass

    async def live(self, until: float) -> None:
        while self.at < until:
            await self.reporter.look()
            self.at = min(at for _, at in self.reporter._due.values())

    def came(self, name: str) -> list[tuple[float, Wanted]]:
        return [(at, one) for at, one in self.written if one.name == name]


SCHEDULES = {"monthly": "0 9 1 * *", "stakeholders": "30 9 1 * *", "drill": "0 9 1 1,4,7,10 *"}


@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_reports_come_by_the_local_clocks_and_are_of_whole_local_times(
    zone: ZoneInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(zone, monkeypatch)
    await desk.live(desk.end)
    assert [at for at, _ in desk.came("weekly")] == weekly(0, 9, zone)
    for name, schedule in SCHEDULES.items():
        assert [at for at, _ in desk.came(name)] == expected(schedule, zone), name
    for at, one in desk.came("weekly"):
        today = datetime.fromtimestamp(at, zone).date()
        mondays = [midnight(today - timedelta(days=back), zone) for back in (14, 7, 0)]
        assert [one.before, one.since, one.until] == mondays
    spans = {(one.until - one.since) / DAY * 24 - 168 for _, one in desk.came("weekly")}
    moved = 0.5 if zone == LORD_HOWE else 1
    assert spans == ({0, -moved, moved} if changes(zone) else {0})
    firsts = [midnight(date(2027, 12, 1), zone), *(midnight(date(2028, month, 1), zone) for month in range(1, 13))]
    months = [(one.since, one.until) for _, one in desk.came("monthly")]
    assert months == list(pairwise(firsts))
    assert months[2][1] - months[2][0] == 29 * DAY
    quarters = [midnight(date(2027, 10, 1), zone), *(firsts[month] for month in (1, 4, 7, 10))]
    assert [(one.since, one.until) for _, one in desk.came("drill")] == list(pairwise(quarters))
    rehearsed = ("restore-by-hand", "procedure-validation", "recovery-drill", "full-system-test")
    assert tuple(desk.came("drill")[0][1].rehearsable.tasks) == tuple(f"task.{name}" for name in rehearsed)
    assert [one.audience for _, one in desk.came("stakeholders")] == [Audience.STAKEHOLDERS] * 12


async def test_reports_that_were_due_without_a_daemon_come_once_of_the_last_whole_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Away from the 25th of February to the 30th of March: five weeks, the leap day, and the change of the clocks."""
    desk = Desk(NEW_YORK, monkeypatch)
    gone, back = midnight(date(2028, 2, 25), NEW_YORK), midnight(date(2028, 3, 30), NEW_YORK) + 8 * 3_600
    await desk.live(gone)
    desk.at, known = back, len(desk.written)
    desk.start(gone)
    await desk.reporter.look()
    await desk.reporter.look()
    made_up = [(at, one.name, one.since, one.until) for at, one in desk.written[known:]]
    february = midnight(date(2028, 2, 1), NEW_YORK), midnight(date(2028, 3, 1), NEW_YORK)
    week = midnight(date(2028, 3, 20), NEW_YORK), midnight(date(2028, 3, 27), NEW_YORK)
    assert made_up == [
        (back, "weekly", *week),
        (back, "monthly", *february),
        (back, "stakeholders", *february),
    ]
