"""Talking to the running daemon over its Unix socket."""

from __future__ import annotations

import json
import os
import socket as socket_
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

ANSWER_WITHIN = 60.0
_LEFT_ALONE = "!#$%&'()*+,-./:;=?@[]_~"
"""Characters of a path that a caller has quoted where that was needed; all others are quoted here."""


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
    try:
        answer: dict[str, Any] = json.loads(_ask(socket, method, path, body, patience))
    except ValueError as error:
        raise _nobody(socket, error) from error
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
    return _ask(socket, "GET", path, None, ANSWER_WITHIN)


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket in place of a host."""
        self.sock = socket_.socket(socket_.AF_UNIX, socket_.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ask(socket: Path, method: str, path: str, body: dict[str, Any] | None, patience: float) -> bytes:
    """One exchange with the daemon, by the standard library's client: to import aiohttp takes a third of a second."""
    headers, content = ({}, None) if body is None else ({"Content-Type": "application/json"}, json.dumps(body).encode())
    try:
        with closing(_UnixConnection(socket, patience)) as connection:
            connection.request(method, f"/api/v1{quote(path, safe=_LEFT_ALONE)}", content, headers)
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 400:
            said: dict[str, Any] = json.loads(answer)
            raise RefusedError(str(said.get("detail", "refused")), tuple(said.get("problems", ())))
    except PermissionError as error:
        raise NoDaemonError(
            f"may not use {socket}: permission denied; run as root or join the group that owns it"
        ) from error
    except TimeoutError as error:
        raise NoDaemonError(f"the daemon on {socket} did not answer within {patience:g} s") from error
    except (HTTPException, OSError, ValueError) as error:
        raise _nobody(socket, error) from error
    return answer


def _nobody(socket: Path, error: Exception) -> NoDaemonError:
    return NoDaemonError(
        f"no daemon answers on {socket}: {_in_words(error)}; is it running? `systemctl status wcr-watchd`, "
        "or name its socket with --socket"
    )


def _in_words(error: Exception) -> str:
    """What is in the way, without the inner words of a library."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it says something else ({error})"
