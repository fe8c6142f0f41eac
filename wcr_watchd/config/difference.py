"""What is different between two configurations, key by key, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

LONGEST = 100
"""Characters of a value that are shown."""
NOT_THERE = "(not there)"


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], masked: Callable[[str], str]
) -> dict[str, tuple[str, str]]:
    """By dotted key, what was written before and what is now; ``masked`` takes secrets out of a text.

    A table that is there on one side only, such as a check, is one difference.
    """
    return {key: (_shown(was, masked), _shown(now, masked)) for key, was, now in _walk("", before, after)}


_MISSING = object()


def _walk(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name, _MISSING), after.get(name, _MISSING)
        key = f"{prefix}{name}"
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _walk(f"{key}.", was, now)
        elif was != now:
            yield key, was, now


def _shown(value: object, masked: Callable[[str], str]) -> str:
    if value is _MISSING:
        return NOT_THERE
    if isinstance(value, Mapping):
        return masked(f"a table with {', '.join(map(str, value))}")[:LONGEST]
    return masked(str(value))[:LONGEST]
