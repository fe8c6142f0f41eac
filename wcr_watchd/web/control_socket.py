"""The Unix socket for the commands: one that a killed life left makes way, a live one does not."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from aiohttp import web

from wcr_watchd.core.errors import WatchdError

SOCKET_MODE = 0o660
FOLDER_MODE = 0o750
LONGEST_PATH = 107
"""Bytes that the kernel has for it (unix(7))."""


class SocketUnusableError(WatchdError):
    """The Unix socket for commands cannot be: another daemon listens there, or its path is too long."""


async def open_control_socket(server: web.AppRunner, path: Path) -> None:
    """Serve on the socket at ``path``, for the daemon's user and group only; raises :class:`SocketUnusableError`."""

    def make_way() -> None:
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise SocketUnusableError(
                f"{path} is too long for a Unix socket ({LONGEST_PATH} bytes at most): name a shorter --socket"
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if _somebody_listens(path):
            raise SocketUnusableError(
                f"another wcr-watchd answers on {path}: stop that one first, or give this one a --socket of its own"
            )
        path.unlink(missing_ok=True)  # left by a life that was killed

    await asyncio.to_thread(make_way)
    await web.UnixSite(server, str(path)).start()
    await asyncio.to_thread(path.chmod, SOCKET_MODE)


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except TimeoutError:
            return True
        return True
