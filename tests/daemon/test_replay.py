"""``wcr-watchd replay`` over what a daemon records while it runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from tests.daemon.harness import RunningDaemon, eventually, make_daemon

__all__ = ["make_daemon"]

CONFIG = """
[defaults]
every = "500ms"
timeout = "400ms"
retry = { times = 1, every = "200ms" }
[channel.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
[policy.default.warning]
tell = ["hook"]
[check.file]
type = "command"
run = ["/usr/bin/test", "-e", "FOLDER/there"]
[check.also]
type = "command"
run = ["/bin/true"]
"""
CHANGED = """
[check.file]
type = "command"
run = ["/bin/true"]
critical = []
warning = "down for 1h"
[check.fresh]
type = "command"
run = ["/bin/true"]
"""


@pytest.fixture
def daemon(make_daemon: Callable[..., RunningDaemon]) -> RunningDaemon:
    """A daemon that has seen a file go and come back."""
    daemon = make_daemon(CONFIG, start=False)
    there = daemon.folder / "there"
    there.touch()
    daemon.write(CONFIG.replace("FOLDER", str(daemon.folder)))
    daemon.start()
    eventually(lambda: daemon.outcome("file") == "up", "the file is there")
    there.unlink()
    eventually(lambda: daemon.incidents(open_only=True), "the file is missed")
    there.touch()
    eventually(lambda: not daemon.incidents(open_only=True), "it is seen again")
    over = last_run(daemon)
    eventually(lambda: last_run(daemon) > over + 3.0, "what came of it is recorded, runs after it too")
    return daemon


def last_run(daemon: RunningDaemon) -> float:
    """When the file was last looked for, epoch seconds."""
    return datetime.fromisoformat(daemon.check("file")["last_at"]).timestamp()


def test_the_same_configuration_gives_what_really_happened(daemon: RunningDaemon) -> None:
    said = daemon.command_json("replay", "--since", "1h", "-c", str(daemon.config), "--diff")
    (incident,) = said["incidents"]
    assert (incident["check"], incident["peak"], incident["state"]) == ("file", "warning", "resolved")
    assert said["messages"] == [{"channel": "hook", "contact": "", "count": 2, "events": {"opened": 1, "resolved": 1}}]
    diff = said["diff"]
    assert diff["really"] == {"incidents": 1, "messages": said["messages"]}
    assert diff["only_really"] == diff["only_new"] == []
    (both,) = diff["both"]
    assert both["messages"] == 0
    assert abs(both["opened_later"]) < 1.0
    assert any("observations reach back to" in remark for remark in said["remarks"])


def test_another_configuration_is_told_apart(daemon: RunningDaemon) -> None:
    other = daemon.folder / "new.toml"
    other.write_text(f'[store]\nurl = "sqlite:///{daemon.database}"\n{CHANGED}')
    said = daemon.command("replay", "--since", "1h", "-c", str(other), "--diff")
    assert said.returncode == 0, said.stderr
    assert "2 checks: 0 incidents, 0 messages" in said.stdout
    assert "really: 1 incidents, 2 messages" in said.stdout
    assert "would not have been: " in said.stdout
    assert "without recorded observations, so nothing can be said of: fresh" in said.stderr
    assert "recorded, but not in this configuration: also" in said.stderr


def test_what_cannot_be_replayed_is_said(daemon: RunningDaemon) -> None:
    missing = daemon.command("replay", "--since", "soon", "-c", str(daemon.config))
    assert missing.returncode == 2
    assert "--since" in missing.stderr
    daemon.stop()
    after = daemon.command("replay", "-c", str(daemon.config))
    assert after.returncode == 0, after.stderr
