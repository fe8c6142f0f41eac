"""The kernel probe on this machine, on machines laid out in a folder, and on what tools print (recorded formats).

needrestart's output is that of its README.batch, dkms' of dkms 3.0, fwupd's that of `get-updates --json`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes.kernel import installed_modules, newest_of

DAY = 86_400.0
NEEDRESTART = """\
NEEDRESTART-VER: 3.6
NEEDRESTART-KCUR: 6.1.0-40-amd64
NEEDRESTART-KEXP: 6.1.0-41-amd64
NEEDRESTART-KSTA: 1
NEEDRESTART-UCSTA: 1
NEEDRESTART-SVC: cron.service
NEEDRESTART-SVC: nginx.service
NEEDRESTART-SESS: root @ session #28017
"""


@pytest.fixture
def machine(tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that runs Debian's 6.1.0-40, with nothing else."""
    tools.only()
    running(monkeypatch, "6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)")
    root = tmp_path / "machine"
    for folder in ("boot", "run", "var/lib/dpkg"):
        (root / folder).mkdir(parents=True)
    install(root, "6.1.0-40-amd64")
    return root


def running(monkeypatch: pytest.MonkeyPatch, release: str, version: str) -> None:
    uname = os.uname_result(("Linux", "web", release, version, "x86_64"))
    monkeypatch.setattr("wcr_watchd.probes.kernel.os.uname", lambda: uname)


def install(root: Path, *releases: str) -> None:
    for release in releases:
        (root / "boot" / f"vmlinuz-{release}").touch()


async def test_this_machine(looks: Looks) -> None:
    seen = await looks.at(probe_of("kernel", {}))
    assert seen.outcome is Outcome.UP, seen.summary
    assert os.uname().release in seen.summary
    assert measured(seen, "reboot_due") in (0, 1)


async def test_the_newest_runs(machine: Path, looks: Looks) -> None:
    install(machine, "6.1.0-9-amd64", "6.1.0-99-cloud-amd64")
    seen = await looks.at(probe_of("kernel", {"root": str(machine)}))
    assert measured(seen, "reboot_due") == measured(seen, "reboot_due_for") == 0
    assert measured(seen, "kernels_installed") == 3
    assert "is the newest installed" in seen.summary
    assert "needrestart is not installed here" in seen.evidence["absent"]
    assert not {"stale_services", "dkms_broken", "firmware_updates", "boot_used"} & names(seen)


def test_the_newest_of_one_flavour() -> None:
    images = ("6.1.0-9-amd64", "6.1.0-40-amd64", "6.1.0-41-cloud-amd64", "6.12.43+deb12-amd64", "rescue")
    assert newest_of(images, "6.1.0-9-amd64") == "6.12.43+deb12-amd64"
    assert newest_of(images[:3], "6.1.0-9-amd64") == "6.1.0-40-amd64"
    assert newest_of(("6.8.0-9-generic", "6.8.0-45-generic"), "6.8.0-9-generic") == "6.8.0-45-generic"
    assert newest_of(images, "6.18.44-fc-v595") == ""


async def test_a_newer_kernel_waits_for_a_restart(machine: Path, looks: Looks) -> None:
    install(machine, "6.1.0-41-amd64")
    probe, now = probe_of("kernel", {"root": str(machine)}), time.time()
    first = await looks.at(probe, now)
    assert measured(first, "reboot_due") == 1
    assert measured(first, "reboot_due_for") == 0
    later = await looks.at(probe, now + 8 * DAY)
    assert measured(later, "reboot_due_for") == 8 * DAY
    assert measured(later, "security_reboot_due_for") == 0
    assert "a restart of the machine has been due for 8 d" in later.summary
    assert "6.1.0-41-amd64 is installed and 6.1.0-40-amd64 runs" in later.summary
    looks.memory["due"]["boot"] = "another"  # type: ignore[index] # restarted, and due once more
    assert measured(await looks.at(probe, now + 9 * DAY), "reboot_due_for") == 0
    (machine / "boot/vmlinuz-6.1.0-41-amd64").unlink()
    assert measured(await looks.at(probe, now + 9 * DAY), "reboot_due") == 0
    assert looks.memory == {}


async def test_a_kernel_out_of_a_security_archive(machine: Path, tools: Tools, looks: Looks) -> None:
    install(machine, "6.1.0-41-amd64")
    policy = """\
linux-image-6.1.0-41-amd64:
  Installed: 6.1.158-1
  Candidate: 6.1.158-1
  Version table:
 *** 6.1.158-1 500
        500 http://security.debian.org/debian-security bookworm-security/main amd64 Packages
        100 /var/lib/dpkg/status
"""
    tools.prints("apt-cache", policy)
    probe, now = probe_of("kernel", {"root": str(machine)}), time.time()
    await looks.at(probe, now)
    seen = await looks.at(probe, now + 3 * DAY)
    assert measured(seen, "security_reboot_due_for") == 3 * DAY
    assert seen.summary.startswith("a security restart")
    other = policy.replace("security.debian.org/debian-security bookworm-security", "deb.debian.org/debian bookworm")
    tools.prints("apt-cache", other + "     6.1.1-1 500\n        500 http://x bookworm-security/main amd64 Packages\n")
    assert measured(await looks.at(probe, now + 3 * DAY), "security_reboot_due_for") == 0


async def test_debian_mends_a_kernel_under_the_same_name(machine: Path, tools: Tools, looks: Looks) -> None:
    probe = probe_of("kernel", {"root": str(machine)})
    tools.put(
        "dpkg-query",
        f'[ "$1" = --admindir={machine}/var/lib/dpkg ] && [ "$4" = linux-image-6.1.0-40-amd64 ] && echo 6.1.158-1',
    )
    seen = await looks.at(probe)
    assert measured(seen, "reboot_due") == 1
    assert "linux-image-6.1.0-40-amd64 6.1.158-1 is installed and 6.1.153-1 runs" in seen.summary
    tools.prints("dpkg-query", "6.1.153-1")
    assert measured(await looks.at(probe), "reboot_due") == 0


async def test_the_flag_of_ubuntu(machine: Path, looks: Looks) -> None:
    flag = machine / "run/reboot-required"
    flag.write_text("*** System restart required ***\n")
    (machine / "run/reboot-required.pkgs").write_text("linux-base\nlibc6\nlibc6\n")
    os.utime(flag, (time.time() - 2 * DAY,) * 2)
    seen = await looks.at(probe_of("kernel", {"root": str(machine)}))
    assert measured(seen, "reboot_due_for") == pytest.approx(2 * DAY, abs=60)
    assert "libc6, linux-base wants it" in seen.summary


async def test_a_kernel_from_outside(tmp_path: Path, tools: Tools, looks: Looks) -> None:
    tools.only()
    (tmp_path / "bare").mkdir()
    seen = await looks.at(probe_of("kernel", {"root": str(tmp_path / "bare")}))
    assert seen.outcome is Outcome.UP
    assert "comes from outside this machine" in seen.summary
    assert measured(seen, "reboot_due") == 0
    assert "kernels_installed" not in names(seen)


async def test_needrestart(machine: Path, tools: Tools, looks: Looks) -> None:
    probe = probe_of("kernel", {"root": str(machine)})
    tools.prints("needrestart", NEEDRESTART)
    seen = await looks.at(probe)
    assert measured(seen, "stale_services") == 2
    assert "cron.service, nginx.service" in seen.evidence["needrestart"]
    assert measured(seen, "microcode_obsolete") == measured(seen, "reboot_due") == 0
    tools.prints("needrestart", NEEDRESTART.replace("KSTA: 1", "KSTA: 3").replace("UCSTA: 1", "UCSTA: 2"))
    seen = await looks.at(probe)
    assert measured(seen, "reboot_due") == measured(seen, "microcode_obsolete") == 1
    assert "needrestart expects kernel 6.1.0-41-amd64" in seen.summary
    tools.prints("needrestart", NEEDRESTART.replace("UCSTA: 1", "UCSTA: 0"))
    assert "microcode_obsolete" not in names(await looks.at(probe))
    tools.prints("needrestart", "", status=2)
    assert "needrestart failed" in (await looks.at(probe)).evidence["absent"]


async def test_modules_of_dkms(machine: Path, tools: Tools, looks: Looks) -> None:
    install(machine, "6.1.0-41-amd64")
    tools.prints(
        "dkms",
        "nvidia/535.1, 6.1.0-40-amd64, x86_64: installed\nnvidia/535.1, 6.1.0-41-amd64, x86_64: built\n"
        "zfs/2.1.11, 6.1.0-41-amd64, x86_64: installed\nold/1: added\n",
    )
    seen = await looks.at(probe_of("kernel", {"root": str(machine)}))
    assert measured(seen, "dkms_broken") == 2
    assert seen.evidence["dkms"] == "not installed for 6.1.0-41-amd64: nvidia, old"
    warned = "zfs/2, K, x86_64: installed (WARNING! Diff between built and installed module!)"
    assert installed_modules(warned, "K") == {"zfs": False}
    tools.prints("dkms", "", status=1)
    assert "dkms_broken" not in names(await looks.at(probe_of("kernel", {"root": str(machine)})))


async def test_firmware(machine: Path, tools: Tools, looks: Looks) -> None:
    probe = probe_of("kernel", {"root": str(machine)})
    devices = [{"Name": "UEFI dbx", "Releases": [{"Version": "371"}]}, {"Name": "SSD"}]
    tools.prints("fwupdmgr", json.dumps({"Devices": devices}))
    seen = await looks.at(probe)
    assert measured(seen, "firmware_updates") == 1
    assert seen.evidence["firmware"] == "UEFI dbx 371"
    tools.prints("fwupdmgr", "No updates available", status=2)
    assert measured(await looks.at(probe), "firmware_updates") == 0
    for hostile in ("[]", '{"Devices": 3}', '{"Devices": [{"Releases": [{}]}]}', "[" * 100_000):
        tools.prints("fwupdmgr", hostile, status=1)
        assert "firmware_updates" not in names(await looks.at(probe)), hostile[:20]


async def test_a_hanging_tool_hides_nothing_else(machine: Path, tools: Tools, looks: Looks) -> None:
    install(machine, "6.1.0-41-amd64")
    tools.put("needrestart", "sleep 600")
    seen = await looks.at(probe_of("kernel", {"root": str(machine)}), timeout=1.0)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "reboot_due") == 1
    assert "needrestart -b -r l did not end within" in seen.evidence["absent"]


async def test_a_full_boot_disk(machine: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of its own cannot be mounted everywhere; what statvfs tells of one is pretended."""
    space = os.statvfs_result((4096, 4096, 1000, 150, 100, 10, 10, 10, 0, 255))
    real = os.stat

    def other_device(path: str, **how: object) -> os.stat_result:
        found = real(path, **how)  # type: ignore[arg-type]
        return os.stat_result((*found[:2], 99, *found[3:])) if str(path).endswith("/boot") else found

    monkeypatch.setattr("wcr_watchd.probes.kernel.os.statvfs", lambda path: space)
    monkeypatch.setattr("wcr_watchd.probes.kernel.os.stat", other_device)
    seen = await looks.at(probe_of("kernel", {"root": str(machine)}))
    assert measured(seen, "boot_used") == pytest.approx(850 / 950)
