"""The files of a knowledge folder: which they are, and their two halves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FENCE = "+++"
WITHOUT_HEAD = "README.md"
"""A file of this name says what the folder is for, and is no entry."""
LARGEST_ENTRY = 256 * 1024
"""Bytes of one file."""
MOST_ENTRIES = 1_000


@dataclass(frozen=True, slots=True)
class Halves:
    """A file's head in TOML and its text in Markdown; ``text_line`` is the line (from 1) on which that begins."""

    head: str
    text: str
    text_line: int


def entry_files(folder: Path) -> list[Path]:
    """The files that should be entries, each once, hidden ones left out; there may be more than :data:`MOST_ENTRIES`.

    A link to another of them would be the same entry again. What a link leads to that is no entry itself is one by the
    link, such as a file in a hidden folder.
    """
    paths = [
        path
        for path in folder.rglob("*.md")
        if path.name != WITHOUT_HEAD and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path)):
        found.setdefault(str(path) if leads_out(path, folder) else os.path.realpath(path), path)
    return sorted(found.values())


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a file is a link to one outside of the folder, such as one that only the daemon may read."""
    # Unlike Path.resolve, realpath takes a link that leads to itself; reading that fails, and is told.
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def halves(content: str) -> Halves | None:
    """The head and the text of a file; None when it has no head.

    The head begins with an empty line in place of the fence, so that its lines have the file's numbers.
    """
    lines = content.splitlines(keepends=True)
    ends = (number for number, line in enumerate(lines) if number and line.rstrip() == FENCE)
    end = next(ends, None) if lines and lines[0].rstrip() == FENCE else None
    if end is None:
        return None
    return Halves("".join(("\n", *lines[1:end])), "".join(lines[end + 1 :]), end + 2)
