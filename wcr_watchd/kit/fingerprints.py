"""Fingerprints of files: content, mode, owner and capabilities, read at a bounded pace in a thread."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

CHUNK = 256 * 1024
DANGEROUS_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file is: its content's SHA-256 (of a link: where it leads), its mode bits, owner and capabilities."""

    content: str
    mode: int
    owner: str
    capabilities: str = ""

    def differences(self, now: Fingerprint) -> str:
        """In what the file is another one now, in words; empty when it is not."""
        found = []
        if now.content != self.content:
            found.append("content")
        if now.mode != self.mode:
            found.append(f"mode {self.mode:04o} -> {now.mode:04o}")
        if now.owner != self.owner:
            found.append(f"owner {self.owner} -> {now.owner}")
        if now.capabilities != self.capabilities:
            found.append("capabilities")
        return ", ".join(found)

    def more_dangerous(self, now: Fingerprint) -> bool:
        """Whether it may do more now, or be written by more: no package's content explains that."""
        return bool(now.mode & ~self.mode & DANGEROUS_BITS) or now.capabilities not in ("", self.capabilities)


@dataclass(slots=True)
class Scan:
    """Files with their fingerprints; those that may not be read, and whether there were more than allowed."""

    files: dict[str, Fingerprint] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    size: int = 0
    cut: bool = False


class StoppedError(Exception):
    """Nobody waits for the scan any more."""


def scan(patterns: Sequence[str], exclude: Sequence[str], most: int, pace: float, stop: threading.Event) -> Scan:
    """Fingerprint at most ``most`` files that patterns (``/etc/**``, ``/etc/ssh/*_config``) name; blocks.

    Reads ``pace`` bytes per second at most. Raises :class:`StoppedError` soon after ``stop`` is set.
    """
    found, seen, pacer = Scan(), set[str](), _Pacer(pace, stop)
    for path in _expand(patterns):
        if path in seen or any(fnmatchcase(path, one) for one in exclude):
            continue
        seen.add(path)
        if len(found.files) >= most:
            found.cut = True
            break
        try:
            one = _fingerprint(path, pacer)
        except PermissionError:
            found.unreadable.append(path)
        except OSError:  # gone meanwhile, or no file to read
            continue
        else:
            if one is not None:
                found.files[path] = one
    found.size = pacer.read
    return found


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether patterns as of :func:`scan` mean this path."""
    return any(
        fnmatchcase(path, pattern) and (pattern.endswith("/**") or path.count("/") == pattern.count("/"))
        for pattern in patterns
    )


def _expand(patterns: Sequence[str]) -> Iterator[str]:
    """The files that patterns mean; ``/**`` at the end is everything below, without going through links."""
    for pattern in patterns:
        if not pattern.endswith("/**"):
            yield from sorted(glob.glob(pattern, include_hidden=True))
            continue
        for top in sorted(glob.glob(pattern.removesuffix("/**"), include_hidden=True)):
            for folder, folders, names in os.walk(top):
                links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
                folders.sort()
                yield from (os.path.join(folder, name) for name in sorted(names + links))


def _fingerprint(path: str, pacer: _Pacer) -> Fingerprint | None:
    """None for what is neither a file nor a link. Raises ``OSError``."""
    status = os.lstat(path)
    owner = f"{status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return Fingerprint(f"-> {os.readlink(path)}", 0, owner)
    if not stat.S_ISREG(status.st_mode):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        capabilities = b""
        with contextlib.suppress(OSError):  # there are none, or the file system knows none
            capabilities = os.getxattr(descriptor, "security.capability")
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            pacer.took(len(chunk))
    pacer.took(0)
    owner = f"{status.st_uid}:{status.st_gid}"
    return Fingerprint(digest.hexdigest(), stat.S_IMODE(status.st_mode), owner, capabilities.hex())


class _Pacer:
    """Sleeps so that no more is read per second than allowed, and ends the reading when it is to stop."""

    def __init__(self, pace: float, stop: threading.Event) -> None:
        self.read = 0
        self._pace = pace
        self._stop = stop
        self._begun = time.monotonic()

    def took(self, size: int) -> None:
        self.read += size
        ahead = self.read / self._pace - (time.monotonic() - self._begun)
        if self._stop.wait(ahead) if ahead > 0 else self._stop.is_set():
            raise StoppedError
