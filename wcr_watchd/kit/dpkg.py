"""What dpkg knows of files: which package installed one, and whether it is as a package brought it lately.

Formats: deb-md5sums(5), deb-conffiles(5) as dpkg keeps them in its ``status``, and the ``.list`` files beside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

ADMIN = "/var/lib/dpkg"


@dataclass(frozen=True, slots=True)
class Shipped:
    """How a package brought a file: its MD5 sum, and when the package was put on this machine (epoch seconds)."""

    package: str
    md5: str
    installed_at: float


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
