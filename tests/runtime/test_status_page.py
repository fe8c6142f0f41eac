"""The desk of the status page: when it posts, what a person's decision means, and what it makes of the past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.core.test_status import DOWN, UP, a_check, a_setup, a_state, an_incident
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Incident
from wcr_watchd.core.posts import Impact, OwedMail, Post, PostState, said, written
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.status import Component, Condition, MaintenanceMails, Posting, PublicFile, PublicStatus, StatusPage
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.runtime.status_mail import told
from wcr_watchd.runtime.status_page import StatusDesk

START = 1_795_456_800.0
PAGE = StatusPage("Status", (Component("site", "Website", parse_matchers('check="secret"')),), every=60.0)


@dataclass
class Records:
    """What a store keeps, and the history of one check: watched for a day, without trouble."""

    kept: dict[str, Post] = field(default_factory=dict)
    announced: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status_page(self) -> Records:
        return self

    async def posts(self, since: float = 0.0) -> Sequence[Post]:
        return tuple(self.kept.values())

    async def keep(self, posts: Iterable[Post], announced: Iterable[tuple[str, str]] = (), at: float = 0.0) -> None:
        self.kept |= {post.id: post for post in posts}
        self.announced += announced

    async def outcomes(
        self, check: str, *, since: float, until: float, fine: bool = False, cuts: Sequence[float] = ()
    ) -> Sequence[Outcomes]:
        return [Outcomes(START - hour * 3_600.0, 3_600.0, 60, 0, 0) for hour in range(24, 0, -1)]

    async def incidents(self, **_: object) -> Sequence[Incident]:
        return ()


class Watcher:
    """A view of a daemon that watches one check."""

    started_at = START - 9_000
    specs: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.setup = a_setup(a_check())
        self.at = START
        self.store = Records()
        self.state: State | None = None
        self.goes(well=True)

    def now(self) -> float:
        return self.at

    def goes(self, *, well: bool) -> None:
        known = UP if well else DOWN
        incidents = () if well else (an_incident(opened_at=self.at),)
        over = self.state.incidents.values() if self.state else ()
        self.state = a_state(replace(known, last_at=self.at), *incidents)
        self.state.ended |= {(one.check, ""): replace(one, resolved_at=self.at) for one in over}


class World:
    def __init__(self, page: StatusPage = PAGE) -> None:
        self.watcher = Watcher()
        self.shown: list[PublicStatus] = []
        self.page = page
        self.desk = StatusDesk(lambda: self.page, self.watcher, self.render)  # type: ignore[arg-type]

    def render(self, status: PublicStatus, *, copy: bool) -> Mapping[str, PublicFile]:
        self.shown.append(status)
        return {"": PublicFile("", b"", b"", "")}

    async def lives(self, seconds: float, *, well: bool) -> None:
        """Let time go by, with a look every five seconds."""
        self.watcher.goes(well=well)
        until = self.watcher.at + seconds
        while self.watcher.at < until:
            self.watcher.at += 5.0
            assert self.watcher.state is not None
            known = self.watcher.state.checks["secret"]
            self.watcher.state.checks["secret"] = replace(known, last_at=self.watcher.at)
            await self.desk.refresh()


async def test_it_is_made_anew_by_the_minute_or_when_something_is_different() -> None:
    world = World()
    await world.lives(60, well=True)
    assert len(world.shown) == 1
    await world.lives(5, well=False)
    assert [one.components[0].condition for one in world.shown] == [Condition.OPERATIONAL, Condition.MAJOR]
    await world.lives(60, well=False)
    assert len(world.shown) == 3


async def test_the_days_go_on_from_the_records_by_what_is_seen() -> None:
    world = World()
    await world.lives(600, well=True)
    await world.lives(300, well=False)
    await world.lives(300, well=True)
    today = world.shown[-1].components[0].days[-1]
    assert today.unwatched <= 5.0  # until the first look
    assert (today.outage, today.outages) == (300.0, 1)
    assert world.shown[0].components[0].uptime == 1.0


async def test_a_draft_that_is_discarded_does_not_come_again_for_the_same_outage() -> None:
    world = World()
    await world.lives(200, well=False)
    [draft] = world.desk.posts
    assert (draft.published, world.shown[-1].posts) == (False, ())
    assert "discarded" in await world.desk.discard(draft.id, "ann")
    await world.lives(300, well=False)
    assert len(world.desk.posts) == 1
    await world.lives(60, well=True)
    await world.lives(200, well=False)
    assert len(world.desk.posts) == 2


async def test_what_is_published_is_owed_to_subscribers_once() -> None:
    world = World(replace(PAGE, posting=Posting.PUBLISH))
    told: list[str] = []
    world.desk.on_news(lambda: told.append("wake"))
    await world.lives(300, well=False)
    await world.lives(400, well=True)
    [post] = world.desk.posts
    assert [one.state for one in post.updates] == [PostState.INVESTIGATING, PostState.RESOLVED]
    assert world.watcher.store.announced == [(post.id, one.id) for one in post.updates]
    assert len(told) == 2


async def test_what_a_person_says_is_theirs_to_end() -> None:
    world = World(replace(PAGE, posting=Posting.PUBLISH))
    await world.lives(300, well=False)
    [post] = world.desk.posts
    await world.desk.update(post.id, PostState.IDENTIFIED, "A disk.", "ann", publish=True)
    await world.lives(900, well=True)
    assert world.desk.posts[0].resolved_at is None
    await world.desk.update(post.id, PostState.RESOLVED, "Fixed.", "ann", publish=True)
    with pytest.raises(CommandError, match="begin a new one"):
        await world.desk.update(post.id, PostState.IDENTIFIED, "Oh.", "ann", publish=True)


async def test_without_a_page_or_component_a_post_says_what_is_wrong() -> None:
    world = World()
    words = ("Slow", ["sight"], Impact.MINOR, PostState.INVESTIGATING, "x", "ann")
    with pytest.raises(CommandError, match="there is no component 'sight'; there are: site"):
        await world.desk.write(*words, publish=True)
    world.page = None  # type: ignore[assignment]
    with pytest.raises(CommandError, match="add \\[status_page\\]"):
        await world.desk.write(*words, publish=True)
    await world.desk.refresh()
    assert world.desk.files == {}


async def test_posts_of_the_last_life_go_on() -> None:
    first = World()
    await first.lives(200, well=False)
    second = World()
    second.watcher.store.kept = first.watcher.store.kept
    second.watcher.at = first.watcher.at
    await second.lives(300, well=False)
    assert len(second.desk.posts) == 1
    await second.lives(400, well=True)
    assert second.desk.posts[0].resolved_at is not None


async def test_subscribers_are_told_of_planned_maintenance_and_no_page_shows_it_as_an_incident() -> None:
    mails = MaintenanceMails((3_600.0,), start=True, end=True)
    world = World(replace(PAGE, mail="mail", maintenance_mails=mails))
    assert world.watcher.state is not None
    begins = START + 1_800.0
    work = Silence("s1", parse_matchers('check="secret"'), begins, begins + 600.0, "ann", "rack 4", START, True)
    world.watcher.state.silences["s1"] = work
    for _ in range(3):
        await world.desk.refresh()
    assert world.desk.posts == []
    [post] = world.watcher.store.kept.values()
    assert "rack 4" not in repr(post)
    for at in (begins + 5.0, begins + 605.0):
        world.watcher.at = at
        await world.desk.refresh()
    [post] = world.watcher.store.kept.values()
    assert [one.state.value for one in post.updates] == ["identified", "monitoring", "resolved"]
    assert world.watcher.store.announced == [(post.id, one.id) for one in post.updates]
    with pytest.raises(CommandError, match="there is no post"):
        await world.desk.publish(post.id, "ann")
    assert world.desk.post(post.id) == post, "its mails are made of it"


def test_mails_about_maintenance_say_what_it_is_and_lead_to_the_page() -> None:
    page = replace(PAGE, url="https://status.example.org")
    post = replace(written("New racks", ("site",), Impact.NONE, START), planned=True)
    for state, word in (
        ("identified", "Planned maintenance"),
        ("monitoring", "Maintenance has begun"),
        ("resolved", "Maintenance is over"),
    ):
        post = said(post, PostState(state), "So it is.", START, "", publish=True)
        parts = told(page, post, post.updates[-1], OwedMail("who", post.id, post.updates[-1].id, START))
        assert parts["subject"] == f"[Status] {word}: New racks"
        assert "how things are now: https://status.example.org/\n" in parts["text"]
        assert "Concerns: Website" in parts["text"]
