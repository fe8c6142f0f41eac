"""Passwords: hashed with Argon2id, checked in constant work (OWASP Password Storage Cheat Sheet)."""

from __future__ import annotations

from functools import lru_cache

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY, ROUNDS, LANES = 19_456, 2, 1
"""KiB, passes and threads: the smallest set that OWASP recommends; some 35 ms on this kind of machine."""
MOST_MEMORY, MOST_ROUNDS = 262_144, 10
"""What a hash may ask for: each attempt to sign in costs us as much."""
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_024
"""Characters that are looked at; nobody types more."""

_HASHER = PasswordHasher(time_cost=ROUNDS, memory_cost=MEMORY, parallelism=LANES, type=Type.ID)


def hash_of(password: str) -> str:
    """A new hash of a password. Blocking, for a few hundredths of a second."""
    return _HASHER.hash(password)


def matches(known: str, password: str) -> bool:
    """Whether a password is the one that was hashed. Blocking; takes as long when there is no hash to compare with."""
    try:
        right = _HASHER.verify(known or _nobodys(), password[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False
    return right and bool(known)


def fault_of(known: str) -> str:
    """What is wrong with a hash; empty when it can be used."""
    try:
        wanted = extract_parameters(known)
    except InvalidHashError:
        return "is not an Argon2 hash; a password never stands in the configuration"
    if wanted.memory_cost > MOST_MEMORY or wanted.time_cost > MOST_ROUNDS:
        return f"costs too much to check: at most m={MOST_MEMORY}, t={MOST_ROUNDS}"
    return ""


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return hash_of("nobody's password")
