"""Behind a reverse proxy: whom it speaks for, when it is one of those that the configuration trusts.

From here on a request looks as if its sender had come directly, with the address, scheme and host that were meant. What
a trusted proxy says is read from the right: each hop adds what it saw, and everything before the first one that is not
trusted may have been made up. What others say in these headers is left alone and lets nobody in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wcr_watchd.web.access.peer import RESOLVED

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS = 20


def behind_proxy(trusted: Callable[[], Sequence[Network]]) -> Middleware:
    """Make the middleware that believes the proxies in ``trusted`` (and nobody else) about who asks."""

    @web.middleware
    async def believe(request: web.Request, handler: Handler) -> web.StreamResponse:
        networks = trusted()
        if not networks or not _is_in(request.remote or "", networks):
            return await handler(request)
        hops = _hops(request)
        if not hops:
            return await handler(request)
        index = next((i for i, hop in enumerate(hops) if not _is_in(hop[0], networks)), len(hops) - 1)
        address, scheme, host = hops[index]
        scheme = scheme if scheme in {"http", "https"} else request.scheme
        meant = request.clone(remote=address, scheme=scheme, host=host or request.host)
        meant[RESOLVED] = True
        return await handler(meant)

    return believe


def _hops(request: web.Request) -> list[tuple[str, str, str]]:
    """Address, scheme and host by hop, the nearest first. Raises 400 when two kinds of headers contradict each other.

    A proxy that sets one kind lets the other through as its client sent it; which of them is true cannot be told.
    """
    by_name = _by_x_headers(request)
    standard = [
        (_address(str(one.get("for", ""))), str(one.get("proto", "")).lower(), str(one.get("host", "")))
        for one in reversed(request.forwarded[-MOST_HOPS:])
    ]
    if by_name and standard and [hop[0] for hop in by_name] != [hop[0] for hop in standard]:
        raise web.HTTPBadRequest(text="Forwarded and X-Forwarded-For contradict each other\n")
    return standard or by_name


def _by_x_headers(request: web.Request) -> list[tuple[str, str, str]]:
    addresses, schemes, hosts = (
        _listed(request, name) for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host")
    )
    return [
        (_address(address), _of_hop(schemes, number).lower(), _of_hop(hosts, number))
        for number, address in enumerate(addresses)
    ]


def _listed(request: web.Request, name: str) -> list[str]:
    """What stands in a header, the nearest hop's word first."""
    values = ",".join(request.headers.getall(name, ())).split(",")
    return [value.strip() for value in reversed(values[-MOST_HOPS:]) if value.strip()]


def _of_hop(values: Sequence[str], number: int) -> str:
    """What the hop said; many proxies set these once and do not add to them."""
    return values[min(number, len(values) - 1)] if values else ""


def _address(text: str) -> str:
    """An address without port and brackets; ``unknown`` for what is none (RFC 7239, 6)."""
    text = text.strip().strip('"')
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    bare = bare.partition(":")[0] if bare.count(":") == 1 else bare
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return "unknown"


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)
