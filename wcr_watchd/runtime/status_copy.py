"""The copy of the status page in a folder, for a web server to serve while the daemon is down. Blocking calls."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from wcr_watchd.core.status import PublicFile

MANIFEST = ".wcr-watchd-status.json"
"""Lists what was written, so that what is no more can be removed and a foreign folder is left alone."""


class CopyError(Exception):
    """The copy cannot be written there; the text says why and what to do."""


class StatusCopy:
    """Writes files that changed since the last time; each is whole at every moment (rename(2))."""

    def __init__(self) -> None:
        self._folder = ""
        self._written: dict[str, str] = {}

    def write(self, folder: str, files: Mapping[str, PublicFile]) -> None:
        """Bring the folder up to date. Raises :class:`CopyError`, and ``OSError`` for what the disk says."""
        root = Path(folder)
        if folder != self._folder:
            self._written = self._begin(root)
            self._folder = folder
        wanted = {_file_of(path): one for path, one in files.items()}
        # The page comes last: what it links to is there by then.
        for name in sorted(wanted, key=lambda name: (name.endswith("index.html"), name == "index.html")):
            if self._written.get(name) != wanted[name].etag:
                _put(root / name, wanted[name].body)
        for name in self._written.keys() - wanted.keys():
            (root / name).unlink(missing_ok=True)
        written = {name: one.etag for name, one in wanted.items()}
        if written.keys() != self._written.keys():
            _put(root / MANIFEST, json.dumps(sorted(written)).encode())
        self._written = written

    def _begin(self, root: Path) -> dict[str, str]:
        """What an earlier life wrote; its content is not known any more, so that all of it is written anew."""
        _make(root)
        manifest = root / MANIFEST
        if not manifest.exists():
            if any(root.iterdir()):
                raise CopyError(
                    f"{root} holds files of somebody else: name an empty folder, or one that does not exist"
                )
            return {}
        names = json.loads(manifest.read_text())
        return {str(name): "" for name in names if _is_below(str(name))}


def _file_of(path: str) -> str:
    """The file that a web server shows for a path: ``history/`` is ``history/index.html``."""
    return f"{path}index.html" if path == "" or path.endswith("/") else path


def _is_below(name: str) -> bool:
    return not name.startswith("/") and ".." not in PurePosixPath(name).parts


def _make(folder: Path) -> None:
    """Make a folder, and those above it, for the web server to read, whatever the umask is."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def _put(path: Path, body: bytes) -> None:
    _make(path.parent)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(body)
        os.fchmod(file.fileno(), 0o644)
    beside.replace(path)
