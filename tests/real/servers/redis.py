"""A real Redis on loopback that can be stopped, started again on the same port, and frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.ports import free_port

PATIENCE = 20.0


class RedisServer:
    """One redis-server with settings of its own (``maxmemory="1mb"``)."""

    def __init__(self, folder: Path, **settings: str) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed: apt-get install redis-server"
        self.port = free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        for name, value in settings.items():
            self._command += [f"--{name.replace('_', '-')}", *value.split(" ")]
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None, "it runs already"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        deadline = time.monotonic() + PATIENCE
        while not self.say("PING").startswith(("+PONG", "-NOAUTH", "-NOPERM")):
            assert self._process.poll() is None, self._output.read_text()
            assert time.monotonic() < deadline, f"redis did not come up: {self._output.read_text()}"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, if it runs."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and say nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def say(self, *commands: str) -> str:
        """Send inline commands and return the first answers; empty when nobody listens."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall("".join(command + "\r\n" for command in commands).encode())
            connection.settimeout(2)
            return connection.recv(4096).decode()
        return ""


@pytest.fixture
def make_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Make started servers: ``make_redis(maxmemory="1mb")``; all are stopped at the end."""
    made: list[RedisServer] = []

    def make(**settings: str) -> RedisServer:
        folder = tmp_path / f"redis-{len(made)}"
        folder.mkdir()
        server = RedisServer(folder, **settings)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def redis_server(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """One server with its defaults."""
    return make_redis()
