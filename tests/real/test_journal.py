"""The journal probe on a real journal, written by a real systemd-journald, read by the real journalctl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.running import Watch, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

WatchOf = Callable[..., Watch]
_SANDBOX = (
    "mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/systemd/journal /run/log/journal && "
    "mount --bind {folder}/sockets /run/systemd/journal && mount --bind {folder}/journal /run/log/journal && "
    "exec /lib/systemd/systemd-journald"
)


@dataclass
class Journald:
    """A running systemd-journald with a journal and sockets of its own."""

    folder: Path

    @property
    def journal(self) -> str:
        """The folder of the journal."""
        return str(self.folder / "journal")

    def write(self, *messages: str | bytes, priority: int = 6, identifier: str = "app", **fields: str) -> None:
        """Write entries by the native protocol (systemd's JOURNAL_NATIVE_PROTOCOL), and wait until they are there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for message in messages:
                body = message if isinstance(message, bytes) else message.encode()
                pairs = {"PRIORITY": str(priority), "SYSLOG_IDENTIFIER": identifier, **fields}
                head = "".join(f"{name}={value}\n" for name, value in pairs.items()).encode()
                said = b"MESSAGE\n" + len(body).to_bytes(8, "little") + body + b"\n"
                sender.sendto(head + said, str(self.folder / "sockets/socket"))
        self.sync()

    def sync(self) -> None:
        """Wait until all is written (varlink, io.systemd.Journal)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(20)
            asking.connect(str(self.folder / "sockets/io.systemd.journal"))
            asking.sendall(json.dumps({"method": "io.systemd.Journal.Synchronize"}).encode() + b"\0")
            assert asking.recv(1000)


@pytest.fixture(scope="module")
def journald() -> Iterator[Journald]:
    """A systemd-journald; it sees a /run of its own (a mount namespace)."""
    made = Journald(Path(tempfile.mkdtemp(prefix="watchd-journald-")))
    for name in ("journal", "sockets"):
        (made.folder / name).mkdir()
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    process = subprocess.Popen([*unshare, "sh", "-c", _SANDBOX.format(folder=made.folder)])
    try:
        deadline = time.monotonic() + 20
        while not (made.folder / "sockets/io.systemd.journal").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        made.write("the beginning")
        yield made
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(made.folder)


async def test_only_what_is_new_counts(journald: Journald, watch: WatchOf) -> None:
    journald.write("Out of memory: Killed process 7", priority=3)
    check = watch("journal", directory=journald.journal, identifiers=["app"])
    seen = await check.run()
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert measured(seen, "matches", pattern="out_of_memory") == 0
    journald.write("Out of memory: Killed process 8 (redis-server)", priority=3)
    journald.write("all is well", "all is well", priority=5)
    seen = await check.run()
    assert measured(seen, "matches", pattern="out_of_memory") == 1
    assert measured(seen, "matches", pattern="disk_full") == 0
    assert measured(seen, "entries", priority="err") == 1
    assert measured(seen, "entries", priority="notice") == 2
    assert seen.reason == "match"
    assert "out_of_memory: app: Out of memory: Killed process 8 (redis-server)" in seen.summary
    for _ in range(2):
        again = await check.run()
        assert measured(again, "matches", pattern="out_of_memory") == 1, "counters go on"
        assert again.reason == ""


@pytest.mark.parametrize(
    ("pattern", "identifier", "message"),
    [
        ("disk_full", "postgres", "could not write: No space left on device"),
        ("disk_error", "kernel", "blk_update_request: I/O error, dev sda, sector 12345"),
        ("disk_error", "kernel", "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading"),
        ("hardware_error", "kernel", "mce: [Hardware Error]: Machine check events logged"),
        ("crash", "kernel", "python3[99]: segfault at 0 ip 00007f sp 00007f error 4"),
        ("kernel", "kernel", "INFO: task jbd2/sda1-8:254 blocked for more than 120 seconds."),
    ],
)
async def test_what_needs_a_person(
    journald: Journald, watch: WatchOf, pattern: str, identifier: str, message: str
) -> None:
    check = watch("journal", directory=journald.journal)
    await check.run()
    journald.write(message, identifier=identifier)
    assert measured(await check.run(), "matches", pattern=pattern) == 1


async def test_what_is_asked_for(journald: Journald, watch: WatchOf) -> None:
    checks = {
        "identifier": watch("journal", directory=journald.journal, identifiers=["sshd"], patterns={"x": "Failed"}),
        "priority": watch("journal", directory=journald.journal, priority="warning", patterns={"x": "Failed"}),
        "unit": watch("journal", directory=journald.journal, units=["no-such*.service"], patterns={"x": "Failed"}),
        "ignore": watch("journal", directory=journald.journal, patterns={"x": "Failed"}, ignore=["from 192"]),
    }
    for check in checks.values():
        await check.run()
    journald.write("Failed password", "Failed from 192.0.2.1", identifier="sshd", priority=6)
    journald.write("Failed", identifier="cron", priority=4)
    counts = {name: measured(await check.run(), "matches", pattern="x") for name, check in checks.items()}
    assert counts == {"identifier": 2, "priority": 1, "unit": 0, "ignore": 2}


async def test_messages_that_are_no_text(journald: Journald, watch: WatchOf) -> None:
    check = watch("journal", directory=journald.journal, identifiers=["app"], patterns={"x": "^app: caf.$"})
    await check.run()
    journald.write(b"caf\xe9", "two\nlines", "")
    seen = await check.run()
    assert measured(seen, "matches", pattern="x") == 1
    assert measured(seen, "entries", priority="info") == 3


async def test_a_cursor_that_is_none(journald: Journald, watch: WatchOf) -> None:
    check = watch("journal", directory=journald.journal, patterns={"x": "new"})
    check.memory = json.dumps({"cursor": "nonsense"})
    seen = await check.run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "exec")
    assert "Failed to seek to cursor" in seen.summary
    await check.run()
    journald.write("new")
    assert measured(await check.run(), "matches", pattern="x") == 1, "it goes on without it"


async def test_no_journal(watch: WatchOf, tmp_path: Path) -> None:
    seen = await watch("journal", directory=str(tmp_path)).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    seen = await watch("journal", directory="/no/such/folder").run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "exec")
    assert "/no/such/folder" in seen.summary
    assert not names(seen)


async def test_no_journalctl(watch: WatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcr_watchd.probes.journal.DEFAULT_PATH", "/no/such/folder")
    seen = await watch("journal").run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "no journalctl" in seen.summary


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A journalctl of our own."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr("wcr_watchd.probes.journal.DEFAULT_PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Hint: You are currently not seeing messages from other users and the system.", 0),
        ("No journal files were opened due to insufficient permissions.", 1),
    ],
)
async def test_who_may_not_read_it_knows_nothing(
    watch: WatchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, status: int
) -> None:
    """What the real journalctl says to a user outside its group; here everybody is root."""
    fake(tmp_path, monkeypatch, f"echo '{said}' >&2; exit {status}")
    seen = await watch("journal").run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "systemd-journal" in seen.summary
    assert not names(seen)


async def test_lines_that_are_no_entries(watch: WatchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when journalctl is killed in the middle of a line."""
    good = json.dumps({"__CURSOR": "s=2", "MESSAGE": "new"})
    fake(tmp_path, monkeypatch, f"echo '5'; echo '{{}}'; echo '{good}'; printf '%s' '{good[:20]}'")
    check = watch("journal", patterns={"x": "new"})
    check.memory = json.dumps({"cursor": "s=1"})
    assert measured(await check.run(), "matches", pattern="x") == 1
    assert json.loads(check.memory)["cursor"] == "s=2"


async def test_a_journal_that_hangs(watch: WatchOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    check = watch("journal", patterns={"x": "new"})
    check.memory = json.dumps({"cursor": "s=1"})
    seen = await check.run(timeout=2.0)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert json.loads(check.memory) == {}, "the next run begins at the end"
    await gone(tmp_path / "pid")


async def test_cancelling_ends_journalctl(
    shared: SharedHelpers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    running = asyncio.create_task(carry_out(probe_of("journal", {}), new_run(shared)))
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(tmp_path / "pid")


async def gone(pidfile: Path) -> None:
    """Wait until a process has ended (what is left of it until it is reaped does not count)."""
    state = Path(f"/proc/{pidfile.read_text().strip()}/stat")
    deadline = time.monotonic() + 20
    while state.exists() and ") Z " not in state.read_text():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
