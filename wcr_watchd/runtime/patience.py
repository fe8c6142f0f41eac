"""How long it is tried to deliver a message, and how long it is waited between two attempts."""

from __future__ import annotations

from random import SystemRandom

FIRST_BACKOFF = 5.0
"""Seconds before the second attempt; doubled each time, up to the longest."""
LONGEST_BACKOFF = 600.0
LONGEST_RETRY_AFTER = 3600.0
"""Seconds that a provider may ask us to wait; more would silence us by a mistake of theirs."""
JITTER = 0.2
"""Part of a backoff that is left to chance, so that many messages do not come back at once."""
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after which a message is no longer tried."""

_random = SystemRandom()


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failed attempts; chance lengthens or shortens them a little."""
    usual = float(min(FIRST_BACKOFF * 2 ** min(attempts - 1, 20), LONGEST_BACKOFF))
    return usual * (1.0 + _random.uniform(-JITTER, JITTER))
