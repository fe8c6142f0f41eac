"""Whether a condition can hold at all while values stay within bounds: what cannot fire need not be evaluated.

``recent`` are the bounds over all that the windows of a rule look back on, the values of now included; without them
nothing is known of windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from wcr_watchd.core.expressions import (
    OPPOSITE,
    Comparison,
    Condition,
    Literal,
    Not,
    Scaled,
    Value,
    Window,
    Word,
)
from wcr_watchd.core.rules import Rule

Bounds = Mapping[str, tuple[float, float]]
"""By measurement the smallest and the largest value there was of any of its series; one without values is not there."""


def can_fire(rule: Rule, bounds: Bounds, recent: Bounds | None = None) -> bool:
    """Whether the rule's condition may have held for a run that was up; it may be said to although it did not."""
    return can_be(rule.condition, True, bounds, recent)


def can_be(condition: Condition, wanted: bool, bounds: Bounds, recent: Bounds | None = None) -> bool:
    """Whether the condition can come to ``wanted`` for a run that was up with values within the bounds."""
    if isinstance(condition, Word):
        return (condition.word == "up") is wanted
    if isinstance(condition, Not):
        return can_be(condition.item, not wanted, bounds, recent)
    if isinstance(condition, Comparison):
        return _can_compare(condition, wanted, bounds, recent)
    enough = any if (condition.word == "or") is wanted else all
    return enough(can_be(item, wanted, bounds, recent) for item in condition.items)


def _can_compare(comparison: Comparison, wanted: bool, bounds: Bounds, recent: Bounds | None) -> bool:
    left, right = (_range(side, bounds, recent) for side in (comparison.left, comparison.right))
    if left is None or right is None:
        return False
    symbol = comparison.symbol if wanted else OPPOSITE[comparison.symbol]
    match symbol:
        case "<":
            return left[0] < right[1]
        case "<=":
            return left[0] <= right[1]
        case ">":
            return left[1] > right[0]
        case ">=":
            return left[1] >= right[0]
        case "==":
            return left[0] <= right[1] and right[0] <= left[1]
        case _:
            return not left[0] == left[1] == right[0] == right[1]


def _range(value: Value, bounds: Bounds, recent: Bounds | None) -> tuple[float, float] | None:
    """Within what the value lies; None when it is absent, so that nothing can be said of it."""
    if isinstance(value, Literal):
        return value.value, value.value
    if isinstance(value, Scaled):
        found = _range(value.item, bounds, recent)
        if found is None:
            return None
        low, high = sorted(number * value.factor for number in found)
        return low, high
    return _window_range(value, recent) if isinstance(value, Window) else bounds.get(value.name)


def _window_range(window: Window, recent: Bounds | None) -> tuple[float, float] | None:
    if recent is None:
        return -inf, inf
    known = recent.get(window.series.name)
    if known is None:
        return None
    low, high = known
    if window.function in ("avg", "min", "max", "p95"):
        return low, high
    if window.function == "delta":
        return low - high, high - low
    if window.function in ("increase", "rate") and low == high:
        return 0.0, 0.0  # a counter that stands still; of one that moves it is not known how often it began anew
    return -inf, inf
