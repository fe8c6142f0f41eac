"""One daemon per state folder: a lock file beside the database, held for as long as the database is open."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from wcr_watchd.core.errors import StoreLockedError


class LockFile:
    """An exclusive lock on ``path`` (flock(2)): the kernel releases it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

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
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreLockedError(
                f"{self._path.parent} is in use by another wcr-watchd (process {holder}, which holds {self._path}): "
                "stop that one first, or give this one a [store] url of its own"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two daemons lock two different files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
