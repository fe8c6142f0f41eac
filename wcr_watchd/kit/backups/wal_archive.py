"""Up to when an archive of PostgreSQL's write-ahead log can be replayed; blocks, see worker.py.

An archive holds segments, named by timeline and position in 24 hexadecimal digits, and for every base backup a file
``SEGMENT.OFFSET.backup`` that says where its replay begins (PostgreSQL documentation, 26.3). It can be replayed from
there up to the first segment that is missing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from wcr_watchd.kit.backups.scan import MOST_ENTRIES, TooManyEntriesError

_NAME = r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})"
_ENDS = r"(?:\.(?:gz|zst|lz4|bz2|xz|gpg|enc))*"
_SEGMENT = re.compile(_NAME + _ENDS)
_LABEL = re.compile(_NAME + r"\.[0-9A-F]{8}\.backup" + _ENDS)
_NAME_LENGTH = 24
_DEFAULT_SIZE = 16 * 1024 * 1024
_LOG_BYTES = 2**32


@dataclass(frozen=True, slots=True)
class Label:
    """Where and when (mtime) a base backup was finished: its first segment, by position."""

    first: int
    finished: float


def recoverable(folder: str, finished_by: float) -> dict[str, Any]:
    """``point`` is the time (epoch seconds) of the last segment in an unbroken row from a base backup on.

    That is the newest one that was finished by the time given. ``base`` is when that base backup was finished; ``gap``
    names the first segment that is missing before newer ones (empty: none is), ``last`` the last one of the row by its
    number since the beginning of the log. Both times are None when the archive has none.
    """
    segments: dict[int, float] = {}
    labels: list[Label] = []
    found: list[tuple[str, int, float]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) >= MOST_ENTRIES:
                raise TooManyEntriesError(f"{folder} has more than {MOST_ENTRIES} entries")
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue
            found.append((entry.name, status.st_size, status.st_mtime))
    # What is not compressed tells how long they are, and is being copied while it is shorter.
    plain = [length for name, length, _ in found if len(name) == _NAME_LENGTH and _SEGMENT.fullmatch(name)]
    size = max(plain, default=0) or _DEFAULT_SIZE
    for name, length, mtime in found:
        if match := _SEGMENT.fullmatch(name):
            if not length or (len(name) == _NAME_LENGTH and length < size):
                continue
            position = _position(match, size)
            segments[position] = max(mtime, segments.get(position, 0.0))
        elif (match := _LABEL.fullmatch(name)) and mtime <= finished_by:
            labels.append(Label(_position(match, size), mtime))
    return _row(segments, max(labels, key=lambda label: label.finished, default=None), size)


def _position(match: re.Match[str], size: int) -> int:
    """The number of a segment since the beginning of the log."""
    return int(match[2], 16) * (_LOG_BYTES // size) + int(match[3], 16)


def _row(segments: dict[int, float], label: Label | None, size: int) -> dict[str, Any]:
    if label is None:
        return {"point": None, "base": None, "gap": "", "last": -1, "segments": len(segments)}
    last = label.first - 1
    while last + 1 in segments:
        last += 1
    newer = last < max(segments, default=last)
    number = last + 1
    gap = f"{number // (_LOG_BYTES // size):08X}{number % (_LOG_BYTES // size):08X}" if newer else ""
    return {
        "point": segments.get(last),
        "base": label.finished,
        "gap": gap,
        "last": last,
        "segments": len(segments),
    }
