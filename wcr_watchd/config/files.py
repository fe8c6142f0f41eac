"""Reading a file without being held up: regular files only (a pipe could block for ever), and no more than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class TooLargeError(ValueError):
    """The file has more bytes than are read."""


def read_regular(path: Path, limit: int) -> bytes:
    """The file's content. Raises :class:`OSError`, and :class:`TooLargeError` when it has more than ``limit`` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        content = b""
        while len(content) <= limit and (more := os.read(descriptor, limit + 1 - len(content))):
            content += more
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise TooLargeError(f"has more than {limit} bytes")
    return content
