"""One-time links that sign in: printed at start while nobody is configured, and by ``wcr-watchd sign-in-link``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from wcr_watchd.web.access.digest import digest_of

LINK_PATH = "/sign-in/once/{code}"
LINK_SECONDS = 900.0
MOST_LINKS = 20
"""Links that are open at a time; of more, the oldest is closed."""


@dataclass(slots=True)
class OneTimeLinks:
    """Codes that each sign in once, within a quarter of an hour. ``clock`` gives monotonic seconds."""

    clock: Callable[[], float]
    _open: dict[str, tuple[str, float]] = field(default_factory=dict)

    def path_for(self, name: str) -> str:
        """The path of a new link that signs somebody in under a name."""
        now = self.clock()
        self._open = {digest: one for digest, one in self._open.items() if one[1] > now}
        while len(self._open) >= MOST_LINKS:
            del self._open[next(iter(self._open))]
        code = secrets.token_urlsafe(24)
        self._open[digest_of(code)] = name, now + LINK_SECONDS
        return LINK_PATH.replace("{code}", code)

    def take(self, code: str) -> str:
        """Whom a code signs in; it is used up by that. Empty when there is none such, or not any more."""
        name, expires = self._open.pop(digest_of(code), ("", 0.0))
        return name if expires > self.clock() else ""
