"""Which lines the rules of a check draw through the chart of a measurement."""

from __future__ import annotations

import pytest

from wcr_watchd.core.model import MeasurementSpec, Severity
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.thresholds import thresholds
from wcr_watchd.core.units import Unit

SPECS = (
    MeasurementSpec("response_time", Unit.SECONDS, "how long"),
    MeasurementSpec("requests", Unit.COUNT, "how many", counter=True),
    MeasurementSpec("disk_used", Unit.RATIO, "used", labels=("mount",)),
)


@pytest.mark.parametrize(
    ("text", "measurement", "expected"),
    [
        ("response_time > 1s for 5m until response_time < 800ms", "response_time", [(1.0, ">")]),
        ("down or avg(response_time, 5m) >= 250ms", "response_time", [(0.25, ">=")]),
        ("2s < response_time", "response_time", [(2.0, ">")]),
        ('not (disk_used{mount="/"} < 90%) and response_time > 1s', "disk_used", [(0.9, "<")]),
        ("rate(requests, 5m) > 10/s", "requests", []),
        ("response_time > 3 * baseline(response_time)", "response_time", []),
        ("down", "response_time", []),
    ],
)
def test_the_lines_of_a_rule(text: str, measurement: str, expected: list[tuple[float, str]]) -> None:
    found = thresholds([parse_rule(text, Severity.WARNING, SPECS)], measurement)
    assert [(one.value, one.symbol) for one in found] == expected


def test_the_most_severe_line_comes_first_and_none_twice() -> None:
    texts = [
        (Severity.INFO, "response_time > 200ms"),
        (Severity.CRITICAL, "response_time > 2s"),
        (Severity.CRITICAL, "response_time > 2s for 3x"),
    ]
    found = thresholds([parse_rule(text, severity, SPECS) for severity, text in texts], "response_time")
    assert [(one.severity, one.value) for one in found] == [(Severity.CRITICAL, 2.0), (Severity.INFO, 0.2)]
