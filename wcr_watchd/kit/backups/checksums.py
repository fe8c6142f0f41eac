"""Files of checksums as sha256sum and its kin write them (coreutils manual, 6.2 and 6.3)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

ALGORITHMS = {
    ".sha256": "sha256", ".sha256sum": "sha256", ".sha512": "sha512", ".sha512sum": "sha512", ".sha1": "sha1",
    ".md5": "md5",
}  # fmt: skip
"""The algorithm by the end of a checksum file's name."""
LONGEST = 64 * 1024
"""Bytes of a checksum file that are read."""

_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{32,128})(?:[ \t]+\*?(?P<name>.*))?")
_TAGGED = re.compile(r"(?P<escaped>\\?)[A-Z0-9-]+ \((?P<name>.*)\) = (?P<digest>[0-9a-fA-F]{32,128})")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True, slots=True)
class Checksum:
    """One line: the digest in lower case, and the name as it was before it was escaped (empty: none stands there)."""

    digest: str
    name: str


def parse_checksums(text: str) -> tuple[Checksum, ...]:
    """The checksums in a file; what is no line of one is passed over.

    Before a name stands a space or, for binary mode, ``*``; a line that begins with a backslash has backslash, line
    feed and carriage return in the name escaped; ``--tag`` makes ``SHA256 (name) = digest``.
    """
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip("\r")) or _TAGGED.fullmatch(line.strip("\r"))
        if match is None:
            continue
        name = match["name"] or ""
        if match["escaped"]:
            name = re.sub(r"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
        found.append(Checksum(match["digest"].lower(), name))
    return tuple(found)


def expected_digest(text: str, file: str) -> str | None:
    """The digest that a checksum file has for ``file``; None when it has none.

    Only the last part of a name counts: the job that wrote it may have stood in another folder. A single digest
    without any name is meant for the file beside it.
    """
    sums = parse_checksums(text)
    for one in sums:
        if os.path.basename(one.name) == os.path.basename(file):
            return one.digest
    return sums[0].digest if len(sums) == 1 and not sums[0].name else None
