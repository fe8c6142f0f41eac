"""How incidents were handled: mean times to acknowledge and to resolve, and between failures. Pure.

One reckoning for reports and objectives, so that the same incidents are the same figures everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from wcr_watchd.core.model import Incident, Severity


@dataclass(frozen=True, slots=True)
class Handling:
    """Mean seconds from the beginning of incidents; None where there was none to count.

    ``acknowledge`` (MTTA) is of those that somebody took, ``resolve`` (MTTR) of those that are over, ``between``
    (MTBF) from the beginning of one critical incident to that of the next: it takes two.
    """

    incidents: int
    acknowledge: float | None
    resolve: float | None
    between: float | None


def handling(incidents: Iterable[Incident]) -> Handling:
    """How these were handled."""
    found = list(incidents)
    begins = sorted(one.opened_at for one in found if one.peak is Severity.CRITICAL)
    return Handling(
        len(found),
        _mean(one.taken_at - one.opened_at for one in found if one.taken_at is not None),
        _mean(one.resolved_at - one.opened_at for one in found if one.resolved_at is not None),
        _mean(later - earlier for earlier, later in pairwise(begins)),
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
