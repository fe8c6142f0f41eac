"""Reading what containers wrote, by the Docker Engine API, in a process of its own (:mod:`wcr_watchd.kit.aside`).

``GET /containers/NAME/logs``: for a container without a terminal the answer is a row of frames, each with the number of
the stream (1 standard output, 2 standard error), three zero bytes, the length in four bytes (big endian), and the text.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from wcr_watchd.kit.logs.tally import Tally

LONGEST_ENTRY = 64 * 1024
"""Bytes of one entry that are looked at."""
_LARGEST_DESCRIPTION = 1024 * 1024
_HEAD = 8
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")


def tally_containers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read on in what each of the ``containers`` wrote and count.

    ``since`` has the time of the last entry by container, in seconds and nanoseconds; in others it begins ``now``. No
    more than ``most`` bytes are read of each; what is left is read the next time. The answer is a
    :class:`Tally`'s, with the new ``since``, how many entries came by which of the ``streams``, and the ``problems``
    by container. ``OSError`` when the engine cannot be reached.
    """
    tally = Tally(given["patterns"], given["ignore"])
    since, problems, streams = {}, {}, {"stdout": 0, "stderr": 0}
    for name in given["containers"]:
        after = tuple(given["since"].get(name, given["now"]))
        since[name] = after
        try:
            for stream, stamp, text in _entries(given["engine"], name, after, given["most"]):
                streams[stream] += 1
                since[name] = stamp
                tally.take([text])
        except (ValueError, http.client.HTTPException) as error:
            problems[name] = str(error)
    return {**tally.told(), "since": since, "streams": streams, "problems": problems}


_Stamp = tuple[int, int]


def _entries(engine: str, name: str, after: _Stamp, most: int) -> Iterator[tuple[str, _Stamp, str]]:
    """Stream, time and text of what was written after that time. ``ValueError`` has what the engine says against it."""
    path = f"/containers/{quote(name, safe='')}"
    with _Connection(engine) as connection:
        terminal = _has_terminal(connection.get(f"{path}/json").read(_LARGEST_DESCRIPTION))
    query = f"stdout=true&stderr=true&timestamps=true&since={after[0]}.{after[1]:09d}"
    with _Connection(engine) as connection:
        answer = connection.get(f"{path}/logs?{query}")
        for stream, entry in _lines(answer, most) if terminal else _frames(answer, most):
            stamp, text = _stamped(entry.decode("utf-8", "replace"))
            if stamp is not None and stamp > after:
                yield stream, stamp, text


def _has_terminal(description: bytes) -> bool:
    try:
        return bool(json.loads(description)["Config"]["Tty"])
    except (KeyError, TypeError) as error:
        raise ValueError("it does not describe the container as an engine does") from error


def _frames(answer: http.client.HTTPResponse, most: int) -> Iterator[tuple[str, bytes]]:
    while most > 0 and len(head := answer.read(_HEAD)) == _HEAD:
        if head[0] > 2 or head[1:4] != b"\0\0\0":
            raise ValueError("the engine does not send frames")
        length = int.from_bytes(head[4:], "big")
        entry = answer.read(min(length, LONGEST_ENTRY))
        left = length - len(entry)
        while left > 0 and (rest := answer.read(min(left, LONGEST_ENTRY))):
            left -= len(rest)
        most -= _HEAD + length
        yield "stderr" if head[0] == 2 else "stdout", entry.rstrip(b"\n")


def _lines(answer: http.client.HTTPResponse, most: int) -> Iterator[tuple[str, bytes]]:
    """What a container with a terminal wrote, where both streams are one."""
    while most > 0 and (line := answer.readline(LONGEST_ENTRY)):
        most -= len(line)
        yield "stdout", line.rstrip(b"\r\n")


def _stamped(entry: str) -> tuple[_Stamp | None, str]:
    """The time in front of an entry, and the rest; None for the end of an entry that is longer than is read at once."""
    found = _STAMP.match(entry)
    if found is None:
        return None, entry
    moment = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00"))
    return (int(moment.timestamp()), int((found[2] or "").ljust(9, "0"))), entry[found.end() :]


class _Connection(http.client.HTTPConnection):
    """A connection to the engine, over its socket or TCP."""

    def __init__(self, engine: str) -> None:
        parts = urlsplit(engine)
        self._path = "" if parts.scheme == "tcp" else parts.path
        super().__init__(parts.hostname or "engine", parts.port or 2375)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect."""
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(self._path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def get(self, path: str) -> http.client.HTTPResponse:
        """The answer; ``ValueError`` when it is another than 200."""
        self.request("GET", path, headers={"Host": "engine"})
        answer = self.getresponse()
        if answer.status != 200:
            said = answer.read(300).decode("utf-8", "replace").strip()
            raise ValueError(f"status {answer.status}: {said}")
        return answer
