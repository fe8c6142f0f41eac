"""What the Linux kernel tells in files under /proc and /sys: a reader that bounds and forgives, parsers that are pure.

Formats: proc(5), ``Documentation/filesystems/proc.rst``, ``Documentation/accounting/psi.rst`` and
``Documentation/ABI/testing/sysfs-class-net`` of the kernel. A parser raises ``ValueError`` for a text that is not
what it should be; what a text does not hold is left out of the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes read of one file; /proc/stat of a machine with a thousand cores and interrupts has a tenth of that."""
_PIECE = 64 * 1024


class Kernel:
    """Reads the kernel's files below ``root``: ``/``, or where a container sees the host's file system."""

    def __init__(self, root: str = "/") -> None:
        self._root = Path(root)

    def text(self, path: str) -> str:
        """Content of a file such as ``proc/stat``; ``OSError`` when it is absent, forbidden or not supported.

        Bytes that are no UTF-8 (in a mount point, say) are replaced, so that the text can be shown and stored.
        """
        content = bytearray()
        with (self._root / path).open("rb", buffering=0) as file:
            # In pieces: the kernel sets memory aside for as much as is asked for, and refuses megabytes.
            while len(content) < LARGEST_FILE and (piece := file.read(_PIECE)):
                content += piece
        return content.decode("utf-8", "replace")

    def number(self, path: str) -> int:
        """The number that a file such as ``proc/sys/kernel/pid_max`` holds; ``OSError`` or ``ValueError``."""
        return int(self.text(path).split()[0])


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds-like ticks that processors spent since boot, by what on; guest time is part of user time (proc(5))."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int

    @property
    def total(self) -> int:
        """All ticks."""
        return sum(getattr(self, field.name) for field in fields(self))

    def since(self, before: CpuTimes) -> CpuTimes:
        """Ticks since an earlier reading; the kernel lets idle and iowait step back a little, which counts as none."""
        return CpuTimes(
            *(max(0, getattr(self, field.name) - getattr(before, field.name)) for field in fields(CpuTimes))
        )


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/stat tells: all processors together, each by its number, and when the system booted (epoch)."""

    cpu: CpuTimes
    cores: Mapping[str, CpuTimes]
    boot: float | None


def parse_stat(text: str) -> Stat:
    """Read /proc/stat."""
    times: dict[str, CpuTimes] = {}
    boot = None
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name == "btime":
            boot = float(rest)
        elif name.startswith("cpu"):
            numbers = [int(word) for word in rest.split()][:8]
            times[name.removeprefix("cpu")] = CpuTimes(*numbers, *([0] * (8 - len(numbers))))
    if "" not in times:
        raise ValueError("/proc/stat has no line of all processors")
    return Stat(times.pop(""), times, boot)


def parse_sizes(text: str) -> dict[str, int]:
    """Read /proc/meminfo: bytes by name (``MemAvailable``); lines without a unit are counts."""
    sizes = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and words and words[0].isdigit():
            sizes[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return sizes


def parse_counts(text: str) -> dict[str, int]:
    """Read /proc/vmstat: a number by name."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def parse_protocols(text: str) -> dict[str, dict[str, int]]:
    """Read /proc/net/netstat or /proc/net/snmp: counters by name, by protocol (``TcpExt``, ``Tcp``)."""
    found: dict[str, dict[str, int]] = {}
    lines = text.splitlines()
    for head, values in zip(lines[::2], lines[1::2], strict=False):
        protocol, _, names = head.partition(":")
        same, _, numbers = values.partition(":")
        if protocol != same:
            raise ValueError(f"the names of {protocol} are followed by the numbers of {same}")
        found[protocol] = {name: int(number) for name, number in zip(names.split(), numbers.split(), strict=False)}
    return found


@dataclass(frozen=True, slots=True)
class Pressure:
    """Share of time (0-1) in which some or all tasks waited for a resource, over the last 60 and 300 seconds."""

    avg60: float
    avg300: float


def parse_pressure(text: str) -> dict[str, Pressure]:
    """Read /proc/pressure/cpu, memory or io: pressure by kind, ``some`` and ``full``."""
    found = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        found[kind] = Pressure(float(values["avg60"]) / 100, float(values["avg300"]) / 100)
    return found


@dataclass(frozen=True, slots=True)
class Load:
    """Load averages over 1, 5 and 15 minutes, and how many threads there are (kernel and user)."""

    averages: tuple[float, float, float]
    threads: int


def parse_load(text: str) -> Load:
    """Read /proc/loadavg."""
    words = text.split()
    if len(words) < 4 or "/" not in words[3]:
        raise ValueError("/proc/loadavg does not hold three averages and the number of threads")
    return Load((float(words[0]), float(words[1]), float(words[2])), int(words[3].split("/")[1]))


@dataclass(frozen=True, slots=True)
class Interface:
    """What a network interface counted since it came to be."""

    received_bytes: int
    received_packets: int
    received_errors: int
    received_drops: int
    sent_bytes: int
    sent_packets: int
    sent_errors: int
    sent_drops: int


def parse_interfaces(text: str) -> dict[str, Interface]:
    """Read /proc/net/dev: counters by interface."""
    found = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.rpartition(":")
        numbers = [int(word) for word in rest.split()]
        if colon and len(numbers) >= 16:
            found[name.strip()] = Interface(*numbers[0:4], *numbers[8:12])
    return found


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system: device number, folder inside it that is shown, mount point, type, device.

    ``read_only`` is a property of the file system, as when the kernel stopped writing after an error; that only this
    mount of it is read-only (a sandbox, a bind mount) does not count.
    """

    device: str
    root: str
    point: str
    type: str
    source: str
    read_only: bool


def parse_mounts(text: str) -> list[Mount]:
    """Read /proc/self/mountinfo (proc(5)), in its order; a later mount hides an earlier one on the same point."""
    return list(_mounts(text))


def _mounts(text: str) -> Iterator[Mount]:
    for line in text.splitlines():
        front, dash, back = line.partition(" - ")
        before, after = front.split(" "), back.split(" ")
        if not dash or len(before) < 6 or len(after) < 2:
            raise ValueError(f"not a line of mountinfo: {line[:100]!r}")
        options = after[2].split(",") if len(after) > 2 else []
        yield Mount(
            before[2], _plain(before[3]), _plain(before[4]), after[0], _plain(after[1]), read_only="ro" in options
        )


def parse_fstab(text: str) -> dict[str, frozenset[str]]:
    """Read /etc/fstab (fstab(5)): the options by mount point."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and not words[0].startswith("#"):
            found[_plain(words[1])] = frozenset(words[3].split(",")) if len(words) > 3 else frozenset()
    return found


def _plain(text: str) -> str:
    r"""Undo the kernel's escapes of space, tab, newline and backslash, such as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
