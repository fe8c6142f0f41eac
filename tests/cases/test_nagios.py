"""What Nagios plugins print, replayed from the facts; the plugin's exit status alone decides, so thresholds do not."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.running import Observe, measured
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.perfdata import base_unit, parse

CASES = yaml.load((Path(__file__).parent / "nagios-cases.yaml").read_text(), yaml.CSafeLoader)
NOT_HERE = {
    "ranges": "a plugin applies its own ranges; ours are the rule language's, checked in tests/core/test_rules.py",
    "thresholds": "likewise",
}

REASONS = {
    "exit_out_of_range": "exit_status",
    "not_executable": "permission",
    "signal_9": "signal",
    "timeout": "timeout",
}
"""Their words and ours."""


def _ending(status: int) -> str:
    return f"kill -{-status} $$" if status < 0 else f"exit {status}"


def test_every_kind_of_case_is_replayed_or_listed() -> None:
    assert set(CASES) == {"meta", "output", *NOT_HERE}


@pytest.mark.parametrize("case", CASES["output"], ids=lambda case: case["id"])
def test_output(case: dict[str, Any]) -> None:
    output = parse(case["out"])
    assert output.text == case["text"]
    assert output.long == case.get("long", "")
    rows = [[d.label, d.value, d.unit, d.warn, d.crit, d.minimum, d.maximum] for d in output.data]
    assert rows == case["perf"]
    assert list(output.bad) == case.get("bad", [])
    for label, value, unit in case.get("norm", []):
        datum = next(one for one in output.data if one.label == label)
        assert base_unit(datum) == (pytest.approx(value), unit)


@pytest.mark.parametrize("case", CASES["output"], ids=lambda case: case["id"])
async def test_state(case: dict[str, Any], tmp_path: Path, observe: Observe) -> None:
    """The same output from a real program with that ending."""
    (tmp_path / "out").write_text(case["out"])
    ending = "exec sleep 600" if case.get("timeout") else _ending(case["exit"])
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\ncat {tmp_path}/out\n{ending}\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    seen = await observe("command", run=[str(plugin)], timeout=2 if case.get("timeout") else 60)
    if case["state"] == "unknown":
        assert seen.outcome is Outcome.UNKNOWN
        assert seen.reason == (REASONS[case["reason"]] if "reason" in case else "plugin")
        return
    assert seen.outcome is Outcome.UP
    assert measured(seen, "plugin_state") == ["ok", "warning", "critical"].index(case["state"])
