"""One daemon per state folder: a lock file beside the database, held for as long as the database is open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from wcr_watchd.core.errors import StoreLockedError

_OURS = b"wcr-watchd\n"
_MARK_AT = 11


class LockFile:
    """An exclusive lock on ``path`` (flock(2)): the kernel releases it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock and leave our process number in the file.

        Raises :class:`StoreLockedError` naming the process that holds it, ``OSError`` when the file cannot be made.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Always as long as before, so that it needs no new block on a full disk.
            os.pwrite(descriptor, f"{os.getpid():<10}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(descriptor, _MARK_AT, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreLockedError(
                f"{self._path.parent} is in use by another wcr-watchd (process {holder}, which holds {self._path}): "
                "stop that one first, or give this one a [store] url of its own"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def mark(self) -> None:
        """Note in the file that what lies beside it is ours; raises ``OSError`` when that cannot be written."""
        if self._descriptor is not None:
            os.pwrite(self._descriptor, _OURS, _MARK_AT)

    @property
    def marked(self) -> bool:
        """Whether an earlier life noted that what lies beside it is ours."""
        return self._descriptor is not None and os.pread(self._descriptor, len(_OURS), _MARK_AT) == _OURS

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two daemons lock two different files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
