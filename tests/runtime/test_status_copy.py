"""The copy of the status page in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wcr_watchd.core.status import PublicFile
from wcr_watchd.runtime.status_copy import CopyError, StatusCopy


def files(**bodies: str) -> dict[str, PublicFile]:
    """Files by path; two underscores stand for a slash."""
    return {
        path.replace("__", "/"): PublicFile("text/plain", body.encode(), b"", body) for path, body in bodies.items()
    }


@pytest.fixture
def strict() -> Iterator[None]:
    """The umask of the unit."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict")
def test_a_web_server_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    StatusCopy().write(str(folder), files(history__="h", a="1") | {"": files(x="i")["x"]})
    assert (folder / "index.html").read_text() == "i"
    assert (folder / "history" / "index.html").read_text() == "h"
    assert (folder / "a").stat().st_mode & 0o777 == 0o644
    assert {path.stat().st_mode & 0o777 for path in (folder.parent, folder, folder / "history")} == {0o755}


def test_only_what_changed_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    copy = StatusCopy()
    copy.write(str(tmp_path), files(a="1", b="1", old="1"))
    before = {name: (tmp_path / name).stat().st_ino for name in ("a", "b")}
    copy.write(str(tmp_path), files(a="1", b="2"))
    after = {name: (tmp_path / name).stat().st_ino for name in ("a", "b")}
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]
    assert not (tmp_path / "old").exists()


def test_the_next_life_cleans_up_after_the_last(tmp_path: Path) -> None:
    StatusCopy().write(str(tmp_path), files(a="1", old="1"))
    StatusCopy().write(str(tmp_path), files(a="2"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".wcr-watchd-status.json", "a"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("theirs")
    with pytest.raises(CopyError, match="files of somebody else"):
        StatusCopy().write(str(tmp_path), files(a="1"))
    assert (tmp_path / "index.html").read_text() == "theirs"


def test_what_the_list_of_files_says_of_other_places_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / ".wcr-watchd-status.json").write_text('["../precious"]')
    StatusCopy().write(str(folder), files(a="1"))
    assert (tmp_path / "precious").exists()
