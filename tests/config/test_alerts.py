"""The section for alerts of Prometheus."""

from __future__ import annotations

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.model import Severity
from wcr_watchd.core.setup import AlertSettings

POLICIES = "[policy.default.critical]\ntell = []\n[policy.team.critical]\ntell = []\n"


def settings(text: str) -> AlertSettings | None:
    return loads(POLICIES + text, "w.toml").setup.alerts


def test_alerts_are_taken_only_where_that_is_wanted() -> None:
    assert settings("") is None
    assert settings("[alerts]\n") is None
    taken = settings("[alerts]\nenabled = true\n")
    assert taken is not None
    assert (taken.policy, taken.resolve_timeout, taken.default) == ("default", 300.0, Severity.WARNING)
    assert dict(taken.severities) == {word: Severity.of(word) for word in ("info", "warning", "critical")}


def test_severities_and_policy() -> None:
    text = '[defaults]\npolicy = "team"\n[alerts]\nenabled = true\nseverity = { Page = "critical" }\ndefault = "info"\n'
    taken = settings(text + 'resolve_timeout = "10m"\n')
    assert taken is not None
    assert (taken.policy, taken.severities["page"], taken.default) == ("team", Severity.CRITICAL, Severity.INFO)
    assert taken.resolve_timeout == 600.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('policy = "taem"', 'w.toml:7: alerts.policy: there is no policy "taem" (did you mean "team"?)'),
        ('severity = { page = "loud" }', "w.toml:7: alerts.severity.page: "),
        ('resolve_timeout = "0s"', "w.toml:7: alerts.resolve_timeout: must be longer than nothing"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loads(f"{POLICIES}[alerts]\nenabled = true\n{text}\n", "w.toml")
    assert str(error.value.problems[0]).startswith(said)
