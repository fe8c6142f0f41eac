"""Why somebody was told, and who would be: asked of a running daemon by command line, API and page."""

from __future__ import annotations

from collections.abc import Callable

from tests.daemon.harness import RunningDaemon, eventually, make_daemon

__all__ = ["make_daemon"]

CONFIG = """
[defaults]
every = "1s"
timeout = "900ms"
retry = { times = 0, every = "1s" }
[channel.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
[channel.mail]
type = "email"
servers = ["smtp://127.0.0.1:9"]
from = "watch@example.org"
[contact.ann]
email = "ann@example.org"
[contact.ben]
email = "ben@example.org"
[policy.default.critical]
tell = ["hook", "mail:ann"]
escalate = [{ after = "10m", tell = ["mail:ben"] }]
repeat = "5m"
[check.dead]
type = "tcp"
address = "127.0.0.1:9"
"""


def test_why_and_who_would_be(make_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = make_daemon(CONFIG)
    eventually(lambda: daemon.incidents(open_only=True), "it is seen to be down")
    eventually(lambda: "hook" in daemon.command("why", "1").stdout, "the message is stored")
    asked = daemon.command("why", "1", "ben")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("ben was not told of #1: told were ")
    found = daemon.command_json("why", "1", "ann")
    assert found["incident"]["id"] == 1
    assert found["steps"][0]["event"] == "opened"
    assert found["steps"][0]["told"][0]["sentence"].startswith("ann by mail is still owed")
    status, page = daemon.get("/incidents/1?contact=ben")
    assert status == 200
    assert "ben was not told of #1: told were" in page
    assert daemon.command("why", "7").returncode == 2

    shown = daemon.command("policy", "test", "--check", "dead", "--for", "1h")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert "at once" in lines[1]
    assert "hook, mail:ann" in lines[1]
    assert any("10 min" in line and "mail:ben" in line for line in lines)
    assert lines[-1].startswith("and so on")
    by_file = daemon.command_json("policy", "test", "--check", "dead", "-c", str(daemon.config))
    assert [step["after"] for step in by_file["steps"][:3]] == [0.0, 300.0, 600.0]
    assert daemon.command("policy", "test", "--check", "nope").returncode == 2
    assert daemon.command("policy", "test", "--check", "dead", "--for", "ever").returncode == 2
