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
MARGIN_OF_WEEKS = 0.75
"""As :data:`~wcr_watchd.core.forecast.MARGIN`, of slopes that half of the past spans: for three months by a quarter."""


def drift(days: Sequence[Sample]) -> Trend | None:
    """The trend of a flow (traffic, requests, load) from its daily means in order; None when there are too few weeks.

    A flow has a rhythm by the week and noise that is larger than its growth: a line through its days says that traffic
    is nothing or tenfold in three months. Even the growth of weeks mostly was a season, which turns: on recorded series
    a flow that is taken to stay as it is was nearer to what came than one whose growth was drawn on, by a fifth. What
    growth there may be is left to the interval: the slopes between weeks that half of the past spans.
    """
    weeks = [days[end - WEEK : end] for end in range(len(days), WEEK - 1, -WEEK)]
    means = [(fmean(at for at, _ in week), fmean(value for _, value in week)) for week in reversed(weeks)]
    if len(means) < FEWEST_WEEKS:
        return None
    half = (means[-1][0] - means[0][0]) / 2
    slopes = sorted(slope for slope, span, _ in slopes_of(means) if span >= half)
    at = days[-1][0]
    level = median(value for _, value in means[-LATELY:])
    margin = MARGIN_OF_WEEKS * (slopes[-1] - slopes[0])
    return Trend(at, level, 0.0, min(0.0, slopes[0] - margin), max(0.0, slopes[-1] + margin))
