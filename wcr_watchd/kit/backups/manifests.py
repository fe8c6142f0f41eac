"""Compares a folder with its copy, an archive or a mirror: what is missing, what differs. Blocks; see worker.py."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import stat
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from wcr_watchd.kit.backups.archives import (
    CHUNK,
    CannotTellError,
    Content,
    Keys,
    OutOfTimeError,
    Source,
    fault_in_words,
    is_broken,
    look_through,
    opened,
)
from wcr_watchd.kit.backups.scan import TooManyEntriesError

MOST_FILES = 500_000
"""Files of a folder that are looked at."""
MOST_EXAMPLES = 5


@dataclass(slots=True)
class Tally:
    """How many files, how many bytes, and when the newest was changed (epoch seconds; None: there is none)."""

    files: int = 0
    size: int = 0
    newest: float | None = None

    def add(self, size: int, mtime: float) -> None:
        """Count one file."""
        self.files += 1
        self.size += size
        self.newest = mtime if self.newest is None else max(self.newest, mtime)

    def told(self) -> dict[str, Any]:
        """As it stands in the answer."""
        return {"files": self.files, "size": self.size, "newest": self.newest}


@dataclass(slots=True)
class Comparison:
    """What is found while the copy is gone through.

    ``sizes`` has all files, by their paths in the folder; ``owed`` are those that should be in the copy, ``sample``
    those that are read, with their digests.
    """

    prefixes: tuple[str, ...]
    sizes: dict[str, int]
    owed: set[str]
    sample: dict[str, str]
    copy: Tally = field(default_factory=Tally)
    sampled: int = 0
    different: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def take(self, name: str, size: int | None, mtime: float, content: IO[bytes] | None) -> None:
        """Look at one file of the copy; the name is the copy's. A hard link in an archive has no size."""
        self.copy.add(size or 0, mtime)
        own = self._own(name)
        if own is None:
            return
        self.seen.add(own)
        if own not in self.owed or size is None:
            return
        if size != self.sizes[own]:
            self.different.append(own)
        elif own in self.sample and content is not None:
            self.sampled += 1
            if _digest(content) != self.sample[own]:
                self.different.append(own)

    def _own(self, name: str) -> str | None:
        """The name in the folder: archives have more or less of the path before it, or ``./``."""
        name = name.removeprefix("./").lstrip("/")
        for prefix in self.prefixes:
            if name.startswith(prefix) and name[len(prefix) :] in self.sizes:
                return name[len(prefix) :]
        return None


def compare(
    folder: str, copy: str, taken: float | None, settle: float, sample: int, seed: int, rate: float, seconds: float,
    keys: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Compare ``folder`` with ``copy``, which has the state of ``taken`` (epoch seconds; None: it is a mirror, with the
    state of ``settle`` seconds before its newest change, as making it takes its time).

    ``sample`` files that are in both, picked by ``seed``, are compared byte for byte. Younger files are not owed yet;
    ``waiting`` is since when (epoch seconds) the oldest of them is there. With no copy (empty) nothing is owed.
    """
    deadline = time.monotonic() + seconds
    source, mirrored = Tally(), os.path.isdir(copy)
    found = {}
    for name, status in _walk(folder, deadline):
        source.add(status.st_size, status.st_mtime)
        # A file that was moved here keeps an old mtime; its ctime says since when it is here.
        found[name] = (status.st_size, max(status.st_mtime, status.st_ctime))
    if not copy:
        return {"source": source.told()}
    until = taken if taken is not None else _newest_change(copy, deadline)
    settled = until if taken is not None else until - settle
    owed = {name for name, (_, since) in found.items() if since <= settled}
    picked = random.Random(seed).sample(sorted(owed), min(sample, len(owed)))  # noqa: S311 - a sample, no secret
    digests = {name: digest for name in picked if (digest := _own_digest(folder, name, rate, deadline))}
    comparison = Comparison(_prefixes(folder), {name: size for name, (size, _) in found.items()}, owed, digests)
    fault = ""
    try:
        _go_through(comparison, copy, mirrored, rate, deadline, keys)
    except Exception as error:
        if not is_broken(error):
            raise
        fault = fault_in_words(error)
    missing = sorted(owed - comparison.seen)
    there = owed | comparison.seen
    late = [since for name, (_, since) in found.items() if since > until or name not in there]
    return {
        "source": source.told(),
        "copy": comparison.copy.told(),
        "owed": len(owed),
        "missing": len(missing),
        "missing_examples": missing[:MOST_EXAMPLES],
        "sampled": comparison.sampled,
        "different": len(comparison.different),
        "different_examples": comparison.different[:MOST_EXAMPLES],
        "waiting": min(late, default=None),
        "fault": fault,
    }


def _prefixes(folder: str) -> tuple[str, ...]:
    parts = [part for part in folder.split("/") if part]
    return (*("/".join(parts[start:]) + "/" for start in range(len(parts))), "")


def _walk(folder: str, deadline: float) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below a folder, by their path in it; no link is followed. Raises ``OSError`` for the folder."""
    todo, count = [""], 0
    while todo:
        inside = todo.pop()
        if time.monotonic() > deadline:
            raise OutOfTimeError
        try:
            entries = os.scandir(os.path.join(folder, inside))
        except FileNotFoundError:
            if not inside:
                raise
            continue
        with entries:
            for entry in entries:
                count += 1
                if count > MOST_FILES:
                    raise TooManyEntriesError(f"{folder} has more than {MOST_FILES} files")
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    name = os.path.join(inside, entry.name)
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(name)
                    elif stat.S_ISREG(status.st_mode):
                        yield name, status


def _newest_change(mirror: str, deadline: float) -> float:
    """When a mirror was brought up to date: the newest ctime of its files."""
    return max((status.st_ctime for _, status in _walk(mirror, deadline)), default=0.0)


def _go_through(
    comparison: Comparison, copy: str, mirrored: bool, rate: float, deadline: float, keys: Mapping[str, Any]
) -> None:
    if mirrored:
        _go_through_mirror(comparison, copy, rate, deadline)
        return

    def each(member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if member.isreg() or member.islnk():
            comparison.take(member.name, None if member.islnk() else member.size, member.mtime, content)

    with contextlib.closing(Source(copy, "", rate, deadline)) as source:
        content = Content(io.BufferedReader(source, CHUNK))
        with opened(content, copy, Keys.of(keys)):
            if "tar" not in content.layers:
                raise CannotTellError(f"{copy} is no tar archive")
            look_through(content, copy, (), each)


def _go_through_mirror(comparison: Comparison, mirror: str, rate: float, deadline: float) -> None:
    for name, status in _walk(mirror, deadline):
        if name not in comparison.sample:
            comparison.take(name, status.st_size, status.st_mtime, None)
            continue
        with contextlib.closing(Source(os.path.join(mirror, name), "", rate, deadline)) as source:
            comparison.take(name, status.st_size, status.st_mtime, io.BufferedReader(source, CHUNK))


def _own_digest(folder: str, name: str, rate: float, deadline: float) -> str:
    """The digest of a file of the folder; empty when it is gone or may not be read."""
    try:
        with contextlib.closing(Source(os.path.join(folder, name), "sha256", rate, deadline)) as source:
            return source.finish()
    except (FileNotFoundError, PermissionError):
        return ""


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
