"""Follow-ups of incidents: tasks that come once, reminded of, told when late, and still known after a restart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.core.world import check, setup
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.follow_up import FollowUp, end_of_day, told
from wcr_watchd.core.life import Finding
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.review import Review
from wcr_watchd.core.task import TaskOutcome, TaskPhase
from wcr_watchd.runtime.follow_ups import FollowUps

NOW = 1_790_000_000.0
DAY = 86_400.0
NAME = "follow-up-7-1"


class World:
    """A monitor, a store and a clock in one."""

    def __init__(self) -> None:
        self.setup = setup(check("api"))
        self.at = NOW
        self.open: dict[str, str] = {}
        self.kept: dict[int, Review] = {}

    def now(self) -> float:
        return self.at

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        self.open.setdefault(subject, f"{finding.severity.word}: {finding.because}")

    def trouble_over(self, subject: str, why: str) -> None:
        self.open.pop(subject, None)

    async def review(self, incident: int) -> Review | None:
        return self.kept.get(incident)

    async def reviews(self) -> Sequence[Review]:
        return tuple(self.kept.values())

    async def commit(self, batch: Batch) -> None:
        self.kept.update((one.incident, one) for one in batch.reviews)

    def desk(self) -> FollowUps:
        return FollowUps(self, self, self)  # type: ignore[arg-type]


def planned(**changes: object) -> FollowUp:
    values: dict[str, object] = {
        "incident": 7,
        "number": 0,
        "text": " move the backups ",
        "owner": "ben",
        "due": NOW + 10 * DAY,
        "by": "ann",
        "at": NOW,
    }
    return FollowUp(**(values | changes))  # type: ignore[arg-type]


async def test_it_is_a_task_reminded_of_then_overdue_then_done() -> None:
    world = World()
    desk = world.desk()
    await desk.add(planned())
    [task] = await desk.views()
    assert (task.name, task.about, task.owner, task.phase) == (NAME, "move the backups", "ben", TaskPhase.WAITING)
    assert desk.times(task.check, NOW + 20 * DAY) == (NOW + 10 * DAY,)
    assert [one.text for one in desk.coming(NOW + 14 * DAY)] == ["move the backups (ben)"]
    assert world.open == {}

    world.at = NOW + 9.5 * DAY
    await desk.look()
    assert list(world.open) == [f"{NAME} is due"]
    assert world.open[f"{NAME} is due"].startswith("info: move the backups: ben has until ")

    world.at = NOW + 11 * DAY
    await desk.look()
    assert list(world.open) == [f"{NAME} is overdue"]
    assert "warning: move the backups: ben had until" in world.open[f"{NAME} is overdue"]
    assert "follow-up of incident #7" in world.open[f"{NAME} is overdue"]
    assert (await desk.views())[0].phase is TaskPhase.OVERDUE

    said = await desk.sign_off(NAME, "ben", "moved", ["ticket 1"])
    assert said == f"{NAME} is done, signed off by ben; it does not come again"
    assert world.open == {}
    [record] = desk.records(f"task.{NAME}")
    assert (record.outcome, record.by, record.note, record.evidence) == (
        TaskOutcome.DONE,
        "ben",
        "moved",
        ("ticket 1",),
    )
    assert desk.times(NAME, NOW + 99 * DAY) == ()
    with pytest.raises(CommandError, match="is done already, signed off by ben"):
        await desk.sign_off(NAME, "ben", "", [])
    world.at += 31 * DAY
    assert await desk.views() == (), "what was done long ago is not listed any more"


async def test_it_outlives_the_daemon_and_a_new_text_of_the_review() -> None:
    world = World()
    desk = world.desk()
    await desk.add(planned())
    await desk.keep(Review(7, root_cause="a full disk", by="ann", at=NOW))
    await desk.add(planned(text="look daily"))
    assert [one.number for one in world.kept[7].follow_ups] == [1, 2]
    assert world.kept[7].root_cause == "a full disk"
    again = world.desk()
    world.at = NOW + 11 * DAY
    await again.look()
    assert set(world.open) == {f"{NAME} is overdue", "follow-up-7-2 is overdue"}
    assert again.has(f"task.{NAME}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": " "}, "what is to be done"),
        ({"owner": ""}, "who does it"),
        ({"due": NOW - 1}, "in the future"),
        ({"text": "x" * 1_001}, "at most 1000 characters"),
    ],
)
async def test_what_does_not_say_enough_is_refused(changes: dict[str, object], said: str) -> None:
    world = World()
    with pytest.raises(CommandError, match=said):
        await world.desk().add(planned(**changes))
    assert world.kept == {}


def test_a_date_is_over_at_midnight_of_the_place_and_is_shown_on_its_day() -> None:
    due = end_of_day("2026-10-31", "America/New_York")
    assert due == 1_793_505_600.0 - 1
    assert told(planned(due=due), NOW, "America/New_York") == "ben has until Oct 31 23:59 EDT for it"
    assert end_of_day("2026-11-01", "America/New_York") - end_of_day("2026-10-31", "America/New_York") == 25 * 3_600
    with pytest.raises(CommandError, match="write it as 2026-12-10"):
        end_of_day("tomorrow", "UTC")
