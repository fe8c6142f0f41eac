"""A container engine to be asked: a peer that answers as dockerd and Podman do, since neither can run here.

The shapes are those of the Docker Engine API 1.45 as `docker inspect`, `docker stats` and `docker events` get them, on
cgroups 2; the command `docker` 28.2, pointed at this peer, read them as its own engine's. What Podman 4 leaves out or
tells differently is left out or told so by :func:`as_podman`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.real.ports import free_port

NEVER = "0001-01-01T00:00:00Z"


def rfc3339(at: float) -> str:
    """A time as the engine writes it, with nanoseconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"


@dataclass
class Box:
    """A container, as far as the tests set it."""

    name: str
    status: str = "running"
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started: float = 1_700_000_000.0
    finished: float | None = None
    health: dict[str, Any] | None = None
    restarts: int = 0
    policy: str = "unless-stopped"
    memory_limit: int = 0
    nano_cpus: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    usage: int = 50_000_000
    parts: dict[str, int] | None = field(default_factory=lambda: {"inactive_file": 10_000_000, "anon": 39_000_000})
    cpu_total: int = 1_000_000_000
    tasks: int = 7
    task_limit: int | None = 18446744073709551615
    image: str = "sha256:11aa"
    log_driver: str = "json-file"
    log_options: dict[str, str] = field(default_factory=lambda: {"max-size": "10m", "max-file": "3"})
    log: list[tuple[float, int, str]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """A number of its own, as long as the engine's."""
        return self.name.encode().hex().ljust(64, "0")[:64]

    def listed(self) -> dict[str, Any]:
        """Its entry in the list."""
        names = [f"/{self.name}", f"/other/{self.name}-alias"]
        return {
            "Id": self.id, "Names": names[::-1], "Image": "app:1", "ImageID": self.image, "Command": "serve",
            "Created": 1_700_000_000, "Ports": [], "Labels": {}, "State": self.status, "Status": "Up 3 hours",
            "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": {}}, "Mounts": [],
        }  # fmt: skip

    def inspected(self) -> dict[str, Any]:
        """What is told of it alone."""
        state = {
            "Status": self.status, "Running": self.status == "running", "Paused": self.status == "paused",
            "Restarting": self.status == "restarting", "OOMKilled": self.oom_killed, "Dead": self.status == "dead",
            "Pid": 4711, "ExitCode": self.exit_code, "Error": self.error, "StartedAt": rfc3339(self.started),
            "FinishedAt": NEVER if self.finished is None else rfc3339(self.finished),
        }  # fmt: skip
        if self.health is not None:
            state["Health"] = self.health
        return {
            "Id": self.id, "Created": rfc3339(self.started), "Path": "serve", "Args": [], "State": state,
            "Image": self.image, "Name": f"/{self.name}", "RestartCount": self.restarts, "Driver": "overlay2",
            "HostConfig": {
                "Binds": None, "RestartPolicy": {"Name": self.policy, "MaximumRetryCount": 0},
                "Memory": self.memory_limit, "NanoCpus": self.nano_cpus, "CpuQuota": self.cpu_quota,
                "CpuPeriod": self.cpu_period, "PidsLimit": None,
                "LogConfig": {"Type": self.log_driver, "Config": self.log_options},
            },
            "Config": {"Hostname": "a", "Env": ["PASSWORD=secret"], "Tty": False},
        }  # fmt: skip

    def used(self) -> dict[str, Any]:
        """What it uses, in one shot."""
        pids: dict[str, int] = {"current": self.tasks}
        if self.task_limit is not None:
            pids["limit"] = self.task_limit
        memory: dict[str, Any] = {"usage": self.usage, "limit": self.memory_limit or 16_000_000_000}
        if self.parts is not None:
            memory["stats"] = self.parts
        return {
            "id": self.id, "name": f"/{self.name}", "read": "2026-11-28T12:00:00.1Z", "preread": NEVER,
            "pids_stats": pids, "num_procs": 0, "memory_stats": memory,
            "cpu_stats": {
                "cpu_usage": {"total_usage": self.cpu_total, "usage_in_kernelmode": 1, "usage_in_usermode": 2},
                "system_cpu_usage": 5_000_000_000, "online_cpus": 4, "throttling_data": {"periods": 0},
            },
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        }  # fmt: skip


@dataclass
class Engine:
    """A container engine; ``refused`` are beginnings of paths that a proxy in front of it does not let through."""

    socket: str = ""
    boxes: list[Box] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    image_created: dict[str, str] = field(default_factory=lambda: {"sha256:11aa": "2026-01-01T00:00:00.5Z"})
    space: dict[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    requests: list[str] = field(default_factory=list)
    slow: tuple[str, ...] = ()
    change: Callable[[str, Any], Any] = lambda path, answer: answer

    def box(self, **options: Any) -> Box:
        """Add a container."""
        self.boxes.append(Box(**options))
        return self.boxes[-1]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.requests.append(request.path_qs)
        path = request.path
        if path.startswith(self.refused or ("//",)):
            return web.Response(status=403, text="<html><body><h1>403 Forbidden</h1></body></html>")
        if path in self.slow:
            await asyncio.sleep(60)
        answer = self.change(path, self._found(path, request))
        if answer is None:
            return web.json_response({"message": f"No such container: {path.split('/')[2]}"}, status=404)
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(answer)

    def _found(self, path: str, request: web.Request) -> Any:
        if path == "/containers/json":
            everything = request.query.get("all") == "true"
            return [box.listed() for box in self.boxes if everything or box.status == "running"]
        if path == "/events":
            return self._told_events(request)
        if path == "/system/df":
            return self.space
        if path.startswith("/images/"):
            created = self.image_created.get(path.split("/")[2])
            return {"Id": path.split("/")[2], "Created": created, "RepoTags": []} if created else None
        _, _, identity, what = path.split("/")
        box = next((box for box in self.boxes if identity in (box.id, box.name)), None)
        if box is None:
            return None
        if what == "logs":
            return self._told_log(box, request)
        return box.inspected() if what == "json" else box.used()

    def _told_events(self, request: web.Request) -> web.Response:
        since, until = float(request.query["since"]), float(request.query["until"])
        assert json.loads(request.query["filters"]) == {"type": ["container"], "event": ["oom"]}
        lines = [
            json.dumps(
                {"status": "oom", "id": box, "Type": "container", "Action": "oom", "Actor": {"ID": box}, "time": 1}
            )
            for at, box in self.events
            if since <= at < until
        ]
        return web.Response(text="".join(line + "\n" for line in lines), content_type="application/json")

    def _told_log(self, box: Box, request: web.Request) -> web.Response:
        """What a container wrote since a time, each line in a frame that says whether it was an error (stream 2)."""
        since = float(request.query["since"])
        frames = bytearray()
        for at, stream, text in box.log:
            if at >= since:
                line = f"{rfc3339(at)} {text}\n".encode()
                frames += bytes([stream, 0, 0, 0]) + len(line).to_bytes(4, "big") + line
        return web.Response(body=bytes(frames), content_type="application/vnd.docker.multiplexed-stream")


def as_podman(path: str, answer: Any) -> Any:
    """What Podman answers differently: no parts of the memory, no limit of processes, no events about memory."""
    if path == "/events":
        return web.Response(text="")
    if path.endswith("/stats"):
        answer["memory_stats"].pop("stats", None)
        answer["pids_stats"] = {"current": answer["pids_stats"]["current"]}
    return answer


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine that listens on a socket of its own; it has no containers yet."""
    made = Engine(socket=str(tmp_path / "engine.sock"))
    application = web.Application()
    application.router.add_get("/{tail:.*}", made.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, made.socket).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def proxy(engine: Engine) -> AsyncIterator[str]:
    """The same engine behind a TCP address, as a read-only proxy of the socket offers it."""
    application = web.Application()
    application.router.add_get("/{tail:.*}", engine.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"tcp://127.0.0.1:{port}"
    await runner.cleanup()
