"""A real Alertmanager on loopback that can be asked what it knows."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.ports import free_port

PATIENCE = 60.0
"""Seconds to wait for it to come up or to do something; on an idle machine it takes one or two."""


class Alertmanager:
    """One Alertmanager that tells nobody."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("prometheus-alertmanager")
        assert program, "alertmanager is not installed: apt-get install prometheus-alertmanager"
        self.port = free_port()
        self._folder = folder
        config = {"route": {"receiver": "nobody", "group_by": ["..."]}, "receivers": [{"name": "nobody"}]}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        self._command = [
            program,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "1"}
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            said = (self._folder / "alertmanager.log").read_text()
            assert self._process.poll() is None, f"alertmanager ended: {said}"
            assert time.monotonic() < deadline, f"alertmanager did not come up: {said}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    async def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are firing now."""
        return json.loads(await asyncio.to_thread(_get, f"{self.url}/api/v2/alerts?active=true"))

    async def eventually(self, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The firing alerts as soon as ``holds`` says so of them."""
        deadline = time.monotonic() + PATIENCE
        while not holds(found := await self.alerts()):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)
        return found

    def _is_ready(self) -> bool:
        try:
            _get(f"{self.url}/-/ready")
        except OSError:
            return False
        return True


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    """A running Alertmanager."""
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    server = Alertmanager(folder)
    server.start()
    yield server
    server.stop()
