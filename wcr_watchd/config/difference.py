"""What is different between two configurations, key by key, without secrets."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wcr_watchd.config.disguise import Hidden, Keys, disguised

LONGEST = 100
"""Characters of a value that are shown."""
NOT_THERE = "(not there)"


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], masked: Callable[[str], str], hidden: Hidden
) -> dict[str, tuple[str, str]]:
    """By dotted key, what was written before and what is now.

    ``masked`` takes what is known to be a secret out of a text, ``hidden`` says where others stand. A table that is
    there on one side only, such as a check, is one difference. The tables of a list are numbered.
    """
    return {
        ".".join(place): (_shown(place, was, masked, hidden), _shown(place, now, masked, hidden))
        for place, was, now in _walk((), before, after)
    }


_MISSING = object()


def _walk(above: Keys, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[Keys, Any, Any]]:
    for name in dict.fromkeys((*before, *after)):
        was, now = _numbered(before.get(name, _MISSING)), _numbered(after.get(name, _MISSING))
        place = (*above, str(name))
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _walk(place, was, now)
        elif was != now:
            yield place, was, now


def _numbered(value: Any) -> Any:
    """A list of tables as a table by their numbers: of a long checklist, it is told which step is another one."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        return {str(number): one for number, one in enumerate(value, 1)}
    return value


def _shown(place: Keys, value: object, masked: Callable[[str], str], hidden: Hidden) -> str:
    return NOT_THERE if value is _MISSING else disguised(place, value, masked, hidden)[:LONGEST]


def with_contents(written: Any, resolved: Any, key: bytes) -> Any:
    """What is written in a configuration, each reference with a digest of what it stands for, which takes the ``key``.

    So it is seen that a secret is another one though its reference is the same.
    """
    if isinstance(written, Mapping):
        return {name: with_contents(value, resolved[name], key) for name, value in written.items()}
    if isinstance(written, list):
        return [with_contents(value, inner, key) for value, inner in zip(written, resolved, strict=True)]
    if isinstance(written, str) and written != resolved:
        return f"{written} [{_digest(str(resolved), key)}]"
    return written


def _digest(text: str, key: bytes) -> str:
    return hashlib.blake2b(text.encode(), key=key, digest_size=4).hexdigest()


def outline(table: Mapping[str, Any], masked: Callable[[str], str], hidden: Hidden, key: bytes) -> str:
    """A configuration as it is remembered for the next life, packed: each value in words, without secrets.

    What is masked or too long is told apart by a digest that takes the ``key``.
    """

    def outlined(above: Keys, table: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: outlined((*above, name), value) if isinstance(value, Mapping) else remembered((*above, name), value)
            for name, value in ((str(name), _numbered(value)) for name, value in table.items())
        }

    def remembered(place: Keys, value: object) -> str:
        text, shown = str(value), disguised(place, value, masked, hidden)
        if shown == text and len(text) <= LONGEST:
            return text
        digest = _digest(text, key)
        return f"{shown[: LONGEST - len(digest) - 3]} [{digest}]"

    text = json.dumps(outlined((), table), separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode())).decode()


def since_outline(before: str, after: str) -> dict[str, tuple[str, str]]:
    """What is different between two configurations that are remembered, as :func:`differences` tells it."""
    was, now = (json.loads(zlib.decompress(base64.b85decode(one))) for one in (before, after))
    return differences(was, now, str, lambda place: False)
