"""Watches the machine itself: processors, memory, pressure, disks, network, limits and the clock.

Everything comes out of the kernel's own files. What is used up within a time (processor time, bytes on the network)
is the difference between this run and the one before, so the first run has none of it. What a machine does not have
or does not tell (no swap, a container, a sandbox) is absent, never 0.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import PrivateAttr

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.machine import Link, Reading, read_machine
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.procfs import CpuTimes, Interface, Mount
from wcr_watchd.kit.threads import StillBlockedError, Threads

LOCAL_FILE_SYSTEMS = frozenset({
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs", "nilfs2", "ntfs",
    "ntfs3", "reiserfs", "ubifs", "ufs", "vfat", "xfs", "zfs",
})  # fmt: skip
"""Types that hold data on this machine. Not: what the kernel makes up, memory, images that are always full, and
what is on other machines."""
FILES_OF_CONTAINERS = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
"""Single files that a container engine mounts from the host's disk."""
DISK_PATIENCE = 3.0
"""Seconds that a mounted file system has to say how full it is."""
DROP_WINDOW, DROP_LEAST = 600.0, 10_000
"""Dropped packets are judged over so many seconds, and by no fewer packets."""
UNUSED_INTERFACES = (
    "lo", "veth*", "docker*", "br-*", "virbr*", "cali*", "cni*", "flannel*", "dummy*", "ifb*", "tap*", "vnet*",
    "sit*", "tunl*", "gre*", "erspan*", "ip6tnl*", "ip6gre*", "ip_vti*", "ip6_vti*",
)  # fmt: skip


def _spec(name: str, unit: Unit, text: str, *labels: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, labels, counter)


def _about(topic: str, specs: Sequence[MeasurementSpec]) -> tuple[MeasurementSpec, ...]:
    return tuple(replace(spec, topic=topic) for spec in specs)


_CPU = (
    _spec("cpu_used", Unit.RATIO, "Share of all processors' time not spent idle"),
    _spec("cpu_iowait", Unit.RATIO, "Share of processor time idle while waiting for disks"),
    _spec("cpu_steal", Unit.RATIO, "Share of processor time the hypervisor gave to others"),
    _spec("cpu_core_used", Unit.RATIO, "Share of one processor's time not spent idle", "core"),
    _spec("cpu_core_max", Unit.RATIO, "Share of time not spent idle by the busiest processor"),
)
_LOAD = tuple(
    _spec(f"load{minutes}{suffix}", Unit.COUNT, f"Tasks running or waiting, mean of {minutes} min{text}")
    for suffix, text in (("", ""), ("_per_core", ", by processors (two at least)"))
    for minutes in (1, 5, 15)
)
_MEMORY = (
    _spec("memory_used", Unit.RATIO, "Share of memory that programs could not get"),
    _spec("memory_available", Unit.BYTES, "Memory that programs could get"),
    _spec("memory_size", Unit.BYTES, "Memory there is"),
    _spec("oom_kills", Unit.COUNT, "Programs killed for lack of memory", counter=True),
)
_SWAP = (
    _spec("swap_used", Unit.RATIO, "Share of swap space in use"),
    _spec("swap_out", Unit.BYTES_PER_SECOND, "Memory moved out to swap space"),
)
_PRESSURE = tuple(
    _spec(
        f"pressure_avg{seconds}",
        Unit.RATIO,
        f"Share of the last {seconds} s in which some or all tasks waited for cpu, memory or io",
        "resource",
        "kind",
    )
    for seconds in (60, 300)
)
_DISK = (
    _spec("disk_used", Unit.RATIO, "Share of a file system in use, as df tells it", "mount"),
    _spec("disk_free", Unit.BYTES, "Space that users can still fill", "mount"),
    _spec("disk_size", Unit.BYTES, "Size of a file system", "mount"),
    _spec("inodes_used", Unit.RATIO, "Share of a file system's inodes in use", "mount"),
    _spec("disk_read_only", Unit.COUNT, "1 when a file system that should be writable is not, else 0", "mount"),
    _spec("disk_unreachable", Unit.COUNT, "1 when a file system does not answer, else 0", "mount"),
)
_NETWORK = (
    _spec("network_received", Unit.BYTES_PER_SECOND, "Bytes received by an interface", "interface"),
    _spec("network_sent", Unit.BYTES_PER_SECOND, "Bytes sent by an interface", "interface"),
    _spec("network_used", Unit.RATIO, "Share of the link's speed in use, in the busier direction", "interface"),
    _spec("network_errors", Unit.COUNT, "Packets received or sent wrongly", "interface", counter=True),
    _spec("network_drops", Unit.COUNT, "Packets dropped by an interface", "interface", counter=True),
    _spec("network_dropped", Unit.RATIO, "Share of packets dropped in 10 min, of 10 000 at least", "interface"),
    _spec("link_up", Unit.COUNT, "1 while an interface that has been up has a link, else 0", "interface"),
    _spec("listen_overflows", Unit.COUNT, "Connections a server did not accept fast enough", counter=True),
    _spec("listen_drops", Unit.COUNT, "Connections dropped on listening sockets", counter=True),
    _spec("retransmits", Unit.COUNT, "TCP segments that were sent again", counter=True),
    _spec("conntrack_used", Unit.RATIO, "Share of the table of tracked connections in use"),
)
_FILES = (_spec("file_descriptors_used", Unit.RATIO, "Share of the open files that the kernel allows"),)
_PROCESSES = (
    _spec("tasks", Unit.COUNT, "Processes and threads there are"),
    _spec("tasks_used", Unit.RATIO, "Share of the processes and threads that the kernel allows"),
)
_CLOCK = (
    _spec("clock_synchronised", Unit.COUNT, "1 while a time service keeps the clock, else 0"),
    _spec("clock_offset", Unit.SECONDS, "What the clock is still being corrected by"),
)
_BOOT = (
    _spec("boot", Unit.TIMESTAMP, "When the machine was started"),
    _spec("uptime", Unit.SECONDS, "Time since the machine was started"),
)


class Host(Options):
    """Options of a check of the machine the daemon runs on; none is needed."""

    type: ClassVar[str] = "host"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 15.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'exclude_mounts = ["/media/*"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        *_about("cpu", _CPU),
        *_about("load", _LOAD),
        *_about("memory", _MEMORY),
        *_about("swap", _SWAP),
        *_about("pressure", _PRESSURE),
        *_about("disk", _DISK),
        *_about("network", _NETWORK),
        *_about("files", _FILES),
        *_about("processes", _PROCESSES),
        *_about("clock", _CLOCK),
        *_about("boot", _BOOT),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "avg(cpu_used, 10m) > 80% until avg(cpu_used, 10m) < 75%"),
        (Severity.CRITICAL, "avg(cpu_used, 10m) > 95% until avg(cpu_used, 10m) < 85%"),
        (Severity.WARNING, "avg(cpu_iowait, 10m) > 40% until avg(cpu_iowait, 10m) < 20%"),
        (Severity.WARNING, "avg(cpu_steal, 20m) > 10% until avg(cpu_steal, 20m) < 5%"),
        (
            Severity.WARNING,
            "load15_per_core > 2 or load5_per_core > 4 or load1_per_core > 8 "
            "until load15_per_core < 1.75 and load5_per_core < 3.5 and load1_per_core < 7",
        ),
        (Severity.WARNING, "memory_used > 85% for 5m until memory_used < 80% for 2m"),
        (Severity.CRITICAL, "memory_used > 95% for 2m until memory_used < 90% for 2m"),
        (Severity.WARNING, "increase(oom_kills, 30m) > 0"),
        (Severity.WARNING, "swap_used > 90% for 5m until swap_used < 80%"),
        (Severity.CRITICAL, "swap_used > 98% for 2m until swap_used < 90%"),
        (
            Severity.WARNING,
            'pressure_avg60{resource="memory", kind="full"} > 10% for 2m '
            'until pressure_avg60{resource="memory", kind="full"} < 5%',
        ),
        (
            Severity.WARNING,
            'pressure_avg300{resource="cpu", kind="some"} > 40% for 5m '
            'until pressure_avg300{resource="cpu", kind="some"} < 30%',
        ),
        (Severity.WARNING, "disk_used > 80% until disk_used < 78%"),
        (Severity.CRITICAL, "disk_used > 90% until disk_used < 88%"),
        (Severity.WARNING, "forecast(disk_used, 1d) > 100% and disk_used > 50% for 1h"),
        (Severity.CRITICAL, "forecast(disk_used, 4h) > 100% and disk_used > 70% for 10m"),
        (Severity.WARNING, "inodes_used > 90% until inodes_used < 80%"),
        (Severity.CRITICAL, "inodes_used > 98% until inodes_used < 90%"),
        (Severity.CRITICAL, "disk_read_only == 1"),
        (Severity.CRITICAL, "disk_unreachable == 1"),
        (Severity.WARNING, "avg(network_used, 1m) > 90% until avg(network_used, 1m) < 85%"),
        (Severity.WARNING, "network_dropped > 2% until network_dropped < 1%"),
        (Severity.WARNING, "increase(network_errors, 10m) >= 5"),
        (Severity.CRITICAL, "link_up == 0 for 1m"),
        (Severity.WARNING, "increase(listen_overflows, 1m) > 60 until increase(listen_overflows, 5m) < 60"),
        (Severity.CRITICAL, "increase(listen_overflows, 1m) > 300 until increase(listen_overflows, 5m) < 300"),
        (Severity.WARNING, "conntrack_used > 90% until conntrack_used < 85%"),
        (Severity.CRITICAL, "conntrack_used > 95% until conntrack_used < 90%"),
        (Severity.WARNING, "file_descriptors_used > 90% until file_descriptors_used < 85%"),
        (Severity.WARNING, "tasks_used > 90% until tasks_used < 85%"),
        (Severity.WARNING, "clock_synchronised == 0 for 17m"),
        (Severity.INFO, "uptime < 10m"),
    )

    include_mounts: tuple[str, ...] = ()
    """Mount points to watch whatever their type is, such as "/mnt/nas"; "*" stands for anything."""
    exclude_mounts: tuple[str, ...] = ()
    """Mount points not to watch."""
    include_interfaces: tuple[str, ...] = ()
    """Network interfaces to watch that usually are not: loopback, bridges, containers' ends, tunnels."""
    exclude_interfaces: tuple[str, ...] = ()
    """Network interfaces not to watch."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    _before: Reading | None = PrivateAttr(default=None)
    _drops: _DropWindow = PrivateAttr(default_factory=lambda: _DropWindow())
    _read_only_from_the_start: dict[str, bool] = PrivateAttr(default_factory=dict)
    _been_up: set[str] = PrivateAttr(default_factory=set)

    @property
    def target(self) -> str:
        """The machine's name."""
        return socket.gethostname()

    @property
    def _proc(self) -> str:
        return os.path.join(self.root, "proc")

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the kernel's files, compare them with the last run's, and ask every disk how full it is."""
        run.step = "reading the kernel's files"
        # A little before the run's own deadline: files that hang do not say that the machine is down.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                now = await run.shared.get(Threads).call(read_machine, self.root)
        except TimeoutError:
            return run.unknown("timeout", f"{self._proc} could not be read within {format_duration(patience)}")
        before, self._before = self._before, now
        if before is not None and (before.boot_id != now.boot_id or now.at <= before.at):
            before = None
        for path, problem in now.problems.items():
            run.missing(*((_FROM[path], f"{path}: {problem}") if path in _FROM else ((path,), problem)))
        _measure_processors(run, now, before)
        _measure_memory(run, now, before)
        _measure_limits(run, now)
        self._measure_network(run, now, before)
        fullest = await self._measure_disks(run, now)
        if now.stat is None and not now.memory:
            return run.unknown("missing", f"{self._proc} tells nothing of this machine: is it mounted?")
        return run.up(_summary(run, fullest))

    def _measure_network(self, run: Run, now: Reading, before: Reading | None) -> None:
        watched = {name: one for name, one in now.interfaces.items() if self._watches_interface(name)}
        ratios = self._drops.ratios(now.at, watched)
        for name, one in watched.items():
            run.measure("network_errors", one.received_errors + one.sent_errors, interface=name)
            run.measure("network_drops", one.received_drops + one.sent_drops, interface=name)
            if name in ratios:
                run.measure("network_dropped", ratios[name], interface=name)
            link = now.links.get(name, Link())
            if link.up:
                self._been_up.add(name)
            if link.up is not None and name in self._been_up:
                run.measure("link_up", link.up, interface=name)
            earlier = before.interfaces.get(name) if before else None
            if before and earlier:
                _measure_traffic(run, name, one, earlier, now.at - before.at, link.speed)

    def _watches_interface(self, name: str) -> bool:
        if _matches(name, self.exclude_interfaces):
            return False
        return _matches(name, self.include_interfaces) or not _matches(name, UNUSED_INTERFACES)

    async def _measure_disks(self, run: Run, now: Reading) -> tuple[str, float] | None:
        """Measure every disk, all at once; returns the fullest with its share in use."""
        run.step = "asking the file systems how full they are"
        disks = chosen_disks(now.mounts, self.include_mounts, self.exclude_mounts)
        for disk in disks:
            self._measure_read_only(run, disk, now.fstab.get(disk.point))
        spaces = await asyncio.gather(*(self._space(run, disk.point) for disk in disks))
        shares = [(disk.point, share) for disk, share in zip(disks, spaces, strict=True) if share is not None]
        return max(shares, key=lambda pair: pair[1], default=None)

    def _measure_read_only(self, run: Run, disk: Mount, wanted: frozenset[str] | None) -> None:
        """No verdict on a disk that is meant to be read-only: fstab says so, or does not know it and it always was."""
        if not disk.read_only:
            self._read_only_from_the_start[disk.point] = False
        meant = self._read_only_from_the_start.setdefault(disk.point, True) if wanted is None else "ro" in wanted
        if not (disk.read_only and meant):
            run.measure("disk_read_only", disk.read_only, mount=disk.point)

    async def _space(self, run: Run, point: str) -> float | None:
        path = os.path.join(self.root, point.lstrip("/"))
        try:
            async with asyncio.timeout(min(DISK_PATIENCE, run.remaining / 2)):
                space = await run.shared.get(Threads).run(f"{run.check}: disk {point}", _statvfs, path)
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            run.missing((f"disk {point}",), f"{path}: {error.strerror}")
            return None
        except (TimeoutError, StillBlockedError, OSError) as error:
            said = getattr(error, "strerror", None) or str(error) or f"no answer within {DISK_PATIENCE:g} s"
            run.measure("disk_unreachable", 1, mount=point)
            run.missing((f"disk {point}",), f"{path} does not answer: {said}")
            return None
        run.measure("disk_unreachable", 0, mount=point)
        return _measure_space(run, point, space)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_FROM: Mapping[str, tuple[str, ...]] = {
    "proc/stat": ("cpu_used", "cpu_iowait", "cpu_steal"),
    "proc/meminfo": ("memory_used", "memory_available", "swap_used"),
    "proc/vmstat": ("oom_kills", "swap_out"),
    "proc/loadavg": ("load1", "load5", "load15", "tasks"),
    "proc/uptime": ("uptime",),
    "proc/pressure/cpu": ("pressure of cpu",),
    "proc/pressure/memory": ("pressure of memory",),
    "proc/pressure/io": ("pressure of io",),
    "proc/sys/fs/file-nr": ("file_descriptors_used",),
    "proc/sys/kernel/pid_max": ("tasks_used",),
    "proc/sys/kernel/threads-max": ("tasks_used",),
    "proc/sys/net/netfilter": ("conntrack_used",),
    **dict.fromkeys(("proc/self/mountinfo", "proc/1/mountinfo"), ("all of disks",)),
    **dict.fromkeys(("proc/self/net/dev", "proc/1/net/dev"), ("all of interfaces",)),
    "adjtimex": ("clock_synchronised", "clock_offset"),
}
"""The measurements that are absent when the kernel does not tell something."""


# --- processors, memory, limits -----------------------------------------------------------------------------------


def _measure_processors(run: Run, now: Reading, before: Reading | None) -> None:
    if now.stat is not None and before is not None and before.stat is not None:
        whole = now.stat.cpu.since(before.stat.cpu)
        if whole.total:
            run.measure("cpu_used", _busy(whole))
            run.measure("cpu_iowait", whole.iowait / whole.total)
            run.measure("cpu_steal", whole.steal / whole.total)
        earlier = before.stat.cores
        cores = {core: times.since(earlier[core]) for core, times in now.stat.cores.items() if core in earlier}
        busy = {core: _busy(times) for core, times in cores.items() if times.total}
        for core, share in busy.items():
            run.measure("cpu_core_used", share, core=core)
        if busy:
            run.measure("cpu_core_max", max(busy.values()))
    elif now.stat is not None:
        run.missing([spec.name for spec in _CPU], "known from the second run on: it is the difference between two")
    if now.load is not None:
        cores_at_least = max(2, len(now.stat.cores) if now.stat else 1)
        for minutes, average in zip((1, 5, 15), now.load.averages, strict=True):
            run.measure(f"load{minutes}", average)
            run.measure(f"load{minutes}_per_core", average / cores_at_least)


def _busy(times: CpuTimes) -> float:
    return 1 - (times.idle + times.iowait) / times.total


def _measure_memory(run: Run, now: Reading, before: Reading | None) -> None:
    memory = now.memory
    size, available = memory.get("MemTotal"), memory.get("MemAvailable")
    if size and available is not None:
        run.measure_all({"memory_used": 1 - available / size, "memory_available": available, "memory_size": size})
    swap = memory.get("SwapTotal")
    if swap:
        run.measure("swap_used", 1 - memory.get("SwapFree", 0) / swap)
    if "oom_kill" in now.events:
        run.measure("oom_kills", now.events["oom_kill"])
    out = now.events.get("pswpout")
    if swap and out is not None and before is not None and out >= before.events.get("pswpout", out):
        pages = out - before.events.get("pswpout", out)
        run.measure("swap_out", pages * os.sysconf("SC_PAGESIZE") / (now.at - before.at))
    for resource, kinds in now.pressure.items():
        for kind, pressure in kinds.items():
            if (resource, kind) != ("cpu", "full"):  # has no meaning for the whole machine; the kernel always says 0
                run.measure("pressure_avg60", pressure.avg60, resource=resource, kind=kind)
                run.measure("pressure_avg300", pressure.avg300, resource=resource, kind=kind)


def _measure_limits(run: Run, now: Reading) -> None:
    for name, limit in (
        ("file_descriptors_used", now.files),
        ("conntrack_used", now.connections),
        ("tasks_used", now.tasks),
    ):
        if limit is not None:
            run.measure(name, limit.share)
    for name, counter in (
        ("listen_overflows", "ListenOverflows"),
        ("listen_drops", "ListenDrops"),
        ("retransmits", "RetransSegs"),
    ):
        if counter in now.tcp:
            run.measure(name, now.tcp[counter])
    run.measure_all(
        {
            "tasks": now.load.threads if now.load else None,
            "clock_synchronised": now.clock.synchronised if now.clock else None,
            "clock_offset": now.clock.offset if now.clock else None,
            "uptime": now.uptime,
            "boot": now.stat.boot if now.stat else None,
        }
    )


# --- network ------------------------------------------------------------------------------------------------------


def _measure_traffic(
    run: Run, name: str, now: Interface, before: Interface, seconds: float, speed: float | None
) -> None:
    received, sent = now.received_bytes - before.received_bytes, now.sent_bytes - before.sent_bytes
    if received < 0 or sent < 0:
        return  # the interface was made anew in between
    run.measure("network_received", received / seconds, interface=name)
    run.measure("network_sent", sent / seconds, interface=name)
    if speed:
        run.measure("network_used", max(received, sent) / seconds / speed, interface=name)


class _DropWindow:
    """Packets and dropped packets of every interface over the last minutes."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, dict[str, tuple[int, int]]]] = []

    def ratios(self, at: float, interfaces: Mapping[str, Interface]) -> dict[str, float]:
        """Share of packets dropped within the window, for interfaces that had enough to say."""
        now = {
            name: (
                one.received_packets + one.sent_packets + one.received_drops + one.sent_drops,
                one.received_drops + one.sent_drops,
            )
            for name, one in interfaces.items()
        }
        self._seen = [(moment, seen) for moment, seen in self._seen if moment >= at - DROP_WINDOW]
        first = self._seen[0][1] if self._seen else {}
        self._seen.append((at, now))
        found = {}
        for name, (packets, drops) in now.items():
            earlier, dropped = first.get(name, (packets, drops))
            if packets - earlier >= DROP_LEAST and drops >= dropped:
                found[name] = (drops - dropped) / (packets - earlier)
        return found


# --- disks --------------------------------------------------------------------------------------------------------


def chosen_disks(mounts: Sequence[Mount], include: Sequence[str], exclude: Sequence[str]) -> list[Mount]:
    """The mounts to watch: each local file system once, at its shortest mount point, and those asked for."""
    visible = {mount.point: mount for mount in mounts}
    by_device: dict[str, Mount] = {}
    asked: list[Mount] = []
    for mount in sorted(visible.values(), key=lambda mount: (len(mount.point), mount.point)):
        if _matches(mount.point, exclude):
            continue
        if _matches(mount.point, include):
            asked.append(mount)
        elif _holds_data(mount) and mount.point not in FILES_OF_CONTAINERS:
            by_device.setdefault(mount.device, mount)
    return asked + [mount for device, mount in by_device.items() if device not in {one.device for one in asked}]


def _holds_data(mount: Mount) -> bool:
    return mount.type in LOCAL_FILE_SYSTEMS or (mount.point == "/" and mount.type == "overlay")


def _statvfs(path: str) -> os.statvfs_result:
    """How full the file system of a folder is; may hang for as long as what holds it does."""
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(20, "a single file is mounted there, not a file system")
    return os.statvfs(path)


def _measure_space(run: Run, point: str, space: os.statvfs_result) -> float | None:
    """Space as df(1) tells it: what is reserved for root counts neither as used nor as free."""
    used = space.f_blocks - space.f_bfree
    whole = used + space.f_bavail
    if space.f_files:
        run.measure("inodes_used", (space.f_files - space.f_ffree) / space.f_files, mount=point)
    if not whole:
        return None
    run.measure("disk_used", used / whole, mount=point)
    run.measure("disk_free", space.f_bavail * space.f_frsize, mount=point)
    run.measure("disk_size", space.f_blocks * space.f_frsize, mount=point)
    return used / whole


def _summary(run: Run, fullest: tuple[str, float] | None) -> str:
    values = {one.name: one.value for one in run.measurements if not one.labels}
    said = [
        f"{word} {values[name]:.0%}"
        for name, word in (("cpu_used", "CPU"), ("memory_used", "memory"))
        if name in values
    ]
    if fullest is not None:
        said.append(f"fullest disk {fullest[0]} {fullest[1]:.0%}")
    return ", ".join(said).replace("%", " %") or "this machine tells little about itself"
