"""The ports probe on sockets that this test really opens, and on a /proc laid out in a folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.running import measured, probe_of
from tests.real.tools import Looks
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.novelty import Known
from wcr_watchd.probes.ports import Listener, listening


@contextlib.contextmanager
def listener(host: str, kind: int = socket.SOCK_STREAM, port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as opened:
        if kind == socket.SOCK_STREAM:  # an earlier run of the tests may have left a connection on it
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        yield opened.getsockname()[1]


def own(found: tuple[Listener, ...], port: int) -> list[Listener]:
    return [one for one in found if one.port == port]


def test_what_this_machine_listens_on() -> None:
    program = Path("/proc/self/comm").read_text().strip()
    with listener("127.0.0.1") as tcp, listener("::1") as six, listener("0.0.0.0", port=free_port("0.0.0.0")) as world:
        found = listening("/")
        (one,) = own(found, tcp)
        assert (one.protocol, one.address, one.program, one.world) == ("tcp", "127.0.0.1", program, False)
        assert own(found, six)[0].address == "::1"
        assert own(found, world)[0].world
        assert str(own(found, world)[0]) == f"tcp 0.0.0.0:{world} {program}"
        with socket.create_connection(("127.0.0.1", tcp)) as connected:
            assert not own(listening("/"), connected.getsockname()[1]), "a connection is no listener"


def test_udp_servers_and_clients() -> None:
    port = free_port()
    with listener("127.0.0.1", socket.SOCK_DGRAM, port), listener("127.0.0.1", socket.SOCK_DGRAM) as client:
        found = listening("/")
        assert own(found, port)[0].key == f"udp/{port}"
        assert not own(found, client)


async def test_a_new_port_is_told_until_somebody_accepts_it(tmp_path: Path, looks: Looks) -> None:
    root = laid_out(tmp_path)
    probe = probe_of("ports", {"root": str(root)})
    first = await looks.at(probe)
    assert first.outcome is Outcome.UP
    assert (measured(first, "open_ports"), measured(first, "local_ports")) == (2, 2)
    assert measured(first, "new_open_ports") == measured(first, "new_local_ports") == 0
    assert first.summary.endswith("taken as right by the first run")
    assert (await looks.at(probe)).summary.endswith("as accepted")
    opens(root, "00000000:1538", "0100007F:1539")
    seen = await looks.at(probe)
    assert measured(seen, "new_open_ports") == measured(seen, "new_local_ports") == 1
    assert (measured(seen, "open_ports"), measured(seen, "local_ports")) == (3, 3)
    assert "0.0.0.0:5432" in seen.evidence["open to others"]
    assert "127.0.0.1:5433" in seen.evidence["only for this machine"]
    assert "wcr-watchd accept check" in seen.summary
    accepted = await looks.accept(probe)
    assert measured(accepted, "new_open_ports") == 0
    assert "accepted by ann" in accepted.summary
    assert measured(await looks.at(probe), "new_open_ports") == 0
    opens(root)
    await looks.at(probe)
    opens(root, "00000000:1538")  # what went and comes again is new
    assert measured(await looks.at(probe), "new_open_ports") == 1


async def test_another_program_on_the_same_port_is_new(tmp_path: Path, looks: Looks) -> None:
    root = laid_out(tmp_path)
    probe = probe_of("ports", {"root": str(root)})
    await looks.at(probe)
    (root / "proc/12/comm").write_text("netcat\n")
    seen = await looks.at(probe)
    assert measured(seen, "new_open_ports") == 1
    assert "tcp 0.0.0.0:80 netcat" in seen.summary


async def test_ports_that_are_expected(tmp_path: Path, looks: Looks) -> None:
    root = laid_out(tmp_path)
    seen = await looks.at(probe_of("ports", {"root": str(root), "expected": ["tcp/443"]}))
    assert measured(seen, "new_open_ports") == 1  # also in the first run
    assert "tcp 0.0.0.0:80 nginx" in seen.summary
    seen = await looks.at(probe_of("ports", {"root": str(root), "expected": ["tcp/443", "tcp/80"]}))
    assert measured(seen, "new_open_ports") == 0


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
   2: 0A00020F:0016 0A000202:D431 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
   3: broken
"""
TABLE6 = """\
  sl  local_address                         remote_address                        st tx rx tr tm uid timeout inode
   0: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4714 1
   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 4715 1
"""


def opens(root: Path, *addresses: str) -> None:
    """Besides those of the table, these sockets listen."""
    lines = (f"   9: {address} 00000000:0000 0A 0:0 00:0 0 0 0 4799 1\n" for address in addresses)
    (root / "proc/net/tcp").write_text(TABLE + "".join(lines))


def laid_out(folder: Path) -> Path:
    (folder / "proc/net").mkdir(parents=True)
    (folder / "proc/net/tcp").write_text(TABLE)
    (folder / "proc/net/tcp6").write_text(TABLE6)
    (folder / "proc/net/udp").write_text("header\n")
    (folder / "proc/12/fd").mkdir(parents=True)
    (folder / "proc/12/fd/3").symlink_to("socket:[4712]")
    (folder / "proc/12/comm").write_text("nginx\n")
    (folder / "proc/99/fd").mkdir(parents=True)
    (folder / "proc/99/fd/3").symlink_to("socket:[4712]")
    (folder / "proc/99/comm").write_text("worker\n")
    return folder


def test_the_kernels_tables(tmp_path: Path) -> None:
    assert [str(one) for one in listening(str(laid_out(tmp_path)))] == [
        "tcp 0.0.0.0:80 nginx",
        "tcp 127.0.0.1:8080",
        "tcp 127.0.0.1:8081",
        "tcp [2001:db8::1]:443",
    ]


async def test_programs_are_hidden_from_others(tmp_path: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    seen = await looks.at(probe_of("ports", {"root": str(laid_out(tmp_path))}))
    assert "3 ports the program is hidden from user id 1000" in seen.evidence["programs"]


async def test_without_proc(tmp_path: Path, looks: Looks) -> None:
    (tmp_path / "proc").mkdir()
    seen = await looks.at(probe_of("ports", {"root": str(tmp_path)}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "is /proc mounted?" in seen.summary


def test_what_is_known() -> None:
    memory: dict[str, object] = {}
    known = Known(memory, 1000.0)
    assert known.look("kind", ["a"]) == []  # what the first look finds is accepted
    later = Known(memory, 1060.0)
    assert later.look("kind", ["a", "b"]) == ["b"]
    assert (later.age("kind", "a"), later.age("kind", "b"), later.age("kind", "c")) == (60, 0, 0)
    assert later.look("kind", ["b"]) == ["b"]
    assert later.look("kind", ["b"], accept=True) == []
    assert later.look("kind", ["a", "b"]) == ["a"]  # it went, and came again
    assert later.all("kind") == ["a", "b"]
    assert later.all("other") is None
    assert later.new("other") == []


def test_what_is_known_is_bounded_and_still_sees_every_change() -> None:
    memory: dict[str, object] = {}
    known = Known(memory, 1000.0)
    known.look("long", ["a" * 1000])
    (changed,) = known.look("long", ["a" * 999 + "b"])
    assert len(changed) == 120
    many = [f"{number:04}" for number in range(2000)]
    known.look("many", many)
    assert len(known.all("many") or []) == 401
    assert known.look("many", many) == []
    (rest,) = known.look("many", [*many[:-1], "9999"])
    assert rest.startswith("… 1600 more")
