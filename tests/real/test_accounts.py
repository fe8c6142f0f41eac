"""The accounts probe on this machine, and on machines laid out in a folder."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes.accounts import fingerprint

DAY = 86_400.0
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
ann:x:1000:1000:Ann,,,:/home/ann:/bin/bash
bob:x:1001:27::/home/bob:
broken line
"""
GROUP = "root:x:0:\nsudo:x:27:ann\ndocker:x:998:\nann:x:1000:\n"


class Machine:
    """A machine in a folder, and the check of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("etc/sudoers.d", "root/.ssh", "home/ann/.ssh", "home/bob", "usr/bin", "var/log"):
            (root / folder).mkdir(parents=True)
        self.write("etc/passwd", PASSWD)
        self.write("etc/group", GROUP)
        self.write("etc/shadow", "root:*:19000::::::\nann:$y$x:19000::::::\n")
        self.write("etc/sudoers", "# comment\nDefaults env_reset\nroot ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n")
        self.probe = probe_of("accounts", {"root": str(root), "suid_paths": ["/usr", "/home"]})

    def write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)

    def add(self, path: str, text: str) -> None:
        with (self.root / path).open("a") as file:
            file.write(text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """root, ann (sudo) and bob (sudo is his own group), no keys."""
    return Machine(tmp_path / "machine")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A public key, and its fingerprint as ssh-keygen tells it."""
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@laptop", "-f", path], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True).stdout
    return path.with_suffix(".pub").read_text().strip(), told.split()[1]


async def test_this_machine(looks: Looks) -> None:
    seen = await looks.at(probe_of("accounts", {"suid_paths": ["/usr/bin"]}))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "root_users") == 1
    find = ["find", "/usr/bin", "-xdev", "-type", "f", "-perm", "/6000"]
    told = subprocess.run(find, capture_output=True, text=True, check=True).stdout.split()
    assert measured(seen, "suid_files") == len(told) > 0


async def test_what_there_is(machine: Machine, looks: Looks) -> None:
    seen = await looks.at(machine.probe)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "shell_users") == 3
    assert measured(seen, "root_users") == 1
    assert measured(seen, "admins") == 3  # root by its own group, ann in the list, bob by his own group
    assert measured(seen, "ssh_keys") == measured(seen, "suid_files") == measured(seen, "empty_passwords") == 0
    new = [name for name in names(seen) if name.startswith("new_")]
    assert len(new) == 6
    assert not any(measured(seen, name) for name in new)
    assert seen.evidence["sudoers"].startswith("%sudo ALL=(ALL:ALL) ALL, first seen 0 s ago")
    assert "bob in sudo" in seen.evidence["administrators"]


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("shell_users", "etc/passwd", "eve:x:1002:1002::/home/eve:/bin/sh\n"),
        ("root_users", "etc/passwd", "toor:x:0:0::/root:/usr/sbin/nologin\n"),
        ("admins", "etc/group", "disk:x:6:ann\n"),
        ("sudo_rules", "etc/sudoers", "eve ALL=(ALL) \\\n  NOPASSWD: ALL\n"),
        ("sudo_rules", "etc/sudoers.d/eve", "eve ALL=(ALL) NOPASSWD: ALL\n"),
    ],
)
async def test_what_is_new(kind: str, path: str, text: str, machine: Machine, looks: Looks) -> None:
    await looks.at(machine.probe)
    machine.add(path, text)
    seen = await looks.at(machine.probe)
    new = {name: measured(seen, name) for name in names(seen) if name.startswith("new_")}
    assert {name for name, count in new.items() if count} == {f"new_{kind}"}
    assert "wcr-watchd accept check" in seen.summary
    accepted = await looks.accept(machine.probe)
    assert measured(accepted, f"new_{kind}") == 0
    assert "accepted by ann" in accepted.summary
    assert measured(await looks.at(machine.probe), f"new_{kind}") == 0


async def test_files_that_sudo_does_not_read(machine: Machine, looks: Looks) -> None:
    await looks.at(machine.probe)
    machine.write("etc/sudoers.d/old.conf", "eve ALL=(ALL) ALL\n")
    machine.write("etc/sudoers.d/backup~", "eve ALL=(ALL) ALL\n")
    assert measured(await looks.at(machine.probe), "new_sudo_rules") == 0


async def test_keys(machine: Machine, key: tuple[str, str], looks: Looks) -> None:
    line, told = key
    now = time.time()
    await looks.at(machine.probe, now)
    machine.write("home/ann/.ssh/authorized_keys", f'# comment\n\ncommand="ls -l",no-pty {line}\nnonsense AAAA\n')
    seen = await looks.at(machine.probe, now)
    assert measured(seen, "ssh_keys") == measured(seen, "new_ssh_keys") == 1
    assert f"ann {told} ann@laptop, first seen 0 s ago" in seen.evidence["ssh keys"]
    later = await looks.at(machine.probe, now + 400 * DAY)
    assert measured(later, "oldest_ssh_key") == 400 * DAY
    machine.write("root/.ssh/authorized_keys2", line)
    seen = await looks.at(machine.probe, now + 400 * DAY)
    assert measured(seen, "ssh_keys") == 2
    assert f"root {told}" in seen.summary


def test_fingerprints(key: tuple[str, str]) -> None:
    line, told = key
    assert fingerprint(line) == f"{told} ann@laptop"
    assert fingerprint(line.replace("ssh-ed25519", "ssh-rsa")) == ""  # the key says another kind of itself
    longer = base64.b64encode(b"\x00\x00\x00\x0bssh-rsa-abc").decode()
    assert fingerprint(f"ssh-rsa {longer}") == ""
    for nonsense in ("ssh-rsa", "ssh-rsa AAAA", "ssh-rsa !!!", "ssh-rsa ä", ""):
        assert fingerprint(nonsense) == ""


async def test_suid_programs(machine: Machine, looks: Looks) -> None:
    now = time.time()
    await looks.at(machine.probe, now)
    program = machine.root / "home/ann/shell with space"
    program.write_text("x")
    program.chmod(0o4755)
    assert measured(await looks.at(machine.probe, now + 3600), "suid_files") == 0  # all disks are read once a day
    seen = await looks.at(machine.probe, now + DAY)
    assert measured(seen, "suid_files") == measured(seen, "new_suid_files") == 1
    assert f"{program} 4755 {os.geteuid()}:" in seen.summary
    assert measured(await looks.at(machine.probe, now + DAY + 3600), "new_suid_files") == 1
    program.chmod(0o2755)
    assert "2755" in (await looks.at(machine.probe, now + 2 * DAY)).summary


async def test_accounts_without_a_password(machine: Machine, looks: Looks) -> None:
    machine.add("etc/shadow", "eve::19000::::::\n")
    seen = await looks.at(machine.probe)
    assert measured(seen, "empty_passwords") == 1
    assert seen.summary == "no password is needed for eve"


async def test_dormant_accounts(machine: Machine, looks: Looks) -> None:
    """A lastlog as glibc writes it; ann came long ago, root lately, bob never."""
    now = time.time()
    records = bytearray(292 * 1001)
    struct.pack_into("=i", records, 0, int(now - 5 * DAY))
    struct.pack_into("=i", records, 292 * 1000, int(now - 100 * DAY))
    (machine.root / "var/log/lastlog").write_bytes(records)
    seen = await looks.at(machine.probe, now)
    assert measured(seen, "dormant_users") == 1
    assert seen.evidence["dormant"] == "ann"
    seen = await looks.at(machine.probe, now + 95 * DAY)
    assert set(seen.evidence["dormant"].split(", ")) == {"root", "ann", "bob"}
    (machine.root / "var/log/lastlog").write_bytes(b"")
    seen = await looks.at(machine.probe, now)
    assert "dormant_users" not in names(seen)
    assert "newer systems record logins in another place" in seen.evidence["absent"]


async def test_without_passwd(machine: Machine, looks: Looks) -> None:
    (machine.root / "etc/passwd").unlink()
    seen = await looks.at(machine.probe)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "etc/passwd" in seen.summary


async def test_what_may_not_be_read_is_absent(machine: Machine, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is pretended."""
    real = open

    def refuse(path: Any, *rest: Any, **more: Any) -> Any:
        if str(path).endswith(("etc/sudoers", "etc/shadow", "root/.ssh/authorized_keys")):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *rest, **more)

    monkeypatch.setattr("builtins.open", refuse)
    seen = await looks.at(machine.probe)
    monkeypatch.undo()
    assert seen.outcome is Outcome.UP
    assert not {"new_sudo_rules", "empty_passwords"} & names(seen)
    assert "CAP_DAC_READ_SEARCH" in seen.evidence["absent"]
    assert "sudo_rules" in seen.evidence["absent"]
    assert "ssh_keys" in seen.evidence["absent"]


async def test_a_search_that_takes_too_long(machine: Machine, tools: Tools, looks: Looks) -> None:
    tools.put("find", "sleep 600")
    seen = await looks.at(machine.probe, timeout=0.5)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "shell_users") == 3
    assert "suid_files" not in names(seen)
    assert "did not end within" in seen.evidence["absent"]
