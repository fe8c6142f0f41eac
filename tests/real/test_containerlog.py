"""The containerlog probe on a peer that answers as dockerd and as Podman do (tests/real/servers/engine.py)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.real.running import Watch, carry_out, measured, names, new_run, probe_of
from tests.real.servers.engine import Box, Engine
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

NOW = 1_800_000_000.0
WatchOf = Callable[..., Watch]


@pytest.fixture
def api(engine: Engine) -> Box:
    """A container that wrote an error before it was watched."""
    return engine.box(name="api", log=[(NOW - 5, 2, "ERROR of yesterday")])


async def test_only_what_is_new_counts(engine: Engine, api: Box, watch: WatchOf) -> None:
    check = watch("containerlog", containers=["api"], socket=engine.socket)
    seen = await check.run(started=NOW)
    assert (seen.outcome, seen.reason, seen.summary) == (Outcome.UP, "", "api: 0 new lines, none matches")
    api.log += [(NOW + 1, 1, "all is well"), (NOW + 2, 2, "fail: Some.Category[5]"), (NOW + 3, 2, "      details")]
    seen = await check.run(started=NOW + 60)
    assert measured(seen, "matches", pattern="error") == 1
    assert (measured(seen, "lines", stream="stdout"), measured(seen, "lines", stream="stderr")) == (1, 2)
    assert (seen.reason, seen.summary) == ("match", "api: error: fail: Some.Category[5]")
    assert seen.evidence["error"] == "fail: Some.Category[5]"
    for _ in range(2):
        again = await check.run(started=NOW + 120)
        assert measured(again, "matches", pattern="error") == 1, "the last entry comes again, and counts once"
        assert again.reason == ""


async def test_several_containers_and_patterns_of_ones_own(
    engine: Engine, api: Box, proxy: str, watch: WatchOf
) -> None:
    web_box = engine.box(name="web")
    check = watch(
        "containerlog", containers=["api", "web"], socket=proxy, patterns={"slow": r"\d{4,} ms"}, ignore=["/health"]
    )
    await check.run(started=NOW)
    api.log += [(NOW + 1, 1, "took 5000 ms"), (NOW + 2, 1, "/health took 7000 ms"), (NOW + 3, 1, "took 5 ms")]
    web_box.log += [(NOW + 1, 1, "took 9999 ms")]
    assert measured(await check.run(started=NOW + 60), "matches", pattern="slow") == 2


async def test_a_container_that_is_added_begins_now(engine: Engine, api: Box, watch: WatchOf) -> None:
    check = watch("containerlog", containers=["api"], socket=engine.socket)
    await check.run(started=NOW)
    engine.box(name="web", log=[(NOW + 1, 2, "ERROR of before")])
    check.options["containers"] = ["api", "web"]
    assert measured(await check.run(started=NOW + 60), "matches", pattern="error") == 0


async def test_a_container_with_a_terminal(engine: Engine, api: Box, watch: WatchOf) -> None:
    text = "2027-01-15T09:00:01.5+01:00 ERROR one\r\n2027-01-15T09:00:01.25+01:00 ERROR of before\r\nno time\r\n"

    def change(path: str, answer: Any) -> Any:
        if path.endswith("/logs"):
            return web.Response(text=text)
        if path.endswith("/json"):
            answer["Config"]["Tty"] = True
        return answer

    engine.change = change
    check = watch("containerlog", containers=["api"], socket=engine.socket)
    check.memory = json.dumps({"since": {"api": [1_800_000_001, 250_000_000]}})
    seen = await check.run()
    assert measured(seen, "matches", pattern="error") == 1
    assert json.loads(check.memory)["since"] == {"api": [1_800_000_001, 500_000_000]}


async def test_more_than_is_wanted_is_read_the_next_time(engine: Engine, api: Box, watch: WatchOf) -> None:
    check = watch("containerlog", containers=["api"], socket=engine.socket, most="1kB")
    await check.run(started=NOW)
    api.log += [(NOW + 1 + number / 1000, 1, "ERROR " + "x" * 60) for number in range(25)]
    counts = [measured(await check.run(started=NOW + 60), "matches", pattern="error") for _ in range(4)]
    assert counts[0] < counts[1] < 25
    assert counts[-1] == 25


async def test_an_entry_that_is_very_long(engine: Engine, api: Box, watch: WatchOf) -> None:
    check = watch("containerlog", containers=["api"], socket=engine.socket)
    await check.run(started=NOW)
    api.log += [(NOW + 1, 1, "ERROR " + "x" * 300_000), (NOW + 2, 1, "ERROR")]
    assert measured(await check.run(started=NOW + 60), "matches", pattern="error") == 2


async def test_a_container_that_is_not_there(engine: Engine, api: Box, watch: WatchOf) -> None:
    seen = await watch("containerlog", containers=["gone"], socket=engine.socket).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "No such container: gone" in seen.summary
    assert not names(seen)
    check = watch("containerlog", containers=["api", "later"], socket=engine.socket)
    seen = await check.run(started=NOW)
    assert seen.outcome is Outcome.UP
    assert "later: status 404" in seen.evidence["absent"]
    engine.box(name="later", log=[(NOW + 1, 2, "ERROR at once")])
    assert measured(await check.run(started=NOW + 60), "matches", pattern="error") == 1


@pytest.mark.parametrize(
    "said",
    [
        web.Response(text="<html>"),
        web.Response(text="{}"),
        web.Response(text="[]"),
        web.Response(status=500, text="no"),
    ],
)
async def test_what_no_engine_says(engine: Engine, api: Box, watch: WatchOf, said: web.Response) -> None:
    engine.change = lambda path, answer: said
    seen = await watch("containerlog", containers=["api"], socket=engine.socket).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")


async def test_what_are_no_frames(engine: Engine, api: Box, watch: WatchOf) -> None:
    engine.change = lambda path, answer: web.Response(text="plain text") if path.endswith("/logs") else answer
    seen = await watch("containerlog", containers=["api"], socket=engine.socket).run()
    assert seen.outcome is Outcome.UNKNOWN
    assert "does not send frames" in seen.summary


async def test_no_engine(watch: WatchOf, tmp_path: Path) -> None:
    seen = await watch("containerlog", containers=["api"], socket=str(tmp_path / "none")).run()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert "the socket does not exist" in seen.summary
    seen = await watch("containerlog", containers=["api"], socket="tcp://no.such.host.invalid:2375").run()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    seen = await watch("containerlog", containers=["api"], socket="tcp://127.0.0.1:1").run()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")


async def test_permission(watch: WatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/var/run/docker.sock")

    monkeypatch.setattr("wcr_watchd.probes.containerlog.aside", denied)
    seen = await watch("containerlog", containers=["api"]).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")


async def test_too_slow_and_cancelled(shared: SharedHelpers, watch: WatchOf, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(silent, tmp_path / "sock"):
        check = watch("containerlog", containers=["api"], socket=str(tmp_path / "sock"))
        seen = await check.run(started=NOW, timeout=1.0)
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
        assert json.loads(check.memory) == {}, "the next run begins anew"
        asked.clear()
        probe = probe_of("containerlog", {"containers": ["api"], "socket": str(tmp_path / "sock")})
        running = asyncio.create_task(carry_out(probe, new_run(shared)))
        await asked.wait()
        running.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["../x", "", "a b", "a/b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="match pattern"):
        probe_of("containerlog", {"containers": [name]})
