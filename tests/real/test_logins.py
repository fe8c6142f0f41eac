"""The logins probe on logs as OpenSSH 9.2, rsyslog, sudo and shadow's login write them, and on a recorded journal.

The lines are recorded ones with addresses out of the ranges for documentation; a failure of the real sshd is there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import gzip
import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.daemon.harness import eventually
from tests.real.ports import free_port
from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools, none_runs
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.logs.auth_log import Understanding, moment, network
from wcr_watchd.probes.logins import UNKNOWN_USERS

HOUR, DAY = 3600.0, 86_400.0


class Log:
    """A log that grows, and the check of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("")
        self.probe = probe_of("logins", {"path": str(path)})

    def write(self, at: float, *messages: str, program: str = "sshd[100]") -> None:
        stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
        with self.path.open("a") as file:
            file.writelines(f"{stamp} web {program}: {message}\n" for message in messages)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """An empty log."""
    return Log(tmp_path / "auth.log")


def failed(user: str, address: str = "203.0.113.9", invalid: bool = False) -> str:
    return f"Failed password for {'invalid user ' if invalid else ''}{user} from {address} port 40100 ssh2"


def accepted(user: str, address: str) -> str:
    return f"Accepted publickey for {user} from {address} port 40100 ssh2: ED25519 SHA256:abc"


async def test_failures_of_the_last_hour(log: Log, looks: Looks) -> None:
    now = time.time()
    first = await looks.at(log.probe, now)
    assert first.outcome is Outcome.UP
    assert measured(first, "failed_logins_all") == 0
    log.write(now - 2 * HOUR, failed("root"))
    log.write(now - 10, failed("root"), failed("root"), failed("oracle", invalid=True), failed("nobody-of-ours"))
    seen = await looks.at(log.probe, now)
    assert measured(seen, "failed_logins", user="root") == 2
    assert measured(seen, "failed_logins", user=UNKNOWN_USERS) == 2
    assert measured(seen, "failed_logins_all") == 4
    assert seen.evidence["failed, from"] == "203.0.113.0/24: 4"
    again = await looks.at(log.probe, now + 60)  # nothing is counted twice
    assert measured(again, "failed_logins", user="root") == 2
    over = await looks.at(log.probe, now + HOUR)
    assert measured(over, "failed_logins", user="root") == 0  # said once, so that the rule sees the end
    assert 'user="root"' not in str(await looks.at(log.probe, now + HOUR + 60))


@pytest.mark.parametrize(
    ("program", "message", "user", "count"),
    [
        ("sshd[1]", failed("root"), "root", 1),
        ("sshd-session[1]", failed("root"), "root", 1),
        ("sshd[1]", f"message repeated 4 times: [ {failed('root')}]", "root", 4),
        ("sshd[1]", "Connection closed by authenticating user root 203.0.113.9 port 22 [preauth]", "root", 1),
        ("sshd[1]", "Disconnected from authenticating user root 2001:db8::1 port 22 [preauth]", "root", 1),
        ("sudo", "  root : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", "root", 3),
        ("sudo", "  root : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", "root", 1),
        ("su[12]", "FAILED SU (to root) daemon on pts/1", "root", 1),
        ("login[9]", "FAILED LOGIN (2) on '/dev/tty1' FOR 'root', Authentication failure", "root", 2 - 1),
    ],
)
async def test_what_counts_as_a_failure(
    program: str, message: str, user: str, count: int, log: Log, looks: Looks
) -> None:
    now = time.time()
    await looks.at(log.probe, now)
    log.write(now, message, program=program)
    assert measured(await looks.at(log.probe, now), "failed_logins", user=user) == count


async def test_what_does_not(log: Log, looks: Looks) -> None:
    now = time.time()
    await looks.at(log.probe, now)
    log.write(now, "Failed none for root from 203.0.113.9 port 1 ssh2", "Server listening on :: port 22.")
    log.write(now, failed("root"), program="myapp")
    log.write(now, failed("root"), "Connection closed by authenticating user root 203.0.113.9 port 2 [preauth]")
    log.write(now, "root : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls", program="sudo")
    with log.path.open("ab") as file:
        file.write(b"\xff\xfe garbage\nNov 99 99:99:99 web sshd[1]: Failed password\n\n")
    assert measured(await looks.at(log.probe, now), "failed_logins_all") == 1


def test_a_name_cannot_pretend_another_address() -> None:
    spoofed = failed("x from 198.51.100.1 port 5 ssh2", "203.0.113.9", invalid=True)
    attempt = Understanding().message(0.0, "sshd", "1", spoofed)
    assert attempt is not None
    assert attempt.source == "203.0.113.0/24"


async def test_a_burst(log: Log, looks: Looks) -> None:
    now = time.time()
    await looks.at(log.probe, now)
    for second in range(6):
        log.write(now - 300 + second * 12, failed("root"))
    log.write(now - 100, failed("root"), *[failed("oracle", invalid=True)] * 50)
    assert measured(await looks.at(log.probe, now), "failed_burst") == 6


async def test_a_guessed_password(log: Log, looks: Looks) -> None:
    now = time.time()
    await looks.at(log.probe, now)
    log.write(now - 60, *[failed("ann", invalid=True)] * 5)
    log.write(now - 50, accepted("root", "198.51.100.7"))
    assert measured(await looks.at(log.probe, now), "guessed") == 0  # from elsewhere
    log.write(now - 40, accepted("root", "203.0.113.77"))
    seen = await looks.at(log.probe, now)
    assert measured(seen, "guessed") == 1
    log.write(now - 30, accepted("ann", "192.0.2.5"))
    log.write(now - 20, *[failed("ann", "192.0.2.5")] * 9)  # whoever was in before is not the one who guessed
    assert measured(await looks.at(log.probe, now), "guessed") == 1
    assert measured(seen, "logins") == 2
    assert "root from 203.0.113.0/24 got in after many failed attempts" in seen.summary


async def test_new_networks_of_administrators(log: Log, looks: Looks) -> None:
    now = time.time()
    log.write(now - DAY, accepted("root", "192.0.2.1"), accepted("ann", "192.0.2.1"))
    probe = probe_of("logins", {"path": str(log.path), "privileged": ["root", "ann"]})
    first = await looks.at(probe, now)  # learns from what the log holds
    assert measured(first, "new_root_sources") == measured(first, "new_admin_sources") == 0
    log.write(now, accepted("root", "192.0.2.200"), accepted("eve", "203.0.113.1"))
    seen = await looks.at(probe, now)
    assert measured(seen, "new_root_sources") == measured(seen, "new_admin_sources") == 0
    log.write(now, accepted("root", "2001:db8:1:2::3"))
    seen = await looks.at(probe, now)
    assert (measured(seen, "new_root_sources"), measured(seen, "new_admin_sources")) == (1, 0)
    assert "root from 2001:db8:1::/48" in seen.summary
    log.write(now, accepted("ann", "203.0.113.1"))
    seen = await looks.at(probe, now + DAY)
    assert (measured(seen, "new_root_sources"), measured(seen, "new_admin_sources")) == (1, 1)
    done = await looks.accept(probe, now + DAY)
    assert (measured(done, "new_root_sources"), measured(done, "new_admin_sources")) == (0, 0)
    assert "accepted by ann" in done.summary
    assert measured(await looks.at(probe, now + DAY), "new_root_sources") == 0
    await looks.at(probe, now + 200 * DAY)  # a network nobody came from for half a year is forgotten
    log.write(now + 200 * DAY, accepted("root", "192.0.2.1"))
    assert measured(await looks.at(probe, now + 200 * DAY), "new_root_sources") == 1


async def test_a_silent_log(log: Log, looks: Looks) -> None:
    os.utime(log.path, (time.time() - 30 * HOUR,) * 2)
    seen = await looks.at(log.probe)
    assert measured(seen, "log_silent") == pytest.approx(30 * HOUR, abs=60)


async def test_nothing_is_lost_when_the_log_is_rotated(log: Log, looks: Looks) -> None:
    now = time.time()
    log.write(now, "Server listening on :: port 22.")
    await looks.at(log.probe, now)
    log.write(now, failed("root"))
    rotated = log.path.with_name("auth.log.1.gz")
    rotated.write_bytes(gzip.compress(log.path.read_bytes()))
    os.utime(rotated, (now - 60, now - 60))
    log.path.unlink()
    log.write(now, failed("root"))
    assert measured(await looks.at(log.probe, now), "failed_logins", user="root") == 2


def test_times() -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()
    assert moment("2026-01-02T11:59:00.5+00:00", now) == now - 59.5
    assert moment("2026-01-02T13:59:00+02:00", now) == now - 60
    local = datetime(2025, 12, 31, 23, 0, 0).astimezone().timestamp()
    assert moment("Dec 31 23:00:00", now) == local  # last year's
    assert moment("Jan  2 11:00:00", now) == datetime(2026, 1, 2, 11).astimezone().timestamp()
    assert moment("Feb 30 11:00:00", now) == now
    assert network("192.0.2.77") == "192.0.2.0/24"
    assert network("fe80::1%eth0") == "fe80::/48"
    assert network("host.example") == "host.example"


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[tuple[int, Path]]:
    """The real server on a port of its own, and the file that it writes its log into."""
    key, said, port = folder / "hostkey", folder / "said", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if os.geteuid() == 0:  # where it separates its privileges; as somebody else it does not
        Path("/run/sshd").mkdir(exist_ok=True)
    words = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", str(key), "-p", str(port)]
    words += ["-o", "ListenAddress=127.0.0.1", "-o", "UsePAM=no", "-o", "PidFile=none"]
    with said.open("wb") as output, subprocess.Popen(words, stderr=output) as server:
        try:
            eventually(lambda: "Server listening" in said.read_text(), "sshd listens")
            yield port, said
        finally:
            server.terminate()


async def test_what_the_real_sshd_writes(log: Log, tmp_path: Path, looks: Looks) -> None:
    """Two that have neither key nor password, one of an account that does not exist."""
    now = time.time()
    await looks.at(log.probe, now)
    options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    options += ["-o", f"UserKnownHostsFile={tmp_path}/hosts"]
    with sshd(tmp_path) as (port, said):
        for user in (getpass.getuser(), "nobody-of-ours"):
            words = ["ssh", *options, "-p", str(port), f"{user}@127.0.0.1", "true"]
            assert subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 255
        eventually(lambda: said.read_text().count("[preauth]") == 2, "sshd has told of both")
        lines = [line.removesuffix("\r") for line in said.read_text().splitlines()]
    log.write(now, *lines)
    seen = await looks.at(log.probe, now)
    assert measured(seen, "failed_logins", user=getpass.getuser()) == 1
    assert measured(seen, "failed_logins", user=UNKNOWN_USERS) == 1


# --- the journal ------------------------------------------------------------------------------------------------------


def entry(at: float, message: object, cursor: str, identifier: str = "sshd") -> str:
    fields = {"__REALTIME_TIMESTAMP": str(int(at * 1e6)), "__CURSOR": cursor, "_PID": "7", "MESSAGE": message}
    return json.dumps(fields | {"SYSLOG_IDENTIFIER": identifier}) + "\n"


@pytest.fixture
def journal(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """A machine without auth.log, whose journalctl notes how it was asked."""
    monkeypatch.setattr("wcr_watchd.probes.logins.LOGS", ("/no/such/auth.log",))
    return tools


async def test_the_journal(journal: Tools, tmp_path: Path, looks: Looks) -> None:
    now, probe = time.time(), probe_of("logins", {})
    lines = entry(now - DAY, accepted("root", "192.0.2.1"), "s=1") + entry(now - 60, [1, 2], "s=2") + "{cut"
    journal.prints("journalctl", lines)
    first = await looks.at(probe, now)
    assert measured(first, "new_root_sources") == 0
    assert measured(first, "log_silent") == pytest.approx(60, abs=1)
    asked = tmp_path / "asked"
    more = entry(now, failed("root"), "s=3") + entry(now, "pam_unix(cron:session): session opened", "s=4", "CRON")
    (tmp_path / "more").write_text(more)
    journal.put("journalctl", f'echo "$@" > {asked}; cat {tmp_path}/more')
    seen = await looks.at(probe, now)
    assert measured(seen, "failed_logins", user="root") == 1
    assert "--after-cursor s=2 SYSLOG_FACILITY=4 SYSLOG_FACILITY=10" in asked.read_text()
    journal.put("journalctl", f'echo "$@" > {asked}')
    seen = await looks.at(probe, now + DAY)
    assert "--after-cursor s=4" in asked.read_text()
    assert measured(seen, "log_silent") == pytest.approx(DAY, abs=1)


async def test_a_journal_that_may_not_be_read(journal: Tools, looks: Looks) -> None:
    journal.put("journalctl", "echo 'Hint: You are currently not seeing messages from other users and the system.' >&2")
    seen = await looks.at(probe_of("logins", {}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "usermod -aG systemd-journal" in seen.summary
    journal.put("journalctl", "echo 'No journal files were found.' >&2; exit 1")
    seen = await looks.at(probe_of("logins", {}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "No journal files were found" in seen.summary
    journal.remove("journalctl")
    journal.only()
    seen = await looks.at(probe_of("logins", {}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")


async def test_a_hanging_journal(journal: Tools, looks: Looks) -> None:
    journal.put("journalctl", "sleep 63.9")
    seen = await looks.at(probe_of("logins", {}), timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    task = asyncio.create_task(looks.at(probe_of("logins", {})))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    none_runs("sleep 63.9")


async def test_logs_that_cannot_be_read(tmp_path: Path, looks: Looks) -> None:
    missing = await looks.at(probe_of("logins", {"path": "/no/such/auth.log"}))
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    assert names(missing) == set()
    folder = await looks.at(probe_of("logins", {"path": str(tmp_path)}))
    assert folder.outcome is Outcome.UNKNOWN


@given(
    st.sampled_from(
        ["Failed password for ", "Accepted publickey for ", "Connection closed by invalid user ", "root : 1"]
    )
    | st.just(""),
    st.text(),
    st.sampled_from(
        ["2026-01-02T11:59:00+00:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "Feb 29 00:00:00"]
    ),
    st.sampled_from(["sshd[1]", "sudo", "su", "login[2]"]),
)
def test_no_line_is_too_odd(begin: str, text: str, stamp: str, program: str) -> None:
    understanding = Understanding()
    for line in (f"{stamp} web {program}: {begin}{text}", text):
        attempt = understanding.line(line, 1_700_000_000.0)
        assert attempt is None or attempt.count >= 1


async def test_a_flood_is_bounded(log: Log, looks: Looks) -> None:
    now = time.time()
    await looks.at(log.probe, now)
    log.write(now, *[failed(f"user{number % 400}" * 20, f"2001:db8:{number:x}::1") for number in range(5_000)])
    seen = await looks.at(log.probe, now)
    assert measured(seen, "failed_logins_all") >= 1_000
    assert len({one.labels for one in seen.measurements if one.name == "failed_logins"}) == 1
    assert len(json.dumps(looks.memory)) < 256 * 1024
