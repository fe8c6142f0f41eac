"""How much runs that follow each other resemble each other, and what that takes from a test of before and after.

A busy hour makes many runs slow, not one: sixty runs of it may tell no more than six that know nothing of each other,
and a test that counts sixty calls every third quiet change worse. So the variance of the statistic is made larger by
1 + 2 (r1 + r2 + ...), the r being the correlations of the ranks with those of one run later, two runs later, and so on.

Taken is the larger of two reckonings, as each misses what the other sees: that of a process of the first order,
(1 + r1) / (1 - r1), with r1 corrected for its bias in short series (M. G. Kendall, "Note on Bias in the Estimation of
Autocorrelation", 1954); and the sum of the correlations in pairs for as long as a pair is positive (C. J. Geyer,
"Practical Markov Chain Monte Carlo", 1992), which sees slow waves under quick noise.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from math import log

CLOSEST = 0.97
"""Correlation of neighbours that is reckoned with at most."""
CLEAR = 0.5
"""Of the larger spread on either side: a gap between both sides so wide that nothing need be reckoned."""


def inflation(before: Sequence[float], after: Sequence[float]) -> float:
    """How many times as large the variance of a rank statistic is as if runs knew nothing of each other; 1 at least.

    The values are in the order of their runs. When all after are so far above all before that the gap is half as wide
    as either side's spread (by ratios), it is 1: what moves so little by itself does not come there by itself.
    """
    shorter = min(len(before), len(after))
    if shorter < 3 or _is_clear(before, after):
        return 1.0
    sides = [_deviations(side) for side in (before, after)]
    total = sum(one * one for side in sides for one in side)
    if not total:
        return 1.0
    correlations = _correlations(sides, total, shorter)
    first = next(correlations)
    corrected = min(CLOSEST, first + (1 + 4 * first) / shorter) if first > 0 else 0.0
    return max((1 + corrected) / (1 - corrected), 1 + 2 * _while_positive(first, correlations))


def _is_clear(before: Sequence[float], after: Sequence[float]) -> bool:
    lowest, highest = (min(before), min(after)), (max(before), max(after))
    if min(lowest) > 0:  # what is three times as slow varies three times as much, so that ratios are compared
        lowest, highest = (log(lowest[0]), log(lowest[1])), (log(highest[0]), log(highest[1]))
    spread = max(highest[0] - lowest[0], highest[1] - lowest[1])
    return lowest[1] - highest[0] > CLEAR * spread


def _deviations(side: Sequence[float]) -> list[float]:
    """The ranks of the values within their side, around their mean; equal values share the mean of theirs."""
    ordered = sorted(side)
    middle = len(side) / 2
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 - middle for value in side]


def _correlations(sides: Sequence[Sequence[float]], total: float, shorter: int) -> Iterator[float]:
    """The correlation of each run with the next one, with the one after that, and so on, over both sides."""
    for lag in range(1, shorter - 1):
        yield sum(one * other for side in sides for one, other in zip(side, side[lag:], strict=False)) / total


def _while_positive(first: float, correlations: Iterator[float]) -> float:
    """The sum of the correlations in pairs, until a pair is no longer positive."""
    found, one = 0.0, first
    for other in correlations:
        if one + other <= 0:
            break
        found += one + other
        one = next(correlations, 0.0)
    return found
