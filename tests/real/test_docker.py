"""The docker probe on a peer that answers as dockerd and as Podman do (tests/real/servers/engine.py)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.real.running import (
    Observe,
    Watch,
    carry_out,
    descriptors,
    measured,
    names,
    new_run,
    none_left_open,
    probe_of,
)
from tests.real.servers.engine import Engine, as_podman
from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.docker import Docker

NOW = 1_800_000_000.0
HEALTHY = {"Status": "healthy", "FailingStreak": 0, "Log": []}
WatchOf = Callable[..., Watch]


async def test_all_is_well(engine: Engine, observe: Observe) -> None:
    engine.box(name="web", health=HEALTHY, restarts=2, started=NOW - 600)
    engine.box(name="migrate", status="exited", policy="no")
    seen = await observe("docker", socket=engine.socket, started=NOW)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert seen.summary == "1 of 2 containers run, all as they should"
    assert measured(seen, "containers") == 2
    assert measured(seen, "containers_running") == 1
    assert measured(seen, "container_healthy", container="web") == 1
    assert measured(seen, "container_restarts", container="web") == 2
    assert measured(seen, "container_uptime", container="web") == pytest.approx(600)
    assert measured(seen, "container_stopped", container="web") == 0
    assert {(one.kind, one.name) for one in seen.facts or ()} == {("image", "web"), ("image", "migrate")}
    assert measured(seen, "container_image_age", container="web") == pytest.approx(NOW - 1_767_225_600.5)
    assert not [one for one in seen.measurements if one.labels == (("container", "migrate"),) and "up" in one.name]


async def test_a_container_that_was_removed_is_the_failure(engine: Engine, observe: Observe) -> None:
    engine.box(name="web")
    seen = await observe("docker", socket=engine.socket, expected=["web", "api"])
    assert measured(seen, "container_up", container="web") == 1
    assert measured(seen, "container_up", container="api") == 0
    assert (seen.outcome, seen.reason) == (Outcome.UP, "container")
    assert seen.summary == "1 of 1 containers run; api does not exist"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"status": "exited", "exit_code": 137, "oom_killed": True}, "is exited (last status 137), killed for lack"),
        ({"status": "exited", "exit_code": 0}, "is exited (last status 0)"),
        ({"status": "restarting", "exit_code": 1}, "is restarting (last status 1)"),
        ({"status": "paused"}, "is paused"),
        ({"status": "created", "error": "port is already allocated"}, "is created: port is already allocated"),
        ({"status": "dead"}, "is dead"),
    ],
)
async def test_a_container_that_does_not_run(
    engine: Engine, observe: Observe, options: dict[str, Any], words: str
) -> None:
    engine.box(name="api", **options)
    seen = await observe("docker", socket=engine.socket, expected=["api"])
    assert measured(seen, "container_up", container="api") == 0
    assert f"api {words}" in seen.summary
    assert "container_uptime" not in names(seen)
    unlisted = await observe("docker", socket=engine.socket)
    assert measured(unlisted, "container_stopped", container="api") == 1
    assert "container_up" not in names(unlisted)


async def test_containers_that_may_end_and_containers_that_need_not_be_there(engine: Engine, observe: Observe) -> None:
    done = engine.box(name="prod-migrate", status="exited")
    engine.box(name="scratch", status="exited", exit_code=3, policy="no")
    options = {
        "socket": engine.socket,
        "expected": ["prod-migrate"],
        "oneshot": ["*-migrate"],
        "optional": ["prod-debug"],
    }
    seen = await observe("docker", **options)
    assert measured(seen, "container_up", container="prod-migrate") == 1
    assert seen.reason == "", seen.summary
    done.exit_code = 127
    engine.box(name="prod-debug", status="exited")
    seen = await observe("docker", **options)
    assert measured(seen, "container_up", container="prod-migrate") == 0
    assert measured(seen, "container_up", container="prod-debug") == 0
    assert "status 127" in seen.summary
    ignored = await observe("docker", **options, ignore=["prod-debug", "scratch"])
    assert "prod-debug" not in ignored.summary
    assert measured(ignored, "containers") == 1


async def test_health(engine: Engine, observe: Observe) -> None:
    log = [{"ExitCode": 0, "Output": "fine"}, {"ExitCode": 1, "Output": "curl: (7)\n Failed to connect"}]
    engine.box(name="sick", health={"Status": "unhealthy", "FailingStreak": 3, "Log": log})
    engine.box(name="young", health={"Status": "starting", "FailingStreak": 0, "Log": None})
    engine.box(name="plain", health={"Status": "none"})
    seen = await observe("docker", socket=engine.socket)
    assert measured(seen, "container_healthy", container="sick") == 0
    assert "sick is unhealthy: curl: (7) Failed to connect" in seen.summary
    values = [one.labels for one in seen.measurements if one.name == "container_healthy"]
    assert values == [(("container", "sick"),)], "what is starting or has no check is neither"


async def test_memory_and_tasks_against_limits(engine: Engine, observe: Observe) -> None:
    engine.box(name="v2", usage=900, parts={"inactive_file": 400}, memory_limit=1000, tasks=50, task_limit=100)
    engine.box(name="v1", usage=900, parts={"total_inactive_file": 300, "inactive_file": 1}, memory_limit=1000)
    engine.box(name="free", usage=900, parts=None)
    seen = await observe("docker", socket=engine.socket)
    assert measured(seen, "container_memory", container="v2") == 500
    assert measured(seen, "container_memory_used", container="v2") == 0.5
    assert measured(seen, "container_tasks_used", container="v2") == 0.5
    assert measured(seen, "container_memory", container="v1") == 600
    assert measured(seen, "container_memory", container="free") == 900
    limited = {one.labels for one in seen.measurements if one.name in ("container_memory_used", "container_tasks_used")}
    assert limited == {(("container", "v1"),), (("container", "v2"),)}


async def test_processor_time_is_that_since_the_run_before(engine: Engine, watch: WatchOf) -> None:
    boxes = [
        engine.box(name="nano", nano_cpus=500_000_000),
        engine.box(name="quota", cpu_quota=200_000, cpu_period=100_000),
        engine.box(name="free"),
        engine.box(name="again"),
    ]
    check = watch("docker", socket=engine.socket)
    first = await check.run(started=NOW)
    assert not names(first) & {"container_cpu", "container_cpu_used"}
    for box in boxes:
        box.cpu_total += 12_000_000_000
    boxes[-1].started += 5
    seen = await check.run(started=NOW + 30)
    assert measured(seen, "container_cpu", container="nano") == pytest.approx(0.4)
    assert measured(seen, "container_cpu_used", container="nano") == pytest.approx(0.8)
    assert measured(seen, "container_cpu_used", container="quota") == pytest.approx(0.2)
    assert measured(seen, "container_cpu", container="free") == pytest.approx(0.4)
    about = {one.labels[0][1] for one in seen.measurements if one.name in ("container_cpu", "container_cpu_used")}
    assert about == {"nano", "quota", "free"}, "one that was started again begins to count anew"


async def test_kills_for_memory_are_counted_once(engine: Engine, watch: WatchOf) -> None:
    web_box, api = engine.box(name="web"), engine.box(name="api")
    engine.events.append((NOW - 50, web_box.id))
    check = watch("docker", socket=engine.socket)
    assert measured(await check.run(started=NOW), "container_oom_kills", container="web") == 0
    engine.events += [(NOW + 1, web_box.id), (NOW + 2, web_box.id)]
    assert measured(await check.run(started=NOW + 30), "container_oom_kills", container="web") == 2
    api.status, api.oom_killed, api.finished = "exited", True, NOW + 40
    engine.events.append((NOW + 40, api.id))
    for at in (NOW + 60, NOW + 90):
        seen = await check.run(started=at)
        assert measured(seen, "container_oom_kills", container="web") == 2
        assert measured(seen, "container_oom_kills", container="api") == 1


async def test_podman(engine: Engine, watch: WatchOf) -> None:
    """Without events the state of a container tells that it was killed; memory without parts is as it is."""
    engine.change = as_podman
    box = engine.box(name="web", memory_limit=100_000_000)
    check = watch("docker", socket=engine.socket, expected=["web"])
    seen = await check.run(started=NOW)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "container_memory_used", container="web") == 0.5
    assert "container_tasks_used" not in names(seen)
    box.oom_killed, box.finished = True, NOW + 10
    for at in (NOW + 30, NOW + 60):
        assert measured(await check.run(started=at), "container_oom_kills", container="web") == 1


async def test_logs_that_grow_for_ever(engine: Engine, observe: Observe) -> None:
    engine.box(name="bounded")
    engine.box(name="unbounded", log_options={"max-file": "3"})
    engine.box(name="local", log_driver="local", log_options={})
    seen = await observe("docker", socket=engine.socket)
    found = {
        name: measured(seen, "container_log_unbounded", container=name) for name in ("bounded", "unbounded", "local")
    }
    assert found == {"bounded": 0, "unbounded": 1, "local": 0}


async def test_an_image_is_asked_about_once(engine: Engine, shared: SharedHelpers) -> None:
    engine.box(name="web")
    engine.image_created["sha256:22bb"] = "2026-06-01T00:00:00Z"
    probe = probe_of("docker", {"socket": engine.socket})
    for image, age in (
        ("sha256:11aa", 1_767_225_600.5),
        ("sha256:11aa", 1_767_225_600.5),
        ("sha256:22bb", 1_780_272_000.0),
    ):
        engine.boxes[0].image = image
        seen = await carry_out(probe, new_run(shared, started=NOW))
        assert measured(seen, "container_image_age", container="web") == pytest.approx(NOW - age)
    assert [path for path in engine.requests if "/images/" in path] == [
        "/images/sha256:11aa/json",
        "/images/sha256:22bb/json",
    ]


async def test_space_that_could_be_freed_is_counted_once_an_hour(engine: Engine, watch: WatchOf) -> None:
    """As `docker system df` counts: layers less what only used images have, and what of the build cache is at rest."""
    engine.space = {
        "LayersSize": 1_000,
        "Images": [
            {"Id": "a", "Size": 500, "SharedSize": 100, "Containers": 2},
            {"Id": "b", "Size": 300, "SharedSize": 100, "Containers": 0},
            {"Id": "c", "Size": 50, "SharedSize": -1, "Containers": 1},
        ],
        "BuildCache": [
            {"ID": "d", "Size": 7, "InUse": False, "Shared": False},
            {"ID": "e", "Size": 20, "InUse": True, "Shared": False},
            {"ID": "f", "Size": 30, "InUse": False, "Shared": True},
        ],
    }
    check = watch("docker", socket=engine.socket, space=True)
    assert measured(await check.run(started=NOW), "reclaimable") == 607
    engine.space["LayersSize"] = 2_000
    assert measured(await check.run(started=NOW + 3_000), "reclaimable") == 607
    assert measured(await check.run(started=NOW + 3_600), "reclaimable") == 1_607
    engine.refused = ("/system",)
    seen = await check.run(started=NOW + 7_200)
    assert seen.outcome is Outcome.UP
    assert "reclaimable" not in names(seen)
    assert "/system/df with status 403" in seen.evidence["absent"]
    assert len([path for path in engine.requests if path.startswith("/system/df")]) == 3
    assert "reclaimable" not in names(await watch("docker", socket=engine.socket).run())


async def test_an_engine_that_takes_too_long_to_count(engine: Engine, watch: WatchOf) -> None:
    engine.slow = ("/system/df",)
    seen = await watch("docker", socket=engine.socket, space=True).run(timeout=2.0)
    assert seen.outcome is Outcome.UP
    assert "takes too long" in seen.evidence["absent"]


async def test_image_of_no_age(engine: Engine, observe: Observe) -> None:
    """Reproducible images are built in 1970, and one may be removed under a running container."""
    engine.image_created = {"sha256:11aa": "1970-01-01T00:00:00Z"}
    engine.box(name="web")
    engine.box(name="api", image="sha256:gone")
    seen = await observe("docker", socket=engine.socket)
    assert seen.outcome is Outcome.UP
    assert "container_image_age" not in names(seen)


async def test_a_container_that_goes_while_it_is_looked_at(engine: Engine, observe: Observe) -> None:
    engine.box(name="web")
    engine.change = lambda path, answer: None if path.endswith("/json") and path != "/containers/json" else answer
    seen = await observe("docker", socket=engine.socket)
    assert seen.outcome is Outcome.UP
    assert not [one for one in seen.measurements if one.labels]


async def test_through_a_proxy_that_lets_little_through(engine: Engine, proxy: str, observe: Observe) -> None:
    engine.box(name="web")
    engine.refused = ("/events", "/images", f"/containers/{engine.boxes[0].id}/stats")
    seen = await observe("docker", socket=proxy, expected=["web"])
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "container_up", container="web") == 1
    assert "container_memory" not in names(seen)
    assert "/events with status 403" in seen.evidence["absent"]
    engine.refused = ("/containers",)
    seen = await observe("docker", socket=proxy)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    assert "/containers/json with status 403" in seen.summary


async def test_no_engine(observe: Observe, tmp_path: Path) -> None:
    seen = await observe("docker", socket=str(tmp_path / "none.sock"))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert "the socket does not exist" in seen.summary
    seen = await observe("docker", socket="tcp://no.such.host.invalid:2375")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")


async def test_an_engine_that_ended_leaves_its_socket(engine: Engine, observe: Observe, tmp_path: Path) -> None:
    server = await asyncio.start_unix_server(lambda reader, writer: None, tmp_path / "left.sock")
    server.close()
    await server.wait_closed()
    seen = await observe("docker", socket=str(tmp_path / "left.sock"))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")


def test_a_socket_that_this_user_may_not_use(tmp_path: Path) -> None:
    """Root may use every socket, so this runs as nobody in a process of its own."""
    code = (
        "import asyncio, os, socket, sys\n"
        "from tests.real.running import carry_out, new_run, probe_of\n"
        "from wcr_watchd.kit.shared import SharedHelpers\n"
        "listening = socket.socket(socket.AF_UNIX); listening.bind(sys.argv[1]); listening.listen()\n"
        "os.chmod(sys.argv[1], 0o600 if os.geteuid() == 0 else 0)\n"
        "probe = probe_of('docker', {'socket': sys.argv[1]})\n"
        "os.geteuid() == 0 and os.seteuid(65534)\n"
        "async def once():\n"
        "    seen = await carry_out(probe, new_run(SharedHelpers()))\n"
        "    print(seen.outcome, seen.reason, seen.summary)\n"
        "asyncio.run(once())\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "d.sock")], capture_output=True, text=True)
    assert done.stdout.startswith("unknown permission "), done.stderr
    assert "group docker" in done.stdout


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>It works!</html>"),
        web.Response(text="[" * 100_000),
        web.Response(text='{"message": "no"}'),
        web.Response(text='[{"Id": 5}]'),
        web.Response(text='[{"Id": "a", "Names": [null]}]'),
        web.Response(text="[]" + " " * 2_000_000),
    ],
)
async def test_what_no_engine_answers(engine: Engine, observe: Observe, answer: web.Response) -> None:
    engine.change = lambda path, _: answer
    seen = await observe("docker", socket=engine.socket)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol"), seen.summary
    assert "/containers/json" in seen.summary


async def test_a_hostile_answer_about_a_container(engine: Engine, observe: Observe) -> None:
    engine.box(name="web")
    engine.change = lambda path, answer: {"State": 7} if len(path) > 70 and path.endswith("/json") else answer
    seen = await observe("docker", socket=engine.socket)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol")


async def test_too_slow_and_cancelled(engine: Engine, shared: SharedHelpers, tmp_path: Path) -> None:
    open_ones: list[asyncio.StreamWriter] = []
    waiting = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        waiting.set()

    server = await asyncio.start_unix_server(silent, tmp_path / "silent.sock")
    probe = probe_of("docker", {"socket": str(tmp_path / "silent.sock")})
    seen = await carry_out(probe, new_run(shared, timeout=0.2))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "waiting for the list of containers" in seen.summary
    waiting.clear()
    before = descriptors() - len(open_ones)
    running = asyncio.create_task(carry_out(probe, new_run(shared)))
    await waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for writer in open_ones:
        writer.transport.abort()
    server.close()
    await none_left_open(before)


def test_what_the_rules_are_about() -> None:
    """One incident per container, and its memory is another matter than whether it runs."""
    rules = [parse_rule(text, severity, Docker.measurements) for severity, text in Docker.default_rules]
    assert {rule.topic for rule in rules} == {"", "container", "memory", "cpu", "tasks", "image", "log"}
    assert all(rule.apart for rule in rules if rule.topic)
    assert max(rule.severity for rule in rules if rule.topic == "memory") is Severity.CRITICAL


async def test_very_many_containers(engine: Engine, watch: WatchOf) -> None:
    for number in range(205):
        engine.box(name=f"c{number}", health=HEALTHY, memory_limit=1 << 30, nano_cpus=500_000_000, task_limit=100)
    check = watch("docker", socket=engine.socket, expected=["c*"])
    await check.run(started=NOW)
    seen = await check.run(started=NOW + 30)
    assert measured(seen, "containers") == 205
    assert "5 containers: no more than 200" in seen.evidence["absent"]
    assert len([one for one in seen.measurements if one.name == "container_cpu_used"]) == 200
