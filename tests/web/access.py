"""Access control for tests: one of every kind of credential, and clients that show them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from wcr_watchd.core.access import DOORS, AccessSettings, ApiToken, Role
from wcr_watchd.web.access.gate import Access

TOKEN = "a-token-of-enough-length"
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
"""What a program shows that may do everything; its name is ``operator``."""
SECRETS = {
    "viewer": "a-secret-that-only-reads",
    "operator": TOKEN,
    "alerts": "a-secret-of-a-prometheus",
    "metrics": "a-secret-that-scrapes",
    "probe": "a-secret-that-probes",
}
KEY = bytes(32)


def api_token(name: str, secret: str, role: Role, *doors: str, expires_at: float | None = None) -> ApiToken:
    """A token as the configuration gives it."""
    return ApiToken(name, sha256(secret.encode()).digest(), role, frozenset(doors), expires_at)


def everybody() -> AccessSettings:
    """``[web] token``, and a token for each door."""
    tokens = [api_token("operator", TOKEN, Role.ADMIN, *DOORS), api_token("viewer", SECRETS["viewer"], Role.VIEWER)]
    tokens += [api_token(door, SECRETS[door], Role.NONE, door) for door in sorted(DOORS)]
    return AccessSettings(tokens=tuple(tokens))


def access_for(
    settings: AccessSettings | None = None,
    *,
    now: Callable[[], float] = lambda: 0.0,
    monotonic: Callable[[], float] = lambda: 0.0,
) -> Access:
    """Access control with those settings (None: :func:`everybody`)."""
    found = everybody() if settings is None else settings
    return Access(lambda: found, key=KEY, now=now, monotonic=monotonic)
