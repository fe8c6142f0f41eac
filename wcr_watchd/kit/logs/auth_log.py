"""Understanding the lines of a log of logins: who tried to get in from where, with success or without.

sshd's messages are those of OpenSSH (auth.c, packet.c), sudo's and su's those of their logging, login's of shadow.
Only the standard library is needed, so that a process of its own (:mod:`wcr_watchd.kit.aside`) starts quickly.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections import deque
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

from wcr_watchd.kit.logs.follow import follow

DAY = 86_400.0
MOST_ATTEMPTS = 1_000
"""Attempts that are kept of one reading, the newest."""
LONGEST_MESSAGE = 2_000
"""Characters that are looked at; of what strangers may write into a log, a user's name, sshd takes less."""
LEARNED_FROM = 8 * 1024 * 1024
"""Bytes at the end of the log that are read at the first time."""
_PROGRAMS = frozenset({"sshd", "sshd-session", "sudo", "su", "login"})
_LINE = re.compile(r"(\w{3} [ \d]\d [\d:]{8}|\d{4}-\d\d-\d\dT\S+) \S+ ([\w./-]+?)(?:\[(\d+)\])?: (.*)")
"""A line as syslog daemons write it: time (RFC 3164 or RFC 3339), host, program, process id, message."""
_REPEATED = re.compile(r"message repeated (\d+) times: \[ (.*)\]$")
_ACCEPTED = re.compile(r"Accepted (\S+) for (\S+) from (\S+) port \d+")
_FAILED = re.compile(r"Failed (?!none)\S+ for (invalid user )?(.*) from (\S+) port \d+")
_GAVE_UP = re.compile(
    r"(?:Connection closed by|Connection reset by|Disconnected from) (authenticating|invalid) user (.*) (\S+) port \d+"
)
_SUDO = re.compile(r"\s*(\S+) : (?:(\d+) incorrect password attempts?|user NOT in sudoers|command not allowed) ;")
_SU = re.compile(r"FAILED SU \(to (\S+)\) (\S+) on")
_LOGIN = re.compile(r"FAILED LOGIN \(\d+\) on '.*?' FOR '(.*?)'")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody tried to get in at a time (epoch seconds): ``count`` times without success, or ``good`` once."""

    at: float
    user: str
    source: str
    good: bool
    count: int = 1
    exists: bool = True


class Understanding:
    """Makes attempts of lines. sshd tells of one failure in several of them, which belong together by process id."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def line(self, text: str, now: float) -> Attempt | None:
        """The attempt that a line of a syslog file tells of."""
        found = _LINE.match(text)
        if found is None or os.path.basename(found[2]) not in _PROGRAMS:
            return None
        return self.message(moment(found[1], now), os.path.basename(found[2]), found[3] or "", found[4])

    def message(self, at: float, program: str, process: str, text: str) -> Attempt | None:
        """The attempt that a program's message tells of."""
        times, text = 1, text[:LONGEST_MESSAGE]
        if repeated := _REPEATED.match(text):
            times, text = int(repeated[1]), repeated[2]
        if program.startswith("sshd"):
            return self._sshd(at, process, text, times)
        if program == "sudo" and (found := _SUDO.match(text)):
            return Attempt(at, found[1], "sudo", good=False, count=times * int(found[2] or 1))
        if program == "su" and (found := _SU.match(text)):
            return Attempt(at, found[1], f"su by {found[2]}", good=False, count=times)
        if program == "login" and (found := _LOGIN.match(text)):
            return Attempt(at, found[1], "console", good=False, count=times)
        return None

    def _sshd(self, at: float, process: str, text: str, times: int) -> Attempt | None:
        if found := _ACCEPTED.match(text):
            return Attempt(at, found[2], network(found[3]), good=True)
        if found := _FAILED.match(text):
            self._told.add(process)
            return Attempt(at, found[2], network(found[3]), good=False, count=times, exists=not found[1])
        # Without passwords nothing else tells of a failure; with them, this comes after it.
        if (found := _GAVE_UP.match(text)) and process not in self._told:
            return Attempt(at, found[2], network(found[3]), good=False, count=times, exists=found[1] != "invalid")
        return None


def moment(text: str, now: float) -> float:
    """A syslog time as epoch seconds; one without a year is of the last twelve months, in this machine's zone."""
    try:
        if text[0].isdigit():
            return datetime.fromisoformat(text).timestamp()
        year = datetime.fromtimestamp(now).astimezone().year
        at = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S").astimezone().timestamp()
        if at > now + DAY:
            at = datetime.strptime(f"{year - 1} {text}", "%Y %b %d %H:%M:%S").astimezone().timestamp()
    except (ValueError, OverflowError):
        return now
    return at


def network(address: str) -> str:
    """The network that an address belongs to: a provider gives its customer another one of it every day."""
    try:
        whole = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((whole, 24 if whole.version == 4 else 48), strict=False))


def read_log(given: dict[str, Any]) -> dict[str, Any]:
    """What is new in the log ``path`` since the ``cursor``, at ``most`` so many bytes; without one, what there is.

    Returns the new ``cursor``, ``attempts`` as lists in the order of :class:`Attempt`'s fields, and ``written_at``,
    when anything was written last (epoch seconds). Raises ``OSError``.
    """
    path, cursor = given["path"], given["cursor"]
    understanding, now = Understanding(), os.stat(path).st_mtime
    attempts: deque[Attempt] = deque(maxlen=MOST_ATTEMPTS)

    def take(block: bytes) -> None:
        for line in block.decode(errors="replace").splitlines():
            if attempt := understanding.line(line, now):
                attempts.append(attempt)

    if cursor is None:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LEARNED_FROM))
            for line in file:
                take(line)
    followed = follow(path, cursor, given["most"], take)
    return {"cursor": followed.cursor, "attempts": [astuple(one) for one in attempts], "written_at": now}


def read_journal(text: str) -> dict[str, Any]:
    """The same of lines of JSON out of the journal (systemd.journal-fields(7)); no cursor when there are none."""
    understanding, cursor, written_at = Understanding(), None, None
    attempts: deque[Attempt] = deque(maxlen=MOST_ATTEMPTS)
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            message = entry["MESSAGE"]
            cursor = str(entry["__CURSOR"])
        except (ValueError, KeyError, TypeError):  # cut off, or none of ours
            continue
        written_at = at
        program, process = str(entry.get("SYSLOG_IDENTIFIER", "")), str(entry.get("_PID", ""))
        if isinstance(message, str) and (attempt := understanding.message(at, program, process, message)):
            attempts.append(attempt)
    return {"cursor": cursor, "attempts": [astuple(one) for one in attempts], "written_at": written_at}
