"""A real Prometheus on loopback that scrapes one target, and can be asked what it knows."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.ports import free_port

PATIENCE = 60.0
"""Seconds to wait for it to come up or to learn something; on an idle machine it takes one or two."""


class Prometheus:
    """One Prometheus that scrapes ``http://127.0.0.1:<target>/metrics`` once a second.

    ``rules`` is a file of alert rules it evaluates as often; what fires goes to an ``alertmanager`` at that port. It is
    asked over its HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/).
    """

    def __init__(
        self, folder: Path, target: int, rules: Path | None = None, alertmanager: int | None = None, token: str = ""
    ) -> None:
        program = shutil.which("prometheus")
        assert program, "prometheus is not installed: apt-get install prometheus"
        self.port = free_port()
        self._folder = folder
        config: dict[str, Any] = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "watchd", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
        }
        if alertmanager is not None:
            receiver: dict[str, Any] = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
            if token:
                receiver["authorization"] = {"credentials": token}
            config["alerting"] = {"alertmanagers": [receiver]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--rules.alert.resend-delay=1s",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "1"}
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            said = (self._folder / "prometheus.log").read_text()
            assert self._process.poll() is None, f"prometheus ended: {said}"
            assert time.monotonic() < deadline, f"prometheus did not come up: {said}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def reload(self) -> None:
        """Have it read its configuration and rules again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def api(self, path: str, **parameters: str) -> Any:
        """The data of an API call such as ``api("query", query="up")``."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        answer = json.loads(await asyncio.to_thread(_get, url))
        assert answer["status"] == "success", answer
        return answer["data"]

    async def query(self, text: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values that a PromQL query finds now."""
        found = await self.api("query", query=text)
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    async def wait_for(self, text: str) -> list[tuple[dict[str, str], float]]:
        """Ask a query until it finds something."""
        async with asyncio.timeout(PATIENCE):
            while not (found := await self.query(text)):
                await asyncio.sleep(0.2)
        return found

    async def target(self) -> dict[str, Any]:
        """What it says of its one target, once it has scraped it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                active = (await self.api("targets"))["activeTargets"]
                if active and active[0]["health"] != "unknown":
                    first: dict[str, Any] = active[0]
                    return first
                await asyncio.sleep(0.2)

    def _is_ready(self) -> bool:
        try:
            return bool(_get(f"http://127.0.0.1:{self.port}/-/ready"))
        except OSError:
            return False


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
        return body


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus for a target's port: ``prometheus(9848, rules=path)``; all are stopped at the end."""
    running: list[Prometheus] = []

    def start(target: int, rules: Path | None = None, alertmanager: int | None = None, token: str = "") -> Prometheus:
        folder = tmp_path / f"prometheus-{len(running)}"
        folder.mkdir()
        server = Prometheus(folder, target, rules, alertmanager, token)
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop()
