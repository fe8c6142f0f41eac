"""``/probe?target=…&module=…``: probes whatever a Prometheus names, by the modules of a blackbox_exporter's file.

Answers as the exporter does (its handler.go): 400 for an unknown module or prober and a missing target, else 200 with
``probe_success``; ``debug=true`` shows log, metrics and module as text, ``hostname`` sets the Host header or the name
in TLS. The deadline is the scraper's (``X-Prometheus-Scrape-Timeout-Seconds``) less the offset, or the module's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from wcr_watchd.core.run import Shared
from wcr_watchd.kit.blackbox_modules import DnsModule, HttpModule, IcmpModule, Module, TcpModule
from wcr_watchd.web.access.gate import Access
from wcr_watchd.web.access.peer import is_direct, is_own_page
from wcr_watchd.web.compatible.blackbox import by_dns, by_http, by_icmp, by_tcp
from wcr_watchd.web.compatible.blackbox.attempt import Attempt, ProbeFailedError
from wcr_watchd.web.health import CONTROL

PATH = "/probe"
DEFAULT_MODULE = "http_2xx"
DEFAULT_TIMEOUT = 120.0
"""Seconds for a probe of which neither scraper nor module says how long it may take."""
MOST_AT_ONCE = 500
"""Probes that go on at a time; more are told to come again."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Probing:
    """``[probe]``: the modules by name, who may use them without the token, and the offset in seconds."""

    modules: Mapping[str, Module]
    allow: tuple[Network, ...]
    timeout_offset: float


@dataclass(slots=True)
class Prober:
    """What the endpoint works with. ``settings`` are those in force (None: there is no ``[probe]``)."""

    settings: Callable[[], Probing | None]
    shared: Shared
    access: Access
    running: int = 0


PROBER = web.AppKey("prober", Prober)


def add_routes(app: web.Application) -> None:
    """Put the route into the application."""
    app.router.add_get(PATH, probe)


async def probe(request: web.Request) -> web.Response:
    """Carry a probe out and answer with its metrics."""
    prober = request.app[PROBER]
    settings = prober.settings()
    if not _may_probe(request, prober.access, settings):
        raise web.HTTPForbidden(
            text="this address may not probe: name its network in [probe] allow, or show the token\n"
        )
    if settings is None:
        raise web.HTTPNotFound(text='nothing is probed from here: set [probe] modules = "/etc/…/blackbox.yml"\n')
    module, target = _asked(request, settings)
    timeout = timeout_of(request.headers.get("X-Prometheus-Scrape-Timeout-Seconds", ""), module, settings)
    if prober.running >= MOST_AT_ONCE:
        raise web.HTTPServiceUnavailable(text=f"{MOST_AT_ONCE} probes go on already\n")
    control = request.app[CONTROL]
    attempt = Attempt(prober.shared, control.monotonic, control.now, timeout)
    prober.running += 1
    try:
        await _carry_out(attempt, module, target)
    finally:
        prober.running -= 1
    if request.query.get("debug") == "true":
        return web.Response(text=_debug(attempt, module))
    return web.Response(body=attempt.text(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _may_probe(request: web.Request, access: Access, settings: Probing | None) -> bool:
    """Whoever may act, a token for it, and programs of the networks in ``allow`` that come through no proxy.

    A browser must sign in like everybody: a web page anywhere could make one ask, and read what stands behind us.
    """
    visitor = access.visitor(request)
    if visitor is not None and (visitor.may_act or "probe" in visitor.doors):
        return is_own_page(request)
    if settings is None or "Accept-Language" in request.headers or not is_direct(request):
        return False
    try:
        peer = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return False
    return any(peer in network for network in settings.allow)


def _asked(request: web.Request, settings: Probing) -> tuple[Module, str]:
    """Module and target of the query, or the answer that says what is wrong with it, in the exporter's words."""
    name = request.query.get("module") or DEFAULT_MODULE
    module = settings.modules.get(name)
    if module is None:
        raise web.HTTPBadRequest(text=f'Unknown module "{name}"\n')
    target = _decoded(request.query.get("target", ""))
    if not target:
        raise web.HTTPBadRequest(text="Target parameter is missing\n")
    if module.options is None and not module.unsupported:
        raise web.HTTPBadRequest(text=f'Unknown prober "{module.prober}"\n')
    if module.unsupported:
        raise web.HTTPBadRequest(text=f'Module "{name}" cannot be used here, it needs: {module.unsupported}\n')
    return _for_hostname(module, request.query.get("hostname", "")), target


def _decoded(target: str) -> str:
    """The target, whose host and port may have been encoded once more than needed; its path is left as it is."""
    match = re.match(r"(?:\w+://|\w+%3A//)?[^/?#]*", target, re.IGNORECASE)
    place = match[0] if match else ""
    return unquote(place) + target[len(place) :]


def _for_hostname(module: Module, hostname: str) -> Module:
    options = module.options
    if not hostname:
        return module
    if isinstance(options, HttpModule):
        given = next((value for name, value in options.headers.items() if name.lower() == "host"), hostname)
        if given != hostname:
            both = f"module configuration ({given}) and with URL-parameter 'hostname' ({hostname})"
            raise web.HTTPBadRequest(text=f"host header defined both in {both}\n")
        return replace(module, options=options.model_copy(update={"headers": options.headers | {"Host": hostname}}))
    if isinstance(options, TcpModule) and not options.tls_config.server_name:
        named = options.tls_config.model_copy(update={"server_name": hostname})
        return replace(module, options=options.model_copy(update={"tls_config": named}))
    return module


def timeout_of(header: str, module: Module, settings: Probing) -> float:
    """Seconds a probe may take: the scraper's less the offset, or the module's where that is less."""
    try:
        scraper = float(header or 0) or DEFAULT_TIMEOUT
    except ValueError:
        scraper = math.nan
    if not math.isfinite(scraper):
        said = f"Failed to parse timeout from Prometheus header: {header!r} is no number\n"
        raise web.HTTPInternalServerError(text=said)
    most = scraper - settings.timeout_offset
    return module.timeout if 0 < module.timeout < most or most < 0 else most


async def _carry_out(attempt: Attempt, module: Module, target: str) -> None:
    attempt.set("probe_timeout_seconds", attempt.timeout)
    attempt.log("Beginning probe", probe=module.prober, target=target, timeout_seconds=attempt.timeout)
    success = False
    try:
        async with asyncio.timeout(attempt.timeout):
            success = await _by(attempt, module, target)
    except TimeoutError:
        attempt.log("Timeout", "error", err=f"no end within {attempt.timeout:g} s")
    except ProbeFailedError:
        pass
    attempt.set("probe_duration_seconds", attempt.elapsed)
    attempt.set("probe_success", success)
    attempt.log("Probe succeeded" if success else "Probe failed", duration_seconds=f"{attempt.elapsed:.6f}")


async def _by(attempt: Attempt, module: Module, target: str) -> bool:
    match module.options:
        case HttpModule() as options:
            return await by_http.probe(attempt, target, options)
        case TcpModule() as options if module.prober == "unix":
            return await by_tcp.probe_unix(attempt, target, options)
        case TcpModule() as options:
            return await by_tcp.probe(attempt, target, options)
        case DnsModule() as options:
            return await by_dns.probe(attempt, target, options)
        case IcmpModule() as options:
            return await by_icmp.probe(attempt, target, options)
    raise AssertionError(module.prober)


def _debug(attempt: Attempt, module: Module) -> str:
    return (
        "Logs for the probe:\n"
        + "".join(f"{line}\n" for line in attempt.lines)
        + "\n\n\nMetrics that would have been returned:\n"
        + attempt.text().decode()
        + "\n\n\nModule configuration:\n"
        + module.shown
    )
