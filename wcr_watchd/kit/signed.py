"""The daemon's own files in which a change by others shows: lines of JSON under a keyed checksum (HMAC, RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wcr_watchd.kit.tickets import kept_key

_LAST = b"HMAC-SHA256 "
"""Begins the last line, the checksum of all before it."""


class TamperedError(Exception):
    """A file that is not as it was written; the text says in what way."""


def state_folder() -> Path:
    """Where this daemon keeps what is its own: systemd's folder, else the user's (XDG Base Directory Specification)."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    user = os.environ.get("XDG_STATE_HOME", "")
    return (Path(user) if user.startswith("/") else Path("~/.local/state").expanduser()) / "wcr-watchd"


def signing_key(secret: str) -> bytes:
    """The key made of a secret out of the configuration, or without one that of the state folder; blocks.

    Raises ``OSError`` when there is none and none can be made.
    """
    if secret:
        return hashlib.sha256(secret.encode()).digest()
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return kept_key(folder / "signing.key")


def write_signed(path: Path, items: Iterable[Any], key: bytes) -> str:
    """Write items, each as a line of JSON, whole or not at all; returns the checksum. Blocks; raises ``OSError``."""
    checksum = hmac.new(key, digestmod=hashlib.sha256)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for item in items:
            line = json.dumps(item, separators=(",", ":")).encode() + b"\n"
            checksum.update(line)
            file.write(line)
        file.write(_LAST + checksum.hexdigest().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return checksum.hexdigest()


def read_signed(path: Path, key: bytes) -> tuple[list[Any], str]:
    """What :func:`write_signed` wrote, and its checksum; blocks.

    Line by line, so that other threads get their turn. Raises :class:`TamperedError`, and ``OSError`` when it cannot
    be read.
    """
    checksum, items = hmac.new(key, digestmod=hashlib.sha256), list[Any]()
    with path.open("rb") as file:
        for line in file:
            if line.startswith(_LAST):
                written = line.removeprefix(_LAST).strip().decode(errors="replace")
                if hmac.compare_digest(written.encode(), checksum.hexdigest().encode()) and not file.read(1):
                    return items, written
                break
            checksum.update(line)
            try:
                items.append(json.loads(line))
            except ValueError:
                break
    raise TamperedError("its checksum is not that of its content, or it was made with another key")
