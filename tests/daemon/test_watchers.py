"""Somebody watches the watcher: two daemons watch each other, and whoever was away says so, once."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.beats import Beats
from tests.real.servers.providers import WEBHOOK_SECRET, WebhookReceiver

Daemons = Callable[..., RunningDaemon]

TELL_AFTER = 4
"""Seconds of absence that are told."""


@pytest.fixture
def other_beats() -> Any:
    server = Beats()
    server.start()
    yield server
    server.stop()


def watcher(other_port: int, beats: Beats) -> str:
    return f"""
[check.other]
type = "http"
url = "http://127.0.0.1:{other_port}/healthz"
every = "500ms"
timeout = "400ms"
retry = {{ times = 1, every = "100ms" }}
warning = []
[heartbeat.elsewhere]
url = "{beats.url}"
every = "200ms"
"""


def on_port(make_daemon: Daemons, port: int, config: str) -> RunningDaemon:
    daemon = make_daemon(config, start=False)
    daemon.listen = [f"127.0.0.1:{port}"]
    daemon.write(config)
    daemon.start()
    return daemon


def test_two_daemons_watch_each_other_and_one_dies(make_daemon: Daemons, beats: Beats, other_beats: Beats) -> None:
    ports = free_port(), free_port()
    one = on_port(make_daemon, ports[0], watcher(ports[1], beats))
    other = on_port(make_daemon, ports[1], watcher(ports[0], other_beats))
    eventually(lambda: one.outcome("other") == other.outcome("other") == "up", "each sees the other")
    eventually(lambda: len(beats.accepted) > 3 and len(other_beats.accepted) > 3, "both give signs of life")
    eventually(lambda: not one.incidents(open_only=True), "nothing is wrong")

    other.kill()
    killed_at = time.time()
    (found,) = eventually(lambda: one.incidents(open_only=True), "the one that lives says that the other is gone")
    assert (found["check"], found["severity"]) == ("other", "critical")
    eventually(lambda: beats.since(time.time() - 1.0) > 0, "the one that lives goes on giving signs of life")
    assert other_beats.since(killed_at + 1.0) == 0
    assert not beats.refused
    assert not other_beats.refused

    other.start()
    eventually(lambda: not one.incidents(open_only=True), "it is seen that the other is back")
    eventually(lambda: other_beats.quiet_for() < 1.0, "and it gives signs of life again")
    metrics = one.get("/metrics")[1]
    assert 'watchd_heartbeats_total{heartbeat="elsewhere"}' in metrics
    assert 'watchd_heartbeats_failed_total{heartbeat="elsewhere"} 0.0' in metrics


def test_no_sign_of_life_is_given_while_nothing_can_be_stored(make_daemon: Daemons, beats: Beats) -> None:
    config = f"""
[check.there]
type = "command"
run = ["/bin/true"]
every = "500ms"
[heartbeat.elsewhere]
url = "{beats.url}"
every = "200ms"
"""
    daemon = make_daemon(config)
    eventually(lambda: len(beats.accepted) > 3, "it gives signs of life")
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: beats.quiet_for() > 3.0, "it is silent while another program keeps the records locked")
        other.execute("ROLLBACK")
    eventually(lambda: beats.quiet_for() < 1.0, "it gives them again")


def test_who_was_away_says_so_once_be_it_killed_or_stopped(
    make_daemon: Daemons, beats: Beats, webhook_receiver: WebhookReceiver, tmp_path: Path
) -> None:
    config = f"""
[check.gone]
type = "certfile"
path = "{tmp_path / "none.pem"}"
every = "1s"
timeout = "500ms"
retry = {{ times = 0 }}
critical = "unknown"
[channel.hook]
type = "webhook"
url = "{webhook_receiver.url}"
secret = "{WEBHOOK_SECRET}"
[policy.default.critical]
tell = ["hook"]
[policy.default.warning]
tell = ["hook"]
[heartbeat.elsewhere]
url = "{beats.url}"
every = "200ms"
"""

    def said(why: str) -> list[str]:
        summaries = [message.fields["summary"] for message in webhook_receiver.accepted]
        return [summary for summary in summaries if summary.startswith("I am back") and why in summary]

    daemon = make_daemon(config, start=False)
    daemon.watchd = f'tell_absence = "{TELL_AFTER}s"\n'
    daemon.write(config)
    daemon.start()
    eventually(lambda: daemon.incidents(open_only=True) and beats.accepted, "it watches")

    daemon.kill()
    time.sleep(TELL_AFTER + 1.5)  # the absence itself
    daemon.start()
    (summary,) = eventually(lambda: said("the daemon was not running"), "it says that it was away")
    assert "nobody was watching from " in summary
    assert " incident" in summary
    assert "gone" in summary

    assert daemon.process is not None
    eventually(lambda: beats.quiet_for() < 1.0, "it gives signs of life")
    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(TELL_AFTER + 1.5)
    assert beats.quiet_for() > TELL_AFTER
    daemon.process.send_signal(signal.SIGCONT)
    eventually(lambda: said("stopped"), "it says that it was stopped")
    eventually(lambda: beats.quiet_for() < 1.0, "it gives signs of life again")
    daemon.stop()  # which sends what is still owed
    assert len(said("the daemon was not running")) == 1
    assert len(said("stopped")) == 1
