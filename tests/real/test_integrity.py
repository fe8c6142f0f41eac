"""The integrity probe on real files, and on a dpkg laid out in a folder as dpkg keeps it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import carry_out, measured, names, new_run, probe_of
from tests.real.tools import Looks
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.modifications import compared
from wcr_watchd.core.run import Announced
from wcr_watchd.kit import dpkg, fingerprints
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.signed import TamperedError, read_signed, write_signed
from wcr_watchd.probes import integrity

DAY = 86_400.0


class Place:
    """A folder of files, half of them critical, and the check of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc"
        (self.folder / "critical").mkdir(parents=True)
        self.sudoers, self.plain = self.folder / "critical/sudoers", self.folder / "plain.conf"
        self.sudoers.write_text("root ALL=(ALL) ALL\n")
        self.plain.write_text("setting = 1\n")
        self.baseline = folder / "state/integrity/check.baseline"

    def probe(self, **options: Any) -> Any:
        given = {
            "paths": [f"{self.folder}/**"],
            "critical_paths": [f"{self.folder}/critical/**"],
            "exclude": [],
            **options,
        }
        return probe_of("integrity", given)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Two files and a state folder; dpkg knows nothing of them."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return Place(tmp_path)


async def test_the_first_run_takes_what_is_there(place: Place, looks: Looks) -> None:
    first = await looks.at(place.probe())
    assert first.outcome is Outcome.UP
    assert "2 files are the baseline from now on, taken by the first run" in first.summary
    assert measured(first, "files") == 2
    assert measured(first, "read") == len("root ALL=(ALL) ALL\nsetting = 1\n")
    assert place.baseline.stat().st_mode & 0o777 == 0o600
    second = await looks.at(place.probe(), time.time() + 60)
    assert second.summary == "2 files are as accepted"
    assert measured(second, "critical_changes") == measured(second, "changes") == measured(second, "unreadable") == 0
    assert measured(second, "baseline_age") == pytest.approx(60, abs=5)


def _as_root(change: Callable[..., object], *arguments: object, **options: object) -> None:
    """Make a change that only root may make; nobody else can be shown that it is seen."""
    assert os.geteuid() == 0, "only root gives files away and lends capabilities: run the tests of integrity as root"
    change(*arguments, **options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.write_text("other"), "content"),
        (lambda path: path.chmod(0o666), "mode 0644 -> 0666"),
        (lambda path: _as_root(os.chown, path, 65534, -1), "owner 0:0 -> 65534:0"),
        (lambda path: _as_root(subprocess.run, ["setcap", "cap_net_raw+ep", path], check=True), "capabilities"),
        (lambda path: path.unlink(), "removed"),
        (lambda path: path.with_name("added").write_text(""), "new"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "content, mode"),
    ],
)
async def test_every_kind_of_change_shows(
    change: Callable[[Path], object], said: str, place: Place, looks: Looks
) -> None:
    place.plain.chmod(0o644)
    place.sudoers.chmod(0o644)
    await looks.at(place.probe())
    change(place.plain)
    seen = await looks.at(place.probe())
    assert (measured(seen, "changes"), measured(seen, "critical_changes")) == (1, 0)
    assert said in seen.evidence["changed"]
    assert "wcr-watchd accept check" in seen.summary
    change(place.sudoers)
    seen = await looks.at(place.probe())
    assert (measured(seen, "changes"), measured(seen, "critical_changes")) == (1, 1)
    assert said in seen.evidence["critical"]
    assert "1 of them critical" in seen.summary


async def test_a_person_accepts(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    place.plain.write_text("setting = 2\n")
    assert measured(await looks.at(place.probe()), "changes") == 1
    accepted = await looks.accept(place.probe(), by="ann")
    assert "accepted by ann" in accepted.summary
    assert measured(accepted, "changes") == 0
    assert measured(await looks.at(place.probe()), "changes") == 0


async def test_a_baseline_that_somebody_changed(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    old = place.baseline.read_bytes()
    place.baseline.write_bytes(old.replace(b"plain", b"plaid"))
    seen = await looks.at(place.probe())
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tampered")
    assert "as broken into" in seen.summary
    place.baseline.write_bytes(old + b"more\n")
    assert (await looks.at(place.probe())).reason == "tampered"
    place.baseline.write_bytes(b"\xff\n")
    assert (await looks.at(place.probe())).reason == "tampered"
    place.baseline.unlink()
    seen = await looks.at(place.probe())
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tampered")
    assert "is gone" in seen.summary


async def test_an_older_baseline_put_back(place: Place, looks: Looks) -> None:
    """It bears the right signature, and would hide that a file is as it was before somebody closed a hole."""
    await looks.at(place.probe())
    old = place.baseline.read_bytes()
    place.plain.write_text("setting = 2\n")
    await looks.accept(place.probe())
    place.baseline.write_bytes(old)
    seen = await looks.at(place.probe())
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tampered")
    assert "an older one" in seen.summary


async def test_another_key(place: Place, looks: Looks, tmp_path: Path) -> None:
    await looks.at(place.probe())
    (tmp_path / "state/signing.key").unlink()
    assert (await looks.at(place.probe())).reason == "tampered"
    looks.memory.clear()
    place.baseline.unlink()
    await looks.at(place.probe(key="a secret"))
    assert (await looks.at(place.probe(key="a secret"))).outcome is Outcome.UP
    assert (await looks.at(place.probe(key="another"))).reason == "tampered"


async def test_a_kill_after_the_baseline_was_written(place: Place, looks: Looks) -> None:
    """What a run left in its memory may be lost; its file is still known as the daemon's own."""
    await looks.at(place.probe())
    before = dict(looks.memory)
    place.plain.write_text("setting = 2\n")
    await looks.accept(place.probe())
    looks.memory = before
    assert (await looks.at(place.probe())).summary == "2 files are as accepted"
    looks.memory = {}  # or the records are lost altogether
    assert (await looks.at(place.probe())).summary == "2 files are as accepted"


# --- what packages explain --------------------------------------------------------------------------------------------


@pytest.fixture
def package(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``package(path, text)`` makes dpkg know that a package has just brought a file with this text."""
    admin = tmp_path / "dpkg"
    (admin / "info").mkdir(parents=True)
    monkeypatch.setattr("wcr_watchd.probes.integrity.shipped", lambda paths: dpkg.shipped(paths, str(admin)))

    def bring(path: Path, text: str, *, at: float, configuration: bool = False) -> None:
        md5 = hashlib.md5(text.encode()).hexdigest()
        if configuration:
            (admin / "status").write_text(f"Package: tool\nStatus: install ok installed\nConffiles:\n {path} {md5}\n")
        else:
            (admin / "info/tool.md5sums").write_text(f"{md5}  {str(path)[1:]}\n")
        lists = admin / "info/tool:amd64.list" if configuration else admin / "info/tool.list"
        lists.touch()
        os.utime(lists, (at, at))

    return bring


@pytest.mark.parametrize("configuration", [False, True])
async def test_a_package_explains_a_change(
    configuration: bool, place: Place, package: Callable[..., None], looks: Looks
) -> None:
    now = time.time()
    await looks.at(place.probe(), now)
    place.sudoers.write_text("by the package")
    package(place.sudoers, "by the package", at=now + 10, configuration=configuration)
    seen = await looks.at(place.probe(), now + 60)
    assert (measured(seen, "explained_changes"), measured(seen, "critical_changes")) == (1, 0), seen.evidence
    assert "(package tool)" in seen.evidence["explained"]
    assert "1 changed by packages" in seen.summary
    seen = await looks.at(place.probe(), now + 60 + DAY)  # told for a day, then it is in the baseline
    assert measured(seen, "explained_changes") == 1
    seen = await looks.at(place.probe(), now + 120 + DAY)
    assert measured(seen, "explained_changes") == measured(seen, "critical_changes") == 0
    assert seen.outcome is Outcome.UP
    place.sudoers.write_text("by somebody")
    assert measured(await looks.at(place.probe(), now + 180 + DAY), "critical_changes") == 1


async def test_what_no_package_explains(place: Place, package: Callable[..., None], looks: Looks) -> None:
    now = time.time()
    place.sudoers.chmod(0o644)
    await looks.at(place.probe(), now)
    place.sudoers.write_text("by the package")
    package(place.sudoers, "by the package", at=now - 10)  # it was there before: somebody put the old file back
    assert measured(await looks.at(place.probe(), now + 60), "critical_changes") == 1
    package(place.sudoers, "other content", at=now + 10)
    assert measured(await looks.at(place.probe(), now + 60), "critical_changes") == 1
    package(place.sudoers, "by the package", at=now + 10)
    assert measured(await looks.at(place.probe(), now + 60), "critical_changes") == 0
    place.sudoers.chmod(0o4755)
    assert measured(await looks.at(place.probe(), now + 60), "critical_changes") == 1


async def at_work(place: Place, looks: Looks, *announced: Announced, at: float | None = None) -> Observation:
    """A look while changes are announced."""
    looks.announced = announced
    return await looks.at(place.probe(), at)


async def test_what_is_done_in_the_time_of_a_change_is_explained(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    place.plain.write_text("before the change")
    os.utime(place.plain, (time.time() + DAY, time.time() + DAY))  # a time that any program can set
    await asyncio.to_thread(time.sleep, 0.02)
    clocks = 5.0
    change = Announced(time.time() + clocks, inf, "change #4 release")
    seen = await at_work(place, looks, change)
    assert (measured(seen, "changes"), measured(seen, "explained_changes")) == (1, 0), "it was done before"
    change = replace(change, start=change.start - 2 * clocks)
    place.sudoers.write_text("by the change")
    (place.folder / "critical/added").write_text("new")
    seen = await at_work(place, looks, change)
    assert (measured(seen, "critical_changes"), measured(seen, "explained_changes")) == (0, 3), seen.evidence
    assert "sudoers: content (change #4 release)" in seen.evidence["explained"]
    assert seen.summary == "3 files are as accepted, 3 changed in a change"
    over = replace(change, end=time.time())
    assert measured(await at_work(place, looks, over), "explained_changes") == 3, "also when it is over"
    assert measured(await at_work(place, looks), "critical_changes") == 2, "but not by nothing"


async def test_a_change_does_not_explain_that_a_file_became_more_dangerous(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    change = Announced(time.time() - 1, inf, "change #4 release")
    place.sudoers.chmod(0o4755)
    added = place.folder / "critical/added"
    added.write_text("new")
    added.chmod(0o6755)
    seen = await at_work(place, looks, change)
    assert (measured(seen, "critical_changes"), measured(seen, "explained_changes")) == (2, 0)


async def test_a_file_that_a_change_removed_is_explained_and_forgotten_after_a_day(place: Place, looks: Looks) -> None:
    now = time.time()
    await looks.at(place.probe(), now)
    place.sudoers.unlink()
    change = Announced(now - 1, now + 60, "change #4 release")
    assert measured(await at_work(place, looks, change, at=now), "explained_changes") == 1
    assert measured(await at_work(place, looks, change, at=now + DAY + 60), "explained_changes") == 1
    later = await at_work(place, looks, at=now + DAY + 120)
    assert later.summary == "1 files are as accepted"


async def test_differences_are_facts(place: Place, looks: Looks) -> None:
    first = await looks.at(place.probe())
    assert first.facts is not None
    assert [(one.kind, one.name) for one in first.facts] == [("baseline", "check")]
    place.plain.write_text("other")
    seen = await looks.at(place.probe())
    sum_of = hashlib.sha256(b"other").hexdigest()[:12]
    assert seen.facts is not None
    assert [(one.kind, one.name, one.value) for one in seen.facts[1:]] == [
        ("file", str(place.plain), f"content {sum_of}")
    ]


async def test_a_file_that_is_put_back_is_told_and_so_is_the_same_change_of_it_again(
    place: Place, looks: Looks
) -> None:
    known, told = None, []

    async def look() -> None:
        nonlocal known
        known, found = compared(known, await looks.at(place.probe()))
        told.extend(one.text.replace(str(place.plain), "F") for one in found if one.kind == "file")

    was, other = place.plain.read_text(), hashlib.sha256(b"other").hexdigest()[:12]
    await look()
    for content in ("other", "other", was, was, "other", None, was):
        if content is None:
            place.plain.unlink()
        else:
            place.plain.write_text(content)
        await look()
    assert told == [
        f"file F: as accepted → content {other}",
        f"file F: content {other} → as accepted",
        f"file F: as accepted → content {other}",
        f"file F: content {other} → removed",
        "file F: removed → as accepted",
    ]


async def test_what_differs_beyond_those_that_are_told_was_not_put_back(
    place: Place, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "MOST_FACTS", 1)
    await looks.at(place.probe())
    place.plain.write_text("other")
    await looks.at(place.probe())
    place.sudoers.write_text("other")
    seen = await looks.at(place.probe())
    told = [(one.name, one.value.split()[0]) for one in seen.facts or () if one.kind == "file"]
    assert told == [(str(place.sudoers), "content")], "the first one differs as before"


async def test_of_a_cut_search_each_file_is_remembered_once(place: Place, looks: Looks) -> None:
    await looks.at(place.probe(most=1))
    place.sudoers.write_text("other")
    for _ in range(3):
        assert "cut" in (await looks.at(place.probe(most=1))).evidence
        _, files = looks.memory["differing"]  # type: ignore[misc]
        assert files == [str(place.sudoers)]


async def test_what_was_accepted_was_not_put_back(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    place.plain.write_text("other")
    await looks.at(place.probe())
    await looks.accept(place.probe())
    seen = await looks.at(place.probe())
    assert seen.facts is not None
    assert [one.kind for one in seen.facts] == ["baseline"]


def test_a_merged_system_has_two_names_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info/coreutils.md5sums").write_text("abc  bin/ls\ndef  usr/bin/env\n")
    assert dpkg.shipped(["/usr/bin/ls"], str(tmp_path))["/usr/bin/ls"].md5 == "abc"
    assert dpkg.shipped(["/bin/env"], str(tmp_path))["/bin/env"].package == "coreutils"


def test_this_machines_dpkg() -> None:
    found = dpkg.shipped(["/usr/bin/env", "/etc/debconf.conf", "/etc/passwd"])
    assert found["/usr/bin/env"].package == "coreutils"
    assert dpkg.is_as_shipped("/usr/bin/env", found["/usr/bin/env"])
    assert found["/usr/bin/env"].installed_at > 0
    assert found["/etc/debconf.conf"].package == "debconf"
    assert "/etc/passwd" not in found


# --- limits, and what cannot be read ----------------------------------------------------------------------------------


async def test_patterns_and_exceptions(place: Place, looks: Looks) -> None:
    (place.folder / ".hidden").write_text("x")
    (place.folder / "a.log").write_text("x")
    (place.folder / "link").symlink_to(place.folder / "critical")
    os.mkfifo(place.folder / "pipe")
    seen = await looks.at(place.probe(exclude=["*.log"]))
    assert measured(seen, "files") == 4  # sudoers, plain.conf, .hidden and the link itself
    only = await Looks(looks._shared).accept(place.probe(paths=[f"{place.folder}/*.conf"], critical_paths=[]))
    assert measured(only, "files") == 1
    none = await Looks(looks._shared).accept(place.probe(paths=["/no/such/**"], critical_paths=[]))
    assert (none.outcome, none.reason) == (Outcome.UNKNOWN, "missing")


def test_what_a_pattern_means() -> None:
    assert fingerprints.matches("/etc/ssh/sshd_config", ("/etc/ssh/*_config",))
    assert not fingerprints.matches("/etc/ssh/old/sshd_config", ("/etc/ssh/*_config",))
    assert fingerprints.matches("/etc/ssh/old/sshd_config", ("/etc/passwd", "/etc/ssh/**"))
    assert not fingerprints.matches("/etc/sshd", ("/etc/ssh/**",))


async def test_more_files_than_allowed(place: Place, looks: Looks) -> None:
    await looks.at(place.probe())
    seen = await looks.at(place.probe(most=1))
    assert "only the first 1 files" in seen.evidence["cut"]
    assert measured(seen, "changes") == 0  # what was not looked at has not been removed


def test_a_file_that_may_not_be_read(place: Place) -> None:
    """Root may read everything, so this runs as nobody in a process of its own."""
    place.sudoers.chmod(0o600)
    code = (
        "import os, sys, threading\n"
        "from wcr_watchd.kit.fingerprints import scan\n"
        "os.geteuid() == 0 and os.seteuid(65534)\n"
        "found = scan([sys.argv[1] + '/**'], [], 100, 1e9, threading.Event())\n"
        "print(found.unreadable, len(found.files))\n"
    )
    if os.geteuid() != 0:
        place.sudoers.chmod(0)
    for folder in place.folder.parents:
        if "pytest-" in str(folder):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code, str(place.folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"['{place.sudoers}'] 1"


async def test_unreadable_files_are_said_and_change_nothing(
    place: Place, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await looks.at(place.probe())
    real = fingerprints._fingerprint

    def refuse(path: str, pacer: Any) -> Any:
        if path == str(place.sudoers):
            raise PermissionError(13, "Permission denied", path)
        return real(path, pacer)

    monkeypatch.setattr(fingerprints, "_fingerprint", refuse)
    seen = await looks.at(place.probe())
    assert measured(seen, "unreadable") == 1
    assert measured(seen, "critical_changes") == 0
    assert "CAP_DAC_READ_SEARCH" in seen.evidence["unreadable"]


async def test_the_pace_is_kept(place: Place) -> None:
    (place.folder / "large").write_bytes(bytes(600_000))
    began = time.monotonic()
    found = fingerprints.scan([f"{place.folder}/**"], [], 100, 2_000_000, threading.Event())
    assert time.monotonic() - began > 0.25
    assert found.size >= 600_000


async def test_it_ends_in_time_and_when_cancelled(place: Place, shared: SharedHelpers) -> None:
    (place.folder / "large").write_bytes(bytes(2_000_000))
    probe = place.probe(pace=1000)
    seen = await carry_out(probe, new_run(shared, 0.3))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    task = asyncio.create_task(carry_out(probe, new_run(shared)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    from wcr_watchd.kit.threads import Threads

    async with asyncio.timeout(10):  # the threads stop by themselves
        while shared.get(Threads)._running:
            await asyncio.sleep(0.01)


async def test_a_state_folder_that_cannot_be(place: Place, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/proc/no/such")
    seen = await looks.at(place.probe())
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "state")
    assert names(seen) == set()


async def test_the_loop_does_none_of_the_work(place: Place, looks: Looks) -> None:
    """Measured as processor time of the loop's thread, which does not depend on how busy the machine is.

    What is made when a daemon reads its configuration, the probe, is made before (its type is imported for that).
    """
    for number in range(3_000):
        (place.folder / f"file{number}").write_bytes(b"x" * 100)
    first, second = place.probe(), place.probe()
    began, begun = time.thread_time(), time.process_time()
    await looks.at(first)
    await looks.at(second)
    taken, in_all = time.thread_time() - began, time.process_time() - begun
    assert in_all > 0.05, "there was something to do"
    assert taken < in_all / 20, f"{taken * 1000:.1f} of {in_all * 1000:.0f} ms for two looks"


def test_signed_files(tmp_path: Path) -> None:
    path = tmp_path / "deep/file"
    written = write_signed(path, ({"a": 1}, [2, "é\n"]), b"key")
    items, checksum = read_signed(path, b"key")
    assert (items, checksum) == ([{"a": 1}, [2, "é\n"]], written)
    with pytest.raises(TamperedError):
        read_signed(path, b"other")
