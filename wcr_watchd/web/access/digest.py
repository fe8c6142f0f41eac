"""How secrets that are random and long are kept: by their SHA-256, which is enough for what cannot be guessed."""

from __future__ import annotations

import hashlib


def digest_of(secret: str) -> str:
    """The SHA-256 of a cookie, code or token, hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
