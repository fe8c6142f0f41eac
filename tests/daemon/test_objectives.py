"""Objectives on a running daemon: an outage burns the budget, is told, and what is left is known after a restart."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

from click.testing import CliRunner

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port
from wcr_watchd.cli.main import cli

CONFIG = """
[defaults]
every = "200ms"
timeout = "200ms"
[check.api]
type = "tcp"
address = "127.0.0.1:{port}"
[objective.api]
checks = ["api"]
target = "99.99%"
"""


def test_an_outage_burns_the_budget(make_daemon: Callable[..., RunningDaemon]) -> None:
    port = free_port()
    listening = socket.create_server(("127.0.0.1", port))
    daemon = make_daemon(CONFIG.format(port=port))

    def subjects() -> set[str]:
        return {one["subject"] for one in daemon.incidents(open_only=True) if one["check"] == "wcr-watchd"}

    eventually(lambda: daemon.outcome("api") == "up", "it is up")
    listening.close()
    eventually(lambda: subjects() == {"objective api burns fast"}, "it is told")
    (incident,) = (one for one in daemon.incidents() if one["subject"] == "objective api burns fast")
    assert incident["severity"] == "critical"
    assert incident["summary"].startswith("down for ")
    assert "of the last 1 h: the error budget of 99.99 %" in incident["summary"]
    daemon.kill()
    daemon.start()
    (row,) = daemon.api("GET", "/objectives")["objectives"]
    assert (row["name"], row["checks"], row["target"]) == ("api", ["api"], 0.9999)
    assert 0 < row["availability"] < 1
    assert row["unwatched"] > 29 * 86_400
    assert (row["incidents"], row["mean_time_to_acknowledge"], row["mean_time_between_failures"]) == (1, None, None)
    eventually(lambda: _rates(daemon)[3_600.0], "what was counted is read back")
    assert subjects() == {"objective api burns fast"}
    rate = 'watchd_objective_burn_rate{objective="api",window_seconds="3600"}'
    eventually(lambda: rate in daemon.get("/metrics")[1], "Prometheus reads it as well")
    assert 'watchd_objective_budget_left_ratio{objective="api"}' in daemon.get("/metrics")[1]
    shown = CliRunner().invoke(cli, ["objectives", "--socket", str(daemon.socket)])
    assert shown.exit_code == 0
    assert "99.99 %" in shown.stdout
    listed = CliRunner().invoke(cli, ["objectives", "--json", "--socket", str(daemon.socket)])
    assert json.loads(listed.stdout)[0]["name"] == "api"


def _rates(daemon: RunningDaemon) -> dict[float, float | None]:
    (row,) = daemon.api("GET", "/objectives")["objectives"]
    return {one["window"]: one["rate"] for one in row["burn_rates"]}
