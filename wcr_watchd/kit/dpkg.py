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
    """What dpkg did with a package: its version before and from then on (empty: it was not there, it is gone)."""

    package: str
    at: float
    before: str
    after: str


def last_actions(log: str = LOG) -> list[Action] | None:
    """The actions in the log and in the one that was rotated last, oldest first; blocks. None where there is no log.

    Those that came to something: a package whose script refused is as it was. What became of a package within a second
    is one action. Format: dpkg(1), ``--log``: local date and time, then ``install``, ``upgrade`` or ``remove`` (what is
    purged is removed first), the package with its architecture, the version there was and the one to come; or
    ``status``, a state, the package and its version.
    """
    lines = [line.split() for file in (f"{log}.1", log) for line in _tail(file)]
    if not lines and not os.path.exists(log):
        return None
    begun: dict[str, list[str]] = {}
    found: dict[tuple[str, float], Action] = {}
    latest = 0.0
    for words in lines:
        if len(words) == 6 and words[2] in ("install", "upgrade", "remove"):
            begun[words[3]] = words
        elif len(words) == 6 and words[2] == "status" and _is_done(begun.get(words[4]), words[3], words[5]):
            _, _, action, name, before, after = begun.pop(words[4])
            package = name.partition(":")[0]
            with suppress(ValueError, OverflowError, OSError):
                latest = at = _moment(f"{words[0]} {words[1]}", latest)
                first = found.pop((package, at), None)
                before = first.before if first else _version(before)
                found[package, at] = Action(package, at, before, "" if action == "remove" else _version(after))
    return list(found.values())


def _tail(path: str) -> list[str]:
    """The last lines of a log; none where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_TAIL))
            return file.read(LONGEST_TAIL).decode(errors="replace").splitlines()
    except OSError:
        return []


def _is_done(begun: list[str] | None, state: str, version: str) -> bool:
    """Whether an action came to its end by this state: the new files are there, or they are gone."""
    if begun is None:
        return False
    gone = state in ("config-files", "not-installed")
    return gone if begun[2] == "remove" else (state, version) == ("unpacked", begun[5])


def _version(written: str) -> str:
    return "" if written == _NONE else written


def _moment(written: str, latest: float) -> float:
    """Epoch seconds of a local time; in the hour that comes twice a year the second one, when the first is over."""
    local = datetime.fromisoformat(written)
    at = local.astimezone().timestamp()
    return at if at >= latest else max(at, local.replace(fold=1).astimezone().timestamp())


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
