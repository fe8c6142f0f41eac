"""Talking to the running daemon over its Unix socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

ANSWER_WITHIN = 60.0


class NoDaemonError(Exception):
    """No daemon answers on the socket; the text says which was tried and what to do."""


class RefusedError(Exception):
    """The daemon answered that it cannot do this; the text is its own, ``problems`` its list if it gave one."""

    def __init__(self, text: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.problems = problems


def default_socket() -> Path:
    """Where a daemon of this user listens, else the system's.

    ``$WATCHD_SOCKET`` wins; root looks in ``/run/wcr-watchd``, others in ``$XDG_RUNTIME_DIR`` first.
    """
    if named := os.environ.get("WATCHD_SOCKET"):
        return Path(named)
    system = Path("/run/wcr-watchd/control.sock")
    own = runtime_directory() / "control.sock"
    return own if own.exists() or not system.exists() else system


def runtime_directory() -> Path:
    """The folder for the socket: systemd's, else the user's runtime folder, else one in the state folder."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "wcr-watchd"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "wcr-watchd"


def call(
    socket: Path, method: str, path: str, body: dict[str, Any] | None = None, patience: float = ANSWER_WITHIN
) -> dict[str, Any]:
    """Make one API call and return its JSON, within so many seconds.

    Raises :class:`NoDaemonError` and :class:`RefusedError`.
    """
    return asyncio.run(call_async(socket, method, path, body, patience))


async def call_async(
    socket: Path, method: str, path: str, body: dict[str, Any] | None = None, patience: float = ANSWER_WITHIN
) -> dict[str, Any]:
    """As :func:`call`, from within a loop."""
    async with _asked(socket, method, path, body, patience) as response:
        answer: dict[str, Any] = await response.json()
        return answer


def every(socket: Path, path: str, key: str) -> list[dict[str, Any]]:
    """All rows of a list that comes in pieces. Raises as :func:`call` does."""
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        mark = "&" if "?" in path else "?"
        answer = call(socket, "GET", f"{path}{mark}cursor={quote(cursor, safe='')}" if cursor else path)
        rows += answer[key]
        cursor = answer["next"] or ""
        if not cursor:
            return rows


def fetch(socket: Path, path: str) -> bytes:
    """What stands at a path of the API, as it is. Raises :class:`NoDaemonError` and :class:`RefusedError`."""

    async def read() -> bytes:
        async with _asked(socket, "GET", path, None, ANSWER_WITHIN) as response:
            return await response.read()

    return asyncio.run(read())


@asynccontextmanager
async def _asked(
    socket: Path, method: str, path: str, body: dict[str, Any] | None, patience: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    connector = aiohttp.UnixConnector(path=str(socket))
    timeout = aiohttp.ClientTimeout(total=patience)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://localhost/api/v1{path}", json=body) as response,
        ):
            if response.status >= 400:
                answer: dict[str, Any] = await response.json(content_type=None)
                problems = tuple(answer.get("problems", ()))
                raise RefusedError(str(answer.get("detail", "refused")), problems)
            yield response
    except PermissionError as error:
        raise NoDaemonError(
            f"may not use {socket}: permission denied; run as root or join the group that owns it"
        ) from error
    except TimeoutError as error:
        raise NoDaemonError(f"the daemon on {socket} did not answer within {patience:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoDaemonError(
            f"no daemon answers on {socket}: {_in_words(error)}; is it running? `systemctl status wcr-watchd`, "
            "or name its socket with --socket"
        ) from error


def _in_words(error: Exception) -> str:
    """What is in the way, without the inner words of a library."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it says something else ({error})"
