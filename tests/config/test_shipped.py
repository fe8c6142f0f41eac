"""The configuration in etc/ is valid as it is shipped, and serves the checks of the platform's old scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wcr_watchd.config.load import Loaded, load
from wcr_watchd.core.model import Severity

ETC = Path(__file__).parents[2] / "etc"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """The shipped configuration, with a credential for each that it names."""
    for file in ETC.rglob("*.toml"):
        for name in re.findall(r"\$\{credential:(\w+)\}", file.read_text()):
            value = (
                "postgresql://watch:word@db.example:25060/app"
                if name.endswith("dsn")
                else f"secret-of-{name}-0123456789"
            )
            (tmp_path / name).write_text("https://hooks.example/services/x" if name.startswith("slack") else value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return load(ETC / "watchd.toml")


def test_it_loads(shipped: Loaded) -> None:
    assert len(shipped.setup.checks) >= 30
    assert set(shipped.channels) == {"sms", "mail", "slack"}


def test_staging_never_wakes_anybody(shipped: Loaded) -> None:
    for check in shipped.setup.checks.values():
        if "staging" in check.tags:
            assert all(rule.severity < Severity.CRITICAL for rule in check.rules), check.name


def test_every_severity_has_somebody_to_tell(shipped: Loaded) -> None:
    policy = shipped.setup.policies["default"]
    for severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL):
        assert policy.by_severity[severity].tell


def test_production_fails_as_one_thing(shipped: Loaded) -> None:
    """The checks that a dead database would set off all know whose fault it is."""
    assert "db-prod" in shipped.setup.checks["api-prod"].depends_on
    assert "api-prod" in shipped.setup.checks["site-api"].depends_on
