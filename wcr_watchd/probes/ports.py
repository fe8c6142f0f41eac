"""Tells which ports this machine listens on that it did not when a person last accepted them, and with which program.

The first run takes what there is; `wcr-watchd accept NAME` takes what is there later. With `expected`, ports that
anybody can reach must be on that list instead. Ports open to the world and those for this machine alone are told apart.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.novelty import Known, accepted_in_words
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads

LARGEST_TABLE = 8 * 1024 * 1024
"""Bytes of one table of sockets that are read; that is some fifty thousand of them."""
MOST_PROCESSES = 20_000
_LISTENING, _UNCONNECTED = "0A", "07"
"""States of a TCP and of a UDP socket in /proc/net (proc(5), include/net/tcp_states.h)."""
_SOCKET = re.compile(r"socket:\[(\d+)\]")


class Ports(Options):
    """Options of a check of the ports this machine listens on; none is needed."""

    type: ClassVar[str] = "ports"
    target_key: ClassVar[str] = "expected"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = 'expected = ["tcp/22", "tcp/80", "tcp/443"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("open_ports", Unit.COUNT, "Ports that others can reach, if no firewall forbids it"),
        MeasurementSpec("local_ports", Unit.COUNT, "Ports that only this machine reaches"),
        MeasurementSpec("new_open_ports", Unit.COUNT, "Ports for others that nobody accepted", topic="open ports"),
        MeasurementSpec("new_local_ports", Unit.COUNT, "Ports for itself that nobody accepted", topic="local ports"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.WARNING, "new_open_ports > 0"),
        (Severity.INFO, "new_local_ports > 0"),
    )

    expected: tuple[Annotated[str, Field(pattern=r"^(tcp|udp)/\d{1,5}$")], ...] = ()
    """Ports that may be open to others: "tcp/443". Without it, those that somebody accepted last."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The ports that are expected."""
        return ", ".join(self.expected) or "listening ports"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Compare the listening ports with those that were accepted."""
        return await self._compare(run, "")

    async def accept(self, run: Run, by: str) -> Observation:
        """Accept the ports that are open now."""
        return await self._compare(run, by)

    async def _compare(self, run: Run, accepted_by: str) -> Observation:
        run.step = "reading the tables of sockets"
        try:
            found = await run.shared.get(Threads).call(listening, self.root)
        except OSError as error:
            return run.unknown("missing", f"{error.filename} cannot be read: {error.strerror}; is /proc mounted?")
        first = "known" not in run.memory
        known = Known(run.memory, run.started)
        unknown_programs = [one for one in found if not one.program]
        if unknown_programs and os.geteuid() != 0:
            run.evidence["programs"] = (
                f"of {len(unknown_programs)} ports the program is hidden from user id {os.geteuid()}: grant "
                "AmbientCapabilities=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH, or do without"
            )
        is_open, local = [one for one in found if one.world], [one for one in found if not one.world]
        new_open = known.look("open", (str(one) for one in is_open), bool(accepted_by))
        new_local = known.look("local", (str(one) for one in local), bool(accepted_by))
        if self.expected:
            new_open = sorted({str(one) for one in is_open if one.key not in self.expected})
        return _verdict(run, is_open, local, new_open, new_local, accepted_in_words(first, accepted_by))


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that waits for others: ``tcp`` or ``udp``, its address and port, and the program that has it."""

    protocol: str
    address: str
    port: int
    program: str
    world: bool
    passing: bool
    """Its port was chosen by the kernel, so that it is another one next time."""

    @property
    def key(self) -> str:
        """As it stands in ``expected``."""
        return f"{self.protocol}/{self.port}"

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        port = "(changing port)" if self.passing else str(self.port)
        return f"{self.protocol} {host}:{port}{' ' + self.program if self.program else ''}"


def listening(root: str) -> tuple[Listener, ...]:
    """The sockets that listen; blocks, and raises ``OSError`` where the kernel's tables are not to be seen."""
    proc = Path(root, "proc")
    low, high = _passing_ports(proc)
    sockets = [
        (protocol, address, port, inode)
        for protocol, state in (("tcp", _LISTENING), ("udp", _UNCONNECTED))
        for address, port, inode in _table(proc, protocol, state)
    ]
    programs = _programs(proc, {inode for *_, inode in sockets})
    found = []
    for protocol, address, port, inode in sockets:
        passing = low <= port <= high
        if passing and protocol == "udp":  # a client that asks something, not a server
            continue
        world = not ipaddress.ip_address(address).is_loopback
        found.append(Listener(protocol, address, port, programs.get(inode, ""), world, passing))
    return tuple(sorted(set(found), key=str))


def _passing_ports(proc: Path) -> tuple[int, int]:
    """The range out of which the kernel chooses ports (ip_local_port_range)."""
    try:
        low, high = (proc / "sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32_768, 60_999


def _table(proc: Path, protocol: str, state: str) -> Iterator[tuple[str, int, str]]:
    """Address, port and inode of each socket of the state, IPv6 (where there is any) and IPv4."""
    for name in (protocol, f"{protocol}6"):
        path = proc / "net" / name
        if name.endswith("6") and not path.exists():
            continue
        with path.open("rb") as file:
            lines = file.read(LARGEST_TABLE).decode("ascii", "replace").splitlines()
        for line in lines[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == state:
                address, _, port = words[1].partition(":")
                yield _address(address), int(port, 16), words[9]


def _address(text: str) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's byte order."""
    raw = b"".join(int(text[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _programs(proc: Path, inodes: set[str]) -> dict[str, str]:
    """The program that holds each socket, the one with the lowest process id; without root, own ones only."""
    found: dict[str, str] = {}
    numbers = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    for number in numbers[:MOST_PROCESSES]:
        folder = proc / str(number)
        try:
            held = {match[1] for match in _sockets_of(folder)} & inodes - found.keys()
            if held:
                found |= dict.fromkeys(held, (folder / "comm").read_text().strip())
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def _sockets_of(folder: Path) -> Iterator[re.Match[str]]:
    for name in os.listdir(folder / "fd"):
        try:
            link = os.readlink(folder / "fd" / name)
        except FileNotFoundError:
            continue
        if match := _SOCKET.fullmatch(link):
            yield match


def _verdict(
    run: Run,
    is_open: Sequence[Listener],
    local: Sequence[Listener],
    new_open: Sequence[str],
    new_local: Sequence[str],
    accepted: str,
) -> Observation:
    run.measure("open_ports", len(is_open))
    run.measure("local_ports", len(local))
    run.measure("new_open_ports", len(new_open))
    run.measure("new_local_ports", len(new_local))
    run.evidence["open to others"] = "\n".join(dict.fromkeys(map(str, is_open))) or "none"
    run.evidence["only for this machine"] = "\n".join(dict.fromkeys(map(str, local))) or "none"
    counts = f"{len(is_open)} ports open to others, {len(local)} only to this machine"
    new = [*new_open, *new_local]
    if new:
        more = " …" if len(new) > 4 else ""
        return run.up(
            f"{len(new)} of the listening ports nobody expects: {', '.join(new[:4])}{more} ({counts}). "
            f"If they are right: wcr-watchd accept {run.check}",
            reason="new",
        )
    return run.up(f"{counts}, {accepted}")
