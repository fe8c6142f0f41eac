"""Replays tests/cases/ping-cases.yaml: the ping API and the states behind it, asked over HTTP with the clock stopped.

Two things are said differently here. A check that is paused until its next signal is one that waits for its first; one
that stays paused has ``paused = true``. And a check is configured; what announces itself is a job of a ``heartbeats``
check, here one with the healthchecks defaults.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.real.running import probe_of
from tests.web.access import access_for
from tests.web.test_web import serve
from wcr_watchd.core import heartbeat
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Phase, Ping, Standing
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.pings import PingDesk
from wcr_watchd.web.compatible import ping

DATA = yaml.load((Path(__file__).parent / "ping-cases.yaml").read_text(), yaml.CSafeLoader)
DEFAULTS = DATA["defaults"]
UUID = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
CHECK, GROUP = "the-check", "announced"


class World:
    """One case: its checks, what was recorded, and a clock that is set by hand."""

    def __init__(self, case: dict[str, Any], shared: SharedHelpers) -> None:
        given = case.get("given", {})
        self.given = DEFAULTS["check"] | given.get("check", {})
        self.server = DEFAULTS["server"] | given.get("server", {})
        self.t0 = datetime.fromisoformat(case.get("t0", DATA["meta"]["t0"])).timestamp()
        self.at = 0.0
        self.shared = shared
        self.book = Book()
        self.pings: list[Ping] = []
        self.flips: list[list[Any]] = []
        self.probes = {CHECK: probe_of("heartbeat", options(self.given) | {"key": UUID})}
        for number, other in enumerate(given.get("others", ())):
            self.probes[f"other-{number}"] = probe_of("heartbeat", options(DEFAULTS["check"] | other))
        limit = self.server.get("check_limit", 50)
        group = {"ping_key": DEFAULTS["key"], "most": max(0, 2 * limit - len(self.probes))}
        self.configured = len(self.probes)
        self.probes[GROUP] = probe_of("heartbeats", group)
        self._begin_as_given()

    def _begin_as_given(self) -> None:
        last = self.given.get("last_ping_at")
        standing = Standing.NEW if self.given["status"] == "paused" else Standing(self.given["status"])
        state = HeartbeatState(CHECK, standing=standing, last_at=None if last is None else self.t0 + last)
        self.book.states[CHECK, ""] = state

    def now(self) -> float:
        return self.t0 + self.at

    # --- where signals are stored ---

    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        before = self.book.of(state.check, state.job)
        if before.standing is not state.standing:
            self.flips.append(self._flip(before, state))
        self.book.states[state.check, state.job] = state
        if ping is not None:
            self.pings.append(ping)

    async def flush(self) -> bool:
        return True

    def _flip(self, before: HeartbeatState, after: HeartbeatState) -> list[Any]:
        down = after.standing is Standing.DOWN
        reason = ("fail" if after.down_by is Phase.FAILED else "timeout") if down else ""
        at = after.down_at if down else after.last_at
        assert at is not None
        notifies = down or before.standing is Standing.DOWN
        return [self.word(before.standing.value), after.standing.value, reason, at - self.t0, notifies]

    def word(self, status: str) -> str:
        return "paused" if status == "new" and self.given["status"] == "paused" else status

    # --- what is looked at ---

    async def seen(self, check: str = CHECK, job: str = "") -> dict[str, Any]:
        state, probe = self.book.of(check, job), self.probes[check]
        due = await probe.due(state, self.shared)
        phase = heartbeat.phase(state, due, probe.grace, self.now())
        status = {Phase.LATE: "grace", Phase.UP: "up", Phase.NEW: self.word("new")}.get(phase, "down")
        running = state.started_at is not None and phase is not Phase.HUNG
        times = {
            "last_ping_at": state.last_at,
            "last_start_at": state.started_at,
            "alert_after_at": heartbeat.deadline(state, due, probe.grace),
        }
        return {
            "status": status,
            "stored": self.word(state.standing.value),
            "started": state.started_at is not None,
            "display_with_started": "started" if running else status,
            "last_duration": state.duration,
            "n_pings": state.count,
            **{name: None if at is None else at - self.t0 for name, at in times.items()},
        }

    def newest(self) -> dict[str, Any]:
        last = self.pings[-1]
        return {
            "kind": last.kind.value,
            "method": last.method,
            "body": last.body.decode(errors="replace"),
            "body_hex": last.body.hex(),
            "exitstatus": last.exit_status,
            "rid": last.run_id,
            "ua_len": len(last.agent),
            "remote_addr": last.remote,
            "scheme": last.scheme,
        }


def options(check: dict[str, Any]) -> dict[str, Any]:
    """A check of the cases as ours."""
    simple = check["kind"] == "simple"
    due = {"period": f"{check['timeout']}s"} if simple else {"schedule": check["schedule"], "timezone": check["tz"]}
    words = {
        f"{ours}_words": [check[theirs]]
        for ours, theirs in (("success", "success_kw"), ("start", "start_kw"), ("failure", "failure_kw"))
        if check.get(theirs)
    }
    return {
        "ping_key": DEFAULTS["key"],
        "slug": check["slug"],
        "grace": f"{check['grace']}s",
        "post_only": check["methods"] == "POST",
        "paused": check["status"] == "paused" and check["manual_resume"],
        "else_fail": check.get("filter_default_fail", False),
        **due,
        **words,
    }


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: case["id"])
async def test_case(case: dict[str, Any], shared: SharedHelpers) -> None:
    world = World(case, shared)
    desk = PingDesk(world.book, world, world, shared, lambda text: text, lambda check, delay: None)
    desk.replace(world.probes)
    async for served in serve(access_for(), desk=desk):
        served.app[ping.COUNTER].body_limit = world.server["ping_body_limit"]
        for step in case["steps"]:
            world.at = step.get("at", world.at)
            if "req" in step:
                await ask(served.session, served.base, step)
            if step.get("sweep"):
                await desk._pass_deadlines()
            await look(world, step, better="reference" in case)


async def ask(session: aiohttp.ClientSession, base: str, step: dict[str, Any]) -> None:
    wanted, path = step["expect"], step["req"]["path"]
    for name, value in {
        "{uuid}": UUID,
        "{uuid_upper}": UUID.upper(),
        "{unknown}": DEFAULTS["unknown"],
        "{key}": DEFAULTS["key"],
        "{slug}": DEFAULTS["check"]["slug"],
    }.items():
        path = path.replace(name, value)
    hexadecimal = step["req"].get("body_hex")
    body = bytes.fromhex(hexadecimal) if hexadecimal else step["req"].get("body", "").encode()
    headers = step["req"].get("headers")
    async with session.request(step["req"]["m"], base + path, data=body or None, headers=headers) as answer:
        assert answer.status == wanted["status"]
        if "body" in wanted:
            assert await answer.text() == wanted["body"]
        for name, value in wanted.get("headers", {}).items():
            assert answer.headers.get(name) == value


async def look(world: World, step: dict[str, Any], *, better: bool) -> None:
    seen = await world.seen()
    assert {name: seen[name] for name in step.get("check", {})} == step.get("check", {})
    if "ping" in step:
        newest = world.newest()
        assert {name: newest[name] for name in step["ping"]} == step["ping"]
    if "pings" in step:
        assert len(world.pings) == step["pings"]
    if "flips" in step:
        assert world.flips == step["flips"]
    if "checks" in step:
        # Where the cases say that the reference is worse: it has created a check for a request that it refused.
        assert world.configured + len(world.book.jobs(GROUP)) == step["checks"] - better
    if "created" in step:
        await look_at_created(world, dict(step["created"]))


async def look_at_created(world: World, wanted: dict[str, Any]) -> None:
    """A job that announced itself: told by the policy of its check, as are all (``all_channels``)."""
    wanted.pop("all_channels", None)
    name, group = wanted.pop("slug"), world.probes[GROUP]
    (state,) = world.book.jobs(GROUP)
    assert state.job == name == wanted.pop("name", name)
    assert wanted.pop("kind", "simple") == "simple"
    assert (wanted.pop("timeout", group.period), wanted.pop("grace", group.grace)) == (group.period, group.grace)
    seen = await world.seen(GROUP, name)
    assert {key: seen[key] for key in wanted} == wanted


def test_every_case_is_replayed() -> None:
    assert len(DATA["cases"]) > 60
    assert len({case["id"] for case in DATA["cases"]}) == len(DATA["cases"])


def test_a_wild_script_is_held_up() -> None:
    """The limit is per address, and comes back with time."""
    now = [0.0]
    counter = ping.Counter(lambda: now[0])
    assert all(counter.take(("a", "")) for _ in range(ping.MOST_A_MINUTE))
    assert not counter.take(("a", ""))
    assert counter.take(("b", ""))
    now[0] = 60.0
    assert counter.take(("a", ""))
