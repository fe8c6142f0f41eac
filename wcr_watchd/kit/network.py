"""Names to addresses, and addresses to connections, so that a dead name server or address family harms one run only."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Annotated, Literal

import aiohappyeyeballs
from pydantic import AfterValidator, BeforeValidator

from wcr_watchd.kit.threads import Threads

IpVersion = Annotated[Literal["any", "4", "6"], BeforeValidator(lambda value: str(value))]
"""Which addresses of a name are used, as an option: ``any`` (IPv6 and IPv4 race, RFC 8305), ``4`` or ``6`` only."""

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""One entry of ``getaddrinfo``: family, kind, protocol, canonical name, socket address."""

HEAD_START = 0.25
"""Seconds an address has before the next one is tried as well (RFC 8305, 5)."""

_FAMILIES = {"any": socket.AF_UNSPEC, "4": socket.AF_INET, "6": socket.AF_INET6}


class NameResolver:
    """Looks names up as every visitor's program does (``getaddrinfo``: hosts file, then DNS), with no cache."""

    def __init__(self) -> None:
        self._threads = Threads()

    async def close(self) -> None:
        """Let its threads end."""
        await self._threads.close()

    @staticmethod
    def given(host: str, port: int, ip: str = "any") -> list[AddressInfo] | None:
        """The address itself when ``host`` is one that may be used; None when that has to be looked up."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if ip not in ("any", str(address.version)) or "%" in host:  # a zone has a number that only the system knows
            return None
        if address.version == 4:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
        return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]

    async def addresses(self, host: str, port: int, ip: str = "any") -> list[AddressInfo]:
        """Addresses of ``host``, in the system's order of preference, for TCP.

        Raises :class:`socket.gaierror` when there are none. ``AI_ADDRCONFIG`` leaves IPv6 addresses out on a machine
        without IPv6; it is not used when a version is asked for, so that asking for IPv6 there fails plainly.
        """
        flags = socket.AI_ADDRCONFIG if ip == "any" and not is_address(host) else 0
        found = await self._threads.call(_look_up, host, port, _FAMILIES[ip], flags)
        return list(found)


def _look_up(host: str, port: int, family: int, flags: int) -> Sequence[AddressInfo]:
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, socket.IPPROTO_TCP, flags)
    except UnicodeError as error:  # a redirect may lead to any name
        raise socket.gaierror(socket.EAI_NONAME, "DNS can hold no such name") from error
    return [entry for entry in found if entry[0] in (socket.AF_INET, socket.AF_INET6)]  # type: ignore[misc]


async def connect_socket(addresses: Sequence[AddressInfo]) -> socket.socket:
    """Connect by TCP to whichever of the addresses answers first; ``OSError`` when none does. The caller closes it."""
    if len(addresses) == 1:
        return await _connect_to(addresses[0])
    return await aiohappyeyeballs.start_connection(
        [(socket.AddressFamily(entry[0]), socket.SOCK_STREAM, *entry[2:]) for entry in addresses],
        happy_eyeballs_delay=HEAD_START,
    )


async def _connect_to(address: AddressInfo) -> socket.socket:
    """Where there is no choice, there is no race to be run."""
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


async def connect(addresses: Sequence[AddressInfo]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect by TCP to whichever of the addresses answers first; ``OSError`` when none does.

    End with :func:`abort`, which waits for nobody.
    """
    chosen = await connect_socket(addresses)
    try:
        return await asyncio.open_connection(sock=chosen)
    except BaseException:
        chosen.close()
        raise


def abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once: no goodbye, no waiting for what is still to be sent."""
    writer.transport.abort()


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[ipv6]:port``; ``ValueError`` says what is wrong."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_address(host):
            raise ValueError(f'"{host}" is not an IPv6 address')
    elif ":" in host:
        raise ValueError(f'write an IPv6 address in brackets: "[{host}]:{port}"')
    if not colon or not host:
        raise ValueError(f'must be "host:port", for example "{address or "www.example.org"}:443"')
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{port}" is not a port; it must be a number from 1 to 65535')
    check_host(host)
    return host, int(port)


def check_host(host: str) -> str:
    """Return ``host`` when it can be looked up or asked for by TLS; else ``ValueError``."""
    try:
        encoded = host.encode("idna")
    except UnicodeError as error:
        raise ValueError(f'"{host}" is not a host name: {error}') from error
    if not encoded or host.startswith(".") or any(character.isspace() or character in "/@" for character in host):
        raise ValueError(f'"{host}" is not a host name')
    return host


def _checked_address(address: str) -> str:
    split_address(address)
    return address


Address = Annotated[str, AfterValidator(_checked_address)]
"""``host:port``, as an option."""
HostName = Annotated[str, AfterValidator(check_host)]
"""A host name or IP address, as an option."""


def connect_problem(error: OSError) -> str:
    """What a failed look-up or connection attempt means, in a few words."""
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: nothing listens there, or a firewall rejects it"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error) or type(error).__name__).strip()
