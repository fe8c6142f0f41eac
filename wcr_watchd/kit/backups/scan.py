"""Lists the files of a set of backups; blocks, so it runs in a process of its own (see worker.py).

Files may come and go meanwhile: what vanishes between two system calls is not there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.kit.backups.checksums import ALGORITHMS
from wcr_watchd.kit.backups.names import IGNORED, NamePattern, time_in

MOST_ENTRIES = 200_000
"""Entries of folders that are looked at."""


class TooManyEntriesError(Exception):
    """The folders hold more than is looked at."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a set: what is in it by name, and what the names of the folders above it said."""

    path: str
    entries: dict[str, os.DirEntry[str]]
    groups: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class SetFile:
    """One backup: ``taken`` is when, by name or else mtime (epoch seconds), ``named`` what the name says (or None).

    ``sidecar`` is the file of checksums beside it (empty: none).
    """

    path: str
    size: int
    mtime: float
    named: float | None
    taken: float
    sidecar: str
    sidecar_mtime: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)

    @property
    def stamp(self) -> tuple[int, float, float]:
        """What changes when the file or its checksum does."""
        return self.size, self.mtime, self.sidecar_mtime


def scan(pattern: NamePattern, zone: ZoneInfo, most: int, daily: bool, before: float) -> dict[str, Any]:
    """The set: ``files`` (:class:`SetFile`), the newest ``most`` of them, oldest first;
    ``count`` and ``size`` of all. Raises ``OSError`` for the folder itself, and :class:`TooManyEntriesError`.
    """
    levels = [re.compile(level) for level in pattern.levels]
    looked_at = 0
    folders = [_open(pattern.folder, {})]
    for level in levels[:-1]:
        folders = [below for folder in folders for below in _below(folder, level, pattern)]
    rows = []
    for folder in folders:
        looked_at += len(folder.entries)
        if looked_at > MOST_ENTRIES:
            raise TooManyEntriesError(f"more than {MOST_ENTRIES} entries")
        rows += [row for name in folder.entries if (row := _row(folder, name, levels[-1], pattern, zone)) is not None]
    rows.sort(key=lambda row: (row.taken, row.path))
    # Later ones of a day take the place of earlier ones.
    kept = list({row.taken // 86_400: row for row in rows}.values()) if daily else rows
    return {
        "files": [astuple(row) for row in kept[-most:]],
        "count": len(rows),
        "size": sum(row.size for row in rows),
        "older": sum(row.taken < before for row in rows),
    }


def _open(path: str, groups: dict[str, str | None]) -> Folder:
    entries: dict[str, os.DirEntry[str]] = {}
    with os.scandir(path) as found:
        for entry in found:
            entries[entry.name] = entry
            if len(entries) > MOST_ENTRIES:
                raise TooManyEntriesError(f"{path} has more than {MOST_ENTRIES} entries")
    return Folder(path, entries, groups)


def _below(folder: Folder, level: re.Pattern[str], pattern: NamePattern) -> Iterator[Folder]:
    for name, entry in folder.entries.items():
        found = level.fullmatch(name)
        if found is None or name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield _open(entry.path, {**folder.groups, **pattern.groups(found)})
        except FileNotFoundError:
            continue


def _row(folder: Folder, name: str, level: re.Pattern[str], pattern: NamePattern, zone: ZoneInfo) -> SetFile | None:
    found = level.fullmatch(name)
    if found is None or name.startswith(".") or name.endswith(IGNORED):
        return None
    try:
        status = folder.entries[name].stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    named = time_in({**folder.groups, **pattern.groups(found)}, status.st_mtime, zone)
    sidecar, sidecar_mtime = _sidecar(folder, name)
    # A name may lie about the future, and a copy may have a new mtime: the older one is the safe one to go by.
    taken = status.st_mtime if named is None else min(named, status.st_mtime)
    return SetFile(
        os.path.join(folder.path, name), status.st_size, status.st_mtime, named, taken, sidecar, sidecar_mtime
    )


def _sidecar(folder: Folder, name: str) -> tuple[str, float]:
    """The file of checksums beside a backup, and its mtime."""
    for end in ALGORITHMS:
        entry = folder.entries.get(name + end)
        if entry is not None:
            try:
                return entry.path, entry.stat().st_mtime
            except FileNotFoundError:
                continue
    return "", 0.0
