"""Tells whether this machine runs the newest kernel that is installed on it, and for how long a restart has been due.

It compares the running kernel with the images in /boot, reads Debian's and Ubuntu's `reboot-required`, and asks
`needrestart`, `dkms` and `fwupdmgr` where they are installed. A container and many a virtual machine run a kernel that
comes from outside: there is then nothing to compare.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.subprocess import Finished
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, said

_RELEASE = re.compile(r"(\d+(?:[.-]\d+)*)(?:\+(?:bpo|deb)[\w.]*)?(.*)")
"""A release as uname(1) -r tells it: the version, a mark of Debian's, and the flavour ("-amd64", "-generic")."""
_DEBIAN_VERSION = re.compile(r"\bDebian (\S+)")
_NEEDRESTART_RESTART, _MICROCODE_OBSOLETE = ("2", "3"), "2"
_NOTHING_TO_UPDATE = 2
"""Exit status of fwupdmgr(1) when it found nothing to do."""
_LARGEST_FLAG = 64 * 1024


class Kernel(Options):
    """Options of a check of the kernel this machine runs; none is needed."""

    type: ClassVar[str] = "kernel"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 120.0
    example: ClassVar[str] = 'root = "/"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("reboot_due", Unit.COUNT, "1 when an installed kernel or library waits for a restart, else 0"),
        MeasurementSpec("reboot_due_for", Unit.SECONDS, "Time for which a restart has been due, 0 when none is"),
        MeasurementSpec(
            "security_reboot_due_for", Unit.SECONDS, "The same for a kernel out of a security archive, 0 when none is"
        ),
        MeasurementSpec(
            "stale_services", Unit.COUNT, "Services that still run replaced libraries", topic="stale services"
        ),
        MeasurementSpec("microcode_obsolete", Unit.COUNT, "1 when newer microcode waits, else 0", topic="firmware"),
        MeasurementSpec("firmware_updates", Unit.COUNT, "Devices with newer firmware", topic="firmware"),
        MeasurementSpec("dkms_broken", Unit.COUNT, "Modules not built for the newest kernel", topic="drivers"),
        MeasurementSpec("kernels_installed", Unit.COUNT, "Kernel images in /boot", topic="boot"),
        MeasurementSpec("boot_used", Unit.RATIO, "Share of /boot in use, where it is a file system", topic="boot"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.INFO, "reboot_due > 0"),
        (Severity.WARNING, "reboot_due_for > 7d"),
        (Severity.WARNING, "security_reboot_due_for > 48h"),
        (Severity.INFO, "stale_services > 0"),
        (Severity.INFO, "microcode_obsolete > 0"),
        (Severity.INFO, "firmware_updates > 0"),
        (Severity.WARNING, "dkms_broken > 0"),
        (Severity.WARNING, "boot_used > 80% until boot_used < 75%"),
    )

    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The running kernel."""
        return os.uname().release

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Look at the images, the flag and the tools."""
        run.step = "looking at the kernels in /boot"
        try:
            found = await run.shared.get(Threads).call(_look, self.root)
        except OSError as error:
            return run.unknown(
                "permission" if isinstance(error, PermissionError) else "missing",
                f"{error.filename} cannot be read: {error.strerror}",
            )
        uname = os.uname()
        newest = newest_of(found.images, uname.release)
        why = await self._why_due(run, found, newest, uname)
        if found.images:
            run.measure("kernels_installed", len(found.images))
        if found.boot_used is not None:
            run.measure("boot_used", found.boot_used)
        why = [*await _ask_needrestart(run), *why]
        await _ask_dkms(run, newest or uname.release)
        await _ask_fwupd(run)
        return await self._verdict(run, found, newest, why)

    async def _why_due(self, run: Run, found: _Found, newest: str, uname: os.uname_result) -> list[str]:
        """The reasons that /boot, the flag and the package give for a restart."""
        why = []
        if newest and newest != uname.release:
            why.append(f"kernel {newest} is installed and {uname.release} runs")
        running = _DEBIAN_VERSION.search(uname.version)
        if running and not why:
            package = f"linux-image-{uname.release}"
            installed = await self._package_version(run, package)
            if installed and installed != running[1]:
                why.append(f"{package} {installed} is installed and {running[1]} runs")
        if found.flag_since is not None:
            why.append(f"{found.flag or 'a package'} wants it (reboot-required)")
        return why

    async def _package_version(self, run: Run, package: str) -> str:
        """The version that is installed; empty where dpkg does not know it. Debian mends a kernel under one name."""
        admin = os.path.join(self.root, "var/lib/dpkg")
        try:
            answer = await ask(run, "dpkg-query", f"--admindir={admin}", "--show", "--showformat=${Version}", package)
        except NoAnswerError:
            return ""
        return answer.stdout.strip() if answer.status == 0 else ""

    async def _verdict(self, run: Run, found: _Found, newest: str, why: Sequence[str]) -> Observation:
        uname = os.uname()
        since = _due_since(run.memory, why, newest, found.flag_since, run.started)
        due_for = run.started - since if since is not None else 0.0
        security = bool(why) and await _from_security(run, f"linux-image-{newest or uname.release}")
        run.measure("reboot_due", bool(why))
        run.measure("reboot_due_for", due_for)
        run.measure("security_reboot_due_for", due_for if security else 0.0)
        if not why and newest:
            return run.up(f"kernel {uname.release} is the newest installed, and nothing wants a restart")
        if not why:
            return run.up(
                f"kernel {uname.release} comes from outside this machine, so there is none to compare it with; "
                "nothing else wants a restart"
            )
        kind = "a security restart" if security else "a restart"
        return run.up(f"{kind} of the machine has been due for {format_duration(due_for)}: {'; '.join(why)}")


@dataclass(frozen=True, slots=True)
class _Found:
    """What the file system tells; ``flag_since`` is when a restart was first asked for (epoch seconds)."""

    images: tuple[str, ...]
    flag_since: float | None
    flag: str
    boot_used: float | None


def newest_of(images: Sequence[str], running: str) -> str:
    """The newest installed release of the running one's flavour; empty when there is none of that flavour."""
    flavour = _flavour(running)
    return max((one for one in images if _flavour(one) == flavour), key=_version, default="")


def _flavour(release: str) -> str:
    found = _RELEASE.fullmatch(release)
    return found[2] if found else release


def _version(release: str) -> tuple[int, ...]:
    found = _RELEASE.fullmatch(release)
    return tuple(int(part) for part in re.split(r"[.-]", found[1])) if found else ()


def _look(root: str) -> _Found:
    """Look at /boot and at the flag; blocks."""
    boot = os.path.join(root, "boot")
    names = os.listdir(boot) if os.path.isdir(boot) else []
    images = tuple(sorted(name.removeprefix("vmlinuz-") for name in names if name.startswith("vmlinuz-")))
    used = None
    if names and os.stat(boot).st_dev != os.stat(root).st_dev:
        space = os.statvfs(boot)
        used = 1 - space.f_bavail / (space.f_blocks - space.f_bfree + space.f_bavail)
    since, packages = _flag(Path(root))
    return _Found(images, since, packages, used)


def _flag(root: Path) -> tuple[float | None, str]:
    """Since when a restart is asked for, and by which packages (update-notifier and unattended-upgrades write it)."""
    for folder in ("run", "var/run"):
        flag = root / folder / "reboot-required"
        if flag.exists():
            with open(flag, "rb") as file:  # to be told when it may not be looked at
                file.read(1)
            packages = flag.with_name("reboot-required.pkgs")
            text = packages.read_bytes()[:_LARGEST_FLAG].decode(errors="replace") if packages.exists() else ""
            return flag.stat().st_mtime, ", ".join(sorted(set(text.split())))
    return None, ""


def _due_since(
    memory: dict[str, Any], why: Sequence[str], newest: str, flag_since: float | None, now: float
) -> float | None:
    """When a restart became due (epoch seconds): by the flag, else when this check first saw the reason."""
    if not why:
        memory.pop("due", None)
        return None
    due = memory.get("due", {})
    boot = _boot_id()
    first = due["since"] if due.get("boot") == boot else now
    since: float = min(first, flag_since if flag_since is not None else now, now)
    memory["due"] = {"since": since, "boot": boot, "newest": newest}
    return since


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


async def _from_security(run: Run, package: str) -> bool:
    """Whether the installed version of a package comes out of a security archive, by apt-cache(8) policy."""
    try:
        answer = await ask(run, "apt-cache", "policy", package)
    except NoAnswerError:
        return False
    _, _, installed = answer.stdout.partition("\n *** ")
    archives = []
    for line in installed.splitlines()[1:]:
        if not line.startswith(" " * 7):  # the next version begins
            break
        archives.append(line)
    return any("-security" in line for line in archives)


# --- tools that may be there ------------------------------------------------------------------------------------------


async def _answer(run: Run, measurement: str, *words: str) -> Finished | None:
    """What an optional tool answers; without an answer its measurement is absent, and it is said why."""
    try:
        return await ask(run, *words)
    except NoAnswerError as error:
        run.missing((measurement,), error.summary)
        return None


async def _ask_needrestart(run: Run) -> list[str]:
    """Measure what runs replaced libraries; returns the restart that needrestart(1) wants (README.batch)."""
    answer = await _answer(run, "stale_services, microcode_obsolete", "needrestart", "-b", "-r", "l")
    if answer is None:
        return []
    pairs = [line.partition(": ") for line in answer.stdout.splitlines()]
    values = {key.removeprefix("NEEDRESTART-"): value.strip() for key, _, value in pairs}
    if "VER" not in values:
        run.missing(("stale_services", "microcode_obsolete"), f"needrestart failed: {said(answer)}")
        return []
    services = [value.strip() for key, _, value in pairs if key == "NEEDRESTART-SVC"]
    run.evidence["needrestart"] = f"version {values['VER']}; stale services: {', '.join(services) or 'none'}"
    if os.geteuid() == 0:
        run.measure("stale_services", len(services))
    else:
        run.missing(("stale_services",), "only root sees the libraries of other users' services")
    if values.get("UCSTA", "0") != "0":
        run.measure("microcode_obsolete", values["UCSTA"] == _MICROCODE_OBSOLETE)
    if values.get("KSTA") in _NEEDRESTART_RESTART:
        return [f"needrestart expects kernel {values.get('KEXP', 'of a newer version')}"]
    return []


async def _ask_dkms(run: Run, newest: str) -> None:
    """Measure the modules that dkms(8) did not install for the newest kernel: after a restart their devices fail."""
    answer = await _answer(run, "dkms_broken", "dkms", "status")
    if answer is None:
        return
    if answer.status != 0:
        run.missing(("dkms_broken",), f"dkms failed: {said(answer)}")
        return
    modules = installed_modules(answer.stdout, newest)
    broken = sorted(name for name, installed in modules.items() if not installed)
    run.measure("dkms_broken", len(broken))
    if broken:
        run.evidence["dkms"] = f"not installed for {newest}: {', '.join(broken)}"


def installed_modules(status: str, kernel: str) -> Mapping[str, bool]:
    """Whether each module of ``dkms status`` is installed for a kernel; ``name/1.0, KERNEL, x86_64: installed``."""
    modules: dict[str, bool] = {}
    for line in status.splitlines():
        what, _, state = line.rpartition(": ")
        words = re.split(r", |/", what)
        if state:
            good = state.startswith("installed") and kernel in words and "WARNING" not in state
            modules[words[0]] = modules.get(words[0], False) or good
    return modules


async def _ask_fwupd(run: Run) -> None:
    """Measure the devices that have newer firmware, by the metadata that fwupd(8) has; it fetches none for this."""
    answer = await _answer(
        run, "firmware_updates", "fwupdmgr", "get-updates", "--json", "--no-unreported-check", "--no-metadata-check"
    )
    if answer is None:
        return
    if answer.status == _NOTHING_TO_UPDATE:
        run.measure("firmware_updates", 0)
        return
    try:
        devices = [one for one in json.loads(answer.stdout)["Devices"] if one.get("Releases")]
        names = ", ".join(f"{one['Name']} {one['Releases'][0]['Version']}" for one in devices)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        run.missing(("firmware_updates",), f"fwupdmgr failed: {said(answer)}")
        return
    run.measure("firmware_updates", len(devices))
    if devices:
        run.evidence["firmware"] = names
