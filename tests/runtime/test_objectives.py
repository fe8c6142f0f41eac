"""The watch over objectives, with a hand on the clock: planned maintenance, the past, and reloads in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.core.world import check
from wcr_watchd.core.burning import HOUR, times_as_fast
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.life import Finding
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.objectives import DAY, Objective
from wcr_watchd.core.setup import OWN, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.runtime.objectives import RECKON_EVERY, ObjectiveWatch

NOW = 1_790_000_000.0 // HOUR * HOUR
OBJECTIVE = Objective("api", ("api", "web"), 0.999)


class World:
    """A monitor, a store and a clock in one."""

    def __init__(self) -> None:
        self.setup = Setup("prod", "here", "UTC", "", {name: check(name) for name in ("api", "web")},
                           objectives={"api": OBJECTIVE})  # fmt: skip
        self.state = State()
        self.at = NOW
        self.told: list[tuple[str, Severity, str]] = []
        self.past: dict[str, list[Outcomes]] = {}
        self.watch = ObjectiveWatch(self, self, self)  # type: ignore[arg-type]

    def now(self) -> float:
        return self.at

    @property
    def open(self) -> set[str]:
        """What is open now: it survives a restart, as incidents do."""
        return set(self.state.by_check.get(OWN.name, {}))

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        if subject not in self.open:
            self.told.append((subject.removeprefix("objective api "), finding.severity, finding.because))
        self.state.by_check.setdefault(OWN.name, {})[subject] = 1

    def trouble_over(self, subject: str, why: str) -> None:
        self.state.by_check.get(OWN.name, {}).pop(subject, None)

    async def outcomes(
        self, name: str, *, since: float, until: float, fine: bool = False, cuts: Sequence[float] = ()
    ) -> Sequence[Outcomes]:
        return self.past.get(name, [])

    def runs(self, name: str, outcome: Outcome, count: int) -> None:
        for _ in range(count):
            self.at += 10.0
            self.watch.see(Observation(name, "here", self.at, 0.1, outcome, "", ""))

    async def look(self) -> set[str]:
        await self.watch._reconfigure()
        for objective, counts in self.watch._counts.values():
            self.watch._judge(objective, counts)
        return self.open


@pytest.fixture
def world() -> World:
    return World()


async def test_failures_open_an_incident_and_its_end_closes_it(world: World) -> None:
    assert await world.look() == set()
    world.runs("api", Outcome.UP, 30)
    world.runs("web", Outcome.DOWN, 12)
    assert "objective api burns fast" in await world.look()
    world.at += 3 * DAY + 7 * HOUR
    world.runs("api", Outcome.UP, 30)
    assert await world.look() == set()


@pytest.mark.parametrize(("critical", "warning", "worst"), [("", "down", Severity.WARNING), ("", "", Severity.INFO)])
async def test_a_budget_is_told_no_louder_than_its_checks_are(
    world: World, critical: str, warning: str, worst: Severity
) -> None:
    """A vendor's outage is an info: what it does to the vendor's budget wakes nobody either."""
    world.setup = replace(
        world.setup, checks={name: check(name, critical=critical, warning=warning) for name in ("api", "web")}
    )
    await world.look()
    world.runs("web", Outcome.DOWN, 12)
    await world.look()
    assert [(word, severity) for word, severity, _ in world.told] == [("burns fast", worst)]


async def test_one_outage_is_one_message_until_it_is_over(world: World) -> None:
    """A tenth of the budget in five minutes fulfils all three conditions, which the workbook warns of (table 5-7)."""
    world.setup = replace(world.setup, objectives={"api": replace(OBJECTIVE, target=0.9999)})
    await world.look()
    for _ in range(12):
        world.runs("web", Outcome.DOWN, 1)
        await world.look()
    assert world.open == {"objective api burns fast"}
    world.at += HOUR
    world.runs("web", Outcome.UP, 30)
    assert await world.look() == {"objective api burns"}, "what is left to do is told when the outage is over"


async def test_what_could_not_tell_and_what_is_planned_does_not_count(world: World) -> None:
    await world.look()
    world.runs("api", Outcome.UNKNOWN, 50)
    work = Silence("s1", parse_matchers("check=api"), NOW, NOW + DAY, "ann", "", NOW, maintenance=True)
    world.state.silences["s1"] = work
    world.runs("api", Outcome.DOWN, 50)
    assert await world.look() == set()
    world.state.silences["s1"] = replace(work, maintenance=False)  # a silence is no planned maintenance
    world.runs("api", Outcome.DOWN, 12)
    assert await world.look() == {"objective api burns fast"}


async def test_the_past_is_read_back_without_planned_maintenance(world: World) -> None:
    world.past["web"] = [Outcomes(NOW - 2 * HOUR, HOUR, 0, 60, 0), Outcomes(NOW - HOUR, HOUR, 60, 0, 0)]
    world.state.silences["s1"] = Silence(
        "s1", parse_matchers("check=web"), NOW - 2 * HOUR, NOW - HOUR, "ann", "", NOW, maintenance=True
    )
    assert await world.look() == set()
    found = await world.watch.budget(OBJECTIVE)
    assert (found.availability, found.down) == (1.0, 0.0)
    assert found.availability_with_planned == pytest.approx(0.5)
    del world.state.silences["s1"]
    again = ObjectiveWatch(world, world, world)  # type: ignore[arg-type]
    world.watch = again
    assert await world.look() == {"objective api burns"}, "it went fast, but no longer does"
    # An hour of one of two checks, of six hours of both: as an alert has it, whatever nobody watched.
    assert dict(again.rates(OBJECTIVE))[6 * HOUR] == pytest.approx(1 / 12 / 0.001)


async def test_the_rate_that_is_shown_is_the_one_that_is_told(world: World) -> None:
    """A minute after a start as well: of the hour nothing else is known."""
    await world.look()
    world.runs("api", Outcome.DOWN, 12)
    await world.look()
    (_, _, because), *_ = world.told
    assert f"goes {times_as_fast(dict(world.watch.rates(OBJECTIVE))[HOUR] or 0.0)} times as fast" in because


async def test_after_a_start_nothing_is_told_or_ended_before_somebody_watched(world: World) -> None:
    """The last life ended ten minutes ago, after an outage."""
    world.past["api"] = [Outcomes(NOW - 3_600 + start, 300.0, 0, 5, 0) for start in (0, 300)]
    world.past["api"].append(Outcomes(NOW - 3_000, 2_400.0, 40, 0, 0))
    assert await world.look() == {"objective api burns"}
    again = ObjectiveWatch(world, world, world)  # type: ignore[arg-type]
    world.watch = again
    world.state.by_check[OWN.name] = {"objective api burns fast": 1}
    assert await world.look() == {"objective api burns fast"}
    world.runs("api", Outcome.UP, 40)
    assert await world.look() == {"objective api burns"}


async def test_a_reload_that_takes_a_check_or_the_objective_away(world: World) -> None:
    await world.look()
    world.runs("api", Outcome.DOWN, 12)
    assert await world.look()
    world.setup = replace(world.setup, checks={"api": world.setup.checks["api"]})
    found = await world.watch.budget(OBJECTIVE)
    assert found.unwatched == pytest.approx(2 * 30 * DAY)
    assert await world.look(), "it goes on with the other one"
    world.setup = replace(world.setup, objectives={})
    assert await world.look() == set()
    world.watch.see(Observation("api", "here", world.at, 0.1, Outcome.DOWN, "", ""))


async def test_the_days_make_up_the_budget(world: World) -> None:
    world.past["api"] = [Outcomes(NOW - 50 * HOUR, HOUR, 30, 30, 0), Outcomes(NOW - 3 * HOUR, HOUR, 0, 60, 0)]
    days = await world.watch.days(OBJECTIVE)
    whole = await world.watch.budget(OBJECTIVE)
    assert (len(days), days[0].start, days[-1].end) == (30, NOW - 30 * DAY, NOW)
    assert [round(one.budget.down) for one in days[-3:]] == [0.5 * HOUR, 0, HOUR]
    assert sum(one.budget.down for one in days) == pytest.approx(whole.down)
    assert days[-1].left == pytest.approx(whole.left)
    assert sum(one.used for one in days) == pytest.approx(1 - days[-1].left)
    world.setup = replace(world.setup, checks={})
    assert {one.left for one in await world.watch.days(OBJECTIVE)} == {1.0}


async def used(world: World, minutes: float) -> list[str]:
    """What is told, as words, after the records say that a budget of 86.4 minutes lost so many, long ago."""
    start = NOW - 20 * DAY
    world.past["api"] = [Outcomes(start + number * HOUR, HOUR, 0, 60, 0) for number in range(int(minutes // 60))]
    rest = round(minutes % 60)
    world.past["api"].append(Outcomes(start + minutes // 60 * HOUR, HOUR, 60 - rest, rest, 0))
    world.at += RECKON_EVERY
    told = len(world.told)
    await world.watch._reckon(world.setup.objectives["api"])
    return [word for word, *_ in world.told[told:]]


async def test_each_share_of_the_budget_is_told_once(world: World) -> None:
    """Two checks, 30 days, 99.9 %: 86.4 minutes."""
    assert await used(world, 40) == []
    assert await used(world, 44) == ["half used"]
    assert world.told[-1][1:] == (
        Severity.INFO,
        "50.9 % of the error budget of api are used: down for 44 min of the 1 h 26 min that 99.9 % allows in 30 d",
    )
    assert await used(world, 45) == []
    assert await used(world, 70) == ["nearly used up"]
    assert await used(world, 87) == ["used up"]
    assert await used(world, 200) == []
    assert {severity for _, severity, _ in world.told[1:]} == {Severity.WARNING}
    again = ObjectiveWatch(world, world, world)  # type: ignore[arg-type]
    world.watch = again
    assert await used(world, 200) == [], "a restart tells nothing again"
    assert await used(world, 75) == []
    assert world.open == {"objective api half used", "objective api nearly used up"}, "it recovers"
    assert await used(world, 41) == []
    assert world.open == {"objective api half used"}, "a little below is no end"
    assert await used(world, 10) == []
    assert world.open == set()
    assert await used(world, 44) == ["half used"], "it is a new time"


async def test_a_budget_that_goes_at_once_is_told_at_once_and_once(world: World) -> None:
    assert await used(world, 10) == []
    assert await used(world, 150) == ["used up"]
    assert await used(world, 75) == [], "on the way back nothing begins"
    assert world.open == set()
    world.setup = replace(world.setup, objectives={"api": replace(OBJECTIVE, target=0.9995)})
    assert await used(world, 75) == ["used up"], "less is allowed by now"


async def test_a_store_that_fails_leaves_what_was_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await used(world, 44)

    async def fails(name: str, **more: object) -> Sequence[Outcomes]:
        raise StoreError("the disk is full")

    monkeypatch.setattr(world, "outcomes", fails)
    assert await used(world, 90) == []
    assert world.open == {"objective api half used"}
    monkeypatch.undo()
    assert await used(world, 90) == ["used up"]


async def test_what_an_objective_left_open_that_is_gone_since_a_restart_ends(world: World) -> None:
    world.state.by_check[OWN.name] = {
        "objective old burns": 1, "objective old used up": 1, "objective api half used": 1, "channel mail": 1
    }  # fmt: skip
    assert await world.look() == {"objective api half used", "channel mail"}
