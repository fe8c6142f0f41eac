"""Whether a condition can hold at all while values stay within bounds: what cannot fire need not be evaluated."""

from __future__ import annotations

from collections.abc import Mapping

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


def can_fire(rule: Rule, bounds: Bounds) -> bool:
    """Whether the rule's condition may have held for a run that was up; it may be said to although it did not."""
    return can_be(rule.condition, True, bounds)


def can_be(condition: Condition, wanted: bool, bounds: Bounds) -> bool:
    """Whether the condition can come to ``wanted`` for a run that was up with values within the bounds."""
    if isinstance(condition, Word):
        return (condition.word == "up") is wanted
    if isinstance(condition, Not):
        return can_be(condition.item, not wanted, bounds)
    if isinstance(condition, Comparison):
        return _can_compare(condition, wanted, bounds)
    enough = any if (condition.word == "or") is wanted else all
    return enough(can_be(item, wanted, bounds) for item in condition.items)


def _can_compare(comparison: Comparison, wanted: bool, bounds: Bounds) -> bool:
    if any(isinstance(_item(side), Window) for side in (comparison.left, comparison.right)):
        return True  # what came before is not within the bounds
    left, right = _range(comparison.left, bounds), _range(comparison.right, bounds)
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


def _item(value: Value) -> Value:
    return value.item if isinstance(value, Scaled) else value


def _range(value: Value, bounds: Bounds) -> tuple[float, float] | None:
    if isinstance(value, Literal):
        return value.value, value.value
    if isinstance(value, Scaled):
        found = _range(value.item, bounds)
        if found is None:
            return None
        low, high = sorted(number * value.factor for number in found)
        return low, high
    return None if isinstance(value, Window) else bounds.get(value.name)
