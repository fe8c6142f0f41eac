"""The web servers: pages, API, metrics and commands on our own addresses, the status page alone on others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from aiohttp import web

from wcr_watchd.daemon.composition import Composition
from wcr_watchd.daemon.in_force import InForce, public_addresses
from wcr_watchd.metrics.exposition import Exposition
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.peer import user_name
from wcr_watchd.web.answers import Doors
from wcr_watchd.web.app import build as build_web
from wcr_watchd.web.compatible.blackbox.endpoint import Prober, Probing
from wcr_watchd.web.control_socket import open_control_socket
from wcr_watchd.web.status.serve import Rationing, StatusDoor, own_application

log = structlog.get_logger(__name__)

STOPS_WITHIN = 2.0
"""Seconds that requests which are being answered have when the daemon stops."""


@contextlib.asynccontextmanager
async def served(parts: Composition, socket: Path) -> AsyncIterator[None]:
    """Serve while the context lasts; ``socket`` is the Unix socket for commands.

    Raises ``SocketUnusableError`` when that socket cannot be used, ``OSError`` when an address is taken.
    """
    control, access = parts.control, parts.outside.access
    exposition = Exposition(control)
    status = StatusDoor(parts.outside.status_page, parts.outside.status_mails, Rationing(control.monotonic))
    own = build_web(control, exposition, access, _doors(parts), _prober(parts), parts.desks.pings, status)
    server = await _set_up(own)
    public = await _set_up(own_application(status, lambda: access.settings.proxies))
    certificate = parts.outside.certificate
    context = certificate.context if certificate else None
    try:
        await open_control_socket(server, socket)
        for host, port in parts.force.loaded.web.listen:
            await web.TCPSite(server, host, port, ssl_context=context).start()
        for host, port in public_addresses(parts.force.loaded):
            await web.TCPSite(public, host, port, ssl_context=context).start()
        yield
    finally:
        await public.cleanup()
        await server.cleanup()
        await exposition.close()
        _remove(socket)


def say_how_to_sign_in(parts: Composition) -> None:
    """While nobody is configured, whoever started the daemon is let in by a link that works once."""
    access = parts.outside.access
    if not access.settings.nobody or not parts.force.loaded.web.listen:
        return
    again = "wcr-watchd sign-in-link"
    if os.environ.get("JOURNAL_STREAM"):  # kept for long, and others may read it
        log.info("nobody can sign in by the configuration; a link that signs in once is printed by", command=again)
        return
    link = access.link_for(user_name(os.geteuid()))
    log.info("open this to sign in; it works once, within a quarter of an hour", link=link, for_another=again)


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


async def _set_up(application: web.Application) -> web.AppRunner:
    runner = web.AppRunner(application, shutdown_timeout=STOPS_WITHIN, access_log=None)
    await runner.setup()
    return runner


def _doors(parts: Composition) -> Doors:
    base = parts.base
    return Doors(base.tickets, lambda: parts.force.loaded.channels, base.shared, Allowance(base.clock.monotonic))


def _prober(parts: Composition) -> Prober:
    return Prober(lambda: _probing(parts.force), parts.base.shared, parts.outside.access)


def _probing(force: InForce) -> Probing | None:
    """What `/probe` may do by the configuration in force."""
    wanted = force.loaded.probe
    return Probing(wanted.modules, wanted.allow, wanted.timeout_offset) if wanted else None
