"""The files that pages load: style, scripts, pictures; named by their content, so browsers keep them for good."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import web

PATH = "/static/{name}"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEEP = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent, plain and compressed once for all."""

    plain: bytes
    packed: bytes
    content_type: str


def _read() -> dict[str, Asset]:
    """Each file by the name it is served under: its stem, a part of its SHA-256, its suffix."""
    served = {}
    for file in (files("wcr_watchd.web.dashboard") / "static").iterdir():
        stem, dot, suffix = file.name.rpartition(".")
        if dot + suffix in TYPES:
            body = file.read_bytes()
            name = f"{stem}.{hashlib.sha256(body).hexdigest()[:12]}.{suffix}"
            served[name] = Asset(body, gzip.compress(body, mtime=0), TYPES[dot + suffix])
    return served


_SERVED = _read()
_URLS = {name.split(".")[0] + "." + name.split(".")[-1]: f"/static/{name}" for name in _SERVED}


def asset(name: str) -> str:
    """The URL of a file in ``static/``, for templates."""
    return _URLS[name]


async def serve(request: web.Request) -> web.Response:
    """A file under the name that its content gives it."""
    found = _SERVED.get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound(text="there is no such file; load the page anew\n")
    headers = {"Cache-Control": KEEP, "Vary": "Accept-Encoding"}
    body = found.plain
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"], body = "gzip", found.packed
    return web.Response(body=body, content_type=found.content_type, charset="utf-8", headers=headers)


async def favicon(request: web.Request) -> web.Response:
    """The picture in the browser's tab, where browsers look for it."""
    raise web.HTTPFound(asset("favicon.svg"))
