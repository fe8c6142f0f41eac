"""``/healthz`` and ``/readyz``: whether the daemon itself works, for load balancers, humans and other watchers."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core import health
from wcr_watchd.core.view import Control

LONGEST_WAIT = 60.0
"""Timeout in seconds of a check up to which its first run is waited for."""
CONTROL = web.AppKey("control", Control)


async def healthz(request: web.Request) -> web.Response:
    """200 when loop, scheduler, store and dispatcher work, else 503; the JSON says which does not and why."""
    parts = health.parts(request.app[CONTROL])
    body = {
        "status": "ok" if all(part.ok for part in parts) else "failing",
        "version": request.app[CONTROL].version,
        "parts": {part.name: {"ok": part.ok, "detail": part.detail} for part in parts},
    }
    return web.json_response(body, status=200 if body["status"] == "ok" else 503)


async def readyz(request: web.Request) -> web.Response:
    """200 once the configuration is loaded, the store is open and every check has had its first run, else 503.

    What may take long (a search for malware) is not waited for.
    """
    view = request.app[CONTROL]
    checks = view.setup.checks
    waiting = [one for one in health.waiting_for_first_result(view) if checks[one].timeout <= LONGEST_WAIT]
    body = {"status": "waiting" if waiting else "ready", "checks": len(view.setup.checks), "waiting": len(waiting)}
    return web.json_response(body, status=503 if waiting else 200)
