"""The prober ``icmp``: one echo (RFC 792, RFC 4443), and through how many hops its answer came.

The library for pings does not tell the hop limit of an answer, so the one packet is written and read here (icmp(7)).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from dataclasses import dataclass

from wcr_watchd.kit.blackbox_modules import IcmpModule
from wcr_watchd.kit.network import connect_problem
from wcr_watchd.web.compatible.blackbox.attempt import Attempt

_IP_RECVTTL, _IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 12, 10, 23, 2
"""Of linux/in.h and linux/in6.h; Python has no names for them."""
_LARGEST_PACKET = 65535
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_sequence = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Echo:
    """What was sent: an answer has the same, but for the kernel's own identifier on a socket without privileges."""

    version: int
    raw: bool
    identifier: int
    sequence: int
    payload: bytes

    def packet(self) -> bytes:
        """The request; its checksum counts for IPv4 on a raw socket only, else the kernel's replaces it."""
        head = struct.pack("!BBHHH", _REQUEST[self.version], 0, 0, self.identifier, self.sequence)
        checksum = _checksum(head + self.payload)
        return struct.pack("!BBHHH", _REQUEST[self.version], 0, checksum, self.identifier, self.sequence) + self.payload

    def is_answered_by(self, packet: bytes) -> bool:
        """Whether this ICMP packet is the answer."""
        if len(packet) < 8:
            return False
        kind, _, _, identifier, sequence = struct.unpack("!BBHHH", packet[:8])
        ours = identifier == self.identifier or not self.raw
        return kind == _REPLY[self.version] and ours and sequence == self.sequence and packet[8:] == self.payload


async def probe(attempt: Attempt, target: str, module: IcmpModule) -> bool:
    """Whether the target answers one ping. Raises :class:`ProbeFailedError`."""
    attempt.zero_phases("probe_icmp_duration_seconds", "resolve", "setup", "rtt")
    address, took = await attempt.choose_address(target, module.preferred_ip_protocol, module.ip_protocol_fallback)
    attempt.set("probe_icmp_duration_seconds", took, phase="resolve")
    begun = attempt.clock()
    version = 6 if ":" in address else 4
    try:
        connection, raw = _open(version)
    except OSError as error:
        hint = "needs CAP_NET_RAW (AmbientCapabilities= in the unit) or net.ipv4.ping_group_range"
        raise attempt.fail("Error listening to socket", err=f"{connect_problem(error)}; {hint}") from error
    with connection:
        try:
            _set_up(connection, version, module)
            echo = _Echo(version, raw, os.getpid() & 0xFFFF, next(_sequence) & 0xFFFF, _payload(module.payload_size))
            attempt.set("probe_icmp_duration_seconds", attempt.clock() - begun, phase="setup")
            attempt.log("Writing out packet", address=address)
            sent = attempt.clock()
            connection.sendto(echo.packet(), (address, 0))
            hops = await _answered(connection, echo)
        except OSError as error:
            raise attempt.fail("Error sending or receiving", err=connect_problem(error)) from error
    attempt.set("probe_icmp_duration_seconds", attempt.clock() - sent, phase="rtt")
    if hops is not None:
        attempt.set("probe_icmp_reply_hop_limit", hops)
    attempt.log("Found matching reply packet")
    return True


def _open(version: int) -> tuple[socket.socket, bool]:
    """A socket without privileges where the kernel gives one, else a raw one, which is said. ``OSError``: neither."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    try:
        return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, protocol), False
    except PermissionError:
        return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol), True


def _set_up(connection: socket.socket, version: int, module: IcmpModule) -> None:
    level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
    tell, limit = _IP_RECVTTL, socket.IP_TTL
    if version == 6:
        tell, limit = socket.IPV6_RECVHOPLIMIT, socket.IPV6_UNICAST_HOPS
    connection.setsockopt(level, tell, 1)
    if module.ttl:
        connection.setsockopt(level, limit, module.ttl)
    if module.dont_fragment:
        connection.setsockopt(level, _IP_MTU_DISCOVER if version == 4 else _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
    if module.source_ip_address:
        connection.bind((module.source_ip_address, 0))


def _payload(size: int) -> bytes:
    text = b"wcr-watchd asks for an echo "
    return (text * (size // len(text) + 1))[:size]


async def _answered(connection: socket.socket, echo: _Echo) -> int | None:
    """Wait for the answer; its hop limit where the kernel tells it."""
    while True:
        await _readable(connection)
        packet, told, _, _ = connection.recvmsg(_LARGEST_PACKET, 256)
        if echo.version == 4 and echo.raw and packet:
            packet = packet[(packet[0] & 0x0F) * 4 :]
        if echo.is_answered_by(packet):
            return next((struct.unpack("=i", data[:4])[0] for _, _, data in told if len(data) >= 4), None)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    come: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not come.done():
            come.set_result(None)

    loop.add_reader(connection, wake)
    try:
        await come
    finally:
        loop.remove_reader(connection)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
