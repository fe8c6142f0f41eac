"""Silences and maintenance on a running daemon: who is told when, on the command line, and across a kill."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.providers import Slack
from wcr_watchd.cli.client import RefusedError

Daemons = Callable[..., RunningDaemon]


class Targets:
    """Ports that answer or do not."""

    def __init__(self) -> None:
        self._listening: dict[int, socket.socket] = {}

    def start(self, port: int) -> None:
        self._listening[port] = socket.create_server(("127.0.0.1", port))

    def stop(self, port: int) -> None:
        self._listening.pop(port).close()

    def close(self) -> None:
        while self._listening:
            self.stop(next(iter(self._listening)))


@pytest.fixture
def targets() -> Iterator[Targets]:
    made = Targets()
    yield made
    made.close()


def config(slack: Slack, more: str = "", **checks: int) -> str:
    tables = "".join(f'[check.{name}]\ntype = "tcp"\naddress = "127.0.0.1:{port}"\n' for name, port in checks.items())
    severities = "".join(f'[policy.default.{word}]\ntell = ["slack"]\n' for word in ("critical", "warning", "info"))
    channel = f'[channel.slack]\ntype = "slack"\nwebhook = "{slack.url}"\n'
    defaults = '[defaults]\nevery = "500ms"\ntimeout = "400ms"\nretry = { times = 0 }\n'
    return defaults + channel + severities + tables + more


def told(slack: Slack) -> list[str]:
    return [one.fields["text"] for one in slack.accepted]


def news(slack: Slack) -> list[tuple[str, str]]:
    """The tag and the check of each message."""
    return [(text.split("]")[0].strip("["), text.split(": ")[1]) for text in told(slack)]


def runs(daemon: RunningDaemon, check: str, more: int = 3) -> None:
    """Let some runs pass, so that what must not be told has had its chance."""
    seen = {daemon.check(check)["last_at"]}
    eventually(lambda: seen.add(daemon.check(check)["last_at"]) or len(seen) > more, f"{more} runs of {check}")


def recorded(daemon: RunningDaemon) -> None:
    """Wait until it is stored that everything is delivered: only what is in flight at a kill may come twice."""

    def done() -> bool:
        return not any(row["state"] == "pending" for row in daemon.api("GET", "/deliveries")["deliveries"])

    eventually(done, "all deliveries are recorded")


def test_what_is_silenced_is_told_when_the_silence_ends_and_other_failures_at_once(
    make_daemon: Daemons, slack: Slack, targets: Targets
) -> None:
    api, web = free_port(), free_port()
    daemon = make_daemon(config(slack, api=api, web=web), start=False)
    targets.start(api)
    targets.start(web)
    daemon.start()
    eventually(lambda: [daemon.outcome(name) for name in ("api", "web")] == ["up", "up"], "both are up")
    done = daemon.command("silence", "add", "--check", "api", "--for", "2h", "--comment", "moving", "--by", "ann")
    assert done.returncode == 0, done.stderr
    (listed,) = daemon.command_json("silence", "list")
    assert (listed["matchers"], listed["author"], listed["state"]) == (['check="api"'], "ann", "active")
    targets.stop(api)
    eventually(lambda: [one["state"] for one in daemon.incidents()] == ["silenced"], "the failure is recorded")
    targets.stop(web)
    eventually(lambda: news(slack) == [("CRITICAL", "web")], f"the other failure is told: {told(slack)}")
    recorded(daemon)
    daemon.kill()
    daemon.start()
    eventually(lambda: daemon.outcome("api") == "down", "it looks again")
    runs(daemon, "api")
    assert news(slack) == [("CRITICAL", "web")]
    done = daemon.command("silence", "expire", listed["id"][:8])
    assert "is over; what is still broken is told" in done.stdout, done.stderr
    eventually(lambda: news(slack)[1:] == [("CRITICAL", "api")], f"it is told at the end: {told(slack)}")
    assert daemon.command_json("silence", "list") == []
    assert daemon.command_json("silence", "list", "--all")[0]["state"] == "expired"


def test_whoever_was_told_is_told_of_the_end_in_a_silence_and_what_was_untold_stays_so(
    make_daemon: Daemons, slack: Slack, targets: Targets
) -> None:
    api, web = free_port(), free_port()
    targets.start(web)
    daemon = make_daemon(config(slack, api=api, web=web))
    eventually(lambda: news(slack) == [("CRITICAL", "api")], "the failure is told")
    assert daemon.command("silence", "add", 'check=~"api|web"', "--for", "2h").returncode == 0
    targets.stop(web)
    eventually(lambda: len(daemon.incidents(open_only=True)) == 2, "the second failure is recorded")
    targets.start(web)
    targets.start(api)
    eventually(lambda: daemon.incidents(open_only=True) == [], "both are over")
    eventually(lambda: news(slack)[1:] == [("RESOLVED", "api")], f"only the first is told: {told(slack)}")
    runs(daemon, "web")
    assert news(slack) == [("CRITICAL", "api"), ("RESOLVED", "api")]


def test_started_maintenance_that_overruns_is_told_with_that_reason(make_daemon: Daemons, slack: Slack) -> None:
    daemon = make_daemon(config(slack))
    daemon.write(config(slack, api=free_port()))
    done = daemon.command(
        "maintenance", "start", "--check", "*", "--for", "3s", "--comment", "new disks", "--by", "ann"
    )
    assert done.returncode == 0, done.stderr
    daemon.reload()
    eventually(lambda: [one["state"] for one in daemon.incidents()] == ["maintenance"], "it is recorded")
    assert told(slack) == []
    eventually(lambda: news(slack) == [("CRITICAL", "api")], f"it is told at the end: {told(slack)}")
    (incident,) = daemon.incidents()
    events = daemon.api("GET", f"/incidents/{incident['id']}")["timeline"]
    assert events[-1]["reason"] == "still broken at the end: maintenance started by ann: new disks"


def test_a_planned_window_is_announced_once_and_ended_early(make_daemon: Daemons, slack: Slack) -> None:
    def stamp(seconds: float) -> str:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    daemon = make_daemon(config(slack))
    planned = f"""
[maintenance.disks]
from = "{stamp(61)}"
until = "{stamp(600)}"
checks = ["*"]
notice = ["1m"]
comment = "new disks"
[maintenance.now]
from = "{stamp(-60)}"
until = "{stamp(600)}"
match = 'target=~".*:1"'
"""
    daemon.write(config(slack, planned, api=1))
    daemon.reload()
    eventually(lambda: news(slack), "it is announced")
    (announced,) = told(slack)
    assert announced.startswith("[PLANNED] prod: maintenance disks begins in 1 min: ")
    assert "; new disks; nobody is told of api" in announced
    eventually(lambda: [one["state"] for one in daemon.incidents()] == ["maintenance"], "the other window holds")
    recorded(daemon)
    daemon.kill()
    daemon.start()
    listed: dict[str, Any] = daemon.command_json("maintenance", "list")
    assert [(one["name"], one["current"] is not None, len(one["next"])) for one in listed["windows"]] == [
        ("disks", False, 1),
        ("now", True, 0),
    ]
    assert "Maintenance now until" in daemon.get("/")[1]
    eventually(lambda: daemon.outcome("api") == "down", "it looks again")
    runs(daemon, "api")
    assert told(slack) == [announced]
    done = daemon.command("maintenance", "stop", "now", "--by", "ann")
    assert "maintenance now is over for this time" in done.stdout, done.stderr
    eventually(lambda: news(slack)[1:] == [("CRITICAL", "api")], f"what is broken is told: {told(slack)}")
    assert "there is no silence nowhere" in daemon.command("maintenance", "stop", "nowhere").stderr


def test_what_cannot_be_silenced_says_why(make_daemon: Daemons, slack: Slack) -> None:
    daemon = make_daemon(config(slack, api=1))
    for body, said in (
        ({"for": "2h"}, "at least one matcher"),
        ({"check": "apo", "for": "2h"}, "there is no check named 'apo'"),
        ({"check": "*", "for": "2h"}, "would silence everything"),
        ({"matchers": "check~api", "for": "2h"}, "matchers, column 6: expected =, !=, =~ or !~"),
        ({"matchers": "check=api", "for": "soon"}, "write for example 2h"),
        ({"matchers": "check=api", "for": "1h", "starts_at": "tomorrow"}, "is no time"),
        ({"matchers": "check=api"}, "say for how long"),
    ):
        with pytest.raises(RefusedError) as refused:
            daemon.api("POST", "/silences", body)
        assert said in str(refused.value)
    done = daemon.command("silence", "expire", "abcd")
    assert (done.returncode, "there is no silence abcd" in done.stderr) == (2, True)
