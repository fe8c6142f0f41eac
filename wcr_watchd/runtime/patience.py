"""When a message may be tried, how long it is tried, and how long it is waited between two attempts."""

from __future__ import annotations

from random import SystemRandom

from wcr_watchd.core.model import Delivery

FIRST_BACKOFF = 5.0
"""Seconds before the second attempt; doubled each time, up to the longest."""
LONGEST_BACKOFF = 600.0
LONGEST_RETRY_AFTER = 3600.0
"""Seconds that a provider may ask us to wait; more would silence us by a mistake of theirs."""
JITTER = 0.2
"""Part of a backoff that is left to chance, so that many messages do not come back at once."""
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after which a message is no longer tried."""

CLOCK_DOUBT = 120.0
"""Seconds that the clock of the last life may have been ahead of this one's."""

_random = SystemRandom()


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failed attempts; chance lengthens or shortens them a little."""
    usual = float(min(FIRST_BACKOFF * 2 ** min(attempts - 1, 20), LONGEST_BACKOFF))
    return usual * (1.0 + _random.uniform(-JITTER, JITTER))


def due(delivery: Delivery, now: float) -> float:
    """When it may be tried; what was to go at once is not held back by a clock of the last life that was ahead."""
    notification = delivery.notification
    held = notification.not_before > notification.created_at
    return max(delivery.next_attempt_at, notification.not_before if held else min(notification.not_before, now))
