"""The configuration in etc/ is valid as it is shipped, and serves the checks of the platform's old scripts."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.config.load import Loaded, load
from wcr_watchd.core.guidance import checks_of
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.model import Severity
from wcr_watchd.core.protocols import Recurring
from wcr_watchd.core.silence import covers
from wcr_watchd.probes.links import read_folder

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc"


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


def test_what_is_written_down_can_be_read_and_its_links_lead_somewhere(shipped: Loaded) -> None:
    book = shipped.setup.knowledge
    assert book.problems == ()
    assert {entry.kind for entry in book.entries.values()} == set(EntryKind)
    assert len(book.entries) >= 30
    assert read_folder(book.folder).broken == ()
    for entry in book.entries.values():
        assert entry.owner, entry.name
        assert entry.name == "communication" or checks_of(shipped.setup, entry), f"{entry.name} is about no check"


def test_what_is_critical_has_a_runbook(shipped: Loaded) -> None:
    setup = shipped.setup
    runbooks = {entry.name for entry in setup.knowledge.of(EntryKind.RUNBOOK)}
    without = {
        name
        for name, check in setup.checks.items()
        if check.runbook not in runbooks and any(rule.severity is Severity.CRITICAL for rule in check.rules)
    }
    assert without == set()


def test_staging_never_wakes_anybody(shipped: Loaded) -> None:
    for check in shipped.setup.checks.values():
        if "staging" in check.tags:
            assert all(rule.severity < Severity.CRITICAL for rule in check.rules), check.name


def test_every_severity_has_somebody_to_tell(shipped: Loaded) -> None:
    policy = shipped.setup.policies["default"]
    for severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL):
        assert policy.by_severity[severity].tell


def test_nobody_is_paged_for_what_people_have_not_done(shipped: Loaded) -> None:
    """The default policy raises a warning to critical after a day: an SMS every quarter of an hour, for a review."""
    setup = shipped.setup
    people = [name for name, probe in shipped.probes.items() if isinstance(probe, Recurring) and probe.command is None]
    assert len(people) > 30
    for name in people:
        assert setup.checks[name].policy == "people", name
    for severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL):
        escalation = setup.policies["people"].by_severity[severity]
        assert escalation.tell
        assert "sms" not in str(escalation)
        assert all(step.raise_to is None for step in escalation.steps)


def test_production_fails_as_one_thing(shipped: Loaded) -> None:
    """The checks that a dead database would set off all know whose fault it is."""
    assert "db-prod" in shipped.setup.checks["api-prod"].depends_on
    assert "api-prod" in shipped.setup.checks["site-api"].depends_on


def rows(table: str) -> dict[int, set[str]]:
    """The checks that each row of the table names, by its number; ``13-16`` stands for four rows."""
    found: dict[int, set[str]] = {}
    for first, last, rest in re.findall(r"^\| (\d+)(?:-(\d+))? \|(.*)$", table, re.MULTILINE):
        for number in range(int(first), int(last or first) + 1):
            assert number not in found, f"row {number} stands twice"
            found[number] = set(re.findall(r"`([a-z][a-z0-9.-]*)`", rest))
    return found


def test_every_check_of_the_old_scripts_has_its_place(shipped: Loaded) -> None:
    table = (ETC / "README.md").read_text()
    assert sorted(rows(table)) == list(range(1, 77))
    known = {*shipped.setup.checks, *shipped.resting}
    assert set().union(*rows(table).values()) <= known
    assert known <= set(re.findall(r"`([a-z][a-z0-9.-]*)`", table)), "every check is in one of the tables"


def test_every_row_names_what_serves_it_and_none_awaits_a_probe() -> None:
    table = (ETC / "README.md").read_text()
    assert "await" not in table
    assert "(step" not in table
    for line in re.findall(r"^\| \d.*$", table, re.MULTILINE):
        assert "`" in line or "incidents" in line or "nothing is deleted" in line, line


def test_announced_work_is_on_tuesdays_and_covers_what_visitors_see_alone(shipped: Loaded) -> None:
    (window,) = shipped.setup.windows
    new_york = ZoneInfo("America/New_York")
    assert window.spans.around(datetime(2027, 3, 16, 4, tzinfo=new_york).timestamp())
    assert not window.spans.around(datetime(2027, 3, 16, 5, 1, tzinfo=new_york).timestamp())
    covered = {name for name in shipped.setup.checks if covers(window.matchers, {"check": (name,)})}
    assert {"api-prod", "web-prod", "site", "nginx", "containers", "visit"} <= covered
    assert covered.isdisjoint({"db-prod", "files", "logins", "host", "backup-db-prod", "recovery-point", "cert-www"})


def test_the_unit_names_every_secret() -> None:
    unit = (ROOT / "systemd" / "wcr-watchd.service").read_text()
    for file in ETC.rglob("*.toml"):
        for name in re.findall(r"\$\{credential:(\w+)\}", file.read_text()):
            assert f"LoadCredential={name}:" in unit


def test_every_failure_is_told(shipped: Loaded) -> None:
    """A check that leaves critical out still says that it is down."""
    for check in shipped.setup.checks.values():
        assert any("down" in rule.text.split() for rule in check.rules), check.name
