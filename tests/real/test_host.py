"""The host probe on this machine, on file systems that are full, read-only or hang, and on recorded machines."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import PATIENCE, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.kit.clock import ClockState
from wcr_watchd.kit.procfs import Mount
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.host import Host, chosen_disks

Look = Callable[..., Any]


@pytest.fixture
def look(shared: SharedHelpers) -> Look:
    """``await look(probe)`` carries one run of it out."""

    async def once(probe: Host, timeout: float = PATIENCE) -> Observation:
        return await carry_out(probe, new_run(shared, timeout))

    return once


# --- this machine -----------------------------------------------------------------------------------------------------


async def test_this_machine(look: Look) -> None:
    probe = probe_of("host", {})
    first = await look(probe)
    assert first.outcome is Outcome.UP, first.summary
    assert "cpu_used" not in names(first), "one reading says nothing about a span of time"
    assert "cpu_used" in first.evidence["absent"]
    assert "memory" in first.summary
    deadline = time.monotonic() + 20
    second = await look(probe)
    while not {"cpu_used", "cpu_core_max"} <= names(second):  # until the kernel has counted a tick
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
        second = await look(probe)
    assert second.summary.startswith("CPU ")
    for name in ("cpu_used", "cpu_iowait", "cpu_steal", "cpu_core_max", "memory_used", "tasks_used"):
        assert 0 <= measured(second, name) <= 1, name
    assert measured(second, "cpu_core_max") == max(
        one.value for one in second.measurements if one.name == "cpu_core_used"
    )
    assert measured(second, "boot") + measured(second, "uptime") == pytest.approx(time.time(), abs=5)


async def test_a_busy_processor_shows(look: Look) -> None:
    probe = probe_of("host", {})
    await look(probe)
    subprocess.run(["timeout", "1", "sh", "-c", "while :; do :; done"], check=False)
    assert measured(await look(probe), "cpu_core_max") > 0.5


async def test_disks_are_as_df_tells(look: Look) -> None:
    seen = await look(probe_of("host", {"include_mounts": ["/"]}))
    told = subprocess.run(["df", "-P", "-B1", "/"], capture_output=True, text=True, check=True).stdout.split("\n")[1]
    size, used, free = (int(word) for word in told.split()[1:4])
    assert measured(seen, "disk_size", mount="/") == size
    assert measured(seen, "disk_free", mount="/") == pytest.approx(free, rel=0.01)
    assert measured(seen, "disk_used", mount="/") == pytest.approx(used / (used + free), abs=0.005)
    assert measured(seen, "disk_unreachable", mount="/") == 0


# --- real file systems in trouble -------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """``mount(type, options)`` mounts a file system of its own and returns where; root alone may do that."""
    assert os.geteuid() == 0, "these tests mount file systems, which needs root"
    points: list[Path] = []

    def new(kind: str, options: str) -> Path:
        point = tmp_path / f"mount {len(points)}"
        point.mkdir()
        points.append(point)
        subprocess.run(["mount", "-t", kind, "-o", options, kind, str(point)], check=True, timeout=30)
        return point

    yield new
    for point in points:
        subprocess.run(["umount", "-l", str(point)], check=True, timeout=30)


async def test_a_full_disk(look: Look, mount: Callable[..., Path]) -> None:
    point = mount("tmpfs", "size=2m,nr_inodes=10")
    probe = probe_of("host", {"include_mounts": [str(point)]})
    assert measured(await look(probe), "disk_used", mount=str(point)) == 0
    (point / "file").write_bytes(b"x" * 2 * 1024 * 1024)
    full = await look(probe)
    assert measured(full, "disk_used", mount=str(point)) == 1
    assert measured(full, "disk_free", mount=str(point)) == 0
    assert measured(full, "inodes_used", mount=str(point)) == pytest.approx(0.2)
    assert f"fullest disk {point} 100 %" in full.summary
    assert fires(probe, full) >= {(Severity.WARNING, "disk"), (Severity.CRITICAL, "disk")}


async def test_a_disk_that_becomes_read_only(look: Look, mount: Callable[..., Path]) -> None:
    point, always = mount("tmpfs", "size=1m"), mount("tmpfs", "size=1m,ro")
    probe = probe_of("host", {"include_mounts": [str(point), str(always)]})
    before = await look(probe)
    assert measured(before, "disk_read_only", mount=str(point)) == 0
    assert ("disk_read_only", (("mount", str(always)),)) not in {(m.name, m.labels) for m in before.measurements}
    subprocess.run(["mount", "-o", "remount,ro", str(point)], check=True)
    after = await look(probe)
    assert measured(after, "disk_read_only", mount=str(point)) == 1
    assert (Severity.CRITICAL, "disk") in fires(probe, after)


@pytest.fixture
def dead_mount(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system whose server never answers: asking it anything hangs, as with a dead NFS server."""
    library = ctypes.CDLL(None, use_errno=True)
    point = tmp_path / "dead"
    point.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    done = library.mount(b"dead", str(point).encode(), b"fuse", 0, options.encode())
    assert done == 0, os.strerror(ctypes.get_errno())
    yield point
    os.close(server)
    subprocess.run(["umount", "-l", str(point)], check=True, timeout=30)


async def test_a_disk_that_hangs_harms_itself_only(
    look: Look, dead_mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcr_watchd.probes.host.DISK_PATIENCE", 0.2)
    probe = probe_of("host", {"include_mounts": [str(dead_mount), "/"]})
    seen = await look(probe)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "disk_unreachable", mount=str(dead_mount)) == 1
    assert measured(seen, "disk_unreachable", mount="/") == 0
    assert measured(seen, "disk_used", mount="/") > 0
    assert ("disk_used", (("mount", str(dead_mount)),)) not in {(m.name, m.labels) for m in seen.measurements}
    assert "does not answer" in seen.evidence["absent"]
    again = await look(probe)
    assert "the attempt before this one still hangs" in again.evidence["absent"], "no second thread is spent on it"
    assert (Severity.CRITICAL, "disk") in fires(probe, again)


def test_mounts_in_trouble_do_not_hide_in_one_another() -> None:
    def at(device: str, point: str, kind: str, root: str = "/") -> Mount:
        return Mount(device, root, point, kind, "source", read_only=False)

    mounts = [
        at("8:1", "/", "ext4"),
        at("8:1", "/srv/bind", "ext4", "/other"),
        at("0:5", "/proc", "proc"),
        at("0:6", "/run", "tmpfs"),
        at("7:0", "/snap/core/1", "squashfs"),
        at("0:7", "/mnt/nas", "nfs4"),
        at("8:2", "/home", "xfs"),
        at("0:8", "/home", "tmpfs"),
        at("8:3", "/etc/hosts", "ext4"),
        at("8:4", "/media/stick", "vfat"),
    ]

    def points(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
        return [mount.point for mount in chosen_disks(mounts, include, exclude)]

    assert points() == ["/", "/media/stick"], "/home is hidden by what is mounted over it"
    assert points(("/mnt/*",), ("/media/*",)) == ["/mnt/nas", "/"]
    assert points(("/srv/bind",)) == ["/srv/bind", "/media/stick"], "one disk is watched once"
    assert [m.point for m in chosen_disks([at("0:9", "/", "overlay")], (), ())] == ["/"], "a container's own disk"


# --- recorded machines ------------------------------------------------------------------------------------------------


class Machine:
    """Files as the kernel shows them, in a folder; ``probe`` looks at them instead of at this machine."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._now = 1000.0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr("wcr_watchd.kit.machine.time.monotonic", lambda: self._now)
        self.clock(ClockState(synchronised=True, offset=0.001, error=0.02))
        self.write("proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\nbtime 1000000\n")
        self.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 100 kB\nSwapFree: 25 kB\n")
        self.write("proc/vmstat", "pswpout 10\noom_kill 2\n")
        self.write("proc/loadavg", "3.00 2.00 1.00 5/400 99\n")
        self.write("proc/sys/kernel/pid_max", "1000\n")
        self.write("proc/sys/kernel/threads-max", "500\n")
        self.write("proc/sys/kernel/random/boot_id", "one\n")
        self.traffic(eth0=(0, 0, 0, 0))
        self.link("eth0", "up", speed="100")

    def write(self, path: str, text: str) -> None:
        """Write one of the kernel's files."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def link(self, name: str, state: str, *, speed: str = "-1", flags: str = "0x1003") -> None:
        """Say how an interface's link is."""
        for file, text in (("operstate", state), ("speed", speed), ("flags", flags)):
            self.write(f"sys/class/net/{name}/{file}", text + "\n")

    def traffic(self, **interfaces: tuple[int, int, int, int]) -> None:
        """Say what interfaces counted: bytes received, packets received, errors, drops."""
        lines = [f"{name}: {b} {p} {e} {d} 0 0 0 0 {b} 0 0 0 0 0 0 0" for name, (b, p, e, d) in interfaces.items()]
        self.write("proc/1/net/dev", "\n".join(("Inter-|", " face |", *lines)) + "\n")

    def clock(self, state: ClockState | OSError) -> None:
        """Say what the kernel answers when it is asked about the clock."""

        def answer() -> ClockState:
            if isinstance(state, OSError):
                raise state
            return state

        self._monkeypatch.setattr("wcr_watchd.kit.machine.read_clock", answer)

    def later(self, seconds: float) -> None:
        """Let time go by."""
        self._now += seconds

    def probe(self, **options: object) -> Host:
        """A host check of this machine."""
        probe: Host = probe_of("host", {"root": str(self.root), **options})
        return probe


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A recorded machine."""
    return Machine(tmp_path, monkeypatch)


async def test_what_is_used_within_a_time(look: Look, machine: Machine) -> None:
    probe = machine.probe()
    await look(probe)
    machine.later(10)
    machine.write("proc/stat", "cpu  160 0 100 820 10 0 0 10 0 0\ncpu0 160 0 100 820 10 0 0 10 0 0\nbtime 1000000\n")
    machine.write("proc/vmstat", "pswpout 20\noom_kill 3\n")
    machine.traffic(eth0=(50_000_000, 10, 1, 0))
    seen = await look(probe)
    assert seen.summary == "CPU 70 %, memory 60 %"
    assert measured(seen, "cpu_used") == pytest.approx(0.7)
    assert measured(seen, "cpu_iowait") == pytest.approx(0.1)
    assert measured(seen, "cpu_steal") == pytest.approx(0.1)
    assert measured(seen, "cpu_core_used", core="0") == measured(seen, "cpu_core_max") == pytest.approx(0.7)
    assert measured(seen, "swap_out") == pytest.approx(10 * os.sysconf("SC_PAGESIZE") / 10)
    assert measured(seen, "swap_used") == pytest.approx(0.75)
    assert measured(seen, "oom_kills") == 3
    assert measured(seen, "load1_per_core") == pytest.approx(1.5), "one processor counts as two"
    assert measured(seen, "tasks_used") == pytest.approx(400 / 500)
    assert measured(seen, "network_received", interface="eth0") == pytest.approx(5_000_000)
    assert measured(seen, "network_used", interface="eth0") == pytest.approx(0.4), "of 100 Mbit/s"
    assert measured(seen, "network_errors", interface="eth0") == 1


async def test_a_restart_in_between_is_no_difference(look: Look, machine: Machine) -> None:
    probe = machine.probe()
    await look(probe)
    machine.later(10)
    machine.write("proc/sys/kernel/random/boot_id", "two\n")
    machine.write("proc/stat", "cpu  900 0 100 900 0 0 0 0 0 0\ncpu0 900 0 100 900 0 0 0 0 0 0\nbtime 1000000\n")
    machine.traffic(eth0=(50_000_000, 10, 1, 0))
    seen = await look(probe)
    assert not {"cpu_used", "cpu_core_used", "network_received", "swap_out"} & names(seen)


async def test_an_interface_made_anew_is_no_difference(look: Look, machine: Machine) -> None:
    probe = machine.probe()
    machine.traffic(eth0=(1000, 20_000, 0, 900))
    await look(probe)
    machine.later(10)
    machine.traffic(eth0=(10, 10, 0, 0))
    assert not {"network_received", "network_used", "network_dropped"} & names(await look(probe))


async def test_dropped_packets_are_judged_over_minutes_and_many_packets(look: Look, machine: Machine) -> None:
    probe = machine.probe()
    ratios = []
    for step in range(60):
        machine.traffic(eth0=(0, 900 * step, 0, 100 * step if step < 10 else 1000))
        seen = await look(probe)
        ratios.append(measured(seen, "network_dropped", interface="eth0") if "network_dropped" in names(seen) else None)
        machine.later(15)
    assert ratios[9] is None, "9 000 packets are too few"
    assert ratios[12] == pytest.approx(1000 / (900 * 12 + 1000))
    assert ratios[59] == 0, "what was dropped more than ten minutes ago counts no more"


async def test_a_link_counts_once_it_has_been_up(look: Look, machine: Machine) -> None:
    probe = machine.probe()
    machine.traffic(eth0=(0, 0, 0, 0), eth1=(0, 0, 0, 0), veth7=(0, 0, 0, 0))
    machine.link("eth1", "down")
    seen = await look(probe)
    assert measured(seen, "link_up", interface="eth0") == 1
    watched = {
        dict(one.labels)["interface"] for one in seen.measurements if one.labels and one.name == "network_errors"
    }
    assert watched == {"eth0", "eth1"}, "containers' ends are not watched"
    assert "eth1" not in {dict(one.labels).get("interface") for one in seen.measurements if one.name == "link_up"}
    machine.link("eth0", "down")
    assert measured(await look(probe), "link_up", interface="eth0") == 0
    machine.link("eth0", "down", flags="0x1002")
    assert "link_up" not in names(await look(probe)), "somebody switched it off"
    included = await look(machine.probe(include_interfaces=["veth*"], exclude_interfaces=["eth1"]))
    watched = {dict(one.labels)["interface"] for one in included.measurements if one.name == "network_errors"}
    assert watched == {"eth0", "veth7"}


async def test_what_a_machine_does_not_tell_is_absent(look: Look, machine: Machine) -> None:
    machine.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    machine.write(
        "proc/pressure/cpu", "some avg10=0 avg60=50.00 avg300=25.00 total=1\nfull avg10=0 avg60=0 avg300=0 total=0\n"
    )
    machine.write("proc/pressure/io", "nonsense\n")
    (machine.root / "proc/vmstat").unlink()
    (machine.root / "proc/sys/kernel/pid_max").unlink()
    seen = await look(machine.probe())
    assert seen.outcome is Outcome.UP
    absent = {"memory_used", "swap_used", "swap_out", "oom_kills", "conntrack_used", "file_descriptors_used", "uptime"}
    assert not absent & names(seen)
    assert measured(seen, "tasks_used") == 400 / 500, "the limit that is told"
    for word in ("oom_kills", "conntrack_used", "file_descriptors_used", "pressure of memory", "pressure of io"):
        assert word in seen.evidence["absent"]
    pressures = {
        (dict(one.labels)["resource"], dict(one.labels)["kind"]): one.value
        for one in seen.measurements
        if one.name == "pressure_avg60"
    }
    assert pressures == {("cpu", "some"): 0.5}, "full has no meaning for all processors together"


async def test_the_clock(look: Look, machine: Machine) -> None:
    kept = await look(machine.probe())
    assert (measured(kept, "clock_synchronised"), measured(kept, "clock_offset")) == (1, 0.001)
    machine.clock(ClockState(synchronised=False, offset=0.0, error=16.0))
    probe = machine.probe()
    assert fires(probe, await look(probe)) == {(Severity.WARNING, "clock")}
    machine.clock(PermissionError(1, "Operation not permitted"))
    forbidden = await look(probe)
    assert "clock_synchronised" not in names(forbidden)
    assert "clock_synchronised, clock_offset: adjtimex: Operation not permitted" in forbidden.evidence["absent"]


async def test_a_machine_that_tells_nothing_is_unknown(look: Look, tmp_path: Path) -> None:
    seen = await look(probe_of("host", {"root": str(tmp_path)}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert f"{tmp_path}/proc tells nothing" in seen.summary


async def test_a_machine_whose_files_hang_is_unknown(look: Look, tmp_path: Path) -> None:
    silent = tmp_path / "proc" / "loadavg"
    silent.parent.mkdir()
    os.mkfifo(silent)
    seen = await look(probe_of("host", {"root": str(tmp_path)}), timeout=0.2)
    silent.open("wb").close()  # lets the reading thread go
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")


async def test_a_disk_that_fstab_wants_writable_is_read_only_from_the_first_run_on(
    look: Look, machine: Machine
) -> None:
    machine.write("etc/fstab", "UUID=1 / ext4 errors=remount-ro 0 1\nUUID=2 /cd ext4 ro 0 0\n")
    line = "{number} 1 8:{number} / {point} rw - ext4 /dev/sd{number} ro\n"
    mounts = [line.format(number=number, point=point) for number, point in enumerate(("/", "/cd", "/unknown"))]
    machine.write("proc/1/mountinfo", "".join(mounts))
    for name in ("cd", "unknown"):
        (machine.root / name).mkdir()
    seen = await look(machine.probe())
    verdicts = {dict(one.labels)["mount"]: one.value for one in seen.measurements if one.name == "disk_read_only"}
    assert verdicts == {"/": 1}


async def test_the_rules_of_a_host_fire_by_what_is_measured(look: Look, machine: Machine) -> None:
    quiet = machine.probe()
    assert fires(quiet, await look(quiet)) == set()
    machine.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 10 kB\nSwapTotal: 100 kB\nSwapFree: 1 kB\n")
    machine.write("proc/loadavg", "30.00 20.00 10.00 499/499 99\n")
    seen = await look(machine.probe())
    assert fires(quiet, seen) == {
        (Severity.WARNING, "memory"),
        (Severity.CRITICAL, "memory"),
        (Severity.WARNING, "swap"),
        (Severity.CRITICAL, "swap"),
        (Severity.WARNING, "load"),
        (Severity.WARNING, "processes"),
    }


def fires(probe: Host, seen: Observation) -> set[tuple[Severity, str]]:
    """Severity and topic of the default rules that fire when things stay as they are for half an hour."""
    found = set()
    for severity, text in probe.default_rules:
        rule = parse_rule(text, severity, probe.specs())
        state, history = RuleState(), History()
        for minute in range(31):
            now = Observation(
                seen.check, seen.location, minute * 60.0, 0, seen.outcome, seen.reason, seen.summary, seen.measurements
            )
            history = remember(history, [rule], now)
            state = evaluate(rule, state, history, now, 2)
        if any(instance.verdict is Verdict.FIRING for _, instance in state.instances):
            found.add((severity, rule.topic))
    return found
