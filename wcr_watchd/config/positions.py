"""Where in a TOML text each key stands; needed only to say where something is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

Place = tuple[str | int, ...]
"""The way to a value: keys and list positions, ``("check", "api", "url")``."""

_KEYS = ("bare_key", "quoted_key", "dotted_key")


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_toml.language()))


def lines(text: str) -> Mapping[Place, int]:
    """The line (from 1) of every key, table header and list element of a TOML text."""
    found: dict[Place, int] = {}
    arrays: dict[Place, int] = {}
    for node in _parser().parse(text.encode()).root_node.children:
        if node.type == "pair":
            _pair(node, (), found)
        elif node.type in ("table", "table_array_element"):
            _table(node, arrays, found)
    return found


def _table(node: Node, arrays: dict[Place, int], found: dict[Place, int]) -> None:
    keys = [child for child in node.children if child.type in _KEYS]
    if not keys:
        return
    *parents, last = _names(keys[0])
    place: Place = ()
    for name in parents:
        place = _note((*place, name), node, found)
        place = (*place, arrays[place] - 1) if place in arrays else place
    place = _note((*place, last), node, found)
    if node.type == "table_array_element":
        arrays[place] = arrays.get(place, 0) + 1
        place = _note((*place, arrays[place] - 1), node, found)
    for child in node.children:
        if child.type == "pair":
            _pair(child, place, found)


def _pair(node: Node, place: Place, found: dict[Place, int]) -> None:
    key, value = node.named_children[0], node.named_children[-1]
    for name in _names(key):
        place = _note((*place, name), node, found)
    _value(value, place, found)


def _value(node: Node, place: Place, found: dict[Place, int]) -> None:
    if node.type == "inline_table":
        for child in node.named_children:
            if child.type == "pair":
                _pair(child, place, found)
    elif node.type == "array":
        for index, child in enumerate(one for one in node.named_children if one.type != "comment"):
            _value(child, _note((*place, index), child, found), found)


def _names(key: Node) -> list[str]:
    if key.type == "dotted_key":
        return [name for child in key.named_children for name in _names(child)]
    text = (key.text or b"").decode()
    return [next(iter(tomllib.loads(f"{text} = 0")))] if key.type == "quoted_key" else [text]


def _note(place: Place, node: Node, found: dict[Place, int]) -> Place:
    found.setdefault(place, node.start_point.row + 1)
    return place


def dotted(place: Place) -> str:
    """The place as it is written in TOML: ``check.api.url``, ``policy.default.critical.escalate[0].after``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part and all(c.isascii() and (c.isalnum() or c in "_-") for c in part) else f'"{part}"'
            text += f".{name}" if text else name
    return text
