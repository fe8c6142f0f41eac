"""Looking around on this host: what listens, runs and is mounted, as far as this user may see. Changes nothing."""

from __future__ import annotations

import ipaddress
import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SYSTEMCTL_TIMEOUT = 5.0
_SYSTEMCTL = (
    "systemctl", "list-units", "--type=service", "--state=active,failed",
    "--plain", "--no-legend", "--no-pager", "--full",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP port that something listens on; ``host`` reaches it from here, ``process`` is empty when not visible."""

    host: str
    port: int
    process: str = ""

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: listeners by port, names of running processes, systemd's services, mount points of disks."""

    listeners: tuple[Listener, ...] = ()
    processes: frozenset[str] = frozenset()
    units: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def user_name() -> str:
    """Who this process is to the kernel and to PostgreSQL, whatever the environment says."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user id {os.geteuid()}"


def is_socket(path: Path) -> bool:
    """Whether there is a socket that can be seen."""
    try:
        return path.is_socket()
    except PermissionError:
        return False


def look(root: Path = Path("/")) -> Seen:
    """Look around; each look is bounded, and what may not be seen is left out."""
    return Seen(tuple(_listeners()), frozenset(_process_names()), tuple(_units(root)), tuple(_mounts()))


def _listeners() -> Iterator[Listener]:
    """One listener per port: over IPv4 where there is a choice."""
    try:
        found = [
            (one.laddr.port, one.laddr.ip, one.pid)
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr
        ]
    except (psutil.Error, OSError):
        return
    ports: set[int] = set()
    for port, address, pid in sorted(found, key=lambda one: (one[0], ":" in one[1])):
        if port not in ports:
            ports.add(port)
            yield Listener(_reachable(address), port, _process_name(pid))


def _reachable(address: str) -> str:
    """Where a listener on this address is reached from this machine."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.is_unspecified:
        return "127.0.0.1"  # most listeners on :: take IPv4 as well, and one that does not is not found
    return str(parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else str(parsed)


def _process_name(pid: int | None) -> str:
    if pid is None:
        return ""
    try:
        return psutil.Process(pid).name()
    except (psutil.Error, OSError):
        return ""


def _process_names() -> Iterator[str]:
    for process in psutil.process_iter(["name"]):
        yield process.info["name"] or ""


def _units(root: Path) -> Iterator[str]:
    """Services that run or have failed, when systemd runs this machine (sd_booted(3))."""
    if not os.path.isdir(root / "run/systemd/system"):  # unlike Path.is_dir, it is not upset by what it may not see
        return
    try:
        done = subprocess.run(
            _SYSTEMCTL, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return
    if done.returncode == 0:
        for line in done.stdout.splitlines():
            yield from line.split()[:1]


def _mounts() -> Iterator[str]:
    """Mount points of local disks, from the kernel's table; nothing is touched, so a dead one does no harm."""
    try:
        yield from (part.mountpoint for part in psutil.disk_partitions(all=False))
    except (psutil.Error, OSError):
        return
