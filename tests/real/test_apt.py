"""The apt probe on this machine's real apt, and on what apt-get of Debian 12 and Ubuntu 24.04 printed (recorded)."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools, none_runs
from wcr_watchd.core.model import Fact, Outcome
from wcr_watchd.kit import dpkg
from wcr_watchd.probes.apt import parse_simulation

DAY = 86_400.0

DEBIAN = """\
NOTE: This is only a simulation!
Reading package lists...
The following packages were automatically installed and are no longer required:
  libfoo1 libbar2
  linux-image-6.1.0-40-amd64
Use 'apt autoremove' to remove them.
The following packages have been kept back:
  nginx
The following packages will be upgraded:
  libssl3 bash firmware-linux
3 upgraded, 1 newly installed, 0 to remove and 1 not upgraded.
Inst bash [5.2.15-2+b8] (5.2.15-2+b13 Debian:12.15/oldstable [amd64])
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst linux-image-6.1.0-50-amd64 (6.1.170-1 Debian-Security:12/oldstable-security [amd64])
Inst firmware-linux [20230210-5] (20230210-6 Debian:12.15/oldstable [all])
Conf bash (5.2.15-2+b13 Debian:12.15/oldstable [amd64])
"""
UBUNTU = (
    "Inst openssl [3.0.13-0ubuntu3.4] "
    "(3.0.13-0ubuntu3.5 Ubuntu:24.04/noble-updates, Ubuntu:24.04/noble-security [amd64])\n"
)


def recorded(tools: Tools, lists: Path, simulation: str, status: int = 0) -> None:
    tools.prints("apt-get", simulation, status)
    tools.prints("apt-mark", "nginx\npostgresql-15\n")
    settings = f"LISTS='{lists}/'\nSTATE='{lists.parent}/'\nUNATTENDED='1'\n"
    tools.prints("apt-config", settings)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Package lists that were renewed just now."""
    folder = tmp_path / "state" / "lists"
    folder.mkdir(parents=True)
    for archive in ("bookworm", "bookworm-security"):
        (folder / f"deb.debian.org_debian_dists_{archive}_InRelease").touch()
    return folder


async def test_this_machine(looks: Looks) -> None:
    """Against what apt-get itself counts, by another way of asking."""
    seen = await looks.at(probe_of("apt", {}))
    lists = Path("/var/lib/apt/lists")
    renewed = [one.stat().st_ctime for one in lists.glob("*Release")]
    if not renewed or time.time() - min(renewed) > 2 * DAY:
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "stale")
        return
    assert seen.outcome is Outcome.UP, seen.summary
    told = subprocess.run(["apt-get", "-s", "dist-upgrade"], capture_output=True, text=True, check=True).stdout
    upgraded = re.search(r"^(\d+) upgraded", told, re.MULTILINE)
    assert upgraded
    assert measured(seen, "updates") == int(upgraded[1])
    security = [line for line in told.splitlines() if line.startswith("Inst") and "-security" in line and "[" in line]
    assert measured(seen, "security_updates") == len(security)
    assert measured(seen, "security_update_age") == 0
    assert measured(seen, "lists_age") == pytest.approx(time.time() - min(renewed), abs=60)


async def test_what_a_simulation_tells(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, DEBIAN)
    for one in lists.iterdir():  # the server's time of a list says nothing of when it was renewed here
        os.utime(one, (time.time() - 100 * DAY,) * 2)
    seen = await looks.at(probe_of("apt", {}))
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "updates") == 3  # a new package is no update
    assert measured(seen, "security_updates") == 1
    assert measured(seen, "driver_updates") == 1
    assert measured(seen, "autoremovable") == 3
    assert measured(seen, "held") == 2
    assert measured(seen, "lists_age") < 60
    assert seen.summary.startswith("1 security updates wait (of 3 updates)")
    assert "libgcrypt20 1.10.1-3 -> 1.10.1-3+deb12u1" in seen.evidence["security updates"]
    assert "firmware-linux" in seen.evidence["drivers"]


def test_ubuntu_names_its_security_archive_second() -> None:
    (update,), unneeded = parse_simulation(UBUNTU)
    assert (update.package, update.installed, update.version) == ("openssl", "3.0.13-0ubuntu3.4", "3.0.13-0ubuntu3.5")
    assert update.security
    assert not unneeded
    (esm,), _ = parse_simulation(
        "Inst ffmpeg [7:6.1.1-3] (7:6.1.1-3esm1 UbuntuESMApps:24.04/noble-apps-security [amd64])"
    )
    assert esm.security


def dpkg_log(*actions: str) -> str:
    """What dpkg writes about actions that come to something."""
    lines = []
    for action in actions:
        at, what, package, _, after = action.rsplit(" ", 4)
        done = f"config-files {package} 0" if what == "remove" else f"unpacked {package} {after}"
        lines += [action, f"{at} status half-installed {package} {after}", f"{at} status {done}"]
    return "".join(f"{line}\n" for line in lines)


async def test_what_dpkg_did_lately_is_a_fact(
    tools: Tools, lists: Path, tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tools, lists, "")
    log = tmp_path / "dpkg.log"
    log.write_text(
        "2026-11-01 02:00:00 startup archives unpack\n"
        + dpkg_log(
            "2026-11-01 02:00:01 upgrade libssl3:amd64 3.0.11-1 3.0.14-1",
            "2026-11-02 02:00:01 upgrade libssl3:amd64 3.0.14-1 3.0.15-1",
            "2026-11-02 02:00:02 install nginx:amd64 <none> 1.22.1-9",
            "2026-11-02 02:00:03 remove telnet:all 0.17 <none>",
            "2026-13-99 99:00:03 upgrade bash:amd64 5.1 5.2",
            "2026-11-02 02:00:04 upgrade sed:amd64 4.8 4.9",
            "2026-11-02 02:00:04 upgrade sed:amd64 4.9 4.9",
            "2026-11-02 02:00:05 upgrade sed:amd64 4.9 4.9",
        )
        + "2026-11-02 02:00:06 upgrade tar:amd64 1.34 1.35\n"
        "2026-11-02 02:00:06 status unpacked tar:amd64 1.34\n"
        "half a li"
    )
    monkeypatch.setattr(dpkg.last_actions, "__defaults__", (str(log),))
    seen = await looks.at(probe_of("apt", {}))
    at = time.mktime((2026, 11, 2, 2, 0, 1, 0, 0, -1))
    facts = (
        Fact("package", "libssl3", "3.0.14-1", before="3.0.11-1", since=at - 86_400),
        Fact("package", "libssl3", "3.0.15-1", before="3.0.14-1", since=at),
        Fact("package", "nginx", "1.22.1-9", since=at + 1),
        Fact("package", "telnet", "removed", before="0.17", since=at + 2),
        Fact("package", "sed", "4.9", before="4.8", since=at + 3),
        Fact("package", "sed", "4.9 (again)", before="4.9", since=at + 4),
    )
    assert seen.facts == facts, "of what happens within a second the whole; not what came to nothing"
    log.rename(f"{log}.1")
    log.write_text(dpkg_log("2026-11-02 02:00:09 upgrade bash:amd64 5.1 5.2"))
    seen = await looks.at(probe_of("apt", {}))
    assert seen.facts == (*facts, Fact("package", "bash", "5.2", before="5.1", since=at + 8)), "also what was rotated"
    Path(f"{log}.1").unlink()
    log.write_text("")
    assert (await looks.at(probe_of("apt", {}))).facts == ()
    log.unlink()
    assert (await looks.at(probe_of("apt", {}))).facts is None


def test_dpkg_s_own_log_tells_what_became_of_a_package(tmp_path: Path) -> None:
    """A small package is built, installed, upgraded and removed by dpkg itself, in a root of its own."""
    root, log = tmp_path / "root", tmp_path / "dpkg.log"
    for folder in ("info", "updates"):
        (root / "var/lib/dpkg" / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()

    def package(version: str, script: str = "") -> Path:
        folder = tmp_path / version
        (folder / "DEBIAN").mkdir(parents=True)
        (folder / "DEBIAN/control").write_text(
            f"Package: small\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: ann <ann@example.org>\nDescription: small\n"
        )
        if script:
            (folder / "DEBIAN" / script).write_text("#!/bin/sh\nexit 1\n")
            (folder / "DEBIAN" / script).chmod(0o755)
        file = tmp_path / f"{version}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", folder, file], check=True, capture_output=True)
        return file

    def run(*words: str | Path) -> int:
        options = [f"--root={root}", f"--log={log}", "--force-script-chrootless", "--force-not-root"]
        return subprocess.run(["dpkg", *options, *words], check=False, capture_output=True).returncode

    def told() -> tuple[str, str]:
        """From what to what the actions lead that came since, however many seconds they took."""
        found = dpkg.last_actions(str(log)) or []
        assert {one.package for one in found} <= {"small"}
        assert all(one.before == before.after for before, one in itertools.pairwise(found))
        log.unlink()
        return (found[0].before, found[-1].after) if found else ("", "")

    assert run("-i", package("1.0")) == 0
    assert told() == ("", "1.0")
    assert run("-i", package("1.1")) == 0
    assert run("-i", package("1.2", "preinst")) != 0
    assert told() == ("1.0", "1.1"), "its script refused 1.2"
    assert run("-i", package("1.3", "postinst")) != 0
    assert told() == ("1.1", "1.3"), "its files are there, though it is not set up"
    assert run("-r", "small") == 0
    assert told() == ("1.3", "")


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_new_york")
def test_the_hour_that_comes_twice_is_told_apart_by_the_order_of_the_lines(tmp_path: Path) -> None:
    log = tmp_path / "dpkg.log"
    times = ("01:30:00", "01:50:00", "01:10:00", "01:50:00", "02:10:00")  # the clock goes back at 2 o'clock
    log.write_text(dpkg_log(*(f"2026-11-01 {at} upgrade p{n}:all 1 2" for n, at in enumerate(times))))
    found = [one.at for one in dpkg.last_actions(str(log)) or []]
    assert [round(one - found[0]) / 60 for one in found] == [0, 20, 40, 80, 100]


async def test_an_update_ages_from_when_it_was_first_seen(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, DEBIAN)
    probe, now = probe_of("apt", {}), time.time()
    await looks.at(probe, now)
    assert measured(await looks.at(probe, now + 1.5 * DAY), "security_update_age") == 1.5 * DAY
    tools.prints("apt-get", DEBIAN.replace("1.10.1-3+deb12u1", "1.10.1-3+deb12u2"))
    assert measured(await looks.at(probe, now + 1.6 * DAY), "security_update_age") == 0  # another version, another age
    tools.prints("apt-get", "0 upgraded\n")
    done = await looks.at(probe, now + 1.7 * DAY)
    assert measured(done, "security_update_age") == measured(done, "updates") == 0
    assert done.summary == "every package is up to date"
    assert looks.memory == {"seen": {}}


async def test_old_lists_say_nothing(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, DEBIAN)
    seen = await looks.at(probe_of("apt", {}), time.time() + 3 * DAY)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "stale")
    assert "3 d old (2 d allowed)" in seen.summary
    assert measured(seen, "lists_age") == pytest.approx(3 * DAY, abs=60)
    assert names(seen) == {"held", "lists_age", "unattended_upgrades_enabled"}
    longer = await looks.at(probe_of("apt", {"stale_after": "4d"}), time.time() + 3 * DAY)
    assert longer.outcome is Outcome.UP
    for one in lists.iterdir():
        one.unlink()
    none = await looks.at(probe_of("apt", {}))
    assert (none.outcome, none.reason) == (Outcome.UNKNOWN, "stale")


async def test_unattended_upgrades(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, DEBIAN)
    assert measured(await looks.at(probe_of("apt", {})), "unattended_upgrades_enabled") == 0  # it is not installed
    tools.prints("unattended-upgrade", "")
    never = await looks.at(probe_of("apt", {}))
    assert measured(never, "unattended_upgrades_enabled") == 1
    assert "unattended_upgrades_age" not in names(never)
    assert "has never ended well yet" in never.evidence["absent"]
    stamp = lists.parent / "periodic" / "upgrade-stamp"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (time.time() - 4 * DAY,) * 2)
    assert measured(await looks.at(probe_of("apt", {})), "unattended_upgrades_age") == pytest.approx(4 * DAY, abs=60)
    for off in ("UNATTENDED='0'", "UNATTENDED='1'\nPERIODIC='0'", ""):
        tools.prints("apt-config", f"LISTS='{lists}/'\nSTATE='{lists.parent}/'\n{off}\n")
        assert measured(await looks.at(probe_of("apt", {})), "unattended_upgrades_enabled") == 0, off


async def test_an_apt_that_cannot_upgrade_is_down(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, "E: Unmet dependencies. Try 'apt --fix-broken install'.", status=100)
    seen = await looks.at(probe_of("apt", {}))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    assert "Unmet dependencies" in seen.summary


async def test_without_apt(tools: Tools, looks: Looks) -> None:
    tools.only()
    seen = await looks.at(probe_of("apt", {}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "Debian and Ubuntu" in seen.summary


async def test_lists_that_may_not_be_read(tools: Tools, tmp_path: Path, looks: Looks) -> None:
    recorded(tools, tmp_path / "nowhere", DEBIAN)
    seen = await looks.at(probe_of("apt", {}))
    assert seen.outcome is Outcome.UNKNOWN
    assert "nowhere" in seen.summary


async def test_a_hanging_apt(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, DEBIAN)
    tools.put("apt-get", "sleep 61.7")
    seen = await looks.at(probe_of("apt", {}), timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    task = asyncio.create_task(looks.at(probe_of("apt", {})))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    none_runs("sleep 61.7")


async def test_hostile_output(tools: Tools, lists: Path, looks: Looks) -> None:
    recorded(tools, lists, "Inst \x00 [\n" + "Inst a [1] (2 x [y])\n" * 5000)
    seen = await looks.at(probe_of("apt", {}))
    assert measured(seen, "updates") == 5000
    tools.prints("apt-config", "LISTS='unfinished")
    assert (await looks.at(probe_of("apt", {}))).reason == "parse"
