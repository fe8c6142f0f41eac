"""What the name of a backup says: patterns in the manner of strptime and of the shell, and the time in a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import instant

IGNORED = (
    ".sha256", ".sha256sum", ".sha512", ".sha512sum", ".sha1", ".md5", ".sig",
    ".log", ".part", ".partial", ".tmp", ".lock",
)  # fmt: skip
"""Ends of names of files that stand beside backups; files that begin with a dot are hidden, or in progress (rsync)."""

_DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}", "M": r"\d{2}",
    "S": r"\d{2}", "s": r"\d{9,11}", "z": r"[+-]\d{4}",
}  # fmt: skip
"""The directives of strptime(3) that stand in names of backups, with the text they mean."""
_SHELL = {"*": "[^/]*", "?": "[^/]"}
_LEAST_YEAR_OF_CENTURY = 69
"""From here on a year of two digits is of the last century, as strptime(3) has it."""


def pattern_of(template: str) -> str:
    """The regular expression for a template such as ``app_%Y%m%d_%H%M%S.sql.gz``; raises ``ValueError``.

    ``*`` and ``?`` are the shell's; ``%%`` is a percent sign; every directive may stand once.
    """
    parts: list[str] = []
    seen: set[str] = set()
    letters = iter(template)
    for letter in letters:
        if letter != "%":
            parts.append(_SHELL.get(letter, re.escape(letter)))
            continue
        directive = next(letters, "")
        if directive == "%":
            parts.append("%")
            continue
        if directive not in _DIRECTIVES:
            raise ValueError(f"%{directive} is not known here; there are {', '.join('%' + one for one in _DIRECTIVES)}")
        if directive in seen:
            raise ValueError(f"%{directive} stands twice in {template!r}")
        seen.add(directive)
        parts.append(f"(?P<{_group(directive)}>{_DIRECTIVES[directive]})")
    return "".join(parts)


def _group(directive: str) -> str:
    return f"at_{directive}"


def is_plain(text: str) -> bool:
    """Whether a part of a path stands for itself, without directives and wildcards."""
    return not set(text) & set("%*?")


def time_in(found: Mapping[str, str | None], mtime: float, zone: ZoneInfo) -> float | None:
    """Epoch seconds of the time whose directives were found in a name; None when there is none, or no such time.

    A local time that comes twice, in the hour that autumn repeats, is the one nearer to ``mtime``.
    """
    read = {name.removeprefix("at_"): text for name, text in found.items() if text and name.startswith("at_")}
    if "s" in read:
        return float(read["s"])
    try:
        local = _local(read)
    except ValueError:
        return None
    if local is None:
        return None
    if "z" in read:
        return datetime.strptime(f"{local:%Y%m%d%H%M%S}{read['z']}", "%Y%m%d%H%M%S%z").timestamp()
    return min((instant(local, zone), instant(local, zone, last=True)), key=lambda at: abs(mtime - at))


def _local(read: Mapping[str, str]) -> datetime | None:
    number = {name: int(text) for name, text in read.items() if name != "z"}
    if "Y" in number:
        year = number["Y"]
    elif "y" in number:
        year = number["y"] + (1900 if number["y"] >= _LEAST_YEAR_OF_CENTURY else 2000)
    else:
        return None
    time = (number.get("H", 0), number.get("M", 0), number.get("S", 0))
    if "j" in number:
        return datetime(year, 1, 1, *time) + timedelta(days=number["j"] - 1)  # noqa: DTZ001 - a local time
    return datetime(year, number.get("m", 1), number.get("d", 1), *time)  # noqa: DTZ001 - a local time


@dataclass(frozen=True, slots=True)
class NamePattern:
    """Which files belong to a set, and where their names have the time.

    ``path`` is a folder and a template; or, with a ``regex`` for the name, whose group ``time`` is in the form
    ``time_format``, a folder. A path that ends in ``/``, or that is the folder itself, means all files in it.
    """

    path: str
    regex: str = ""
    time_format: str = ""

    @property
    def folder(self) -> str:
        """The part of the path that stands for itself."""
        if self.regex:
            return self.path
        parts = self.path.split("/")
        plain = next((index for index, part in enumerate(parts[:-1]) if not is_plain(part)), len(parts) - 1)
        return "/".join(parts[:plain]) or "/"

    @property
    def levels(self) -> tuple[str, ...]:
        """Regular expressions for the names of folders below :attr:`folder`, and last for the file."""
        if self.regex:
            return (self.regex,)
        below = self.path.removeprefix(self.folder).lstrip("/")
        return tuple(pattern_of(part) if part else _SHELL["*"] for part in below.split("/"))

    @property
    def has_time(self) -> bool:
        """Whether names of the set have a time in them."""
        return bool(self.regex) or any("(?P<at_" in level for level in self.levels)

    def check(self) -> None:
        """Raise ``ValueError`` that says what is wrong with it."""
        if not self.path.startswith("/"):
            raise ValueError(f"{self.path!r} is not an absolute path")
        if bool(self.regex) != bool(self.time_format):
            raise ValueError("regex and time_format go together")
        for level in self.levels:
            try:
                groups = re.compile(level).groupindex
            except re.error as error:
                raise ValueError(f"{self.regex or self.path!r} is not a pattern: {error}") from error
        if self.regex and "time" not in groups:
            raise ValueError("regex needs a group (?P<time>…) around the time in the name")
        pattern_of(self.time_format)

    def groups(self, found: re.Match[str]) -> dict[str, str | None]:
        """The directives in one part of a path."""
        if not self.regex:
            return dict(found.groupdict())
        inner = re.fullmatch(pattern_of(self.time_format), found["time"] or "")
        return dict(inner.groupdict()) if inner else {}
