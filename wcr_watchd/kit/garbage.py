"""When Python looks for garbage: rarely and at chosen moments, since it stops the whole daemon meanwhile.

Nearly everything is freed without that, by counting references. With ten thousand checks a look at all there is takes
half a second, and by itself Python would take one every few seconds.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 700, 10, 1_000
"""How often each generation is looked at (``gc.set_threshold``); the old one in practice by :func:`collect` only."""


def settle() -> None:
    """What there is now (modules, the configuration) will stay: look at it once more and never again."""
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Look through all that came since; to be called every few minutes."""
    gc.collect()
