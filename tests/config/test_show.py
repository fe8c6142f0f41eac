"""`check-config --show`: every value with where it comes from, and no secret."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from wcr_watchd.config.load import Loaded, load, loads
from wcr_watchd.config.show import as_toml, effective


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    monkeypatch.setenv("WATCHD_TEST_BEARER", "hush-hush")
    (tmp_path / "main.toml").write_text(
        'include = ["api.toml"]\n[defaults]\nevery = "5m"\ntags = ["prod"]\nretry.times = 1\n'
    )
    (tmp_path / "api.toml").write_text(
        """\
[check.api]
type = "http"
url = "http://localhost/"
timeout = "2s"
expect.status = [200, 204]
expect.json.data.status = "Healthy"
auth.bearer = "${env:WATCHD_TEST_BEARER}"
headers.X-Key = "literal-hush"
headers.X-Other = "${env:WATCHD_TEST_BEARER}"
warning = []
depends_on = "off"

[check.off]
type = "http"
url = "http://localhost/"
enabled = false
"""
    )
    return load(tmp_path / "main.toml")


def test_every_value_says_where_it_comes_from(loaded: Loaded, tmp_path: Path) -> None:
    settings = effective(loaded, "api")["settings"]
    shown = {key: (row["value"], row["from"].replace(f"{tmp_path}/", "")) for key, row in settings.items()}
    expected = {
        "type": ("http", "api.toml:2"),
        "url": ("http://localhost/", "api.toml:3"),
        "timeout": ("2s", "api.toml:4"),
        "expect.status": ([200, 204], "api.toml:5"),
        "expect.json": ({"data": {"status": "Healthy"}}, "api.toml:6"),
        "auth.bearer": ("${env:WATCHD_TEST_BEARER}", "api.toml:7"),
        "headers": ({"X-Key": "***", "X-Other": "${env:WATCHD_TEST_BEARER}"}, "api.toml:8"),
        "warning": ([], "api.toml:10"),
        "depends_on": ("off", "api.toml:11"),
        "critical": (["down"], "default of http"),
        "method": ("GET", "default of http"),
        "every": ("5m", "[defaults] main.toml:3"),
        "tags": (["prod"], "[defaults] main.toml:4"),
        "retry": ({"times": 1, "every": "10s"}, "[defaults] main.toml:5"),
        "policy": ("default", "default"),
    }
    assert {key: shown[key] for key in expected} == expected


def test_no_secret_is_shown(loaded: Loaded) -> None:
    settings = effective(loaded, "api")
    assert "hush" not in as_toml(settings)
    assert "hush" not in json.dumps(settings)


def test_the_output_is_toml_that_means_the_same(loaded: Loaded) -> None:
    text = as_toml(effective(loaded, "off"))
    assert text.startswith("# does not run here: enabled = false\n[check.off]\n")
    again = loads(text, "again")
    assert again.setup.checks["off"].fingerprint != ""
    assert tomllib.loads(text)["check"]["off"]["every"] == "5m"


def test_a_long_list_of_rules_is_readable(loaded: Loaded) -> None:
    shown = effective(loads('[check.h]\ntype = "host"\n', "w.toml"), "h")
    text = as_toml(shown)
    assert max(map(len, text.splitlines())) < 180
    assert tomllib.loads(text)["check"]["h"]["warning"] == shown["settings"]["warning"]["value"]


def test_a_rule_with_its_own_measurement(loaded: Loaded) -> None:
    text = '[check.a]\ntype = "http"\nurl = "http://localhost/"\nvalues.users = "n"\ncritical = ["down", "users < 1"]\n'
    shown = effective(loads(text, "w.toml"), "a")
    assert shown["settings"]["critical"] == {"value": ["down", "users < 1"], "from": "w.toml:5"}
    assert shown["measurements"]["users"] == {"unit": "", "help": "n in the answer"}


def test_an_unknown_check(loaded: Loaded) -> None:
    with pytest.raises(KeyError):
        effective(loaded, "nothing")
