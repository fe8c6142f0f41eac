"""What dpkg knows of files: which package installed one, and whether it is as a package brought it lately.

And what it did lately. Formats: deb-md5sums(5), deb-conffiles(5) as dpkg keeps them in its ``status``, the ``.list``
files beside, and its log.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ADMIN = "/var/lib/dpkg"
LOG = "/var/log/dpkg.log"
LONGEST_TAIL = 512 * 1024
"""Bytes from the end of the log that are read; an upgrade to another release writes more."""
_NONE = "<none>"


@dataclass(frozen=True, slots=True)
class Shipped:
    """How a package brought a file: its MD5 sum, and when the package was put on this machine (epoch seconds)."""

    package: str
    md5: str
    installed_at: float


@dataclass(frozen=True, slots=True)
class Action:
    """What dpkg did last with a package: its version before and from then on (empty: it was not there, it is gone)."""

    package: str
    at: float
    before: str
    after: str


def last_actions(log: str = LOG) -> list[Action] | None:
    """The last action on each package in the log since it was rotated; blocks. None where there is no log.

    Format: dpkg(1), ``--log``: local date and time, ``install``, ``upgrade``, ``remove`` or ``purge``, the package with
    its architecture, the version there was and the one to come.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_TAIL))
            lines = file.read(LONGEST_TAIL).decode(errors="replace").splitlines()
    except OSError:
        return None
    found: dict[str, Action] = {}
    for line in lines:
        words = line.split()
        if len(words) == 6 and words[2] in ("install", "upgrade", "remove", "purge"):
            package, before, after = words[3].partition(":")[0], *("" if one == _NONE else one for one in words[4:])
            with suppress(ValueError, OverflowError, OSError):
                at = datetime.fromisoformat(f"{words[0]} {words[1]}").astimezone().timestamp()
                after = "" if words[2] in ("remove", "purge") else after
                found[package] = Action(package, at, before, after)
    return list(found.values())


def shipped(paths: Collection[str], admin: str = ADMIN) -> Mapping[str, Shipped]:
    """Who brought these files, for those that packages brought; blocks, and reads all that dpkg knows.

    Empty where there is no dpkg.
    """
    wanted = {name: path for path in paths for name in _names_of(path)}
    found: dict[str, Shipped] = {}
    if not wanted:
        return found
    for sums in sorted(Path(admin, "info").glob("*.md5sums")):
        for line in _lines(sums):
            md5, _, name = line.partition("  ")
            if path := wanted.get("/" + name):
                found[path] = Shipped(sums.stem, md5, _installed_at(admin, sums.stem))
    for package, name, md5 in _configuration_files(admin):
        if path := wanted.get(name):
            found[path] = Shipped(package, md5, _installed_at(admin, package))
    return found


def is_as_shipped(path: str, by: Shipped) -> bool:
    """Whether the file's content is what its package brought; blocks."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == by.md5
    except OSError:
        return False


def _names_of(path: str) -> set[str]:
    """The names under which packages may know a file: /bin and /lib lead to /usr on a merged system."""
    moved = path.removeprefix("/usr") if path.startswith(("/usr/bin/", "/usr/sbin/", "/usr/lib")) else f"/usr{path}"
    return {path, moved}


def _configuration_files(admin: str) -> list[tuple[str, str, str]]:
    """Package, path and MD5 sum of each configuration file, as the package brought it."""
    found, package = [], ""
    for line in _lines(Path(admin, "status")):
        if line.startswith("Package: "):
            package = line.removeprefix("Package: ")
        elif line.startswith(" /"):
            words = line.split()
            if len(words) == 2:  # a third one says that it is obsolete
                found.append((package, words[0], words[1]))
    return found


def _installed_at(admin: str, package: str) -> float:
    """When dpkg unpacked it: it writes the list of its files then, whose name may end in the architecture."""
    folder = Path(admin, "info")
    lists = (folder / f"{package}.list", *folder.glob(f"{package}:*.list"))
    return max((one.stat().st_mtime for one in lists if one.exists()), default=0.0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
