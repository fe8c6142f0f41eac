"""Going through folders with very many files, for whoever wants to know their sizes and ages. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress


def files(folder: str, problems: dict[str, str], same_device: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """All files in a folder and those below, each with what lstat(2) tells; what vanishes meanwhile is left out.

    ``problems`` gets what could not be looked at, with the reason. With ``same_device`` no other file system that is
    mounted inside is gone through.
    """

    def noted(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems[str(error.filename)] = error.strerror or str(error)

    device = _device(folder)
    for place, folders, names in os.walk(folder, onerror=noted):
        if same_device:
            folders[:] = (one for one in folders if _device(os.path.join(place, one)) == device)
        for name in names:
            path = os.path.join(place, name)
            with suppress(OSError):
                yield path, os.lstat(path)


def _device(folder: str) -> int | None:
    with suppress(OSError):
        return os.lstat(folder).st_dev
    return None


def on_disk(status: os.stat_result) -> int:
    """Bytes that a file takes on the disk; one with holes in it, such as lastlog, is not as big as it seems."""
    return status.st_blocks * 512
