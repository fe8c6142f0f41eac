"""Tickets: short signed texts in links by which whoever got a message may acknowledge what it is about.

A ticket names the incidents, who got it over which channel, and when it ends; its signature (HMAC-SHA256, RFC 2104, cut
to 96 bits) can only be made with the daemon's key. It is nothing but base64url (RFC 4648), to fit into an SMS.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import struct
from dataclasses import dataclass
from pathlib import Path

VALID_FOR = 72 * 3600.0
"""Seconds: a weekend, and the Friday before it."""
MOST_INCIDENTS = 20
"""Incidents that one ticket is for; a message about more leads to the dashboard."""
KEY_BYTES = 32
SIGNATURE_BYTES = 12
LONGEST = 1000
"""Characters that are looked at."""
_HEAD = struct.Struct(">IB")
_NUMBER = struct.Struct(">I")
_SEPARATOR = "\0"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: ``incidents`` told of at ``issued_at`` (epoch seconds) to ``contact`` over ``channel``.

    ``contact`` is empty for a channel that has its own destination, such as a chat. ``way`` says of one that asks which
    address it went to, by :func:`way_of`.
    """

    incidents: tuple[int, ...]
    contact: str
    channel: str
    issued_at: float
    way: str = ""

    @property
    def expires_at(self) -> float:
        """When it ends (epoch seconds)."""
        return self.issued_at + VALID_FOR


class Tickets:
    """Writes tickets and reads them back; ``key`` are :data:`KEY_BYTES` bytes that nobody else knows."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, ticket: Ticket) -> str:
        """The ticket as text; ``ValueError`` for one without incidents or for too many."""
        if not 0 < len(ticket.incidents) <= MOST_INCIDENTS:
            raise ValueError(f"a ticket is for 1 to {MOST_INCIDENTS} incidents, not {len(ticket.incidents)}")
        said = _HEAD.pack(int(ticket.issued_at), len(ticket.incidents))
        said += b"".join(map(_NUMBER.pack, ticket.incidents))
        said += _SEPARATOR.join((ticket.contact, ticket.channel, *filter(None, (ticket.way,)))).encode()
        return base64.urlsafe_b64encode(said + self._signature(said)).rstrip(b"=").decode()

    def read(self, text: str) -> Ticket | None:
        """The ticket, expired or not; None when it was not written with this key, or is not whole."""
        try:
            raw = base64.b64decode(text[:LONGEST] + "=" * (-len(text[:LONGEST]) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        said, signature = raw[:-SIGNATURE_BYTES], raw[-SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(said)):
            return None
        return _parsed(said)

    def _signature(self, said: bytes) -> bytes:
        return hmac.digest(self._key, b"acknowledge " + said, hashlib.sha256)[:SIGNATURE_BYTES]


def _parsed(said: bytes) -> Ticket:
    issued_at, count = _HEAD.unpack_from(said)
    numbers = _HEAD.size + count * _NUMBER.size
    incidents = tuple(number for (number,) in _NUMBER.iter_unpack(said[_HEAD.size : numbers]))
    contact, channel, *way = said[numbers:].decode().split(_SEPARATOR)
    return Ticket(incidents, contact, channel, float(issued_at), *way)


def way_of(address: str) -> str:
    """What tells an address from the others of the same person; short, for an SMS holds it."""
    return hashlib.sha256(address.encode()).hexdigest()[:6]


def kept_key(path: Path) -> bytes:
    """The key in the file, made (mode 0600) when there is none that can be used. Blocking; raises ``OSError``."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = b""
    if len(key) == KEY_BYTES:
        return key
    key = secrets.token_bytes(KEY_BYTES)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)  # whole or not at all, whenever the power goes
    return key
