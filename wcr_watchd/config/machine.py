"""What of this machine itself can be watched, by the files that tell that it is there and may be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wcr_watchd.config.look import Seen, is_socket, user_name

MOST_LOGS = 10
UPSD_PORT = 3493
_PROGRAMS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_ENGINES = ("run/docker.sock", "var/run/docker.sock", "run/podman/podman.sock")
_DROP_INS = ("var/lib/prometheus/node-exporter", "var/lib/node_exporter/textfile_collector")
_LOGIN_LOGS = ("var/log/auth.log", "var/log/secure")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A check that can work here: its name, its settings, what was seen."""

    name: str
    settings: dict[str, Any]
    why: str
    below: str = ""
    """What a person could add."""


def machine(root: Path, seen: Seen, notes: list[str]) -> Iterator[Proposal]:
    """Checks of this machine; what is there and may not be seen is added to the notes."""
    yield from _containers(root, notes)
    for kind, look in _LOOKS.items():
        if told := look(root):
            yield Proposal("disks" if kind == "smart" else kind, {"type": kind}, told)
    if any(listener.port == UPSD_PORT for listener in seen.listeners):
        yield Proposal("ups", {"type": "ups"}, f"upsd of Network UPS Tools listens on port {UPSD_PORT}")
    yield from _access_logs(root)
    for folder in _DROP_INS:
        if any(path.suffix == ".prom" for path in _entries(root / folder)):
            yield Proposal("textfile", {"type": "textfile", "path": f"/{folder}"}, f"jobs leave numbers in /{folder}")


def _containers(root: Path, notes: list[str]) -> Iterator[Proposal]:
    for path in _ENGINES:
        if not is_socket(root / path):
            continue
        if os.access(root / path, os.R_OK | os.W_OK):
            what = "Podman" if "podman" in path else "Docker"
            below = "name those that must be there: one that is removed is noticed then"
            yield Proposal("containers", {"type": "docker", "socket": f"/{path}"}, f"{what} socket found", below)
        else:
            notes.append(f"/{path} may not be used by {user_name()}: containers are not watched (group docker).")
        return


def _access_logs(root: Path) -> Iterator[Proposal]:
    """Logs of web servers, all their access logs as one check each; rotated ones are found beside them."""
    for server in ("nginx", "apache2", "httpd"):
        for log in _entries(root / "var/log" / server)[:MOST_LOGS]:
            if log.name.endswith("access.log") or log.name == "access_log":
                path = f"/var/log/{server}/{log.name}"
                stem = log.name.removesuffix(".log").replace(".", "-")
                if os.access(log, os.R_OK):
                    yield Proposal(f"{server}-{stem}", {"type": "nginx", "path": path}, f"{server} writes {path}")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


# --- what tells that there is something to watch; an empty text: nothing ----------------------------------------------


def _journal(root: Path) -> str:
    for path in ("var/log/journal", "run/log/journal"):
        if _entries(root / path) and _has(root, "journalctl"):
            return f"systemd's journal is in /{path}"
    return ""


def _logins(root: Path) -> str:
    readable = [path for path in _LOGIN_LOGS if os.access(root / path, os.R_OK)]
    return f"logins are written into /{readable[0]}" if readable else ""


def _apt(root: Path) -> str:
    lists = _entries(root / "var/lib/apt/lists")
    return "packages come by apt" if _has(root, "apt-get") and len(lists) > 1 else ""


def _vulnerabilities(root: Path) -> str:
    return "debsecan is installed" if _has(root, "debsecan") else ""


def _certbot(root: Path) -> str:
    renewed = [path.stem for path in _entries(root / "etc/letsencrypt/renewal") if path.suffix == ".conf"]
    return f"certbot renews {', '.join(renewed[:3])}{' …' if len(renewed) > 3 else ''}" if renewed else ""


def _kernel(root: Path) -> str:
    images = [path for path in _entries(root / "boot") if path.name.startswith("vmlinuz-")]
    return f"{len(images)} kernel{'s' if len(images) > 1 else ''} in /boot" if images else ""


def _accounts(root: Path) -> str:
    readable = all(os.access(root / path, os.R_OK) for path in ("etc/shadow", "etc/sudoers"))
    return "who can log in and become root" if readable else ""


def _ports(root: Path) -> str:
    return "ports that are new" if os.access(root / "proc/1/fd", os.R_OK) else ""


def _smart(root: Path) -> str:
    disks = [path.name for path in _entries(root / "dev") if path.name.startswith(("sda", "nvme0"))]
    may = any(os.access(root / "dev" / name, os.R_OK) for name in disks)
    return f"smartctl is installed, and there is /dev/{disks[0]}" if may and _has(root, "smartctl") else ""


def _raid(root: Path) -> str:
    arrays = [path.name for path in _entries(root / "sys/block") if path.name.startswith("md")]
    return f"software RAID: {', '.join(arrays)}" if arrays else ""


def _edac(root: Path) -> str:
    there = any(path.name.startswith("mc") for path in _entries(root / "sys/devices/system/edac/mc"))
    return "memory with error correction" if there else ""


def _temperature(root: Path) -> str:
    there = any(list(path.glob("temp*_input")) for path in _entries(root / "sys/class/hwmon"))
    return "sensors of temperature" if there else ""


def _logrotate(root: Path) -> str:
    states = [path for path in ("var/lib/logrotate/status", "var/lib/logrotate.status") if (root / path).is_file()]
    return f"logrotate keeps its state in /{states[0]}" if states and os.access(root / states[0], os.R_OK) else ""


def _has(root: Path, program: str) -> bool:
    return shutil.which(program, path=":".join(str(root / folder) for folder in _PROGRAMS)) is not None


_LOOKS: dict[str, Callable[[Path], str]] = {
    "journal": _journal,
    "logins": _logins,
    "accounts": _accounts,
    "ports": _ports,
    "apt": _apt,
    "vulnerabilities": _vulnerabilities,
    "kernel": _kernel,
    "smart": _smart,
    "raid": _raid,
    "edac": _edac,
    "temperature": _temperature,
    "logrotate": _logrotate,
    "certbot": _certbot,
}
"""Check types that need no settings."""
