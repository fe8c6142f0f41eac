"""The lines that rules draw through a measurement's chart: where its value makes a rule hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wcr_watchd.core.expressions import Comparison, Condition, Junction, Literal, Not, Series, Window, series_of
from wcr_watchd.core.model import Severity
from wcr_watchd.core.rules import Rule

TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
"""The operator of a comparison read from right to left."""
ON_THE_SCALE = ("avg", "min", "max", "p95", "baseline", "forecast")
"""Functions whose result can be compared with a value of the measurement itself."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value that a rule compares a measurement with: ``> 0.9`` for ``critical``.

    ``series`` is what of the measurement is meant (its labels), as the rule has it.
    """

    value: float
    symbol: str
    severity: Severity
    series: Series
    rule: str


def thresholds(rules: Iterable[Rule], measurement: str) -> tuple[Threshold, ...]:
    """The lines of a measurement, the most severe first, each once."""
    found = {
        (value, symbol, rule.severity): Threshold(value, symbol, rule.severity, series, rule.text)
        for rule in rules
        for series, symbol, value in _compared(rule.condition)
        if series.name == measurement
    }
    return tuple(sorted(found.values(), key=lambda one: (-one.severity, one.value)))


def _compared(condition: Condition) -> Iterator[tuple[Series, str, float]]:
    if isinstance(condition, Not):
        yield from _compared(condition.item)
    elif isinstance(condition, Junction):
        for item in condition.items:
            yield from _compared(item)
    elif isinstance(condition, Comparison):
        left, right = condition.left, condition.right
        if isinstance(right, Literal) and isinstance(left, Series | Window):
            yield from _line(left, condition.symbol, right)
        elif isinstance(left, Literal) and isinstance(right, Series | Window):
            yield from _line(right, TURNED[condition.symbol], left)


def _line(source: Series | Window, symbol: str, value: Literal) -> Iterator[tuple[Series, str, float]]:
    if isinstance(source, Series) or source.function in ON_THE_SCALE:
        yield series_of(source), symbol, value.value
