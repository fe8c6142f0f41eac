"""Changes on a running daemon: checklist, window, maintenance mode, verification, comparison, end, and the log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port
from tests.real.servers.providers import Slack
from wcr_watchd.cli.changes import change as change_command
from wcr_watchd.cli.client import RefusedError
from wcr_watchd.kit.subprocess import mark_of

Daemons = Callable[..., RunningDaemon]

CATEGORY = """
[change_category.feature]
comparison = "1m"
pre = [
    { text = "Review release notes" },
    { text = "Test in staging", tick = "staging", for = "1s" },
    { text = "Backup production", tick = "backups", within = "2h", required = true },
    { text = "In a planned window", tick = "window" },
    { text = "Notify stakeholders", tick = "told" },
]
during = [
    { text = "Maintenance mode on", tick = "started" },
    { text = "Execute update", tick = "updated" },
    { text = "Run verification", tick = "verified" },
]
post = [
    { text = "Maintenance mode off", tick = "finished" },
    { text = "Monitor performance", tick = "compared" },
    { text = "Gather feedback", evidence = true },
]
"""
HOOK = """\
#!/bin/sh
[ -e "$(dirname "$0")/broken" -o -e "$(dirname "$0")/broken-$1" ] && { echo "the switch is stuck" >&2; exit 3; }
echo $$ > "$(dirname "$0")/begun-$1"
while [ -e "$(dirname "$0")/slow-$1" ]; do sleep 0.1; done
echo "$1 $WATCHD_CHANGE $WATCHD_CHANGE_NAME $WATCHD_CHANGE_CATEGORY $WATCHD_CHANGE_TITLE" >> "$(dirname "$0")/switched"
echo "now $1"
"""


class Platform:
    """What is updated: a port that answers, a backup, the maintenance switch, and files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.listening: socket.socket | None = None
        self.hook = folder / "switch"
        self.hook.write_text(HOOK)
        self.hook.chmod(0o755)
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "app.conf").write_text("version = 1\n")

    def serve(self, on: bool = True) -> None:
        if self.listening is not None:
            self.listening.close()
        self.listening = socket.create_server(("127.0.0.1", self.port)) if on else None

    def back_up(self, age: float = 300.0) -> None:
        """A finished backup of so many seconds ago."""
        at = time.time() - age
        file = self.folder / time.strftime("db_%Y%m%d_%H%M%S.sql", time.localtime(at))
        file.write_text("select 1;\n" * 100)
        os.utime(file, (at, at))

    @property
    def switched(self) -> list[str]:
        """How the switch was called."""
        log = self.folder / "switched"
        return log.read_text().splitlines() if log.exists() else []

    def process(self, what: str) -> int:
        """The number of the process that switched on or off last."""
        return int((self.folder / f"begun-{what}").read_text())

    def config(self, slack: Slack, change: str = "") -> str:
        severities = "".join(
            f'[policy.default.{word}]\ntell = ["slack"]\ngroup_wait = "0s"\n'
            for word in ("critical", "warning", "info")
        )
        return f"""
[defaults]
every = "200ms"
timeout = "200ms"
retry = {{ times = 0 }}
[channel.slack]
type = "slack"
webhook = "{slack.url}"
{severities}
[check.api]
type = "tcp"
address = "127.0.0.1:{self.port}"
[check.staging]
type = "command"
run = ["/bin/true"]
protocol = "exit"
timeout = "10s"
every = "10s"
[check.backup]
type = "backup"
path = "{self.folder}/db_%Y%m%d_%H%M%S.sql"
every = "30s"
timeout = "20s"
critical = []
warning = []
[check.files]
type = "integrity"
every = "1h"
timeout = "30s"
critical_paths = ["{self.files}/*"]
paths = []
exclude = []
{CATEGORY}
[change.release]
category = "feature"
comment = "the usual release"
checks = ["api"]
verify = ["api", "staging"]
compare = ["api"]
staging = ["staging"]
backups = ["backup"]
duration = "30m"
on = ["{self.hook}", "on"]
off = ["{self.hook}", "off"]
{change}
"""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    made.serve()
    yield made
    made.serve(on=False)


def told(slack: Slack) -> list[str]:
    return [one.fields["text"] for one in slack.accepted]


def ticked(change: dict[str, Any]) -> set[str]:
    return {step["text"] for step in change["steps"] if step["done_at"]}


def log_of(change: dict[str, Any]) -> list[str]:
    return [entry["text"] for entry in change["log"]]


def shown(daemon: RunningDaemon, number: int = 1) -> dict[str, Any]:
    return daemon.api("GET", f"/changes/{number}")


def ask(daemon: RunningDaemon, *words: str) -> Result:
    """``wcr-watchd change …`` in this process: a new one for each command costs seconds."""
    return CliRunner().invoke(change_command, [*words, "--socket", str(daemon.socket)])


def ask_json(daemon: RunningDaemon, *words: str) -> Any:
    return json.loads(ask(daemon, *words, "--json").stdout)


def start(daemon: RunningDaemon, **more: str) -> None:
    daemon.api("POST", "/changes/start", {"plan": "release", "override": "for the test", "by": "ann", **more})


def states(daemon: RunningDaemon) -> list[str]:
    """Those of the incidents of what is updated."""
    return [one["state"] for one in daemon.incidents(open_only=True) if one["check"] == "api"]


def stored(daemon: RunningDaemon) -> str:
    """The change as a daemon knows it that is started after a kill."""
    with contextlib.closing(sqlite3.connect(daemon.database)) as records:
        rows = records.execute("SELECT data FROM change").fetchall()
    return "".join(text for (text,) in rows)


def windows(daemon: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.api("GET", "/maintenance")["started"]
    return found


@pytest.fixture
def running(make_daemon: Daemons, slack: Slack, platform: Platform) -> Callable[..., RunningDaemon]:
    """A daemon that watches the platform, with a state folder of its own, and knows that it answers."""

    def run(config: str = "") -> RunningDaemon:
        environment = {"STATE_DIRECTORY": str(platform.folder)}
        daemon = make_daemon(config or platform.config(slack), environment=environment)
        eventually(lambda: daemon.outcome("api") == "up", "it is up")
        return daemon

    return run


def test_from_the_checklist_to_the_end(running: Callable[..., RunningDaemon], slack: Slack, platform: Platform) -> None:
    daemon = running()
    eventually(lambda: daemon.outcome("staging") == "up" and daemon.outcome("files"), "all have looked once")
    refused = ask(daemon, "start", "release", "--title", "2.3", "--by", "ann")
    assert refused.exit_code == 2
    assert (
        "change #1 release: 2.3 is not ready: Backup production (backup is down: there is no backup " in refused.stderr
    )
    assert "write there?). Do that, or start with --override" in refused.stderr
    assert platform.switched == []

    platform.back_up()
    assert "1 message is on the way" in ask(daemon, "tell", "1", "--by", "ann").stdout
    daemon.api("POST", "/changes/1/tick", {"step": 1, "by": "ann"})
    eventually(lambda: "ask" not in shown(daemon)["steps"][1]["waits_for"], "staging is green for long enough")
    started = ask(daemon, "start", "release", "--by", "ann")
    assert started.exit_code == 0, started.stderr
    assert platform.switched == ["on 1 release feature 2.3"]
    change = shown(daemon)
    assert ticked(change) == {
        "Review release notes", "Test in staging", "Backup production", "Notify stakeholders", "Maintenance mode on"
    }  # fmt: skip
    assert "started without: In a planned window" in log_of(change)
    assert "maintenance mode on: now on" in log_of(change)
    (window,) = windows(daemon)
    assert (window["comment"], window["matchers"]) == ("change #1 release: 2.3", ['check="api"'])

    platform.serve(on=False)
    (platform.files / "app.conf").write_text("version = 2\n")
    red = ask(daemon, "verify", "1", "--by", "ann")
    assert (red.exit_code, "change #1 release: 2.3: 1 of 2 checks are green" in red.stdout) == (1, True), red.stdout
    eventually(lambda: states(daemon) == ["maintenance"], "the failure is recorded")
    daemon.kill()
    daemon.start()
    platform.serve()
    eventually(lambda: daemon.outcome("api") == "up", "it is up again")
    green = ask(daemon, "verify", "1", "--by", "ann")
    assert (green.exit_code, "2 of 2 checks are green" in green.stdout) == (0, True), green.stdout
    files = daemon.api("POST", "/checks/files/run")
    assert "1 changed in a change" in files["summary"], "the change explains the file"

    finished = ask(daemon, "finish", "1", "--by", "ann")
    assert finished.stdout.splitlines()[0] == "change #1 release: 2.3 is finished; nothing is bad"
    assert finished.exit_code == 0
    assert platform.switched[1:] == ["off 1 release feature 2.3"]
    assert windows(daemon) == []
    eventually(lambda: len([text for text in told(slack) if "change #1" in text]) == 3, f"it is told: {told(slack)}")
    about, begins, ends = (text for text in told(slack) if "change #1" in text)
    assert "is about to begin, for about 30 min; it touches api" in about
    assert "begins, until" in begins
    assert "is over; nothing is bad" in ends
    assert not any("api is" in text for text in told(slack)), "nobody was told of what was covered"

    assert ask(daemon, "tick", "1", "11", "all", "are", "happy").exit_code == 0
    assert "Gather feedback" in ticked(shown(daemon))
    assert daemon.api("GET", "/changes") == {"changes": []}
    (listed,) = ask_json(daemon, "list", "--all")
    assert (listed["state"], listed["steps_total"]) == ("finished", 11)
    modifications = ask_json(daemon, "log")
    assert [one["name"] for one in modifications if one["kind"] == "file"] == [str(platform.files / "app.conf")]
    marks = daemon.api("GET", "/marks")["marks"]
    assert [one["text"] for one in marks if one["change"]] == ["change #1 release: 2.3 (by ann)"]
    text = ask(daemon, "show", "1").stdout
    assert "✓ 7. Execute update (by itself: with the first verification)" in text
    assert "ann: finished; nothing is bad" in text


def test_what_is_still_broken_at_the_end_is_named_and_told(
    running: Callable[..., RunningDaemon], slack: Slack, platform: Platform
) -> None:
    daemon = running()
    start(daemon)
    platform.serve(on=False)
    eventually(lambda: states(daemon) == ["maintenance"], "the failure is recorded")
    done = ask(daemon, "finish", "1", "--by", "ann")
    assert done.exit_code == 1
    assert "is finished; still bad: api" in done.stdout
    assert "api: critical: " in done.stdout
    eventually(lambda: any("[CRITICAL] prod: api" in text for text in told(slack)), f"it is told: {told(slack)}")
    assert "finished; still bad: api (critical)" in log_of(shown(daemon))
    assert "started, although: for the test" in log_of(shown(daemon))


def test_a_switch_that_does_not_switch_stops_the_start_and_the_end(
    running: Callable[..., RunningDaemon], platform: Platform
) -> None:
    daemon = running()
    stuck = platform.folder / "broken-on"
    stuck.touch()
    with pytest.raises(RefusedError) as refused:
        start(daemon)
    assert "was not started: " in str(refused.value)
    assert (
        "ended with status 3, expected status 0: the switch is stuck; maintenance mode was switched off again"
        in str(refused.value)
    )
    assert platform.switched == ["off 1 release feature the usual release"], "it may have been switched halfway"
    assert (windows(daemon), shown(daemon)["state"]) == ([], "prepared")
    stuck.unlink()
    start(daemon)
    (platform.folder / "broken").touch()
    with pytest.raises(RefusedError, match="is not finished: "):
        daemon.api("POST", "/changes/1/finish")
    assert (len(windows(daemon)), shown(daemon)["state"]) == (1, "running"), "the window stays open"
    daemon.api("POST", "/changes/1/finish", {"override": "switched by hand"})
    assert any("although: switched by hand" in text for text in log_of(shown(daemon)))


def test_a_switch_that_is_stuck_halfway_is_told_until_the_change_starts(
    running: Callable[..., RunningDaemon], slack: Slack, platform: Platform
) -> None:
    daemon = running()
    stuck = platform.folder / "broken"
    stuck.touch()
    with pytest.raises(RefusedError, match=r"it could not be switched off, .* ended with status 3"):
        start(daemon)
    assert windows(daemon) == []
    eventually(lambda: any("but maintenance mode may be on" in text for text in told(slack)), "somebody is told")
    stuck.unlink()
    start(daemon)
    assert [one for one in daemon.incidents(open_only=True) if one["check"] == "wcr-watchd"] == []


def test_a_daemon_that_ends_while_a_change_starts_leaves_no_window_open(
    running: Callable[..., RunningDaemon], platform: Platform
) -> None:
    daemon = running()
    slow = platform.folder / "slow-on"
    slow.touch()
    starting = threading.Thread(target=lambda: ask(daemon, "start", "release", "--override", "for the test"))
    starting.start()
    eventually((platform.folder / "begun-on").exists, "its window is open, and the switch takes its time")
    with pytest.raises(RefusedError, match="change #1 is being started just now"):
        daemon.api("POST", "/changes/1/abandon")
    daemon.kill()
    starting.join()
    daemon.start()

    def broken_off() -> list[str]:
        return [one["summary"] for one in daemon.incidents(open_only=True) if one["check"] != "api"]

    eventually(broken_off, "somebody is told")
    assert broken_off()[0].startswith("the daemon ended while change #1 release: the usual release was started; its")
    assert "maintenance mode was switched off again (now off)" in broken_off()[0]
    slow.unlink()
    eventually(lambda: not mark_of(platform.process("on")), "the switch of the last life is ended")
    assert platform.switched == ["off 1 release feature the usual release"], "it did not switch on after that"
    assert (windows(daemon), shown(daemon)["state"]) == ([], "prepared")
    assert any(text.startswith("not started: the daemon ended meanwhile; maint") for text in log_of(shown(daemon)))
    start(daemon)
    assert len(windows(daemon)) == 1
    assert not broken_off()
    daemon.api("POST", "/changes/1/finish")
    assert not windows(daemon)


@pytest.mark.parametrize("at", ["the switch", "the verification"])
def test_a_daemon_that_ends_while_a_change_is_finished_says_so_and_switches_off_once(
    running: Callable[..., RunningDaemon], slack: Slack, platform: Platform, at: str
) -> None:
    hang, slow = platform.folder / "hang", platform.folder / "slow-off"
    looks = f'run = ["/bin/sh", "-c", "while [ -e {hang} ]; do sleep 0.1; done"]'
    daemon = running(platform.config(slack).replace('run = ["/bin/true"]', looks))
    start(daemon)
    (slow if at == "the switch" else hang).touch()
    finishing = threading.Thread(target=lambda: ask(daemon, "finish", "1", "--by", "ann"))
    finishing.start()
    eventually((platform.folder / "begun-off").exists, "it is being finished")
    if at == "the verification":
        eventually(lambda: "maintenance mode off: now off" in stored(daemon), "it is off, and that is stored")
    daemon.kill()
    finishing.join()
    daemon.start()

    def left() -> list[str]:
        return [one["summary"] for one in daemon.incidents(open_only=True) if one["check"] == "wcr-watchd"]

    eventually(left, "somebody is told")
    assert left()[0].startswith(
        "change #1 release: the usual release was being finished by ann, and that was broken off"
    )
    assert ("maintenance mode is off;" in left()[0]) == (at == "the verification")
    assert (shown(daemon)["state"], len(windows(daemon))) == ("running", 1)
    if at == "the switch":  # halted, so that it is not over by itself before the daemon ends it
        os.kill(platform.process("off"), signal.SIGSTOP)
    slow.unlink(missing_ok=True)
    hang.unlink(missing_ok=True)
    assert ask(daemon, "finish", "1", "--by", "ben").exit_code == 0
    assert [one.split()[0] for one in platform.switched] == ["on", "off"]
    assert (shown(daemon)["state"], windows(daemon), left()) == ("finished", [], [])


def test_a_secret_that_a_switch_is_given_is_not_stored(make_daemon: Daemons, slack: Slack, platform: Platform) -> None:
    platform.hook.write_text('#!/bin/sh\necho "$*" >> "$(dirname "$0")/switched"\necho "said $*"\n')
    given = (
        platform.config(slack).replace('"on"]', '"on", "${env:SWITCH}"]').replace('"off"]', '"off", "${env:SWITCH}"]')
    )
    daemon = make_daemon(given, environment={"STATE_DIRECTORY": str(platform.folder), "SWITCH": "hunter2-of-switch"})
    eventually(lambda: daemon.outcome("api") == "up", "it is up")
    start(daemon)
    daemon.kill()
    daemon.start()
    daemon.write(given.replace('"off", "', '"off", "now", "'))
    assert daemon.api("POST", "/reload") == {"problems": []}
    with pytest.raises(
        RefusedError, match=r"is given a secret, and \[change.release\] does not have that `off` any more"
    ):
        daemon.api("POST", "/changes/1/finish")
    daemon.write(given)
    assert daemon.api("POST", "/reload") == {"problems": []}
    daemon.api("POST", "/changes/1/finish")
    assert platform.switched == ["on hunter2-of-switch", "off hunter2-of-switch"]
    assert "maintenance mode off: said off ***" in log_of(shown(daemon))
    assert b"hunter2" not in b"".join(path.read_bytes() for path in daemon.folder.glob("*.db*"))


def test_it_is_slower_than_before_and_that_is_said(
    running: Callable[..., RunningDaemon], slack: Slack, platform: Platform
) -> None:
    slow = platform.folder / "slow"
    page = f"""
[check.page]
type = "command"
run = ["/bin/sh", "-c", "[ -e {slow} ] && sleep 0.2; exit 0"]
protocol = "exit"
every = "500ms"
timeout = "490ms"
critical = []
"""
    daemon = running(platform.config(slack, page).replace('compare = ["api"]', 'compare = ["page"]'))
    # The first runs of a busy machine resemble each other: of 12 it may never be sure, as no more are added to before.
    eventually(lambda: sum(took is not None for _, took in daemon.check("page")["recent"]) >= 24, "it ran some times")
    start(daemon)
    slow.touch()
    daemon.api("POST", "/changes/1/tick", {"step": 7, "by": "ann"})

    def is_slower() -> bool:
        compared[:] = daemon.api("POST", "/changes/1/verify")["change"]["compared"]
        return [(one["check"], one["what"]) for one in compared if one["finding"] == "worse"] == [("page", "duration")]

    compared: list[dict[str, Any]] = []
    try:
        eventually(is_slower, "it is seen to be slower")
    except AssertionError:
        print("compared:", compared)
        raise
    again = daemon.api("POST", "/changes/1/verify")
    assert any(line.startswith("worse than before: page duration: ") for line in again["lines"])
    assert sum("worse than before" in text for text in log_of(shown(daemon))) == 1
    assert "Monitor performance" not in ticked(shown(daemon))


def test_the_configuration_s_own_changes_are_logged_without_secrets(
    running: Callable[..., RunningDaemon], slack: Slack, platform: Platform
) -> None:
    daemon = running()
    secret = '[check.web]\ntype = "http"\nurl = "http://127.0.0.1:1/"\nauth = { user = "ann", password = "hunter22" }\n'
    changed = platform.config(slack, secret).replace('duration = "30m"', 'duration = "45m"')
    daemon.write(changed)
    assert daemon.api("POST", "/reload") == {"problems": []}

    def logged() -> dict[str, str]:
        found = daemon.api("GET", "/modifications")["modifications"]
        return {one["name"]: one["text"] for one in reversed(found) if one["kind"] == "configuration"}

    eventually(lambda: "check.web" in logged(), "the reload is logged")
    assert logged()["change.release.duration"] == "configuration change.release.duration: 30m → 45m"
    assert logged()["check.web"] == "configuration check.web: (not there) → a table with type, url, auth"
    daemon.write(changed.replace("hunter22", "hunter23"))
    assert daemon.api("POST", "/reload") == {"problems": []}
    eventually(lambda: "check.web.auth.password" in logged(), "the next one, too")
    assert logged()["check.web.auth.password"] == "configuration check.web.auth.password: *** → ***"
    daemon.stop()
    daemon.write(changed.replace("hunter22", "hunter24").replace('duration = "45m"', 'duration = "50m"'))
    daemon.start()
    eventually(lambda: "45m → 50m" in logged()["change.release.duration"], "a restart is logged as well")
    assert re.fullmatch(r"configuration .*: \*\*\* \[\w+\] → \*\*\* \[\w+\]", logged()["check.web.auth.password"])
    token = platform.folder / "token"
    token.write_text("hunter25")
    referring = changed.replace("hunter22", f"${{file:{token}}}")
    daemon.write(referring)
    assert daemon.api("POST", "/reload") == {"problems": []}
    token.write_text("hunter26")
    assert daemon.api("POST", "/reload") == {"problems": []}
    same = rf"configuration .*: \$\{{file:{token}\}} \[\w+\] → \$\{{file:{token}\}} \[\w+\]"
    eventually(lambda: re.fullmatch(same, logged()["check.web.auth.password"]), "another secret by the same reference")
    entries = len(daemon.api("GET", "/modifications")["modifications"])
    daemon.kill()
    daemon.start()
    eventually(lambda: daemon.log().count('"watching"') == 3, "it is ready")
    assert len(daemon.api("GET", "/modifications")["modifications"]) == entries, "nothing changed meanwhile"
    assert b"hunter2" not in b"".join(path.read_bytes() for path in platform.folder.glob("*.db*"))
    assert ask(daemon, "note", "moved", "the", "cables", "--by", "ann").exit_code == 0
    newest = daemon.api("GET", "/modifications")["modifications"][0]
    assert (newest["kind"], newest["source"], newest["text"]) == ("note", "ann", "moved the cables")


def test_what_cannot_be_done_says_why(running: Callable[..., RunningDaemon]) -> None:
    daemon = running()
    for path, body, said in (
        ("/changes", {"plan": "relaese"}, "there is no change 'relaese' in the configuration; there are: release"),
        ("/changes", {"category": "big", "check": "api"}, "there is no category 'big'; there are: feature"),
        ("/changes", {"category": "feature"}, "say what the change touches"),
        ("/changes", {"category": "feature", "check": "apo"}, "there is no check named 'apo'"),
        ("/changes", {"plan": "release", "for": "soon"}, "write for example 2h"),
        ("/changes/9/start", {}, "there is no change #9"),
        ("/changes/9/tick", {"step": "1"}, "body.step: Input should be a valid integer"),
        ("/modifications", {"text": " "}, "a note needs a text"),
    ):
        with pytest.raises(RefusedError) as refused:
            daemon.api("POST", path, body)
        assert said in str(refused.value)
    ad_hoc = {"category": "feature", "check": "api", "for": "20m"}
    assert "change #1 feature is prepared" in daemon.api("POST", "/changes", ad_hoc)["done"]
    other = daemon.api("POST", "/changes", ad_hoc | {"check": "staging"})["done"]
    assert "change #2 feature is prepared" in other, "of something else there may be two at once"
    for path, body, said in (
        ("/changes", ad_hoc, "is prepared already"),
        ("/changes/1/verify", {}, "cannot be verified"),
        ("/changes/1/finish", {}, "cannot be finished"),
        ("/changes/1/extend", {"for": "1h"}, "cannot be extended"),
    ):
        with pytest.raises(RefusedError) as refused:
            daemon.api("POST", path, body)
        assert said in str(refused.value)
    assert ask(daemon, "abandon", "1", "next", "week").exit_code == 0
    assert log_of(shown(daemon))[-1] == "abandoned: next week"


def test_a_window_that_ends_before_the_change_is_an_incident_until_it_is_extended(
    running: Callable[..., RunningDaemon], slack: Slack
) -> None:
    daemon = running()
    start(daemon, **{"for": "1s"})
    eventually(lambda: any("goes on although its window is over" in text for text in told(slack)), "it is told")
    assert shown(daemon)["overran"] is True
    daemon.api("POST", "/changes/1/extend", {"for": "10m", "by": "ann"})
    assert [one for one in daemon.incidents(open_only=True) if one["check"] == "wcr-watchd"] == []
    assert (shown(daemon)["overran"], len(windows(daemon))) == (False, 1)
