"""The daemon as a process of its own with a configuration file, as systemd would run it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from wcr_watchd.cli.client import NoDaemonError, call

PATIENCE = 45.0
"""Seconds that something may take on a slow machine before a test fails."""


def eventually(what: Callable[[], Any], why: str, within: float = PATIENCE) -> Any:
    """Ask again and again until the answer is true; fail with ``why`` when it never is."""
    deadline = time.monotonic() + within
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"within {within:g} s: {why}"
        time.sleep(0.05)


LISTEN = r"^listen = \[['\"]([^'\"]+):(\d+)['\"]\]"


class RunningDaemon:
    """``wcr-watchd run`` in a folder of its own; it may be stopped, killed and started again on the same state."""

    def __init__(
        self, folder: Path, config: str, environment: dict[str, str] | None = None, database: Path | None = None
    ) -> None:
        self.folder = folder
        self.database = database or folder / "watchd.db"
        self.config = folder / "watchd.toml"
        self.socket = folder / "control.sock"
        self.output = folder / "output"
        self.environment = environment or {}
        self.log_level = "info"
        self.listen: list[str] = []
        """Addresses of ``[web] listen``."""
        self.watchd = ""
        """Further lines of ``[watchd]``."""
        self.process: subprocess.Popen[bytes] | None = None
        self.write(config)

    def write(self, config: str) -> None:
        """Write the configuration file; takes effect by a start or reload."""
        head = f'[watchd]\nname = "prod"\n{self.watchd}[store]\nurl = "sqlite:///{self.database}"\n'
        head += f"[web]\nlisten = {self.listen}\n"
        self.config.write_text(head + config)

    def start(self) -> None:
        """Start it and wait until it answers on its socket."""
        self.spawn()
        eventually(self._answers, f"the daemon answers\n{self.log()[-3000:]}")

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        assert self.process is None
        command = [sys.executable, "-m", "wcr_watchd", "run", "-c", str(self.config), "--socket", str(self.socket)]
        command += ["--log-level", self.log_level]
        self.socket.unlink(missing_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env={**os.environ, **self.environment}, cwd=self.folder
            )

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}\n{self.log()[-3000:]}"
        try:
            call(self.socket, "GET", "/status")
            for host, port in re.findall(
                r"^listen = \[['\"]([^'\"]+):(\d+)['\"]\]", self.config.read_text(), re.MULTILINE
            ):
                socket.create_connection((host, int(port)), PATIENCE).close()  # they are opened after the Unix socket
        except (NoDaemonError, ConnectionRefusedError):
            return False
        return True

    def stop(self) -> int:
        """Ask it to stop, as systemd does, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def kill(self) -> None:
        """End it at any instruction."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process = None

    def reload(self) -> None:
        """Ask it to read its configuration again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """Everything it has written."""
        return self.output.read_text() if self.output.exists() else ""

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One API call over its socket."""
        return call(self.socket, method, path, body)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page, over its socket."""

        async def get() -> tuple[int, str]:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
                session.get(f"http://localhost{path}") as answer,
            ):
                return answer.status, await answer.text()

        return asyncio.run(get())

    def sign_in_link(self) -> str:
        """A URL on its first address that signs a browser in once; it then shows the overview."""
        url: str = self.api("POST", "/sign-in-links")["url"]
        return url

    def check(self, name: str) -> dict[str, Any]:
        """How a check is now."""
        return self.api("GET", f"/checks/{name}")

    def outcome(self, name: str) -> str | None:
        """``up``, ``down``, ``unknown`` or None before the first result."""
        found: str | None = self.check(name)["outcome"]
        return found

    def incidents(self, open_only: bool = False) -> list[dict[str, Any]]:
        """Incidents, newest first."""
        rows: list[dict[str, Any]] = self.api("GET", f"/incidents?open={int(open_only)}")["incidents"]
        return rows

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this daemon."""
        command = [sys.executable, "-m", "wcr_watchd", *words]
        environment = {**os.environ, **self.environment, "WATCHD_SOCKET": str(self.socket)}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=self.folder
        )

    def command_json(self, *words: str) -> Any:
        """As :meth:`command` with ``--json``, parsed."""
        done = self.command(*words, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., RunningDaemon]]:
    """Make daemons: ``make_daemon(config, start=True)``; all are ended with the test."""
    made: list[RunningDaemon] = []

    def make(config: str, *, start: bool = True, environment: dict[str, str] | None = None) -> RunningDaemon:
        folder = tmp_path / f"daemon-{len(made)}"
        folder.mkdir()
        daemon = RunningDaemon(folder, config, environment)
        made.append(daemon)
        if start:
            daemon.start()
        return daemon

    yield make
    for daemon in made:
        if daemon.process is not None:
            daemon.kill()
