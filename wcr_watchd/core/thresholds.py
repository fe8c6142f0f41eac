"""What rules hold measurements against: the lines through a chart, and the limits of what is foretold."""

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
        for source, symbol, value in _compared(rule.condition)
        for series in (series_of(source),)
        if series.name == measurement and (isinstance(source, Series) or source.function in ON_THE_SCALE)
    }
    return tuple(sorted(found.values(), key=lambda one: (-one.severity, one.value)))


@dataclass(frozen=True, slots=True)
class Limit:
    """What a rule foretells of a measurement: ``forecast(database_size, 7d) > 20GiB``; ``rises`` to it, or falls."""

    series: Series
    value: float
    rises: bool


def limits(rules: Iterable[Rule]) -> tuple[Limit, ...]:
    """What rules have a forecast of, each series once in either direction: the limit that is met last of several."""
    found: dict[tuple[str, bool], Limit] = {}
    for rule in rules:
        for source, symbol, value in _compared(rule.condition):
            if isinstance(source, Window) and source.function == "forecast" and symbol[0] in "<>":
                one = Limit(source.series, value, symbol[0] == ">")
                known = found.setdefault((str(one.series), one.rises), one)
                if (value > known.value) is one.rises:
                    found[str(one.series), one.rises] = one
    return tuple(found.values())


def _compared(condition: Condition) -> Iterator[tuple[Series | Window, str, float]]:
    if isinstance(condition, Not):
        yield from _compared(condition.item)
    elif isinstance(condition, Junction):
        for item in condition.items:
            yield from _compared(item)
    elif isinstance(condition, Comparison):
        left, right = condition.left, condition.right
        if isinstance(right, Literal) and isinstance(left, Series | Window):
            yield left, condition.symbol, right.value
        elif isinstance(left, Literal) and isinstance(right, Series | Window):
            yield right, TURNED[condition.symbol], left.value
