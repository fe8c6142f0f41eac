"""Following a log through what the real logrotate, gzip and programs that write do to it."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs import follow as following
from wcr_watchd.kit.logs.follow import LONGEST_LINE, Followed, beginning, follow, rotated

PLENTY = 1 << 30


class Reader:
    """Reads on from where it was and keeps all lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.cursor: dict[str, Any] | None = None
        self.lost = 0
        self.skipped = 0
        self.read()

    def read(self, most: int = PLENTY) -> Followed:
        blocks: list[bytes] = []
        done = follow(str(self.path), self.cursor, most, blocks.append)
        assert all(block.endswith(b"\n") for block in blocks)
        self.lines += b"".join(blocks).decode().splitlines()
        self.cursor = done.cursor
        self.lost += done.lost
        self.skipped += done.skipped
        return done


class Writer:
    """Appends numbered lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.time = time.time()

    def write(self, count: int = 1) -> None:
        fresh = [f"line {number}" for number in range(len(self.lines), len(self.lines) + count)]
        self.lines += fresh
        self.add("".join(f"{line}\n" for line in fresh))

    def add(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)
        # Where the clock of files goes in steps of milliseconds, a test is faster than it.
        self.time = max(time.time(), self.time + 0.001)
        os.utime(self.path, (self.time, self.time))


Rotate = Callable[[], None]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An empty log."""
    path = tmp_path / "logs" / "app.log"
    path.parent.mkdir(mode=0o755)
    path.touch()
    return path


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes into a rotated file here any more."""
    monkeypatch.setattr(following, "SETTLED_AFTER", -1.0)


def logrotate(log: Path, directives: str) -> Rotate:
    """The real logrotate, with these directives; each call rotates once."""
    configuration = log.parent.parent / "logrotate.conf"
    configuration.write_text(f"{log} {{\n rotate 9\n su root root\n {directives}\n}}\n")
    configuration.chmod(0o644)
    state = log.parent.parent / "state"
    command = ["logrotate", "--force", "--state", str(state), str(configuration)]
    return lambda: subprocess.run(command, check=True, capture_output=True, text=True) and None


@pytest.mark.parametrize(
    "directives",
    [
        "create",
        "create\n compress",
        "create\n compress\n delaycompress",
        "create\n compress\n compresscmd /usr/bin/xz\n compressext .xz",
        "copytruncate",
        "copytruncate\n compress",
        "create\n dateext\n dateformat -%Y%m%d-%s",
        "create\n dateext\n dateformat -%Y%m%d-%s\n extension .log\n compress",
    ],
)
def test_every_line_once_through_rotations(log: Path, directives: str) -> None:
    writer, rotate = Writer(log), logrotate(log, directives)
    writer.write(3)
    reader = Reader(log)
    assert not reader.lines, "what was there before is not new"
    for rotations in (0, 1, 0, 2, 1):
        writer.write(40)
        for _ in range(rotations):
            rotate()
            if "dateformat" in directives:
                older = max(log.parent.glob("app*-2*"), key=lambda file: file.stat().st_ctime)
                older.rename(older.with_name(older.name.replace("-2", f"-{time.time_ns()}.2", 1)))
            writer.write(5)
        reader.read()
        assert reader.lines == writer.lines[3:]
    assert (reader.lost, reader.skipped) == (0, 0)


def test_random_writes_rotations_and_reads(log: Path) -> None:
    chance = random.Random(7)
    writer, reader, rotate = Writer(log), Reader(log), logrotate(log, "create\n compress\n delaycompress")
    for _ in range(40):
        chance.choice([writer.write, lambda: writer.write(30), reader.read, reader.read, rotate])()
    reader.read()
    assert reader.lines == writer.lines
    assert reader.lost == 0


def test_an_empty_file_after_a_late_word_in_the_old_one(log: Path) -> None:
    """A writer that took a moment to open the new file must not make the old one be read again."""
    writer, reader = Writer(log), Reader(log)
    writer.write(5)
    log.rename(log.with_name("app.log.1"))
    log.touch()
    Writer(log.with_name("app.log.1")).add("late\n")
    for _ in range(2):
        reader.read()
    assert reader.lines == [*writer.lines, "late"]


def test_half_a_line_waits_for_its_end(log: Path) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.add("whole\nhalf")
    reader.read()
    assert reader.lines == ["whole"]
    writer.add(" of it\n")
    reader.read()
    assert reader.lines == ["whole", "half of it"]
    writer.add("the last words")
    log.rename(log.with_name("app.log.1"))
    log.write_text("new\n")
    reader.read()
    assert reader.lines[2:] == ["the last words", "new"], "a rotated file gets no end any more"


def test_a_half_line_at_the_start_is_read_once_whole(log: Path) -> None:
    log.write_text("old\nbegun")
    reader = Reader(log)
    Writer(log).add(" and ended\n")
    reader.read()
    assert reader.lines == ["begun and ended"]


def test_a_writer_that_keeps_the_rotated_file_open_is_followed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SETTLED_AFTER", 30.0)
    reader = Reader(log)
    with log.open("a", buffering=1) as held:
        held.write("before\n")
        log.rename(log.with_name("app.log.1"))
        log.write_text("in the new one\n")
        held.write("after\nhal")
        reader.read()
        assert reader.lines == ["before", "after"], "somebody writes into it still"
        held.write("f\n")
    os.utime(log.with_name("app.log.1"), (0, 0))
    reader.read()
    assert reader.lines == ["before", "after", "half", "in the new one"]


@pytest.mark.parametrize("regrown", [0, 1, 200])
def test_truncated_without_a_copy(log: Path, regrown: int) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.write(30)
    reader.read()
    log.write_text("".join(f"fresh {number}\n" for number in range(regrown)))
    reader.read()
    assert reader.lines[30:] == [f"fresh {number}" for number in range(regrown)]
    assert reader.lost == 1
    writer.add("goes on\n")
    reader.read()
    assert reader.lines[-1] == "goes on"
    assert reader.lost == 1, "said once"


def test_a_new_file_with_the_inode_of_the_old_one(log: Path) -> None:
    """ext4 and tmpfs give the number of a deleted file to the next one."""
    log.write_text("")
    reader = Reader(log)
    log.write_text("one\n")
    reader.read()
    assert reader.cursor is not None
    log.unlink()
    log.write_text("another, longer\n")
    reader.cursor["inode"] = log.stat().st_ino
    reader.read()
    assert reader.lines == ["one", "another, longer"]
    assert reader.lost == 1


def test_more_than_wanted_is_passed_over_from_the_old_end(log: Path) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.write(1_000)
    log.rename(log.with_name("app.log.1"))
    writer.write(1_000)
    size = log.stat().st_size
    done = reader.read(most=size + 100)
    assert done.size == size + 100
    assert done.skipped == log.with_name("app.log.1").stat().st_size - 100
    assert reader.lines == writer.lines[-len(reader.lines) :]
    assert 1_000 < len(reader.lines) < 1_020
    writer.write()
    assert reader.read(most=10_000).skipped == 0
    assert reader.lines[-1] == writer.lines[-1]


def test_a_line_without_end_is_cut(log: Path) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.add("a" * (3 * LONGEST_LINE))
    reader.read()
    assert [len(line) for line in reader.lines] == [LONGEST_LINE]
    writer.add("b" * LONGEST_LINE)
    reader.read()
    writer.add("c\nnext\n" + "d" * (2 * LONGEST_LINE) + "\nlast\n")
    reader.read()
    assert [line[:4] for line in reader.lines] == ["aaaa", "next", "dddd", "last"]
    assert max(map(len, reader.lines)) == LONGEST_LINE


def test_beginning_within_a_very_long_line(log: Path) -> None:
    log.write_text("old\n" + "a" * (2 * LONGEST_LINE))
    reader = Reader(log)
    Writer(log).add("the end of it\nnext\n")
    reader.read()
    assert reader.lines == ["next"]


def test_a_damaged_archive_loses_no_more_than_itself(log: Path) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.add("".join(f"{number} {random.random()}\n" for number in range(5_000)))
    reader.read()
    packed = gzip.compress(log.read_bytes() + b"the rest\n")
    log.with_name("app.log.1.gz").write_bytes(packed[: len(packed) // 2])
    log.unlink()
    log.write_text("new\n")
    reader.read()
    assert reader.lines[-1] == "new"
    assert reader.lost == 1


def test_what_is_being_compressed_counts_once(log: Path) -> None:
    writer, reader = Writer(log), Reader(log)
    writer.write(10)
    log.rename(log.with_name("app.log.1"))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(b"something")[:5])
    writer.write(1)
    reader.read()
    assert reader.lines == writer.lines


def test_a_new_file_is_read_from_its_beginning(log: Path) -> None:
    log.with_name("app.log.1").write_text("of yesterday\n")
    os.utime(log.with_name("app.log.1"), (0, 0))
    reader = Reader(log)
    reader.cursor = beginning()
    Writer(log).add("all of it\n")
    reader.read()
    assert reader.lines == ["all of it"]


def test_a_cursor_of_another_version_begins_anew(log: Path) -> None:
    log.write_text("old\n")
    reader = Reader(log)
    reader.cursor = {"place": 5}
    Writer(log).add("passed over\n")
    reader.read()
    Writer(log).add("new\n")
    reader.read()
    assert reader.lines == ["new"]


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        follow(str(tmp_path / "none"), None, PLENTY, print)
    with pytest.raises(OSError, match="no regular file"):
        follow("/dev/null", None, PLENTY, print)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        follow(str(tmp_path / "pipe"), None, PLENTY, print)


def test_only_its_own_rotated_files_are_taken(log: Path) -> None:
    for name in ("app.log.1", "app.log-20260131.gz", "app-20260131.log", "app.log.2.xz"):
        log.with_name(name).touch()
    for name in ("app.log.old", "app2.log.1", "my-app.log.1", "app.log.1.zip", "app-a.log"):
        log.with_name(name).touch()
    names = {os.path.basename(path) for path in rotated(str(log))}
    assert names == {"app.log.1", "app.log-20260131.gz", "app-20260131.log", "app.log.2.xz"}


def test_a_hundred_megabytes_take_little_of_the_processor(log: Path) -> None:
    reader = Reader(log)
    line = b'192.0.2.7 - - [28/Nov/2026:15:51:33 +0000] "GET /events HTTP/1.1" 200 5120 "-" "Mozilla/5.0"\n'
    with log.open("wb") as file:
        for _ in range(100):
            file.write(line * (1_000_000 // len(line)))
    count = 0

    def each(block: bytes) -> None:
        nonlocal count
        count += block.count(b"\n")

    before = time.process_time()
    done = follow(str(log), reader.cursor, PLENTY, each)
    assert time.process_time() - before < 2.0
    assert done.size > 99_000_000
    assert count == 100 * (1_000_000 // len(line))


# --- in a process of its own ------------------------------------------------------------------------------------------


async def test_aside_gives_back_what_the_work_gives(log: Path) -> None:
    log.with_name("app.log.1").touch()
    assert await aside(rotated, str(log)) == [str(log) + ".1"]
    with pytest.raises(FileNotFoundError, match="/no/such") as raised:
        await aside(rotated, "/no/such/folder/app.log")
    assert raised.value.filename == "/no/such/folder"
    with pytest.raises(RuntimeError, match="TypeError"):
        await aside(rotated, 5.5)
