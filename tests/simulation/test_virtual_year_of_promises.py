"""A virtual year of etc/: error budgets over thirty days, months of the calendar and of a bill, and heartbeats out.

The real watches; only the time and the records are numbers. What is expected is reckoned anew by the calendar.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.simulation.calendar_year import DAY, FIRST, LAST, LORD_HOWE, NEW_YORK, ZONES, configured, instant, midnight
from wcr_watchd.core.life import Finding
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.setup import OWN, Heartbeat
from wcr_watchd.core.state import State
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.core.view import Counters
from wcr_watchd.runtime import heartbeat
from wcr_watchd.runtime.heartbeat import Heartbeats
from wcr_watchd.runtime.objectives import ObjectiveWatch

HOUR, MINUTE = 3_600.0, 60.0
OUT, LASTS = 20, 50 * MINUTE
"""On this day of each month, at noon, it is down for longer than 99.9 % of any month allow."""
CHECK = "site"


class LoopClock:
    """The loop's own time, which looptime makes virtual; a hundred times as fast, as it stands still after months."""

    FASTER = 100.0

    def now(self) -> float:
        return midnight(FIRST, NEW_YORK) + self.monotonic()

    def monotonic(self) -> float:
        return self.FASTER * asyncio.get_running_loop().time()


class Year:
    """The watch over objectives of etc/ through that year, with the records of a check that is down as planned here."""

    def __init__(self, zone: ZoneInfo, objective: Objective) -> None:
        setup = configured(zone).setup
        self.zone, self.objective = zone, objective
        self.setup = replace(setup, objectives={objective.name: objective})
        self.state = State()
        self.at = midnight(FIRST, zone)
        self.told: list[tuple[str, float]] = []
        self.over: list[tuple[str, float]] = []
        self.watch = ObjectiveWatch(self, self, self)  # type: ignore[arg-type]
        every_month = (date(year, month, OUT) for year in (2027, 2028) for month in range(1, 13))
        self.outages = [instant(datetime(day.year, day.month, day.day, 12), zone) for day in every_month]  # noqa: DTZ001
        days = (FIRST + timedelta(days=number) for number in range(-60, 372))
        tuesdays = (day for day in days if day.weekday() == 1)
        # What the weekly maintenance takes down is planned: half an hour of its two.
        self.work = [instant(datetime(day.year, day.month, day.day, 3), zone) for day in tuesdays]  # noqa: DTZ001

    def now(self) -> float:
        return self.at

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        opened = self.state.by_check.setdefault(OWN.name, {})
        if subject not in opened:
            self.told.append((subject.removeprefix(f"objective {self.objective.name} "), self.at))
        opened[subject] = 1

    def trouble_over(self, subject: str, why: str) -> None:
        if self.state.by_check.get(OWN.name, {}).pop(subject, None):
            self.over.append((subject.removeprefix(f"objective {self.objective.name} "), self.at))

    async def outcomes(
        self, name: str, *, since: float, until: float, fine: bool = False, cuts: Iterable[float] = ()
    ) -> Sequence[Outcomes]:
        return list(self._outcomes(since, until))

    def _outcomes(self, since: float, until: float) -> Iterator[Outcomes]:
        """A run a minute."""
        at = since
        for start, length in sorted([*((one, LASTS) for one in self.outages), *((one, HOUR / 2) for one in self.work)]):
            for end, up in ((min(start, until), True), (min(start + length, until), False)):
                if end > at:
                    runs = max(1, round((end - at) / MINUTE))
                    yield Outcomes(at, end - at, runs * up, runs * (not up), 0)
                    at = end
        if until > at:
            yield Outcomes(at, until - at, max(1, round((until - at) / MINUTE)), 0, 0)

    def lost(self, since: float) -> float:
        """Seconds of outage from then until now."""
        return sum(max(0.0, min(self.at, one + LASTS) - max(since, one)) for one in self.outages)

    def month(self, begins: int) -> tuple[float, float]:
        """When the month that goes on began and ends, by the days of the calendar."""
        first = datetime.fromtimestamp(self.at, self.zone).date()
        while not _is_first(first, begins):
            first -= timedelta(days=1)
        last = first + timedelta(days=1)
        while not _is_first(last, begins):
            last += timedelta(days=1)
        return midnight(first, self.zone), midnight(last, self.zone)


def _is_first(day: date, begins: int) -> bool:
    return day.day == begins or (day.day < begins and (day + timedelta(days=1)).day == 1)


@pytest.mark.parametrize("begins", [0, 1, 15, 31])
@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_budgets_are_those_of_their_periods_all_the_year(zone: ZoneInfo, begins: int) -> None:
    objective = Objective("site", (CHECK,), 0.999, month_begins=begins, timezone=zone.key)
    year = Year(zone, objective)
    year.at += 2 * HOUR + 10 * MINUTE  # never at a midnight, whatever the clocks are moved by
    first, end = year.at, midnight(LAST + timedelta(days=1), zone)
    begun: list[float] = []
    while year.at < end:
        since, until = year.month(begins) if begins else (year.at - 30 * DAY, year.at)
        begun += [since] if since not in begun[-1:] else []
        found = await year.watch.budget(objective)
        planned = sum(max(0.0, min(year.at, one + 2 * HOUR) - max(since, one)) for one in year.work)
        assert found.down == pytest.approx(year.lost(since), abs=1.0)
        assert found.left == pytest.approx(1 - found.down / (0.001 * (until - since - planned)), abs=1e-3)
        await year.watch._reckon(objective)
        year.at += 12 * HOUR
    told, over = ([at for word, at in each if word == "used up"] for each in (year.told, year.over))
    due = [max(first, one + LASTS) for one in year.outages if first - 10 * DAY < one < end]
    assert len(due) == 13
    if not begins:  # what happened on the 20th leaves the last thirty days before the next one, or just after it
        assert told[0] == first
        return
    # Once for each month, at the first look after it, and over at the first look of the next month.
    assert all(0 <= at - one < 12 * HOUR for at, one in zip(told, due, strict=True))
    renewed = [min((one for one in begun if one > at), default=end) for at in told]
    assert all(0 <= at - one < 12 * HOUR for at, one in zip(over, renewed, strict=False))
    assert len(over) == sum(one < end for one in renewed)


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_days_of_a_month_are_local_ones(zone: ZoneInfo) -> None:
    objective = Objective("site", (CHECK,), 0.999, month_begins=15, timezone=zone.key)
    edges = objective.days(instant(datetime(2028, 4, 14, 18), zone))  # noqa: DTZ001
    local = [datetime.fromtimestamp(at, zone) for at in edges]
    assert [f"{at:%m-%d %H:%M}" for at in local[:2]] == ["03-15 00:00", "03-16 00:00"]
    assert f"{local[-1]:%m-%d %H:%M}" == "04-14 18:00"
    assert len(edges) == 32
    assert {f"{at:%H:%M}" for at in local[:-1]} == {"00:00"}
    whole = sum(after - before != DAY for before, after in pairwise(edges[:-1]))
    assert whole == (1 if zone in (ZoneInfo("Europe/Berlin"), LORD_HOWE) else 0), "the clocks are moved on one of them"


@pytest.mark.looptime
async def test_heartbeats_go_out_all_the_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the monotonic clock: whatever the clocks on the wall are moved by, none is late and none comes twice."""
    clock, sent = LoopClock(), dict[str, list[float]](often=[], daily=[])

    async def knock(one: Heartbeat, shared: object) -> None:
        sent[one.url].append(clock.monotonic())

    monkeypatch.setattr(heartbeat, "_send", knock)
    monkeypatch.setattr(heartbeat, "LOOK_EVERY", 6 * HOUR / clock.FASTER)
    wanted = {"often": Heartbeat("often", 12 * HOUR), "daily": Heartbeat("daily", DAY)}
    counters = Counters()
    serving = Heartbeats(lambda: wanted, lambda: True, clock, None, counters)  # type: ignore[arg-type]
    begun, days = clock.monotonic(), (LAST - FIRST).days + 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout((days * DAY - HOUR) / clock.FASTER):
            await serving.serve()
    for name, one in wanted.items():
        beats = [begun + number * one.every for number in range(int(days * DAY / one.every))]
        assert sent[name] == pytest.approx(beats, abs=1.0), "none is late, and none is missing"
        assert counters.heartbeats[name].sent == len(beats)
