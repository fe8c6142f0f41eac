"""A real Prometheus sends its alerts here, and a real amtool asks and silences, as they would with an Alertmanager."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.daemon.test_quiet import config, news, recorded, told
from tests.real.ports import free_port
from tests.real.servers.prometheus import Prometheus
from tests.real.servers.providers import Slack

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Prometheus]

TOKEN = "a-token-of-enough-length"


class Receiver:
    """A daemon that takes alerts at a port."""

    def __init__(self, daemon: RunningDaemon, port: int) -> None:
        self.daemon = daemon
        self.port = port

    def amtool(self, *words: str) -> str:
        """What amtool prints; it must succeed."""
        command = ["amtool", f"--alertmanager.url=http://127.0.0.1:{self.port}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def amtool_json(self, *words: str) -> Any:
        """The same, as JSON."""
        return json.loads(self.amtool(*words, "-o", "json"))

    def post(self, alerts: object, path: str = "/api/v2/alerts", token: str = "") -> tuple[int, str]:
        """Send alerts as Prometheus does."""

        async def post() -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(f"http://127.0.0.1:{self.port}{path}", json=alerts) as answer,
            ):
                return answer.status, await answer.text()

        return asyncio.run(post())


@pytest.fixture
def receiver(make_daemon: Daemons, slack: Slack) -> Callable[..., Receiver]:
    """Starts a daemon that takes alerts: ``receiver(alerts="…", web="…")``."""

    def start(alerts: str = "", web: str = "", **checks: int) -> Receiver:
        port = free_port()
        alerts = alerts if web else "without_token = true\n" + alerts
        daemon = make_daemon(config(slack, f"[alerts]\nenabled = true\n{alerts}", **checks), start=False)
        listening = daemon.config.read_text().replace("listen = []", f'listen = ["127.0.0.1:{port}"]\n{web}')
        daemon.config.write_text(listening)
        daemon.start()
        return Receiver(daemon, port)

    return start


def rules(folder: Path, *found: dict[str, Any]) -> Path:
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "tests", "interval": "1s", "rules": list(found)}]}))
    return path


def test_prometheus_fires_and_resolves_here(
    receiver: Callable[..., Receiver], prometheus: Start, slack: Slack, tmp_path: Path
) -> None:
    here = receiver('severity = { page = "critical" }')
    target = free_port()
    down = {
        "alert": "TargetDown",
        "expr": "up == 0",
        "labels": {"severity": "page", "group": "web"},
        "annotations": {"summary": "{{ $labels.instance }} is gone", "runbook_url": "https://runbooks.example/down"},
    }
    server = prometheus(target, rules(tmp_path, down), here.port)
    eventually(lambda: told(slack), "it is told")
    (first,) = told(slack)
    assert first.startswith('[CRITICAL] prod: TargetDown group="web", instance="127.0.0.1:')
    assert f"127.0.0.1:{target} is gone" in first
    (incident,) = here.daemon.incidents()
    _, page = here.daemon.get(f"/incidents/{incident['id']}")
    assert "The rule in Prometheus" in page
    assert "https://runbooks.example/down" in page
    assert here.amtool_json("alert", "query", "alertname=TargetDown")[0]["labels"]["severity"] == "page"
    rules(tmp_path, down | {"expr": "up == 2"})
    server.reload()
    eventually(lambda: len(told(slack)) == 2, f"it resolves: {told(slack)} {here.daemon.incidents()}")
    assert told(slack)[1].startswith("[RESOLVED] prod: TargetDown ")
    assert here.daemon.incidents(open_only=True) == []


def test_amtool_silences_and_asks(receiver: Callable[..., Receiver], slack: Slack) -> None:
    here = receiver(api=1)
    eventually(lambda: news(slack) == [("CRITICAL", "api")], "our own check fails")
    added = here.amtool("silence", "add", "-a", "ann", "-c", "disks", "-d", "1h", 'alertname=~"Disk.*"', "env!=test")
    identifier = added.strip()
    here.amtool("alert", "add", "DiskFull", "env=prod", "--annotation=summary=full")
    (found,) = here.amtool_json("alert", "query", "-s", "DiskFull")
    assert (found["status"]["state"], found["status"]["silencedBy"]) == ("suppressed", [identifier])
    assert [one["labels"]["alertname"] for one in here.amtool_json("alert", "query")] == ["api"]
    recorded(here.daemon)
    here.daemon.kill()
    here.daemon.start()
    (listed,) = here.amtool_json("silence", "query")
    assert (listed["id"], listed["createdBy"], listed["comment"]) == (identifier, "ann", "disks")
    assert len(here.amtool_json("alert", "query", "-s", "-i", "-a")) == 2
    assert len(told(slack)) == 1
    updated = here.amtool("silence", "update", "-d", "2h", "-c", "more disks", identifier)
    assert "more disks" in here.amtool("silence", "query", "-o", "extended"), updated
    here.amtool("silence", "expire", *here.amtool("silence", "query", "-q").split())
    eventually(lambda: len(told(slack)) == 2, "what is still open is told")
    assert told(slack)[1].startswith('[WARNING] prod: DiskFull env="prod": full')
    assert here.amtool_json("silence", "query") == []
    assert "disabled" in here.amtool("cluster", "show")
    here.amtool("config", "show")


def test_what_somebody_has_taken_and_a_silence_covers_is_silenced(
    receiver: Callable[..., Receiver], slack: Slack
) -> None:
    here = receiver(api=1)
    eventually(lambda: news(slack) == [("CRITICAL", "api")], "our own check fails")
    here.daemon.command("ack", "1")
    here.amtool("silence", "add", "-c", "known", "-d", "1h", "check=api")
    assert here.amtool_json("alert", "query", "--active") == []
    (found,) = here.amtool_json("alert", "query", "--silenced")
    assert found["status"]["state"] == "suppressed"


def test_what_is_not_sent_any_more_ends_by_the_resolve_timeout(receiver: Callable[..., Receiver], slack: Slack) -> None:
    here = receiver('resolve_timeout = "2s"')
    status, text = here.post([{"labels": {"alertname": "Gone"}}, {"labels": {}}])
    assert (status, json.loads(text)) == (400, "an alert needs at least one label with a value")
    said = "Prometheus has not sent it for 2 s"
    eventually(lambda: said in "".join(told(slack)), f"its end is told: {told(slack)}")


def test_who_may_send(receiver: Callable[..., Receiver], prometheus: Start, slack: Slack, tmp_path: Path) -> None:
    here = receiver("", f'token = "{TOKEN}"')
    assert here.post([{"labels": {"alertname": "x"}}])[0] == 401
    assert here.post([{"labels": {"alertname": "x"}}], token=TOKEN)[0] == 200
    fires = rules(tmp_path, {"alert": "Always", "expr": "vector(1)", "labels": {"severity": "critical"}})
    prometheus(free_port(), fires, here.port, TOKEN)
    eventually(lambda: ("CRITICAL", 'Always severity="critical"') in news(slack), f"it comes: {told(slack)}")
    without = receiver("without_token = true", f'token = "{TOKEN}"')
    assert without.post([{"labels": {"alertname": "y"}}])[0] == 200
    assert without.post({}, path="/api/v1/reload")[0] == 401


def test_who_does_not_want_alerts_says_so(make_daemon: Daemons, slack: Slack) -> None:
    daemon = make_daemon(config(slack))
    status, text = daemon.get("/api/v2/alerts")
    assert (status, json.loads(text)) == (404, "alerts are not taken here: set enabled = true in [alerts]")
