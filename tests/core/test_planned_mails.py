"""What subscribers are told of planned maintenance, step by step as time passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from wcr_watchd.core.planned_mails import follow_planned, word_of
from wcr_watchd.core.posts import Post
from wcr_watchd.core.status import MaintenanceMails, PlannedWork

START, HOUR = 1_795_456_800.0, 3_600.0
WORK = PlannedWork("m1", "Updates of our servers", ("site",), START, START + 2 * HOUR)
ALL = MaintenanceMails((HOUR, 24 * HOUR), start=True, end=True)


@dataclass
class World:
    """Subscribers, and what they are told: how many hours after the start, and what."""

    mails: MaintenanceMails = ALL
    posts: dict[str, Post] = field(default_factory=dict)
    told: list[tuple[float, str]] = field(default_factory=list)

    def look(self, hour: float, *planned: PlannedWork) -> None:
        now = START + hour * HOUR
        known = {name: one for name, one in self.posts.items() if one.resolved_at is None}
        for post in follow_planned(known, planned, self.mails, "UTC", now):
            before = len(self.posts[post.id].updates) if post.id in self.posts else 0
            self.told += [(hour, one.text) for one in post.updates[before:] if one.published]
            self.posts[post.id] = post
            assert post.planned

    def live(self, hours: Iterable[float], *planned: PlannedWork) -> None:
        for hour in hours:
            self.look(hour, *(one for one in planned if one.end > START + hour * HOUR))


def test_each_is_told_once_at_its_time() -> None:
    world = World()
    world.live((number / 4 for number in range(-200, 20)), WORK)
    assert world.told == [
        (-24.0, "From Nov 23 18:00 UTC to Nov 23 20:00 UTC."),
        (-1.0, "From 18:00 UTC to 20:00 UTC."),
        (0.0, "It has begun and goes on until 20:00 UTC."),
        (2.0, "It is over."),
    ]


@pytest.mark.parametrize(
    ("mails", "hours"),
    [
        (MaintenanceMails(start=True), [0.0]),
        (MaintenanceMails(end=True), [2.0]),
        (MaintenanceMails((HOUR,)), [-1.0]),
        (MaintenanceMails((HOUR,), end=True), [-1.0, 2.0]),
        (MaintenanceMails(), []),
    ],
)
def test_only_what_is_configured_is_told(mails: MaintenanceMails, hours: list[float]) -> None:
    world = World(mails)
    world.live((number / 4 for number in range(-200, 20)), WORK)
    assert [hour for hour, _ in world.told] == hours


def test_what_is_planned_late_or_while_nobody_watched_is_announced_once() -> None:
    world = World()
    world.live((-0.5, -0.25), WORK)
    assert [hour for hour, _ in world.told] == [-0.5]
    asleep = World()
    asleep.live((-30.0, -0.75), WORK)
    assert [hour for hour, _ in asleep.told] == [-0.75], "not that of a day before, too"


def test_what_is_called_off_is_told_to_whoever_knew_of_it() -> None:
    world = World()
    world.look(-20.0, WORK)
    world.look(-10.0)
    assert world.told[-1] == (-10.0, "It is called off.")
    world.look(-9.0)
    assert len(world.told) == 2
    [post] = world.posts.values()
    assert [word_of(one) for one in post.updates] == ["Planned maintenance", "Maintenance is called off"]


def test_what_ends_early_or_while_nobody_watched_is_over() -> None:
    for last, first in ((1.0, 1.5), (-2.0, 7.0)):
        world = World()
        world.look(last, WORK)
        world.look(first)
        assert world.told[-1] == (first, "It is over.")


def test_the_order_of_the_configuration_and_a_longer_end_make_no_other_work() -> None:
    world = World()
    world.look(-20.0, WORK)
    world.look(-19.0, replace(WORK, id="m7", end=START + 3 * HOUR))
    assert len(world.told) == len(world.posts) == 1


def test_one_without_words_has_a_title_all_the_same() -> None:
    world = World()
    world.look(0.5, replace(WORK, text=" \n "), replace(WORK, text="x" * 500, start=START + 1))
    assert sorted(len(one.title) for one in world.posts.values()) == [len("Maintenance"), 200]
