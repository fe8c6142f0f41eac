"""Following a log file as it grows: over rotation, truncation and compression, without halves of lines.

A cursor, a JSON object, says how far a file has been read. It names the file by the digest of its first bytes, because
these stay the same when logrotate(8) renames, copies or compresses it: the rest of it is then read where it lies now,
and whatever was rotated away since, before the new file is begun.

Only the standard library is needed, so that a process of its own (:mod:`wcr_watchd.kit.aside`) starts quickly.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

HEAD = 1024
"""Bytes at the beginning of a file that tell it from others; a file shorter than that is told by what it has."""
LONGEST_LINE = 64 * 1024
"""Bytes of a line that are handed on; the rest of it is passed over."""
SETTLED_AFTER = 10.0
"""Seconds after the last writing into a rotated file until it is taken as finished: its writer goes on for a moment."""
MOST_ROTATED = 60
"""Rotated files, newest first, among which the rest of a file is looked for."""
_PIECE = 64 * 1024
_CLOCK_STEP = 0.02
"""Seconds by which the time of a file may lie behind."""
_File = io.RawIOBase | io.BufferedIOBase
_OPENERS: Mapping[str, Callable[[io.FileIO], _File]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What is raised for a compressed file that is damaged or not finished yet."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of reading on: ``cursor`` is for the next time.

    ``size`` is how many bytes were read, ``skipped`` how many were passed over, because there were more than wanted.
    ``lost`` says that the rest of an earlier file was not found: it was truncated, deleted, or is damaged.
    """

    cursor: dict[str, Any]
    size: int = 0
    skipped: int = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a file is read: ``offset`` is where a line begins, unless it is ``within`` one whose rest is not wanted.

    ``head`` is the digest of the first ``length`` bytes. When the file is empty, what rotated files hold was read
    ``until`` then (epoch seconds).
    """

    inode: int
    offset: int
    length: int
    head: str
    until: float
    within: bool = False


@dataclass(slots=True)
class _Source:
    """A file opened for reading; ``size`` is None where it is known only after decompression."""

    file: _File
    inode: int
    size: int | None
    modified: float


@dataclass(slots=True)
class _Part:
    """What is to be read of a file, from ``offset`` on; of one that is not ``finished``, only whole lines."""

    source: _Source
    offset: int = 0
    within: bool = False
    finished: bool = True

    @property
    def compressed(self) -> bool:
        """Whether its size is not known before it is read."""
        return self.source.size is None


def follow(path: str, cursor: Mapping[str, Any] | None, most: int, each: Callable[[bytes], None]) -> Followed:
    """Read on from the cursor and hand ``each`` block of whole lines on (every one ends in a line feed).

    Without a cursor nothing is read: it begins with what comes from now on. When there are more than ``most`` bytes,
    only the newest are read. Blocks; call it in a thread or a process of its own. ``OSError`` when the file itself
    cannot be read; a compressed rest that cannot be is ``lost``.
    """
    known = _known(cursor)
    with ExitStack() as stack:
        current = stack.enter_context(_opened(path))
        if known is None:
            return Followed(asdict(_at_end(current)))
        parts = _plan(current, _older(path, stack), known)
        lost = parts is None
        parts = parts if parts is not None else [_Part(current, finished=False)]
        skipped, room = _shorten(parts, most)
        size = 0
        for part in parts:
            lines = _Lines(part, each)
            try:
                lines.read(room)
                end = lines.cursor()
            except _DAMAGED:
                if not part.compressed:
                    raise
                lost = True
            size += lines.size
            if part.compressed:
                room -= lines.size
                lost = lost or lines.more
        until = max(end.until, *(part.source.modified for part in parts))
        return Followed(asdict(replace(end, until=until)), size, skipped, lost)


def beginning() -> dict[str, Any]:
    """A cursor for a file that came to be just now: all of it is new."""
    return asdict(_Cursor(inode=0, offset=0, length=0, head="", until=time.time()))


def rotated(path: str) -> list[str]:
    """The files that logrotate(8) made of this one, newest first."""
    found = []
    name = rotated_name(path)
    with os.scandir(os.path.dirname(path) or ".") as entries:
        for entry in entries:
            if name.fullmatch(entry.name):
                with suppress(OSError):
                    found.append((entry.stat().st_mtime, entry.path))
    names = {file for _, file in found}
    # One that is being compressed is there twice.
    whole = [one for one in found if os.path.splitext(one[1])[0] not in names]
    return [file for _, file in sorted(whole, reverse=True)[:MOST_ROTATED]]


def rotated_name(path: str) -> re.Pattern[str]:
    """What the names look like that logrotate(8) gives to this file.

    They have a number or a date after the name (``app.log.1``, ``app.log-20260131.gz``), or before its extension.
    """
    name = os.path.basename(path)
    stem, extension = os.path.splitext(name)
    middle = r"[.-]\d[\d._-]*"
    end = "|".join(map(re.escape, _OPENERS))
    return re.compile(rf"(?:{re.escape(name)}{middle}|{re.escape(stem)}{middle}{re.escape(extension)})(?:{end})?")


# --- where to read ----------------------------------------------------------------------------------------------------


def _older(path: str, stack: ExitStack) -> Iterator[_Source]:
    """The rotated files, opened one after the other as they are asked for, newest first."""
    for name in rotated(path):
        with suppress(OSError):  # deleted meanwhile, or not for us to read
            yield stack.enter_context(_opened(name))


@contextmanager
def _opened(path: str) -> Iterator[_Source]:
    """The file, decompressed where its name says that it is compressed."""
    # A named pipe that nobody writes into must not hold us up.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with io.FileIO(number) as raw:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file, so there is nothing to follow", path)
        opener = _OPENERS.get(os.path.splitext(path)[1])
        if opener is None:
            yield _Source(raw, status.st_ino, status.st_size, status.st_mtime)
        else:
            with opener(raw) as file:
                yield _Source(file, status.st_ino, None, status.st_mtime)


def _known(cursor: Mapping[str, Any] | None) -> _Cursor | None:
    """The cursor, unless another version of this program made it."""
    with suppress(TypeError):
        return _Cursor(**cursor) if cursor is not None else None
    return None


def _plan(current: _Source, older: Iterable[_Source], known: _Cursor) -> list[_Part] | None:
    """What to read, oldest first; None when the file that the cursor belongs to is not there any more."""
    if known.length and current.inode == known.inode and _is_it(current, known):
        return [_Part(current, known.offset, known.within, finished=False)]
    unread = _unread(older, known)
    if unread is None:
        # The same content under another inode: somebody put a copy in its place.
        return [_Part(current, known.offset, known.within, finished=False)] if _is_it(current, known) else None
    newest = unread[-1] if unread else None
    if newest and not newest.compressed and time.time() - newest.source.modified < SETTLED_AFTER:
        newest.finished = False
        return unread
    return [*unread, _Part(current, finished=False)]


def _unread(older: Iterable[_Source], known: _Cursor) -> list[_Part] | None:
    """The rest of the file that the cursor belongs to, and what was rotated away since, oldest first; None: not found.

    A file that was empty has no head to be told by; what was written later than it is unread.
    """
    passed: list[_Part] = []
    for source in older:
        if not known.length and source.modified <= known.until:
            break
        if known.length and _is_it(source, known):
            passed.append(_Part(source, known.offset, known.within))
            break
        passed.append(_Part(source))
    else:
        if known.length:
            return None
    return passed[::-1]


def _is_it(source: _Source, known: _Cursor) -> bool:
    if source.size is not None and source.size < known.offset:
        return False
    with suppress(*_DAMAGED):
        return _digest(source, known.length) == known.head
    return False


def _digest(source: _Source, length: int) -> str:
    source.file.seek(0)
    return hashlib.blake2b(_exactly(source.file, length), digest_size=16).hexdigest()


def _exactly(file: _File, length: int) -> bytes:
    """So many bytes, or what there is; one read of a decompressing file may give less."""
    content = bytearray()
    while len(content) < length and (piece := file.read(length - len(content))):
        content += piece
    return bytes(content)


def _at_end(source: _Source) -> _Cursor:
    """A cursor after the last whole line; within a very long one, after what is there of it."""
    assert source.size is not None, "the file itself is never compressed"
    tail = min(source.size, LONGEST_LINE)
    source.file.seek(source.size - tail)
    after = _exactly(source.file, tail).rfind(b"\n") + 1
    within = not after and tail == LONGEST_LINE
    return _cursor(source, source.size if within else source.size - tail + after, within)


def _cursor(source: _Source, offset: int, within: bool) -> _Cursor:
    length = min(offset, HEAD)
    return _Cursor(source.inode, offset, length, _digest(source, length), _now(), within)


def _now() -> float:
    """By the clock that stamps files, which goes in steps."""
    return time.time() - _CLOCK_STEP


def _shorten(parts: Sequence[_Part], most: int) -> tuple[int, int]:
    """Let the parts begin later, so that no more than ``most`` bytes are read, the newest.

    Returns how many bytes are passed over, and how many may be read of what is compressed, whose size nobody knows.
    """
    skipped = 0
    for part in reversed(parts):
        if part.source.size is not None:
            left = part.source.size - part.offset
            over = max(0, left - most)
            part.offset, part.within = part.offset + over, part.within or over > 0
            skipped, most = skipped + over, most - (left - over)
    return skipped, most


# --- reading ----------------------------------------------------------------------------------------------------------


class _Lines:
    """Reads a part in pieces and hands on what is whole of them."""

    def __init__(self, part: _Part, each: Callable[[bytes], None]) -> None:
        self._part = part
        self._each = each
        self._at = part.offset
        self._begun = bytearray()
        """The beginning of a line whose end has not been seen."""
        self._begun_at = part.offset
        self._within = part.within
        self.more = False
        """Whether something compressed has more than was wanted."""

    @property
    def size(self) -> int:
        """Bytes that were read."""
        return self._at - self._part.offset

    def read(self, most: int) -> None:
        """Read to the end, but no more than that many bytes."""
        file, size = self._part.source.file, self._part.source.size
        file.seek(self._part.offset)
        # Not what is written meanwhile, or it might never come to an end.
        left = most if size is None else size - self._part.offset
        while left and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            self._take(piece)
        self.more = size is None and not left and bool(file.read(1))
        if self._begun and (self._part.finished or len(self._begun) >= LONGEST_LINE):
            self._each(bytes(self._begun) + b"\n")
            self._within = not self._part.finished
            self._begun = bytearray()
            self._begun_at = self._at

    def cursor(self) -> _Cursor:
        """Where to go on."""
        return _cursor(self._part.source, self._at if self._within else self._begun_at, self._within)

    def _take(self, piece: bytes) -> None:
        first, last = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
        if last:
            self._hand_on(piece, first, last)
            self._begun = bytearray(piece[last:])
            self._begun_at = self._at + last
            self._within = False
        elif not self._within:
            self._begun += piece[: LONGEST_LINE - len(self._begun)]
        self._at += len(piece)

    def _hand_on(self, piece: bytes, first: int, last: int) -> None:
        if self._within:
            begin = b""
        elif len(self._begun) < LONGEST_LINE:
            begin, first = bytes(self._begun), 0
        else:
            begin = bytes(self._begun) + b"\n"
        if block := begin + piece[first:last]:
            self._each(block)
