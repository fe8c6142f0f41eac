"""Counting the lines of logs that match patterns; for a process of its own (:mod:`wcr_watchd.kit.aside`).

The patterns are the user's and the lines are anybody's: a regular expression may take for ever on a line made for it.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import subprocess
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wcr_watchd.kit.logs.follow import beginning, follow, rotated_name

SAMPLES = 3
"""Lines kept of those that match a pattern, the newest."""
LONGEST_SAMPLE = 300
MOST_FILES = 100
"""Files that one check follows."""
MOST_NAMES = 500

ERRORS = (
    r"ERROR\b|FATAL\b|CRITICAL\b|PANIC\b|EMERG\b|ERR\]|FTL\]|\[error\]|\[crit\]|\[alert\]|\[emerg\]|\[fatal\]"
    r"|[Ll]evel\W{1,4}(?:[Ee]rror|[Ff]atal|[Cc]ritical|panic)\b|fail: [\w.]+\[\d+\]|crit: [\w.]+\[\d+\]"
    r"|Traceback \(most recent call last\)|Unhandled [Ee]xception|UnhandledPromiseRejection"
)
"""What programs write when something went wrong: the level in capitals, nginx's in brackets, .NET's with its category,
a field of a structured line, an exception that nobody caught. Not the mere word, which harmless lines have, too ("0
errors"). Every alternative begins with letters, so that Python's matcher goes quickly over what has none of them."""

_ERROR_WORDS = (
    *("ERROR", "FATAL", "CRITICAL", "PANIC", "EMERG", "ERR]", "FTL]", "[error]", "[crit]", "[alert]", "[emerg]"),
    *("[fatal]", "evel", "fail: ", "crit: ", "Traceback (", "Unhandled"),
)
"""One of these is in whatever :data:`ERRORS` matches. Looking for words takes a fifth of the time of matching."""


class Tally:
    """Counts matching lines by the pattern's name; a line that an ``ignore`` pattern matches does not count."""

    def __init__(self, patterns: Mapping[str, str], ignore: Sequence[str]) -> None:
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self._words = _ERROR_WORDS if set(patterns.values()) == {ERRORS} else None
        self._ignore = [re.compile(pattern) for pattern in ignore]
        self.lines = 0
        self.matches = dict.fromkeys(patterns, 0)
        self._samples: dict[str, deque[str]] = {name: deque(maxlen=SAMPLES) for name in patterns}

    def block(self, block: bytes) -> None:
        """Count whole lines."""
        text = block.decode("utf-8", "replace")
        if self._words is not None and not any(word in text for word in self._words):
            self.lines += text.count("\n")
            return
        lines = text.split("\n")
        lines.pop()
        self.take(lines)

    def take(self, lines: Iterable[str]) -> None:
        """Count these lines."""
        for line in lines:
            self.lines += 1
            for name, pattern in self._patterns.items():
                if pattern.search(line):
                    if any(one.search(line) for one in self._ignore):
                        break
                    self.matches[name] += 1
                    self._samples[name].append(line[:LONGEST_SAMPLE])

    def told(self) -> dict[str, Any]:
        """What was counted, as JSON."""
        return {
            "lines": self.lines,
            "matches": self.matches,
            "samples": {name: list(kept) for name, kept in self._samples.items() if kept},
        }


def files_of(path: str) -> list[str]:
    """The files that a path with wildcards stands for, without rotated ones.

    A path without wildcards stands for itself, whether it is there or not.
    """
    if not glob.has_magic(path):
        return [path]
    found = glob.glob(path)
    older = [
        re.compile(re.escape(os.path.dirname(one)) + "/" + rotated_name(one).pattern) for one in found[:MOST_NAMES]
    ]
    return sorted(one for one in found if not any(pattern.fullmatch(one) for pattern in older))


def tally_files(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read on in every file of ``path`` from its cursor and count.

    ``cursors`` are those of the last time by file, None where reading begins at the end; a file that is not among them
    is new and read from its beginning, unless ``first`` says that there was no last time. No more than ``most`` bytes
    are read of each. The answer is a :class:`Tally`'s, with the new ``cursors``, how many bytes were ``skipped``, which
    files have ``lost`` their rest, and the ``problems`` by file.
    """
    tally = Tally(given["patterns"], given["ignore"])
    known, new = given["cursors"], None if given["first"] else beginning()
    cursors, problems, lost, skipped = {}, {}, [], 0
    for path in files_of(given["path"])[:MOST_FILES]:
        try:
            done = follow(path, known.get(path, new), given["most"], tally.block)
        except OSError as error:
            problems[path] = [error.errno, error.strerror or str(error)]
            if error.errno != errno.ENOENT:
                cursors[path] = known.get(path)
            continue
        cursors[path] = done.cursor
        skipped += done.skipped
        lost += [path] if done.lost else []
    return {**tally.told(), "cursors": cursors, "skipped": skipped, "lost": lost, "problems": problems}


# --- the journal ------------------------------------------------------------------------------------------------------


def tally_journal(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read on in the journal with ``command`` (journalctl and its arguments) and count.

    The entry whose cursor is ``after`` was counted before. The answer is a :class:`Tally`'s, with the ``cursor`` of the
    last entry (None: there was none), how many entries there were by ``priorities`` (0-7, as text), and what journalctl
    ``said`` against it, with its ``status``.
    """
    tally = Tally(given["patterns"], given["ignore"])
    priorities: dict[str, int] = {}
    cursor = None
    with subprocess.Popen(given["command"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=given["env"]) as child:
        assert child.stdout is not None and child.stderr is not None  # noqa: PT018 - for the type checker
        for line in child.stdout:
            entry = _entry(line)
            if entry is None or entry["__CURSOR"] == given["after"]:
                continue
            cursor = entry["__CURSOR"]
            priority = str(entry.get("PRIORITY", "6"))
            priorities[priority] = priorities.get(priority, 0) + 1
            tally.take([_told(entry)])
        said = child.stderr.read(1000).decode(errors="replace")
    return {
        **tally.told(),
        "cursor": cursor,
        "priorities": priorities,
        "said": said.strip(),
        "status": child.returncode,
    }


def _entry(line: bytes) -> dict[str, Any] | None:
    """An entry; None when the line is none, as the last one of a journalctl that was killed."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "__CURSOR" in entry else None


def _told(entry: Mapping[str, Any]) -> str:
    """An entry as the one line that it would be in a file: what wrote it, and its message."""
    message = entry.get("MESSAGE", "")
    if isinstance(message, list):  # bytes that are no text come as numbers
        message = bytes(one for one in message if isinstance(one, int) and 0 <= one < 256).decode("utf-8", "replace")
    who = entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or entry.get("_SYSTEMD_UNIT") or ""
    return f"{who}: {message}" if who else str(message or "")
