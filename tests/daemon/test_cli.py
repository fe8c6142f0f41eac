"""The command line as people and scripts use it: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.daemon.harness import PATIENCE, RunningDaemon, eventually
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.providers import Fault, Slack
from wcr_watchd.cli.main import cli

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Nginx]


def watchd(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wcr_watchd", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def here(*words: str) -> subprocess.CompletedProcess[str]:
    """As :func:`watchd` in this process: of what says the same there, since a new one first loads the whole program."""
    done = CliRunner().invoke(cli, words, prog_name="wcr-watchd", catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "command", ["list", "status", "incidents", "ack 1", "notify-test mail", "on-call", "dead-letters"]
)
def test_without_a_daemon_the_status_is_3_and_says_where_it_looked(command: str, tmp_path: Path) -> None:
    done = watchd(*command.split(), WATCHD_SOCKET=str(tmp_path / "none.sock"))
    assert done.returncode == 3
    assert "none.sock" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_configuration_is_2_with_every_problem_and_its_line(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text('[check.a]\ntype = "http"\nurl = "http://localhost/"\ntimeuot = "5s"\n[check.b]\ntype = "htp"\n')
    done = watchd("check-config", "-c", str(config))
    assert done.returncode == 2
    assert "w.toml:4: check.a.timeuot" in done.stderr
    assert '"timeout"' in done.stderr
    assert "w.toml:6: check.b.type" in done.stderr
    assert "2 problems" in done.stderr


def test_effective_settings_say_where_they_come_from(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text('[defaults]\nevery = "30s"\n[check.a]\ntype = "http"\nurl = "http://localhost/"\n')
    done = here("check-config", "-c", str(config), "--show", "a", "--json")
    assert done.returncode == 0, done.stderr
    assert "w.toml:2" in done.stdout
    assert here("check-config", "-c", str(config), "--show", "nothing").returncode == 2


def test_schema_and_version_are_json() -> None:
    assert json.loads(here("schema").stdout)["$schema"].startswith("https://json-schema.org/")
    assert json.loads(watchd("version", "--json").stdout)["name"] == "wcr-watchd"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = watchd("completion", shell)
    assert done.returncode == 0
    assert "_WCR_WATCHD_COMPLETE" in done.stdout


def test_a_socket_path_that_the_kernel_has_no_room_for(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text(f'[store]\nurl = "sqlite://{tmp_path}/w.db"\n[web]\nlisten = []\n')
    done = watchd("run", "-c", str(config), "--socket", str(tmp_path / ("x" * 108)))
    assert (done.returncode, "name a shorter --socket" in done.stderr, "another" in done.stderr) == (2, True, False)


def completed(*words: str, **environment: str) -> list[str]:
    """What bash offers for the last of these words."""
    line = {"_WCR_WATCHD_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = watchd(**line, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return [offer.removeprefix("plain,") for offer in done.stdout.split()]


def test_the_shell_completes_names_from_a_file_that_need_not_be_right(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text('[check.shop]\ntype = "htp"\n[check.api]\n[channel.sms]\n[contact.ann]\n[on_call.ops]\n')
    assert completed("wcr-watchd", "che") == ["check-config"]
    assert completed("wcr-watchd", "probe", "-c", str(config), "s") == ["shop"]
    assert completed("wcr-watchd", "check-config", "-c", str(config), "--show", "a") == ["api"]
    assert completed("wcr-watchd", "notify-test", "s", WATCHD_CONFIG=str(config)) == ["sms"]
    assert completed("wcr-watchd", "notify-test", "sms", "", WATCHD_CONFIG=str(config))[:2] == ["ann", "ops"]
    assert completed("wcr-watchd", "probe", "--type", "red") == ["redis"]
    nothing = {"WATCHD_CONFIG": "/no/such/file", "WATCHD_SOCKET": "/no/such/socket"}
    assert completed("wcr-watchd", "probe", "s", **nothing) == []
    assert completed("wcr-watchd", "ack", "1", **nothing) == []


def test_a_table_fits_a_narrow_terminal_and_has_one_line_each_in_a_pipe(make_daemon: Daemons) -> None:
    daemon = make_daemon(
        '[check.a]\ntype = "tcp"\naddress = "127.0.0.1:1"\nevery = "1s"\nretry = { times = 0, every = "1s" }\n'
        '[check.z]\ntype = "command"\nrun = ["true"]\nevery = "1h"\n',
        environment={"COLUMNS": "80"},
    )
    eventually(lambda: daemon.outcome("z") == "up" and daemon.incidents(open_only=True), "both have run")
    assert completed("wcr-watchd", "ack", "", WATCHD_SOCKET=str(daemon.socket)) == ["1"]
    narrow = daemon.command("status").stdout.splitlines()
    assert max(map(len, narrow)) <= 80
    assert [word in narrow[0] for word in ("STATE", "TYPE")] == [True, False]
    daemon.environment = {}
    wide = daemon.command("status").stdout.splitlines()
    assert [line.split()[:3] for line in wide] == [
        ["STATE", "CHECK", "TYPE"],
        ["critical", "a", "tcp"],
        ["ok", "z", "command"],
    ]
    assert [line for line in wide if line != line.rstrip()] == []
    assert "1 h" in daemon.command("list").stdout


def test_problems_as_json(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text('[check.a]\ntype = "htp"\n')
    done = here("check-config", "-c", str(config), "--json")
    assert done.returncode == 2
    expected = {"file": str(config), "line": 2, "key": "check.a.type", "reason": 'there is no probe type "htp"'}
    assert expected.items() <= json.loads(done.stdout)["problems"][0].items()


def test_a_misspelt_check_is_guessed(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text("".join(f'[check.shop-{i}]\ntype = "host"\n' for i in range(30)))
    assert 'did you mean "shop-7"?' in here("probe", "shob-7", "-c", str(config)).stderr
    lost = here("probe", "xyz", "-c", str(config)).stderr
    assert ("there are 30" in lost, "shop-1" in lost) == (True, False)


def test_a_probe_by_hand_needs_neither_daemon_nor_file(nginx: Start) -> None:
    server = nginx(Site())
    good = here("probe", "--type", "http", "--url", server.url(), "--expect.status=200", "--json")
    assert good.returncode == 0, good.stderr
    found = json.loads(good.stdout)[0]
    assert found["outcome"] == "up"
    assert any(one["name"] == "response_time" for one in found["measurements"])
    bad = here("probe", "--type", "tcp", "--address", "127.0.0.1:1")
    assert bad.returncode == 1
    assert "down" in bad.stdout
    told = here("probe", "--type", "http", "--url", server.url())
    assert "ok: no rule minds" in told.stdout
    assert re.search(r"\n  response_time +[\d.]+ ms\n", told.stdout)
    assert here("probe", "--type", "tcp", "--adress", "127.0.0.1:1").returncode == 2
    plugin = here("probe", "--type", "command", "--run", "echo", "--run", "all is well", "--json")
    assert json.loads(plugin.stdout)[0]["summary"] == "all is well"


def test_a_probe_by_hand_again_knows_what_the_first_run_kept() -> None:
    listed = here("probe", "--type", "tempfiles", "--folders", "/no/such/folder")
    assert "/no/such/folder does not exist" in listed.stdout, "an option that takes a list, given once"
    once = json.loads(here("probe", "--type", "host", "--json").stdout)[0]["measurements"]
    again = json.loads(here("probe", "--type", "host", "--again", "200ms", "--json").stdout)[0]["measurements"]
    assert ["cpu_used" in {one["name"] for one in found} for found in (once, again)] == [False, True]
    assert here("probe", "--type", "host", "--again", "soon").returncode == 2


def test_a_probe_by_hand_says_what_the_rules_make_of_it(nginx: Start, tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    rules = 'warning = "response_time > 0s for 5m"\ncritical = "status == 200"\n'
    config.write_text(f'[check.site]\ntype = "http"\nurl = "{nginx(Site()).url()}"\n{rules}')
    told = here("probe", "site", "-c", str(config))
    assert told.returncode == 1
    assert "critical: " in told.stdout
    assert "would be warning if it lasted: " in told.stdout
    verdict = json.loads(here("probe", "site", "-c", str(config), "--json").stdout)[0]["verdict"]
    assert {(one["severity"], one["fires"]) for one in verdict} == {("critical", True), ("warning", False)}


def test_probing_by_name_and_tag(nginx: Start, tmp_path: Path) -> None:
    server = nginx(Site())
    checks = "".join(f'[check.c{i}]\ntype = "http"\nurl = "{server.url()}"\ntags = ["deploy"]\n' for i in range(6))
    config = tmp_path / "w.toml"
    config.write_text(checks)
    assert len(json.loads(here("probe", "--tag", "deploy", "-c", str(config), "--json").stdout)) == 6
    everything = here("probe", "all", "-c", str(config))
    assert (everything.returncode, everything.stderr) == (0, "")
    unknown = here("probe", "c9", "-c", str(config))
    assert (unknown.returncode, "c9" in unknown.stderr) == (2, True)


def test_commands_to_a_running_daemon(make_daemon: Daemons, slack: Slack) -> None:
    daemon = make_daemon(
        f'[channel.chat]\ntype = "slack"\nwebhook = "{slack.url}"\n'
        '[check.dead]\ntype = "tcp"\naddress = "127.0.0.1:1"\nevery = "1s"\ntimeout = "900ms"\n'
        'retry = { times = 0, every = "1s" }\n'
    )
    eventually(lambda: daemon.incidents(open_only=True), "there is an incident")
    assert [row["name"] for row in daemon.command_json("list")] == ["dead"]
    status = daemon.command("status")
    assert (status.returncode, "critical" in status.stdout) == (1, True)
    assert daemon.command_json("status")["checks"]["down"] == 1
    number = daemon.command_json("incidents")[0]["id"]
    assert daemon.command("ack", str(number), "--by", "ann").returncode == 0
    assert daemon.command_json("incidents")[0]["acknowledged_by"] == "ann"
    twice = daemon.command("ack", str(number))
    assert (twice.returncode, "already" in twice.stderr) == (2, True)
    assert daemon.command("notify-test", "chat").returncode == 0
    assert len(slack.accepted) == 1
    slack.fault = Fault(status=500)
    refused = daemon.command("notify-test", "chat")
    assert refused.returncode == 2
    assert "500" in refused.stderr
    assert "Traceback" not in refused.stderr
    unknown = daemon.command("notify-test", "pager")
    assert "chat" in unknown.stderr


PEOPLE = """\
[contact.ann]
email = "ann@example.org"
[contact.ben]
email = "ben@example.org"
"""
ROTA = """\
[on_call.ops]
timezone = "America/New_York"
rotation = ["ann", "ben"]
"""
OFFICE = """\
[on_call.shop]
timezone = "Europe/Berlin"
layers = [{ name = "office", rotation = ["ann", "ben"], turn = "1d", hours = "Mon-Fri 09:00-17:00" }]
"""


def test_who_is_on_call_by_a_file_that_no_daemon_has_read(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text(PEOPLE + ROTA + OFFICE)
    done = here("on-call", "-c", str(config), "--at", "2026-12-24T18:00:00-05:00", "--next", "1w")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["ops", "(America/New_York)"]
    assert lines[2] == ["Thu", "2026-12-24", "18:00", "Mon", "2026-12-28", "09:00", "ann", "rotation"]
    assert lines[3] == ["Mon", "2026-12-28", "09:00", "Thu", "2026-12-31", "18:00", "ben", "rotation"]
    assert lines[5] == ["shop", "(Europe/Berlin)"]
    assert lines[7][6] == "nobody"
    assert "layer office" in done.stdout
    (ops, shop) = json.loads(here("on-call", "-c", str(config), "--json").stdout)
    assert (ops["name"], len(ops["turns"]), shop["gaps"] != []) == ("ops", 2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "soon"), "'soon' is no time"),
        (("--next", "7"), "needs a unit"),
        (("--at", "9999-12-31"), "too far ahead"),
    ],
)
def test_times_that_are_none_are_wrong_usage(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text(PEOPLE + ROTA)
    done = here("on-call", "-c", str(config), *words)
    assert (done.returncode, said in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_a_checked_file_is_warned_of_and_fine(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text("[contact.eve]\n" + PEOPLE + OFFICE)
    done = here("check-config", "-c", str(config))
    assert done.returncode == 0
    assert "w.toml: fine" in done.stdout
    assert "w.toml:1: contact.eve: has no address" in done.stderr
    assert "w.toml:6: on_call.shop: nobody is on call from" in done.stderr
    assert len(json.loads(here("check-config", "-c", str(config), "--json").stdout)["warnings"]) == 2


def test_who_is_on_call_by_the_daemon_and_what_it_warns_of(make_daemon: Daemons) -> None:
    daemon = make_daemon(PEOPLE + ROTA + OFFICE)
    eventually(lambda: "nobody is on call" in daemon.log(), "it is logged")
    (ops, shop) = daemon.command_json("on-call", "--next", "4w")
    assert {name for turn in ops["turns"] for name in turn["contacts"]} == {"ann", "ben"}
    assert len(shop["gaps"]) >= 4
    assert daemon.command("on-call", "--next", "1y").returncode == 2
    assert daemon.command("on-call", "--next", "20w").returncode == 2
    assert "on_call.shop: nobody is on call" in daemon.command("status").stderr
    daemon.write(PEOPLE + ROTA)
    assert daemon.api("POST", "/reload")["problems"] == []
    assert daemon.api("GET", "/status")["warnings"] == []
    assert [row["name"] for row in daemon.command_json("on-call")] == ["ops"]


# --- how a message would look -----------------------------------------------------------------------------------------

RENDER = """
[watchd]
name = "prod"
timezone = "Europe/Berlin"
[channel.chat]
type = "webhook"
url = "https://example.org/a-path-that-must-never-be-seen"
body = '{"say": {{ headline | tojson }}, "about": {{ target | tojson }}}'
[channel.sms]
type = "sms"
account_sid = "AC"
auth_token = "a-token-that-must-never-be-seen"
from = "+15550100"
template = { text = "{{ tag }}: {{ about }}, see {{ runbook }}" }
[check.site]
type = "http"
url = "https://example.org/health"
runbook = "https://wiki.example.org/site"
"""


@pytest.fixture
def rendering(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    config = tmp_path / "w.toml"
    config.write_text(RENDER)
    return lambda *words: here("render", *words, "-c", str(config))


def test_a_message_is_shown_as_it_would_look(rendering: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = rendering("sms", "--check", "site", "--severity", "warning")
    assert (done.returncode, done.stdout) == (0, "WARNING: site, see https://wiki.example.org/site\n")
    done = rendering("chat", "--check", "site", "--event", "resolved", "--json")
    body = json.loads(json.loads(done.stdout)["body"])
    assert body["about"] == "https://example.org/health"
    assert body["say"].startswith("[RESOLVED] prod: site: ")
    assert "must-never-be-seen" not in rendering("chat").stdout


@pytest.mark.parametrize("event", ["opened", "reminded", "acknowledged", "noted", "digest", "drill"])
def test_every_event_can_be_shown(rendering: Callable[..., subprocess.CompletedProcess[str]], event: str) -> None:
    done = rendering("chat", "--event", event)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"say": "[' in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["caht"], "no channel named 'caht'; did you mean \"chat\"?"),
        (["chat", "--check", "sit"], "no check named 'sit'; did you mean \"site\"?"),
        (["chat", "--event", "exploded"], "'exploded' is not one of"),
    ],
)
def test_what_does_not_exist_cannot_be_shown(
    rendering: Callable[..., subprocess.CompletedProcess[str]], words: list[str], said: str
) -> None:
    done = rendering(*words)
    assert (done.returncode, said in done.stderr) == (2, True)
