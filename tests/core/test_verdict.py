"""What the rules say about one observation alone, as `wcr-watchd probe` shows it."""

from __future__ import annotations

from tests.core.measured import SPECS, labels, seen, series, up
from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.setup import Check
from wcr_watchd.core.verdict import judge


def api(*rules: tuple[Severity, str]) -> Check:
    read = tuple(parse_rule(text, severity, SPECS) for severity, text in rules)
    return Check(name="api", probe="http", target="http://api/", every=60.0, timeout=10.0, rules=read)


def test_a_rule_that_needs_no_time_fires_without_confirmation() -> None:
    said = list(judge(api((Severity.CRITICAL, "down")), seen(0.0, Outcome.DOWN)))
    assert [(one.rule.severity, one.fires) for one in said] == [(Severity.CRITICAL, True)]


def test_a_rule_that_must_hold_longer_is_told_apart() -> None:
    said = list(judge(api((Severity.WARNING, "response_time > 1s for 5m")), up(0.0, response_time=2.0)))
    assert [one.fires for one in said] == [False]
    assert "response_time" in said[0].because


def test_each_disk_has_its_own_verdict_and_what_is_fine_says_nothing() -> None:
    full = series("disk_used", 0.95, mount="/srv")
    said = list(judge(api((Severity.WARNING, "disk_used > 90%")), up(0.0, full, series("disk_used", 0.2, mount="/"))))
    assert [one.labels for one in said] == [labels(mount="/srv")]
    assert not list(judge(api((Severity.CRITICAL, "down")), up(0.0)))
