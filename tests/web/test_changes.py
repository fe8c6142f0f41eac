"""The pages of changes, over a real desk of changes: prepare, start, tick, verify, finish, and what is said."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.web.access import SECRETS, access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.changes import Category, Change, Hooks, Phase, Plan, Step, Tick
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Fact, Observation, Severity
from wcr_watchd.core.modifications import Modification
from wcr_watchd.runtime.changes.desk import ChangeDesk

STEPS = (
    Step(Phase.PRE, "Review <b>notes</b>"),
    Step(Phase.PRE, "Backup", Tick.BACKUPS, 7_200.0, required=True),
    Step(Phase.DURING, "On", Tick.STARTED),
    Step(Phase.POST, "Feedback", evidence=True),
)
PLAN = Plan(
    "release",
    Category("feature", STEPS),
    parse_matchers("check=site"),
    verify=("site", "api"),
    hooks=Hooks(("on",), ("off",)),
)


class World(Showcase):
    """The showcase with a desk of changes; a hook fails when ``broken``."""

    def __init__(self) -> None:
        super().__init__()
        self.setup = replace(self.setup, changes={"release": PLAN})
        self.hooks: list[str] = []
        self.broken = False
        self.kept: dict[int, Change] = {}
        self.troubles: list[str] = []
        self.open: dict[str, Any] = {}
        self.store = Store(self)
        self.changes: Any = ChangeDesk(self, self.store, self, self.run_now, self)

    async def silence(self, wanted: Any, changes: str = "") -> tuple[Any, str]:
        self.state.silences[wanted.id] = wanted
        return wanted, ""

    async def expire(self, identifier: str) -> str:
        self.state.silences[identifier] = self.state.silences[identifier].ended(NOW)
        return ""

    def keep_change(self, change: Change) -> None:
        self.kept[change.id] = change

    async def flush(self) -> bool:
        return True

    def tell(self, notifications: Iterable[object]) -> None:
        list(notifications)

    def trouble(self, subject: str, finding: object, confirmed: str) -> None:
        self.troubles.append(subject)
        self.open.setdefault(subject, finding)

    def trouble_over(self, subject: str, why: str) -> None:
        self.open.pop(subject, None)

    async def run_now(self, check: str) -> Observation:
        return self.latest[check]

    async def run(self, words: Sequence[str], variables: Mapping[str, str], timeout: float, mark: str) -> str:
        if self.broken:
            raise CommandError("the switch is stuck")
        self.hooks.append(words[0])
        return ""

    def disguised(self, words: Sequence[str]) -> tuple[str, ...]:
        return tuple(words)

    async def end(self, mark: str) -> None:
        pass


class Store:
    """What the pages read."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def changes(self, *, since: float = 0.0, limit: int = 100) -> Sequence[Change]:
        return sorted(self.world.kept.values(), key=lambda one: -one.id)

    async def change(self, number: int) -> Change | None:
        return self.world.kept.get(number)

    async def modifications(self, *, since: float, until: float, limit: int = 1000) -> Sequence[Modification]:
        return (Modification(NOW - 60, "updates", "package", "openssl", "3.0.11", "3.0.15<i>"),)

    async def observations(self, check: str, *, since: float, limit: int = 1000) -> Sequence[Observation]:
        return ()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for one in serve(access_for(), control=World(), signed_in=True):
        yield one


async def prepared(served: Served) -> None:
    status, _ = await served.post("/changes", {"plan": "release", "title": "Release 2.3"})
    assert status == 303


async def test_a_change_is_prepared_from_the_form(served: Served) -> None:
    status, text = await served.get("/changes")
    assert status == 200
    assert "No change is prepared or runs." in text
    assert "package openssl: 3.0.11 → 3.0.15&lt;i&gt;" in text
    await prepared(served)
    _, text = await served.get("/changes")
    assert '<a class="name" href="/changes/1">#1 release</a>' in text
    status, text = await served.post("/changes", {"plan": "release", "for": "2h"})
    assert status == 400
    assert "change #1 release: Release 2.3 is prepared already" in text
    assert 'name="for" value="2h"' in text, "what was written stays"


async def test_from_start_to_end_by_buttons(served: Served) -> None:
    await prepared(served)
    _, text = await served.get("/changes/1")
    assert "Review &lt;b&gt;notes&lt;/b&gt;" in text
    assert "the change names no checks of backups" in text
    status, text = await served.post("/changes/1/start")
    assert status == 409
    assert "is not ready: Backup (" in text
    assert "All the same, because" in text
    assert (await served.post("/changes/1/tick", {"step": "1"}))[0] == 303
    assert (await served.post("/changes/1/start", {"text": "it burns"}))[0] == 303
    world: Any = served.control
    assert world.hooks == ["on"]
    assert len(world.state.silences) == 1
    assert (await served.post("/changes/1/verify"))[0] == 303
    _, text = await served.get("/changes/1")
    assert "started, although: it burns" in text
    assert '<a class="name" href="/checks/api">api</a>' in text, "what is not green is named"
    status, text = await served.post("/changes/1/tick", {"step": "4"})
    assert (status, "asks for evidence" in text) == (409, True)
    world.broken = True
    status, text = await served.post("/changes/1/finish")
    assert (status, "is not finished: the switch is stuck" in text) == (409, True)
    assert (await served.post("/changes/1/extend", {"for": "30m"}))[0] == 303
    assert (await served.post("/changes/1/finish", {"text": "switched by hand"}))[0] == 303
    _, text = await served.get("/changes/1")
    assert "finished; still bad: api (critical)" in text
    assert (await served.post("/changes/1/tick", {"step": "4", "text": "all happy"}))[0] == 303
    assert (await served.post("/changes/1/note", {"text": "well done"}))[0] == 303
    _, text = await served.get("/changes/1")
    assert re.search(r"all happy.*well done|well done.*all happy", text, re.S)
    _, text = await served.get("/changes")
    assert "Over</h2>" in text


async def test_a_window_that_was_overrun_is_an_incident_and_one_that_is_extended_is_not(served: Served) -> None:
    await prepared(served)
    await served.post("/changes/1/start", {"text": "it burns"})
    world: Any = served.control
    world.kept[1] = world.changes._register._changes[1] = replace(world.kept[1], ends_at=NOW - 1.0)
    await world.changes._course.look_after(1)
    assert world.troubles == ["change #1 overruns"]
    _, text = await served.get("/changes/1")
    assert "it overruns its window" in text
    await served.post("/changes/1/extend", {"for": "30m"})
    await world.changes._course.look_after(1)
    assert world.troubles == ["change #1 overruns"]


async def test_the_end_says_that_another_version_runs_than_was_to(served: Served) -> None:
    world: Any = served.control
    assert (await served.post("/changes", {"plan": "release", "version": "2.3"}))[0] == 303
    await served.post("/changes/1/start", {"text": "it burns"})
    site = world.latest["site"]
    for version, wrong in (("2.2", True), ("2.3", False)):
        world.latest = {**world.latest, "site": replace(site, facts=(Fact("version", "site", version),))}
        came = await world.changes.verify(1, "ann")
        (found,) = (one for one in came.change.verified if one.check == "site")
        assert (found.summary == "sees version 2.2, not 2.3", found.severity == "warning") == (wrong, wrong)
    await served.post("/changes/1/finish")
    _, text = await served.get("/changes/1")
    assert "runs now: site 2.3" in text


async def test_what_is_left_undone_is_told_after_some_days(served: Served) -> None:
    await prepared(served)
    await served.post("/changes/1/start", {"text": "it burns"})
    await served.post("/changes/1/finish")
    world: Any = served.control
    register, course = world.changes._register, world.changes._course

    async def after(days: float) -> list[str]:
        register._changes[1] = replace(register.at_hand(1), finished_at=NOW - days * 86_400.0)
        await course.look_after(1)
        return [one for one in world.open if "left undone" in one]

    assert await after(2.9) == []
    assert await after(3.1) == ["change #1 left undone"]
    assert "not done: Feedback. wcr-watchd change show 1" in world.open["change #1 left undone"].because
    assert world.open["change #1 left undone"].severity is Severity.INFO
    assert (await served.post("/changes/1/tick", {"step": "4", "text": "all happy"}))[0] == 303
    assert await after(3.2) == []


async def test_what_is_not_there_and_who_may_not(served: Served) -> None:
    assert (await served.get("/changes/7"))[0] == 404
    assert (await served.post("/changes/7/start"))[0] == 404
    await prepared(served)
    assert (await served.post("/changes/1/tick", {"step": "one"}))[0] == 409
    viewer = {"Authorization": f"Bearer {SECRETS['viewer']}"}
    status, text = await served.get("/changes/1", **viewer)
    assert status == 200
    assert '<form method="post" action="/changes' not in text
    assert (await served.post("/changes/1/start", **viewer))[0] == 403
    assert (await served.post("/changes/1/start", None, Origin="https://evil.example"))[0] == 403
    assert (await served.post("/changes/1/abandon"))[0] == 303
    _, text = await served.get("/changes/1")
    assert "<button" not in text.split("Log</h2>")[0].split("<main")[1], "nothing can be done with it any more"
