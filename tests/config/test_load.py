"""What a valid configuration means: intervals, rules, policies, people, and what changes a fingerprint."""

from __future__ import annotations

import sys
from datetime import time
from pathlib import Path
from subprocess import run

import pytest

from wcr_watchd.config.load import Loaded, loads
from wcr_watchd.core.model import Severity
from wcr_watchd.core.on_call import weekly
from wcr_watchd.core.setup import Check, Policy, Target
from wcr_watchd.probes.host import Host

HTTP = '[check.api]\ntype = "http"\nurl = "http://localhost/"\n'
PEOPLE = """\
[channel.sms]
type = "sms"
account_sid = "AC1"
auth_token = "t"
from = "+15550100"
limit = "10/1h"
[channel.mail]
type = "email"
servers = ["smtp://localhost:587"]
from = "watch@example.org"
[channel.slack]
type = "slack"
webhook = "https://hooks.example/x"
[contact.lead]
phone = "+1 555 0101"
email = "lead@example.org"
[contact.second]
phone = "+15550102"
email = "second@example.org"
[on_call.ops]
rotation = ["lead", "second"]
handover = "Fri 17:30"
"""


def setup(text: str) -> Loaded:
    return loads(text, "w.toml")


def api(text: str) -> Check:
    return setup(text).setup.checks["api"]


def test_the_interface_s_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the interface page, without what later versions bring."""
    text = (Path(__file__).parent / "interface.toml").read_text()
    for name in ("twilio_sid", "twilio_token", "slack", "pg_dsn"):
        monkeypatch.setenv(name, "postgresql://localhost/x" if name == "pg_dsn" else f"https://{name}.example/")
    loaded = setup(text)
    checks = loaded.setup.checks
    assert list(checks) == ["api", "host", "database"]
    assert checks["api"].depends_on == ("database",)
    assert [rule.text for rule in checks["api"].rules] == [
        "down",
        "response_time > 1s for 5m until response_time < 800ms for 2m",
    ]
    assert loaded.setup.units["api"]["users"] == ""
    assert loaded.channel_caps == {"sms": (10, 3600.0)}
    critical = loaded.setup.policies["default"].by_severity[Severity.CRITICAL]
    assert critical.tell == (Target("sms", "ops"), Target("mail", "ops"), Target("slack"))
    assert [(step.after, step.tell) for step in critical.steps] == [(900.0, (Target("sms", "lead"),))]
    warning = loaded.setup.policies["default"].by_severity[Severity.WARNING]
    assert warning.steps[0].raise_to is Severity.CRITICAL
    assert (warning.steps[0].after, warning.repeat) == (86_400.0, 14_400.0)
    assert loaded.web.listen == (("127.0.0.1", 9848),)
    assert loaded.setup.timezone == "America/New_York"


def test_defaults_without_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    loaded = setup(HTTP)
    check = loaded.setup.checks["api"]
    assert (check.every, check.timeout, check.retry.times, check.retry.every) == (60.0, 10.0, 2, 10.0)
    assert loaded.setup.policies == {"default": Policy("default")}
    assert loaded.store.url == f"sqlite://{tmp_path}/wcr-watchd/watchd.db"
    assert (loaded.store.retention.raw, loaded.store.retention.rollup) == (7 * 86_400.0, 400 * 86_400.0)
    assert (loaded.web.access.nobody, loaded.web.access.metrics_for_all) == (True, False)
    assert loaded.setup.location == "local"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/wcr watchd:/other")
    assert setup(HTTP).store.url == "sqlite:///var/lib/wcr%20watchd/watchd.db"


@pytest.mark.parametrize(
    ("defaults", "own", "every", "timeout"),
    [
        ("", "", 60.0, 10.0),
        ('every = "5m"\ntimeout = "30s"', "", 300.0, 30.0),
        ('every = "30s"', "", 30.0, 10.0),
        ('every = "5m"\ntimeout = "30s"', 'every = "20s"\ntimeout = "4s"', 20.0, 4.0),
        ("", 'every = "2s"', 2.0, 2.0),
        ('every = "1m"\ntimeout = "10s"', 'every = "5s"', 5.0, 5.0),
        ('timeout = "90s"', "", 60.0, 60.0),
        ("", 'every = "5s"\ntimeout = "5s"', 5.0, 5.0),
    ],
)
def test_whose_interval_and_timeout_hold(defaults: str, own: str, every: float, timeout: float) -> None:
    """The check's own; else the default; else the type's; what a check does not say is not longer than its interval."""
    check = api(f"[defaults]\n{defaults}\n{HTTP}{own}\n")
    assert (check.every, check.timeout) == (every, timeout)


def test_types_with_a_rhythm_of_their_own_keep_it() -> None:
    """Certificates are not read every minute because the defaults say so, nor the host so rarely."""
    text = (
        '[defaults]\nevery = "5m"\ntimeout = "20s"\n'
        '[check.cert]\ntype = "certfile"\npath = "/etc/x.pem"\n[check.host]\ntype = "host"\n'
    )
    checks = setup(text).setup.checks
    assert (checks["cert"].every, checks["cert"].timeout) == (3600.0, 20.0)
    assert (checks["host"].every, checks["host"].timeout) == (Host.every, Host.timeout)


def test_rules_of_a_severity_replace_the_type_s_own() -> None:
    def texts(own: str, severity: Severity) -> list[str]:
        return [rule.text for rule in api(HTTP + own).rules if rule.severity is severity]

    assert texts("", Severity.CRITICAL) == ["down"]
    assert len(texts("", Severity.WARNING)) == 2
    assert texts("warning = []", Severity.WARNING) == []
    assert texts("warning = []", Severity.CRITICAL) == ["down"]
    assert texts('warning = "response_time > 1s"', Severity.WARNING) == ["response_time > 1s"]
    assert texts('info = ["status != 200", "redirects > 1"]', Severity.INFO) == ["status != 200", "redirects > 1"]
    assert texts('values.users = "count"\ncritical = ["down", "users < 1"]', Severity.CRITICAL) == ["down", "users < 1"]


def test_tags_of_the_defaults_come_first() -> None:
    assert api('[defaults]\ntags = ["prod", "web"]\n' + HTTP + 'tags = ["web", "api"]\n').tags == ("prod", "web", "api")


def test_checks_that_rest_are_checked_but_not_run() -> None:
    loaded = setup(
        '[watchd]\nlocation = "nyc3"\n'
        + HTTP
        + 'depends_on = ["off", "there"]\nlocations = ["nyc3", "fra1"]\n'
        + '[check.off]\ntype = "http"\nurl = "http://localhost/"\nenabled = false\n'
        + '[check.there]\ntype = "http"\nurl = "http://localhost/"\nlocations = "fra1"\n'
    )
    assert list(loaded.setup.checks) == list(loaded.probes) == ["api"]
    assert loaded.setup.checks["api"].depends_on == ()
    assert loaded.resting == {"off": "enabled = false", "there": "runs at fra1; this is nyc3"}


def test_the_fallback_is_the_same_person_by_another_channel_of_the_policy() -> None:
    loaded = setup(
        PEOPLE
        + '[policy.default.critical]\ntell = ["sms:ops"]\nescalate = [{ after = "5m", tell = ["sms:lead"] }]\n'
        + '[policy.default.warning]\ntell = ["mail:ops", "slack"]\n'
        + '[policy.default.info]\ntell = ["slack"]\nfallback = ["mail:lead"]\n'
        + '[policy.other.critical]\ntell = ["mail:second"]\n'
    )
    plans = loaded.setup.policies["default"].by_severity
    assert plans[Severity.CRITICAL].fallback == (Target("mail", "ops"),)
    assert plans[Severity.WARNING].fallback == (Target("sms", "ops"),)
    assert plans[Severity.INFO].fallback == (Target("mail", "lead"),)
    assert loaded.setup.policies["other"].by_severity[Severity.CRITICAL].fallback == ()


def test_people() -> None:
    loaded = setup('[watchd]\ntimezone = "Europe/Berlin"\n' + PEOPLE)
    assert loaded.setup.contacts["lead"].addresses == {
        "phone": ("+15550101",),
        "email": ("lead@example.org",),
    }
    assert loaded.setup.on_call["ops"] == weekly("ops", "Europe/Berlin", ("lead", "second"), 4, time(17, 30))
    assert loaded.setup.channels == {"sms": "phone", "mail": "email", "slack": ""}
    assert set(loaded.channels) == {"sms", "mail", "slack"}


@pytest.mark.parametrize(
    "change",
    [
        'every = "2m"',
        'timeout = "5s"',
        "retry.times = 1",
        'warning = "response_time > 3s"',
        'policy = "default"\nowner = "lead"',
        'tags = ["x"]',
        "expect.status = 200",
        "verify = false",
        'auth.bearer = "${env:WATCHD_TEST_BEARER}"',
    ],
)
def test_every_setting_changes_the_fingerprint(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHD_TEST_BEARER", "a")
    assert api(HTTP + change).fingerprint != api(HTTP).fingerprint


def test_a_new_secret_changes_the_fingerprint_but_does_not_show_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HTTP + 'auth.bearer = "${env:WATCHD_TEST_BEARER}"\n'
    monkeypatch.setenv("WATCHD_TEST_BEARER", "first")
    first = api(text).fingerprint
    monkeypatch.setenv("WATCHD_TEST_BEARER", "second")
    assert api(text).fingerprint != first
    assert len(first) == 64


def test_how_it_is_written_does_not_change_the_fingerprint() -> None:
    other = HTTP.replace("[check.api]", "# a comment\n[check.api]") + 'every = "60s"\nexpect.status = "2xx"\n'
    assert api(other).fingerprint == api(HTTP).fingerprint


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "import sys; from wcr_watchd.config.load import loads;"
        "print(loads(sys.argv[1], 'w').setup.checks['api'].fingerprint)"
    )
    done = run(
        [sys.executable, "-c", code, HTTP], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == api(HTTP).fingerprint


def test_only_types_that_are_used_are_imported() -> None:
    code = (
        "import sys; from wcr_watchd.config.load import loads; loads(sys.argv[1], 'w');"
        "print(*(m for m in sys.modules if m.startswith(('wcr_watchd.probes.', 'wcr_watchd.channels.', 'tree_sitter'))"
        " and m.count('.') == 2))"
    )
    done = run(
        [sys.executable, "-c", code, HTTP], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == ["wcr_watchd.probes.http"]


def test_ten_thousand_checks_in_a_chain_are_no_trouble() -> None:
    first = HTTP.replace("api", "c0")
    rest = "".join(
        f'[check.c{n}]\ntype = "http"\nurl = "http://localhost/"\ndepends_on = ["c{n - 1}"]\n' for n in range(1, 10_000)
    )
    assert len(setup(first + rest).setup.checks) == 10_000
