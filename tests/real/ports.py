"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

BLOCK = 64


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at the moment, and that no other test run is given while this process lives.

    It lies below the range from which the kernel takes the ports of connections and of ``bind`` to 0 (ip(7)), else one
    of those could be there first when the server starts a moment later.
    """
    return next(port for port in _ports if _nobody_listens(host, port))


def _claimed() -> Iterator[int]:
    """Ports in blocks. A name in the abstract namespace of unix(7) belongs to one process and ends with it."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if lowest < 8192:  # connections take nearly all ports here: one of them may be there first after all
        lowest = 32768
    for begin in range(max(1024, lowest - 16384), lowest - BLOCK, BLOCK):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0wcr-watchd-tests-ports-{begin}")
        except OSError:
            claim.close()
            continue
        claim.detach()  # it stays open until the process ends, and is no forgotten socket then
        yield from range(begin, begin + BLOCK)


def _nobody_listens(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


_ports = _claimed()
