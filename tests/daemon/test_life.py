"""A daemon's life: start, reload by difference, a broken file, stop, kill, and a second one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.real.servers.nginx import Nginx, Site
from wcr_watchd.cli.client import call

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Nginx]

FAST = '[defaults]\nretry = { times = 1, every = "100ms" }\n'


def http(name: str, url: str, more: str = "") -> str:
    return f'[check.{name}]\ntype = "http"\nurl = "{url}"\nevery = "1s"\ntimeout = "900ms"\nwarning = []\n{more}\n'


def metrics(daemon: RunningDaemon) -> str:
    return _get(daemon, "/metrics")


def page(daemon: RunningDaemon) -> str:
    return _get(daemon, "/")


def _get(daemon: RunningDaemon, path: str) -> str:
    return daemon.get(path)[1]


def test_reload_changes_what_changed_and_nothing_else(make_daemon: Daemons, nginx: Start) -> None:
    server = nginx(Site())
    dead = "http://127.0.0.1:1/"
    daemon = make_daemon(FAST + http("stays", dead) + http("goes", dead) + http("changes", server.url()))
    eventually(lambda: len(daemon.incidents(open_only=True)) == 2, "both dead checks have an incident")
    before = daemon.check("stays")
    number = before["incidents"][0]
    daemon.write(FAST + http("stays", dead) + http("changes", server.url("/?other")) + http("comes", server.url()))
    daemon.reload()
    eventually(lambda: "comes" in [row["name"] for row in daemon.api("GET", "/checks")["checks"]], "it is reloaded")
    eventually(lambda: daemon.outcome("comes") == "up", "the new check has a result")
    eventually(lambda: daemon.check("changes")["target"].endswith("/?other"), "the changed check is changed")
    after = daemon.check("stays")
    assert (after["since"], after["incidents"]) == (before["since"], [number])
    assert len(after["recent"]) >= len(before["recent"])
    ended = [one for one in daemon.incidents() if one["check"] == "goes"]
    assert [one["state"] for one in ended] == ["resolved"]
    assert 'check="goes"' not in metrics(daemon)
    assert 'check="stays"' in metrics(daemon)


def test_a_broken_file_changes_nothing_and_is_shown(make_daemon: Daemons, nginx: Start) -> None:
    server = nginx(Site())
    good = FAST + http("site", server.url())
    daemon = make_daemon(good)
    daemon.write(good + '[check.other]\ntype = "htp"\n')
    daemon.reload()
    eventually(lambda: "watchd_config_last_reload_successful 0.0" in metrics(daemon), "the reload is refused")
    assert "htp" in page(daemon)
    assert "refused" in daemon.log()
    assert daemon.api("GET", "/status")["reload_problems"]
    eventually(lambda: daemon.outcome("site") == "up", "the old configuration goes on")
    daemon.write(good)
    daemon.reload()
    eventually(lambda: "watchd_config_last_reload_successful 1.0" in metrics(daemon), "a good file is taken")
    assert "htp" not in page(daemon)


def test_it_stops_in_time_while_a_target_hangs_and_a_page_is_open(make_daemon: Daemons) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        hangs = f'[check.hangs]\ntype = "http"\nurl = "{url}"\nevery = "60s"\ntimeout = "50s"\n'
        daemon = make_daemon(hangs)
        follower = subprocess.Popen(
            ["curl", "-sN", "--unix-socket", str(daemon.socket), "http://localhost/live"], stdout=subprocess.PIPE
        )
        assert follower.stdout is not None
        assert follower.stdout.readline()
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 15
        follower.wait(PATIENCE)
        follower.stdout.close()
    assert not daemon.socket.exists()


def test_after_a_kill_an_incident_goes_on_with_its_number_and_its_acknowledgement(make_daemon: Daemons) -> None:
    daemon = make_daemon(FAST + http("dead", "http://127.0.0.1:1/"))
    found = eventually(lambda: daemon.incidents(open_only=True), "there is an incident")[0]
    daemon.api("POST", f"/incidents/{found['id']}/acknowledge", {"by": "ann"})
    eventually(lambda: daemon.api("GET", f"/incidents/{found['id']}")["timeline"][1:], "it is stored")
    daemon.kill()
    daemon.start()
    again = daemon.incidents(open_only=True)
    assert [(one["id"], one["state"], one["acknowledged_by"]) for one in again] == [
        (found["id"], "acknowledged", "ann")
    ]
    assert again[0]["opened_at"] == found["opened_at"]


def test_people_work_with_an_incident_on_the_command_line(make_daemon: Daemons) -> None:
    daemon = make_daemon(FAST + http("dead", "http://127.0.0.1:1/"))
    eventually(lambda: daemon.incidents(open_only=True), "an incident is open")
    number = str(daemon.incidents()[0]["id"])
    assert daemon.command("note", number, "disk", "swapped", "--by", "ann").returncode == 0
    assert daemon.command("assign", number, "bob").returncode == 0
    assert daemon.command("ack", number, "--for", "2h", "--by", "ann").returncode == 0

    def timeline() -> str:
        return "\n".join(event["reason"] for event in daemon.api("GET", f"/incidents/{number}")["timeline"])

    eventually(lambda: "acknowledged by ann until " in timeline(), "the acknowledgement is stored")
    assert "disk swapped\nowner is bob\n" in timeline()
    daemon.kill()
    daemon.start()
    assert daemon.incidents()[0]["state"] == "acknowledged"
    done = daemon.command("resolve", number, "--by", "ann")
    assert done.returncode == 0, done.stderr
    again = eventually(lambda: daemon.incidents(open_only=True), "its check still fails, so it goes on")
    assert [str(one["id"]) for one in again] == [number]
    assert daemon.command("resolve", "99").returncode == 2


def test_a_second_daemon_on_the_same_records_is_refused(make_daemon: Daemons) -> None:
    daemon = make_daemon(http("dead", "http://127.0.0.1:1/"))
    second = subprocess.run(
        [sys.executable, "-m", "wcr_watchd", "run", "-c", str(daemon.config), "--socket", f"{daemon.folder}/second"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert second.returncode == 2
    assert "Traceback" not in second.stderr
    assert daemon.process is not None
    assert str(daemon.process.pid) in second.stderr
    assert call(daemon.socket, "GET", "/status")


def test_systemd_is_told_what_is_going_on(make_daemon: Daemons, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        daemon = make_daemon(http("dead", "http://127.0.0.1:1/"), environment=environment)

        def wait_for(word: str) -> str:
            while True:
                said = manager.recv(4096).decode()
                if word in said:
                    return said

        assert "STATUS=1 checks" in wait_for("READY=1")
        wait_for("WATCHDOG=1")
        wait_for("WATCHDOG=1")
        daemon.reload()
        assert "MONOTONIC_USEC=" in wait_for("RELOADING=1")
        wait_for("READY=1")
        daemon.stop()
        wait_for("STOPPING=1")


def test_health_says_ready_only_after_the_first_round(make_daemon: Daemons) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        daemon = make_daemon(f'[check.slow]\ntype = "http"\nurl = "{url}"\nevery = "30s"\ntimeout = "3s"\n')
        assert json.loads(_get(daemon, "/readyz"))["status"] == "waiting"
        eventually(lambda: json.loads(_get(daemon, "/readyz"))["status"] == "ready", "the first round is done")
        assert json.loads(_get(daemon, "/healthz"))["status"] == "ok"


def test_it_watches_this_host_without_any_configuration(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    found = subprocess.run(
        [sys.executable, "-m", "wcr_watchd", "init"], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert found.returncode == 0, found.stderr
    (tmp_path / "watchd.toml").write_text(found.stdout)
    valid = subprocess.run(
        [sys.executable, "-m", "wcr_watchd", "check-config", "-c", str(tmp_path / "watchd.toml"), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert valid.returncode == 0, valid.stderr
    assert json.loads(valid.stdout)["checks"] >= 1
