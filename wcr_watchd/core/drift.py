"""Where a flow (traffic, requests, load) is heading: it goes up and down with the week, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from wcr_watchd.core.forecast import Sample, Trend, slopes_of

WEEK = 7
"""Days over which a flow is averaged: offices and shops have a rhythm of that length."""
FEWEST_WEEKS = 5
LATELY = 4
"""Weeks that say how much it is now."""
DAMPED = 0.5
"""Share of a growth that is kept when not all of the past agrees on its direction: most of it is noise then."""
MARGIN_OF_WEEKS = 0.75
"""As :data:`~wcr_watchd.core.forecast.MARGIN`, of slopes that half of the past spans."""


def drift(days: Sequence[Sample]) -> Trend | None:
    """The trend of a flow (traffic, requests, load) from its daily means in order; None when there are too few weeks.

    A flow has a rhythm by the week and noise that is larger than its growth: a line through its days says that traffic
    is nothing or tenfold in three months. So weeks are averaged, and only slopes that half of the past spans count.
    """
    weeks = [days[end - WEEK : end] for end in range(len(days), WEEK - 1, -WEEK)]
    means = [(fmean(at for at, _ in week), fmean(value for _, value in week)) for week in reversed(weeks)]
    if len(means) < FEWEST_WEEKS:
        return None
    half = (means[-1][0] - means[0][0]) / 2
    slopes = sorted(slope for slope, span, _ in slopes_of(means) if span >= half)
    is_certain = slopes[0] > 0 or slopes[-1] < 0
    slope = median(slopes) * (1.0 if is_certain else DAMPED)
    at = days[-1][0]
    level = median(value + slope * (at - when) for when, value in means[-LATELY:])
    margin = MARGIN_OF_WEEKS * (slopes[-1] - slopes[0])
    return Trend(at, level, slope, min(slope, slopes[0] - margin), max(slope, slopes[-1] + margin))
