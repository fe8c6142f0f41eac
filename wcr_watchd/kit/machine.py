"""One reading of all that the kernel tells about the machine, with what it does not tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wcr_watchd.kit.clock import ClockState, read_clock
from wcr_watchd.kit.procfs import (
    Interface,
    Kernel,
    Load,
    Mount,
    Pressure,
    Stat,
    parse_counts,
    parse_fstab,
    parse_interfaces,
    parse_load,
    parse_mounts,
    parse_pressure,
    parse_protocols,
    parse_sizes,
    parse_stat,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    """Whether an interface in use has a link (None: it is switched off or cannot tell), and its bytes per second."""

    up: bool | None = None
    speed: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of something there is, and how much the kernel allows."""

    used: int
    most: int

    @property
    def share(self) -> float:
        """What is used of what is allowed, 0-1."""
        return self.used / self.most


@dataclass(frozen=True, slots=True)
class Reading:
    """What the kernel said at one moment (``at``, seconds on the monotonic clock).

    What it did not say is None, or not in a mapping; ``problems`` holds the reason by file (or system call).
    """

    at: float
    boot_id: str
    stat: Stat | None
    memory: Mapping[str, int]
    events: Mapping[str, int]
    load: Load | None
    pressure: Mapping[str, Mapping[str, Pressure]]
    interfaces: Mapping[str, Interface]
    links: Mapping[str, Link]
    tcp: Mapping[str, int]
    """Counters of ``Tcp`` and ``TcpExt``."""
    mounts: Sequence[Mount]
    fstab: Mapping[str, frozenset[str]]
    uptime: float | None
    files: Limit | None
    connections: Limit | None
    tasks: Limit | None
    clock: ClockState | None
    problems: Mapping[str, str]


def read_machine(root: str) -> Reading:
    """Read all of the kernel's files below ``root``.

    Takes some milliseconds, longer when the driver of a network interface is slow to answer: call it in a thread.
    """
    reader = _Reader(root)
    at = time.monotonic()
    load = reader.read("proc/loadavg", parse_load)
    interfaces = reader.read(f"{reader.process}/net/dev", parse_interfaces) or {}
    return Reading(
        at=at,
        boot_id=reader.read("proc/sys/kernel/random/boot_id", str.strip) or "",
        stat=reader.read("proc/stat", parse_stat),
        memory=reader.read("proc/meminfo", parse_sizes) or {},
        events=reader.read("proc/vmstat", parse_counts) or {},
        load=load,
        pressure={one: reader.read(f"proc/pressure/{one}", parse_pressure) or {} for one in ("cpu", "memory", "io")},
        interfaces=interfaces,
        links=reader.links(interfaces),
        tcp=reader.tcp(),
        mounts=reader.read(f"{reader.process}/mountinfo", parse_mounts) or (),
        fstab=_fstab(reader.kernel),
        uptime=reader.read("proc/uptime", lambda text: float(text.split()[0])),
        files=reader.read("proc/sys/fs/file-nr", lambda text: Limit(int(text.split()[0]), int(text.split()[2]))),
        connections=reader.connections(),
        tasks=reader.tasks(load),
        clock=reader.clock(),
        problems=reader.problems,
    )


class _Reader:
    """Reads and parses, and notes what could not be read instead of failing."""

    def __init__(self, root: str) -> None:
        self.kernel = Kernel(root)
        self.problems: dict[str, str] = {}
        self.process = "proc/self" if root == "/" else "proc/1"
        """Whose view of network and mounts is the machine's: in a container, that of the machine's first process."""

    def read(self, path: str, parse: Callable[[str], T], name: str = "") -> T | None:
        """What the file says; None when it cannot be read, which is noted under ``name`` or else the path."""
        try:
            return parse(self.kernel.text(path))
        except OSError as error:
            self.problems[name or path] = error.strerror or str(error)
        except (ValueError, LookupError, TypeError) as error:
            self.problems[name or path] = f"it does not say what was expected: {error}"
        return None

    def tcp(self) -> dict[str, int]:
        protocols = {
            **(self.read(f"{self.process}/net/snmp", parse_protocols) or {}),
            **(self.read(f"{self.process}/net/netstat", parse_protocols) or {}),
        }
        return {**protocols.get("Tcp", {}), **protocols.get("TcpExt", {})}

    def connections(self) -> Limit | None:
        folder = "proc/sys/net/netfilter"
        used = self.read(f"{folder}/nf_conntrack_count", int, folder)
        most = self.read(f"{folder}/nf_conntrack_max", int, folder)
        return Limit(used, most) if used is not None and most else None

    def tasks(self, load: Load | None) -> Limit | None:
        allowed = [self.read(f"proc/sys/kernel/{name}", int) for name in ("pid_max", "threads-max")]
        known = [number for number in allowed if number]
        return Limit(load.threads, min(known)) if load is not None and known else None

    def clock(self) -> ClockState | None:
        try:
            return read_clock()
        except OSError as error:
            self.problems["adjtimex"] = error.strerror or str(error)
        return None

    def links(self, interfaces: Iterable[str]) -> dict[str, Link]:
        return {name: self._link(f"sys/class/net/{name}") for name in interfaces if "/" not in name}

    def _link(self, folder: str) -> Link:
        """An interface's link; a driver that does not know answers with an error, which is no problem of ours."""
        try:
            state = self.kernel.text(f"{folder}/operstate").strip()
            switched_on = int(self.kernel.text(f"{folder}/flags"), 16) & 1
        except (OSError, ValueError):
            return Link()
        up = {"up": True, "down": False, "lowerlayerdown": False}.get(state) if switched_on else None
        try:
            megabits = self.kernel.number(f"{folder}/speed")
        except (OSError, ValueError, IndexError):
            megabits = -1
        return Link(up, megabits * 1_000_000 / 8 if megabits > 0 else None)


def _fstab(kernel: Kernel) -> dict[str, frozenset[str]]:
    """What is meant to be mounted; a machine may well have no such list."""
    try:
        return parse_fstab(kernel.text("etc/fstab"))
    except OSError:
        return {}
