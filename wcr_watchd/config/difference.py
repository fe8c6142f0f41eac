"""What is different between two configurations, key by key, without secrets."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LONGEST = 100
"""Characters of a value that are shown."""
NOT_THERE = "(not there)"


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], masked: Callable[[str], str]
) -> dict[str, tuple[str, str]]:
    """By dotted key, what was written before and what is now; ``masked`` takes secrets out of a text.

    A table that is there on one side only, such as a check, is one difference. The tables of a list are numbered.
    """
    return {key: (_shown(was, masked), _shown(now, masked)) for key, was, now in _walk("", before, after)}


_MISSING = object()


def _walk(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*before, *after)):
        was, now = _numbered(before.get(name, _MISSING)), _numbered(after.get(name, _MISSING))
        key = f"{prefix}{name}"
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _walk(f"{key}.", was, now)
        elif was != now:
            yield key, was, now


def _numbered(value: Any) -> Any:
    """A list of tables as a table by their numbers: of a long checklist, it is told which step is another one."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        return {str(number): one for number, one in enumerate(value, 1)}
    return value


def _shown(value: object, masked: Callable[[str], str]) -> str:
    if value is _MISSING:
        return NOT_THERE
    if isinstance(value, Mapping):
        return masked(f"a table with {', '.join(map(str, value))}")[:LONGEST]
    return masked(str(value))[:LONGEST]


def outline(table: Mapping[str, Any], masked: Callable[[str], str], key: bytes) -> str:
    """A configuration as it is remembered for the next life, packed: each value in words, without secrets.

    What is masked or too long is told apart by a digest that takes the ``key``.
    """
    text = json.dumps(_outlined(table, masked, key), separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode())).decode()


def since_outline(before: str, after: str) -> dict[str, tuple[str, str]]:
    """What is different between two configurations that are remembered, as :func:`differences` tells it."""
    was, now = (json.loads(zlib.decompress(base64.b85decode(one))) for one in (before, after))
    return differences(was, now, str)


def _outlined(table: Mapping[str, Any], masked: Callable[[str], str], key: bytes) -> dict[str, Any]:
    return {
        name: _outlined(value, masked, key) if isinstance(value, Mapping) else _remembered(str(value), masked, key)
        for name, value in ((name, _numbered(value)) for name, value in table.items())
    }


def _remembered(text: str, masked: Callable[[str], str], key: bytes) -> str:
    shown = masked(text)
    if shown == text and len(text) <= LONGEST:
        return text
    digest = hashlib.blake2b(text.encode(), key=key, digest_size=4).hexdigest()
    return f"{shown[: LONGEST - len(digest) - 3]} [{digest}]"
