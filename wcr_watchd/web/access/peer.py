"""Where a request comes from: the Unix socket, this machine, one of our own pages, or anywhere."""

from __future__ import annotations

import ipaddress
import pwd
import socket
import struct
from urllib.parse import urlsplit

from aiohttp import web

RESOLVED = web.RequestKey("resolved", bool)
"""Set where a trusted proxy said for whom it speaks: the request's address, scheme and host are its sender's."""

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def unix_user(request: web.Request) -> str:
    """The name of the user at the other end of a Unix socket (unix(7), SO_PEERCRED); empty for other sockets."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        return ""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return user_name(uid)


def kept(text: str, most: int) -> str:
    """What somebody sent, as it can be stored: bytes that are no UTF-8 are replaced."""
    return text[:most].encode("utf-8", "replace").decode()


def user_name(uid: int) -> str:
    """The name of a user of this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def is_local(request: web.Request) -> bool:
    """Whether the request comes from a program on this machine that meant to talk to this machine.

    The host's name is checked because a web page elsewhere could make a browser here send requests to it (DNS
    rebinding), the proxy headers because behind nginx everybody looks local.
    """
    return is_direct(request) and peer_is_loopback(request) and _names_loopback(request.host)


def is_direct(request: web.Request) -> bool:
    """Whether it came through no proxy, or only through those that are trusted to say for whom they speak."""
    return RESOLVED in request or not any(name in request.headers for name in _FORWARDED)


def peer_is_loopback(request: web.Request) -> bool:
    """Whether the other end is on this machine."""
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def is_https(request: web.Request) -> bool:
    """Whether the visitor's browser speaks HTTPS, to us or to a proxy.

    Also an unknown proxy is believed here: whoever lies about it gets a stricter cookie of one's own and no more.
    """
    if request.scheme == "https":
        return True
    return RESOLVED not in request and request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def is_own_page(request: web.Request, public_url: str = "", *, ambient: bool = False) -> bool:
    """Whether a request that changes something may be trusted to be meant: not sent by a foreign page.

    By Fetch Metadata, else by Origin, else by Referer, as OWASP's cheat sheet on CSRF has it. Every browser that still
    gets updates sends one of the first two with a form. What sends none of the three is let through if it showed a
    credential on purpose (a header, the Unix socket), but not if a browser added it by itself (``ambient``: a cookie).
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("Origin")
    if origin is not None:
        return _is_ours(origin, request, public_url)
    if site is not None:
        return True
    referer = request.headers.get("Referer")
    return _is_ours(referer, request, public_url) if referer is not None else not ambient


def _is_ours(url: str, request: web.Request, public_url: str) -> bool:
    """Whether a page's address or origin is one of ours, by the host that was asked or the public one."""
    given, public = urlsplit(url), urlsplit(public_url)
    if not given.netloc:
        return False
    if public.netloc and (given.scheme, given.netloc) == (public.scheme, public.netloc):
        return True
    downgraded = request.scheme == "https" and given.scheme != "https"
    return given.netloc == request.host and not downgraded


def _names_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
