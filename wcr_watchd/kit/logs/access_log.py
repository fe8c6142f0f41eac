"""What an access log says: how many requests there were, how they ended, how long they took, and where.

Reads the format "combined" (nginx, ngx_http_log_module; Apache, mod_log_config) with whatever follows it, any
``log_format`` as it stands in nginx.conf, and lines that are JSON objects with nginx's variables as keys.

Only the standard library is needed, so that a process of its own (:mod:`wcr_watchd.kit.aside`) starts quickly.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from wcr_watchd.kit.logs.follow import follow

COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
SLOW = 2.0
"""Seconds from which on a request counts as slow (the guide's own line)."""
MOST_SLOWEST = 50
MOST_FAILING = 1_000
"""Different addresses of failed requests that are counted apart."""
SKETCH = 256
"""Smallest hashes of clients that are kept: exact below, about 6 % off above (k minimum values, Bar-Yossef 2002)."""
_HASHES = 2**52
_SWITCHING = 101
"""A connection that became a WebSocket lasts as long as its visitor stays, which is no response time."""

_WANTED = frozenset({
    "remote_addr", "http_user_agent", "time_local", "time_iso8601", "msec", "request", "request_method", "request_uri",
    "uri", "status", "body_bytes_sent", "bytes_sent", "request_time",
})  # fmt: skip
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_TIME_AFTER = re.compile(r"(?:\b(?:rt|request_time)[=:]\s*\"?|(?<![\d.]))(\d+\.\d{3})(?![\d.])")
"""A request's time behind the format "combined": named, or the first number that has nginx's three decimals."""
_CLF_TIME = re.compile(r"(\d\d)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Read = Callable[[str], "Mapping[str, Any] | None"]


# --- one line ---------------------------------------------------------------------------------------------------------


def reader(log_format: str) -> Read:
    """A function that takes a line apart into nginx's variables; it returns None for a line of another format.

    ``log_format`` is ``auto``, ``json``, or a format as in nginx.conf. ``ValueError`` when it holds no ``$status``.
    """
    if log_format == "auto":
        combined = _combined()
        return lambda line: _from_json(line) if line.startswith("{") else combined(line)
    if log_format == "json":
        return _from_json
    pattern = format_pattern(log_format)

    def read(line: str) -> Mapping[str, Any] | None:
        found = pattern.fullmatch(line)
        return None if found is None else found.groupdict()

    return read


def _combined() -> Read:
    pattern = format_pattern(COMBINED)

    def read(line: str) -> Mapping[str, Any] | None:
        found = pattern.match(line)
        if found is None:
            return None
        fields = found.groupdict()
        if found.end() < len(line) and (time := _TIME_AFTER.search(line, found.end())):
            fields["request_time"] = time[1]
        return fields

    return read


def _from_json(line: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def format_pattern(log_format: str) -> re.Pattern[str]:
    """The regular expression for lines of a ``log_format``; ``ValueError`` when it has no ``$status``."""
    parts, at, seen = list[str](), 0, set[str]()
    for variable in _VARIABLE.finditer(log_format):
        name, after = variable[1] or variable[2], log_format[variable.end() : variable.end() + 1]
        # Several upstreams stand there as a list with blanks in it.
        anything = f"[^{re.escape(after)}]*" if after not in ("", "$") and not name.startswith("upstream_") else ".*?"
        parts.append(re.escape(log_format[at : variable.start()]))
        parts.append(f"(?P<{name}>{anything})" if name in _WANTED - seen else f"(?:{anything})")
        at = variable.end()
        seen.add(name)
    if "status" not in seen:
        raise ValueError(
            'a log_format without $status tells nothing; write "auto", "json", or the format of nginx.conf'
        )
    return re.compile("".join((*parts, re.escape(log_format[at:]))))


def moment(text: str) -> float | None:
    """Epoch seconds of ``28/Nov/2026:15:51:34 +0100``, an ISO 8601 time with zone, or nginx's ``$msec``."""
    if found := _CLF_TIME.fullmatch(text):
        if found[2] not in _MONTHS:
            return None
        offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
        zone = timezone(offset if found[7] == "+" else -offset)
        day, year, hour, minute, second = (int(found[number]) for number in (1, 3, 4, 5, 6))
        month = _MONTHS.index(found[2]) + 1
        return _epoch(lambda: datetime(year, month, day, hour, minute, second, tzinfo=zone))
    if re.fullmatch(r"\d{1,11}(\.\d+)?", text):
        return float(text)
    return _epoch(lambda: datetime.fromisoformat(text))


def _epoch(made: Callable[[], datetime]) -> float | None:
    try:
        found = made()
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def _address(fields: Mapping[str, Any]) -> str:
    """Method and path of a request, without the query, which may hold secrets."""
    request = fields.get("request")
    if isinstance(request, str) and request:
        method, _, rest = request.partition(" ")
        return f"{method} {rest.partition(' ')[0].partition('?')[0]}" if rest.startswith("/") else "(no request)"
    path = str(fields.get("request_uri") or fields.get("uri") or "").partition("?")[0]
    return f"{fields.get('request_method') or 'GET'} {path}" if path else "(no request)"


def _seconds(value: Any) -> float | None:
    """A duration in seconds; ``-``, as nginx writes for none, and nonsense are None."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < 1e7 else None


# --- many lines -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What was counted of one group of requests; ``statuses`` by hundreds, ``times`` in seconds."""

    requests: int = 0
    statuses: list[int] = field(default_factory=lambda: [0] * 6)
    good: int = 0
    redirects: int = 0
    size: int = 0
    slow: int = 0
    times: array[float] = field(default_factory=lambda: array("d"))

    def add(self, status: int, size: int, time: float | None) -> None:
        """Count one request."""
        self.requests += 1
        self.statuses[status // 100] += 1
        self.size += size
        if status < 300 or status in (304, 401):
            self.good += 1
        elif status < 400:
            self.redirects += 1
        if time is not None and status != _SWITCHING:
            self.times.append(time)
            self.slow += time >= SLOW

    def told(self) -> dict[str, Any]:
        """As a JSON value."""
        return {
            "requests": self.requests,
            "statuses": self.statuses,
            "good": self.good,
            "redirects": self.redirects,
            "size": self.size,
            "slow": self.slow if self.times else None,
            "times": _percentiles(self.times),
        }


def _percentiles(times: Sequence[float]) -> dict[str, float]:
    """Mean, p50, p95 and p99 (nearest rank); nothing when nothing was timed."""
    if not times:
        return {}
    ordered = sorted(times)
    ranks = {f"p{share}": ordered[max(0, -(-share * len(ordered) // 100) - 1)] for share in (50, 95, 99)}
    return {"mean": sum(ordered) / len(ordered), **ranks}


class Tallies:
    """Counts requests line by line: all together, and by the first of ``paths`` (name to patterns) that fits.

    A pattern is a prefix (``/api/``), or after ``~`` a regular expression that is looked for (``~ \\.png$``).
    """

    def __init__(self, log_format: str, paths: Mapping[str, Sequence[str]]) -> None:
        self._read = reader(log_format)
        self._patterns = [(name, _matcher(pattern)) for name, patterns in paths.items() for pattern in patterns]
        self._name_of = lru_cache(maxsize=10_000)(self._find)
        self._slowest: list[tuple[float, int, str]] = []
        self._failing: Counter[tuple[int, str]] = Counter()
        self._clients: set[tuple[str, str]] = set()
        self._oldest: Any = None
        self._newest: Any = None
        self.tallies = {name: Tally() for name in ("all", *paths, *(("other",) if paths else ()))}
        self.lines = 0
        self.unreadable = 0
        self.example = ""

    def add_block(self, block: bytes) -> None:
        """Count the lines of a block."""
        # Not splitlines(): a visitor may call his browser anything, with characters that end a line for Python only.
        for line in block.decode("utf-8", "replace").removesuffix("\n").split("\n"):
            self.lines += 1
            if not self._add(line):
                self.unreadable += 1
                self.example = self.example or line[:200]

    def _add(self, line: str) -> bool:
        fields = self._read(line)
        try:
            status = int(fields["status"]) if fields is not None else 0
        except (KeyError, TypeError, ValueError):
            status = 0
        if fields is None or not 100 <= status < 600:
            return False
        size = fields.get("body_bytes_sent") or fields.get("bytes_sent") or 0
        size = int(size) if str(size).isdecimal() else 0
        time, address = _seconds(fields.get("request_time")), _address(fields)
        self.tallies["all"].add(status, size, time)
        if self._patterns:
            self.tallies[self._name_of(address.partition(" ")[2])].add(status, size, time)
        self._remember(fields, status, time, address)
        return True

    def _remember(self, fields: Mapping[str, Any], status: int, time: float | None, address: str) -> None:
        """What is told of single requests: the slowest, those that failed, who asked, and when."""
        if time is not None and status != _SWITCHING:
            if len(self._slowest) < MOST_SLOWEST:
                heapq.heappush(self._slowest, (time, status, address))
            elif time > self._slowest[0][0]:
                heapq.heapreplace(self._slowest, (time, status, address))
        if status >= 500 and (len(self._failing) < MOST_FAILING or (status, address) in self._failing):
            self._failing[status, address] += 1
        self._clients.add((str(fields.get("remote_addr", "")), str(fields.get("http_user_agent", ""))))
        at = fields.get("time_local") or fields.get("time_iso8601") or fields.get("msec") or fields.get("time")
        if at:
            self._newest = at
            self._oldest = self._oldest or at

    def _find(self, path: str) -> str:
        return next((name for name, fits in self._patterns if fits(path)), "other")

    def told(self) -> dict[str, Any]:
        """Everything, as a JSON value. ``oldest`` and ``newest`` are epoch seconds of the log's own first and last."""
        worst = dict[str, tuple[float, int]]()
        for time, status, address in sorted(self._slowest, reverse=True):
            worst.setdefault(address, (time, status))
        return {
            "lines": self.lines,
            "unreadable": self.unreadable,
            "example": self.example,
            "tallies": {name: tally.told() for name, tally in self.tallies.items()},
            "slowest": [[time, status, address[:200]] for address, (time, status) in worst.items()][:10],
            "failing": [[count, status, address[:200]] for (status, address), count in self._failing.most_common(10)],
            "clients": _sketch(self._clients),
            "oldest": moment(str(self._oldest)),
            "newest": moment(str(self._newest)),
        }


def _matcher(pattern: str) -> Callable[[str], bool]:
    if pattern.startswith("~"):
        expression = re.compile(pattern[1:].strip())
        return lambda path: expression.search(path) is not None
    return lambda path: path.startswith(pattern)


def _sketch(clients: set[tuple[str, str]]) -> list[int]:
    """The smallest hashes of them, sorted; equal clients have equal hashes in every process."""
    hashes = {
        int.from_bytes(hashlib.blake2b("\0".join(client).encode(), digest_size=8).digest()) % _HASHES
        for client in clients
    }
    return heapq.nsmallest(SKETCH, hashes)


def distinct(sketches: Sequence[Sequence[int]]) -> int:
    """How many different clients there are in these sketches together."""
    smallest = heapq.nsmallest(SKETCH, set[int]().union(*sketches))
    return len(smallest) if len(smallest) < SKETCH else round((SKETCH - 1) * _HASHES / smallest[-1])


def summarise(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read on in the log ``given["path"]`` from ``cursor`` and tell what came: the work of a process of its own."""
    tallies = Tallies(given["format"], given["paths"])
    followed = follow(given["path"], given["cursor"], given["most"], tallies.add_block)
    return {
        "cursor": followed.cursor,
        "size": followed.size,
        "skipped": followed.skipped,
        "lost": followed.lost,
        **tallies.told(),
    }
