"""Measurements as a person reads them: those without labels one below the other, those with labels as tables.

Those with the same labels share a table: a line for each thing (a disk, a container), a column for each measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wcr_watchd.core.message import measured

MOST_ROWS = 40
"""Lines of one table; what is left out is said, and ``--json`` shows all."""
WIDEST_NAME = 44
ABSENT = "-"

Measured = dict[str, Any]
"""One measurement as the API has it: ``name``, ``labels``, ``value``, ``unit``."""


@dataclass(slots=True)
class _Block:
    """Measurements that have the same labels: the columns' names, and cells by the labels' values."""

    labels: tuple[str, ...]
    names: list[str] = field(default_factory=list)
    rows: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)


def lines(found: Sequence[Measured], width: int) -> Iterator[str]:
    """What to print, in at most ``width`` columns where that can be."""
    plain = [(one["name"], _value(one)) for one in found if not one["labels"]]
    room = min(WIDEST_NAME, max((len(name) for name, _ in plain), default=0))
    yield from (f"{name:<{room}}  {value}" for name, value in plain)
    for block in _blocks(found):
        table = _table(block)
        yield ""
        yield from table if max(map(len, table)) <= width else _list(block)


def _blocks(found: Sequence[Measured]) -> list[_Block]:
    blocks: dict[tuple[str, ...], _Block] = {}
    for one in found:
        if not one["labels"]:
            continue
        labels = tuple(sorted(one["labels"]))
        block = blocks.setdefault(labels, _Block(labels))
        if one["name"] not in block.names:
            block.names.append(one["name"])
        row = block.rows.setdefault(tuple(str(one["labels"][label]) for label in labels), {})
        row[one["name"]] = _value(one)
    return list(blocks.values())


def _table(block: _Block) -> list[str]:
    shown = list(block.rows.items())[:MOST_ROWS]
    cells = [[*block.labels, *block.names]]
    cells += [[*values, *(row.get(name, ABSENT) for name in block.names)] for values, row in shown]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    written = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return [*written, *_left_out(block)]


def _list(block: _Block) -> Iterator[str]:
    """The same as a line for each measurement, where a table has no room."""
    for values, row in list(block.rows.items())[:MOST_ROWS]:
        labels = ", ".join(f'{label}="{value}"' for label, value in zip(block.labels, values, strict=True))
        yield from (f"{f'{name}{{{labels}}}':<{WIDEST_NAME}}  {value}" for name, value in row.items())
    yield from _left_out(block)


def _left_out(block: _Block) -> list[str]:
    more = len(block.rows) - MOST_ROWS
    return [f"… and {more} more; --json shows all"] if more > 0 else []


def _value(one: Measured) -> str:
    return measured(one["value"], one["unit"])
