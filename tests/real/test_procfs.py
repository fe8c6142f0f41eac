"""The readings of the kernel's files, on texts recorded from machines of several kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wcr_watchd.kit.procfs import (
    CpuTimes,
    Interface,
    Kernel,
    Pressure,
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

STAT = """\
cpu  118787 160 23214 926192 2751 0 517 608 7000 0
cpu0 50425 67 11406 473147 546 0 189 293 7000 0
cpu2 68361 92 11807 453044 2204 0 328 314 0 0
intr 1657551 0 0 0
ctxt 5553711
btime 1795444400
processes 34067
"""

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 254:16 / /srv/my\\040data rw,relatime shared:7 master:2 - xfs /dev/vdb ro,attr2
31 27 254:0 /etc/hosts /etc/hosts ro - ext4 /dev/vda rw,discard
32 27 0:45 / /mnt/nas rw - nfs4 nas:/export rw,vers=4.2
33 27 0:46 / /none rw -  none
"""


def test_processor_times() -> None:
    stat = parse_stat(STAT)
    assert stat.cpu.total == 118787 + 160 + 23214 + 926192 + 2751 + 517 + 608, "guest time is in user time already"
    assert list(stat.cores) == ["0", "2"], "a processor may be offline"
    assert stat.boot == 1795444400
    later = CpuTimes(118887, 160, 23314, 926100, 2851, 0, 517, 708)
    assert later.since(stat.cpu) == CpuTimes(100, 0, 100, 0, 100, 0, 0, 100), "idle stepped back"


def test_processor_times_of_an_old_kernel() -> None:
    assert parse_stat("cpu  1 2 3 4\n").cpu == CpuTimes(1, 2, 3, 4, 0, 0, 0, 0)


def test_memory() -> None:
    sizes = parse_sizes("MemTotal:       24684084 kB\nActive(anon):       2228 kB\nHugePages_Total:       3\nodd\n")
    assert sizes == {"MemTotal": 24684084 * 1024, "Active(anon)": 2228 * 1024, "HugePages_Total": 3}


def test_counts() -> None:
    assert parse_counts("pswpout 12\noom_kill 3\n") == {"pswpout": 12, "oom_kill": 3}


def test_protocols() -> None:
    text = "TcpExt: ListenOverflows ListenDrops\nTcpExt: 4 5\nIpExt: InOctets\nIpExt: 332986467\n"
    assert parse_protocols(text) == {
        "TcpExt": {"ListenOverflows": 4, "ListenDrops": 5},
        "IpExt": {"InOctets": 332986467},
    }
    snmp = "Tcp: RtoAlgorithm MaxConn OutSegs RetransSegs\nTcp: 1 -1 200 7\n"
    assert parse_protocols(snmp)["Tcp"] == {"RtoAlgorithm": 1, "MaxConn": -1, "OutSegs": 200, "RetransSegs": 7}
    with pytest.raises(ValueError, match="TcpExt"):
        parse_protocols("TcpExt: A\nIpExt: 1\n")


def test_pressure() -> None:
    text = (
        "some avg10=12.82 avg60=15.29 avg300=9.89 total=124522364\nfull avg10=0.00 avg60=0.55 avg300=1.00 total=181\n"
    )
    found = parse_pressure(text)
    assert set(found) == {"some", "full"}
    assert found["some"].avg60 == pytest.approx(0.1529)
    assert found["full"] == Pressure(pytest.approx(0.0055), pytest.approx(0.01))


def test_load() -> None:
    load = parse_load("2.40 1.53 1.05 2/246 1593\n")
    assert (load.averages, load.threads) == ((2.40, 1.53, 1.05), 246)
    with pytest.raises(ValueError, match="loadavg"):
        parse_load("2.40")


def test_interfaces() -> None:
    text = """\
Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 9698078762  370617    0    0    0     0          0         0 9698078762  370617  0   0   0    0    0     0
eth0:1:303788965    9002    1    2    0     0          0         0   560542    5396    3    4    0     0    0    0
"""
    found = parse_interfaces(text)
    assert found["eth0:1"] == Interface(303788965, 9002, 1, 2, 560542, 5396, 3, 4), "no space after the colon"
    assert found["lo"].sent_packets == 370617


def test_mounts() -> None:
    mounts = {mount.point: mount for mount in parse_mounts(MOUNTINFO)}
    assert mounts["/srv/my data"].read_only, "the file system itself is read-only"
    assert mounts["/srv/my data"].device == "254:16"
    hosts = mounts["/etc/hosts"]
    assert (hosts.root, hosts.type, hosts.source, hosts.read_only) == ("/etc/hosts", "ext4", "/dev/vda", False)
    assert mounts["/none"].type == ""
    with pytest.raises(ValueError, match="mountinfo"):
        parse_mounts("nonsense\n")


def test_fstab() -> None:
    text = "# <what>\n\nUUID=1 / ext4 errors=remount-ro 0 1\n/dev/sr0 /media/my\\040cd udf ro,noauto 0 0\nx /y z\n"
    assert parse_fstab(text) == {
        "/": frozenset({"errors=remount-ro"}),
        "/media/my cd": frozenset({"ro", "noauto"}),
        "/y": frozenset(),
    }


def test_what_this_kernel_says_can_be_read() -> None:
    kernel = Kernel()
    assert parse_stat(kernel.text("proc/stat")).cpu.total > 0
    assert parse_sizes(kernel.text("proc/meminfo"))["MemTotal"] > 0
    assert "oom_kill" in parse_counts(kernel.text("proc/vmstat"))
    assert "ListenOverflows" in parse_protocols(kernel.text("proc/net/netstat"))["TcpExt"]
    assert "lo" in parse_interfaces(kernel.text("proc/net/dev"))
    assert parse_load(kernel.text("proc/loadavg")).threads > 0
    assert "/" in {mount.point for mount in parse_mounts(kernel.text("proc/self/mountinfo"))}
    assert kernel.number("proc/sys/kernel/pid_max") > 1


def test_reading_is_bounded_and_forgives_odd_bytes(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"a\xffb")
    kernel = Kernel(str(tmp_path))
    assert kernel.text("odd") == "a�b"
    with pytest.raises(OSError, match="absent"):
        kernel.text("absent")
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 10 * 1024 * 1024)
    assert len(kernel.text("large")) == 4 * 1024 * 1024
