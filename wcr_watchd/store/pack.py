"""Observations in few bytes: rows of plain values, as JSON, compressed. Pure functions.

What one check says again and again (its words, its series, what does not change) costs next to nothing that way.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class PackedRow(NamedTuple):
    """One observation as it is stored; times in epoch ms, the outcome as a number 0-2, series by number."""

    source: int
    at: int
    duration: float
    outcome: int
    reason: str
    summary: str
    series: list[int]
    values: list[float]
    evidence: dict[str, str] | None


def pack(rows: Iterable[PackedRow]) -> bytes:
    """Rows as one body. Floats keep all their digits; infinite and undefined ones are kept as well."""
    return zlib.compress(json.dumps(list(rows), separators=(",", ":"), ensure_ascii=False).encode())


def unpack(body: bytes) -> list[PackedRow]:
    """The reverse of :func:`pack`."""
    return [PackedRow(*row) for row in json.loads(zlib.decompress(body))]


def text_of(row: PackedRow) -> bytes:
    """A row as it stands in a body: a fifth of the memory, for whoever only files it."""
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode()


def pack_texts(texts: Iterable[bytes]) -> bytes:
    """Texts of rows as one body, as :func:`pack` makes it."""
    return zlib.compress(b"[%b]" % b",".join(texts))


def pack_numbers(numbers: Sequence[int]) -> bytes:
    """Source numbers that can be searched without unpacking the body (native byte order: the file does not travel)."""
    return array("I", numbers).tobytes()


def unpack_numbers(packed: bytes) -> array[int]:
    """The reverse of :func:`pack_numbers`."""
    numbers = array("I")
    numbers.frombytes(packed)
    return numbers


def newest_per_run(rows: Iterable[PackedRow]) -> list[PackedRow]:
    """Rows of one source by time; a run that was stored twice is there once."""
    return [row for _, row in sorted({row.at: row for row in rows}.items())]
