"""Jobs report to the whole daemon: by curl as from cron, by borgmatic, by another daemon that then dies."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port

Daemons = Callable[..., RunningDaemon]

KEY = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"
PING_KEY = "jHq2mWc0Zr8Lk4Xv9TnB1s"
RUN = "11111111-1111-4111-8111-111111111111"
JOB = """
[check.job]
type = "heartbeat"
key = "${env:JOB_KEY}"
period = "1d"
every = "1h"
"""
"""Its own interval is so long that whatever is seen sooner was judged at once."""


@pytest.fixture
def reported(make_daemon: Daemons) -> Daemons:
    """Make daemons that jobs can report to."""

    def make(config: str = JOB, log_level: str = "info") -> RunningDaemon:
        daemon = make_daemon(config, start=False, environment={"JOB_KEY": KEY, "PING_KEY": PING_KEY})
        daemon.listen = [f"127.0.0.1:{free_port()}"]
        daemon.log_level = log_level
        daemon.write(config)
        daemon.start()
        return daemon

    return make


def to(daemon: RunningDaemon, path: str = KEY) -> str:
    """Where to report."""
    return f"http://{daemon.listen[0]}/ping/{path}"


def curl(*words: str) -> str:
    """What the real curl brings, as cron would call it."""
    done = subprocess.run(["curl", "-sS", "-m", "20", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_job_in_cron_begins_fails_and_recovers(reported: Daemons) -> None:
    daemon = reported()
    eventually(lambda: daemon.outcome("job") == "up", "nothing is expected before the first signal")
    assert curl(to(daemon, f"{KEY}/start?rid={RUN}")) == "OK"
    assert curl("--data-raw", "dump\ndisk full", to(daemon, f"{KEY}/3?rid={RUN}")) == "OK"
    eventually(lambda: daemon.outcome("job") == "down", "the failure is judged at once", within=20)
    (incident,) = eventually(lambda: daemon.incidents(open_only=True), "it is told")
    assert "exit status 3" in incident["summary"]
    assert "disk full" in incident["summary"]
    seen = daemon.check("job")["latest"]
    assert any("disk full" in text for text in seen["evidence"].values())
    assert any(one["name"] == "run_time" for one in seen["measurements"])
    assert curl("-I", to(daemon)).startswith("HTTP/1.1 200")
    eventually(lambda: not daemon.incidents(open_only=True), "the success ends it", within=20)
    said = daemon.api("GET", "/checks/job/pings")["pings"]
    assert [one["kind"] for one in said] == ["success", "fail", "start"]
    assert said[1]["body"] == "dump\ndisk full"


def test_silence_is_told_at_its_time(reported: Daemons) -> None:
    daemon = reported(JOB.replace('"1d"', '"500ms"\ngrace = "500ms"'))
    curl(to(daemon))
    began = time.monotonic()
    eventually(lambda: daemon.incidents(open_only=True), "silence is told", within=30)
    assert time.monotonic() - began >= 0.5
    assert "is not heard of within 500 ms" in daemon.incidents()[0]["summary"]


def test_what_was_answered_ok_survives_kill_9(reported: Daemons) -> None:
    daemon = reported()
    for number in range(1, 4):
        assert curl("--data-raw", f"run {number}", to(daemon)) == "OK"
        daemon.kill()
        daemon.start()
        eventually(lambda: daemon.outcome("job"), "it is judged again")
        said = daemon.api("GET", "/checks/job/pings")["pings"]
        assert [one["body"] for one in said] == [f"run {n}" for n in range(number, 0, -1)]
    eventually(lambda: "last heard of" in daemon.check("job")["latest"]["summary"], "the state is known, too")


def test_what_cannot_be_stored_is_not_answered_ok(reported: Daemons) -> None:
    daemon = reported()
    eventually(lambda: daemon.outcome("job") == "up", "it runs")
    with sqlite3.connect(daemon.database, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # a foreign tool keeps the file locked for longer than we wait
        words = ["-o", os.devnull, "-w", "%{http_code}", to(daemon, f"{KEY}/fail")]
        assert curl(*words) == "503"
        eventually(lambda: daemon.outcome("job") == "down", "it is judged all the same")
        other.execute("ROLLBACK")
    other.close()
    eventually(lambda: daemon.api("GET", "/checks/job/pings")["pings"], "it is stored when that works again")


def test_keys_are_shown_nowhere(reported: Daemons) -> None:
    group = '[check.all]\ntype = "heartbeats"\nping_key = "${env:PING_KEY}"\n'
    daemon = reported(JOB + group, log_level="debug")
    curl("--data-raw", f"calling {to(daemon)} again", to(daemon, f"{KEY}/fail"))
    curl(to(daemon, f"{PING_KEY}/nightly/fail?create=1"))
    curl("-o", os.devnull, to(daemon, f"{PING_KEY}/unknown"))
    eventually(lambda: len(daemon.incidents(open_only=True)) == 2, "both are told")
    pages = ["/", "/checks/job", "/checks/all", "/metrics", "/api/v1/checks/job", "/api/v1/checks/job/pings"]
    pages += ["/api/v1/checks/all/pings", "/api/v1/incidents", "/healthz"]
    texts = {page: daemon.get(page)[1] for page in pages} | {"log": daemon.log()}
    texts |= {word: daemon.command(word).stdout for word in ("list", "status", "incidents")}
    texts["show"] = daemon.command("check-config", str(daemon.config), "--show", "job").stdout
    assert "nightly" in texts["/metrics"]
    for place, text in texts.items():
        assert KEY not in text, place
        assert PING_KEY not in text, place


def test_a_wild_script_is_refused_after_a_while(reported: Daemons) -> None:
    daemon = reported()
    urls = [word for _ in range(150) for word in ("-o", os.devnull, to(daemon, f"{KEY}/log"))]
    codes = curl("-w", "%{http_code}\n", *urls).split()
    assert set(codes) == {"200", "429"}
    assert codes.count("200") >= 120


def test_one_daemon_notices_that_another_has_died(reported: Daemons, make_daemon: Daemons) -> None:
    """B waits for A's signs of life; so A needs no address that B could ask."""
    waiting = reported(JOB.replace('"1d"', '"1s"\ngrace = "2s"'))
    living = make_daemon(f'[heartbeat.b]\nurl = "{to(waiting)}"\nevery = "300ms"\n')
    eventually(lambda: len(waiting.api("GET", "/checks/job/pings")["pings"]) >= 3, "signs of life arrive")
    assert not waiting.incidents(open_only=True)
    living.kill()
    eventually(lambda: waiting.incidents(open_only=True), "B tells of A's death", within=30)
    assert "is not heard of" in waiting.incidents()[0]["summary"]
    living.start()
    eventually(lambda: not waiting.incidents(open_only=True), "and of its return", within=30)


# --- borgmatic --------------------------------------------------------------------------------------------------------


class Borgmatic:
    """The real borgmatic with a small repository of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        (folder / "source").mkdir(parents=True)
        (folder / "source" / "file").write_text("worth keeping")
        self.config = folder / "config.yaml"
        settings = {
            "location": {"source_directories": [str(folder / "source")], "repositories": [str(self.repository)]},
            "storage": {"unknown_unencrypted_repo_access_is_ok": True},
            "hooks": {"healthchecks": {"ping_url": url}},
        }
        self.config.write_text(json.dumps(settings))

    def run(self, *words: str) -> int:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "BORG_BASE_DIR": str(self.folder)}
        done = subprocess.run(
            ["borgmatic", "--config", str(self.config), *words], env=environment, capture_output=True, check=False
        )
        return done.returncode


def test_borgmatic_reports_its_backups(reported: Daemons, tmp_path: Path) -> None:
    daemon = reported()
    borgmatic = Borgmatic(tmp_path / "borgmatic", to(daemon))
    assert borgmatic.run("init", "--encryption", "none") == 0
    assert borgmatic.run("create") == 0
    said: list[dict[str, Any]] = daemon.api("GET", "/checks/job/pings")["pings"]
    assert [one["kind"] for one in said] == ["success", "start"]
    eventually(lambda: "last heard of" in daemon.check("job")["latest"]["summary"], "the success is judged")
    shutil.rmtree(borgmatic.repository)
    assert borgmatic.run("create") != 0
    eventually(lambda: daemon.incidents(open_only=True), "the failed backup is told", within=30)
    last = daemon.api("GET", "/checks/job/pings")["pings"][0]
    assert last["kind"] == "fail"
    assert str(borgmatic.repository) in last["body"], "borgmatic's own log is kept"
