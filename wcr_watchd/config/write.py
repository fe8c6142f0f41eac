"""Writing TOML with comments beside the values; how each value is written is tomli-w's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from wcr_watchd.config.positions import Place, dotted

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration_text(seconds: float) -> str:
    """Seconds as they are written in the file: ``1m30s``, ``250ms``, ``7d``."""
    left = round(seconds * 1000)
    text = ""
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def value_text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{dotted((key,))} = {value_text(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")


def flattened(table: Mapping[str, Any], place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The values of a table and of the tables in it, each with its dotted key."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, (*place, key))
        else:
            yield (*place, key), value


def table_text(header: Place, values: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """A table with its header; ``comments`` stand beside the dotted keys they name, in one column."""
    comments = comments or {}
    rows = [
        (f"{dotted(place)} = {value_text(value)}", comments.get(dotted(place), ""))
        for place, value in flattened(values)
    ]
    width = max((len(row) for row, comment in rows if comment), default=0)
    lines = [f"{row:<{width}}  # {comment}" if comment else row for row, comment in rows]
    return "\n".join([f"[{dotted(header)}]", *lines]) + "\n"


def commented(text: str) -> str:
    """The text as a comment."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())
