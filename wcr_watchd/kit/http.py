"""One HTTP exchange as a watcher needs it: every phase timed, the certificates kept, every read bounded.

aiohttp speaks HTTP; its trace hooks tell the phases, and the TLS context of :mod:`wcr_watchd.kit.tls` tells where
TCP ends and TLS begins, which aiohttp does not. Every exchange has a connection, a cookie jar and a clock of its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from wcr_watchd import __version__
from wcr_watchd.kit.network import NameResolver, connect_problem
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, watching

USER_AGENT = f"wcr-watchd/{__version__}"
LONGEST_LINE = 8190
"""Bytes of a status line or header field that are read."""
MOST_HEADERS = 128
CHUNK = 65536
"""Bytes read at a time; also what is decompressed at a time, so that a bomb cannot go off."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, and how far to go.

    ``ip`` is ``any``, ``4`` or ``6``; ``resolve`` an address to use for the URL's host instead of looking it up;
    ``server_name`` another name than the host's to ask for in TLS. ``redirects`` is how many are followed (0: none),
    ``downgrade`` whether one may lead from https to http. ``max_body`` bounds the body, in bytes after decompression.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ip: str = "any"
    resolve: str = ""
    server_name: str = ""
    tls: TlsSettings = TlsSettings()
    redirects: int = 10
    downgrade: bool = False
    max_body: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back last, after all redirects. ``complete`` is False when the body is longer than was read."""

    status: int
    phrase: str
    version: str
    url: str
    headers: Mapping[str, tuple[str, ...]]
    """By lower-case name."""
    body: bytes
    charset: str
    complete: bool

    @property
    def text(self) -> str:
        """The body as text; what is not text in its character set is replaced."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")


class ExchangeError(Exception):
    """No usable answer came. ``reason`` is a label (``dns connect tls redirect protocol``), the text says what came."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


@dataclass(slots=True)
class Exchange:
    """What is known of an exchange while it goes on, and afterwards, whether it came to an end or was cut off.

    ``phases`` are seconds by name (``dns connect tls first_byte transfer``), summed over redirects; a phase that did
    not happen is not there. ``told`` is called with what is going on at the moment, for whoever cuts it off.
    """

    request: Request
    told: Callable[[str], None] = lambda step: None
    phases: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    redirects: int = 0
    url: str = ""
    handshake: Handshake = field(default_factory=Handshake)
    answer: Answer | None = None
    problem: ExchangeError | None = None
    _since: float = 0.0

    def enter(self, phase: str, step: str = "") -> None:
        """The phase so far ends and this one begins (empty: none)."""
        now = time.perf_counter()
        if self.phase:
            self.phases[self.phase] = self.phases.get(self.phase, 0.0) + now - self._since
        self.phase, self._since = phase, now
        if step:
            self.told(step)

    def begin_tls(self) -> None:
        """TCP stands and TLS begins."""
        self.enter("tls", f"in the TLS handshake with {self.handshake.asked}")


_current: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


class HttpClient:
    """The HTTP client of all probes; get it by ``run.shared.get(HttpClient)``. TLS contexts are shared among them."""

    def __init__(self) -> None:
        self.contexts = TlsContexts()
        self._resolver = _Resolver()
        self._connector: aiohttp.TCPConnector | None = None
        self._trace = _trace()

    async def close(self) -> None:
        """Close what is open."""
        await self.contexts.close()
        await self._resolver.close()
        if self._connector is not None:
            await self._connector.close()

    async def carry_out(self, exchange: Exchange) -> Answer:
        """Carry the exchange out; it can be read meanwhile and afterwards, also when this is cancelled.

        Raises :class:`ExchangeError` for everything the other side does, ``ssl.SSLError`` (an ``OSError``) for a
        failed handshake, whose chain is in ``exchange.handshake``, and
        :class:`~wcr_watchd.kit.tls.UnusableFileError` for a file of ours that cannot be used.
        """
        request = exchange.request
        url = URL(request.url)
        exchange.url = str(url)
        context = await self.contexts.get(request.tls)
        if request.server_name:
            exchange.handshake.rename[url.raw_host or ""] = request.server_name
        exchange.handshake.began = lambda: exchange.enter(
            "tls", f"in the TLS handshake with {exchange.handshake.asked}"
        )
        token = _current.set(exchange)
        try:
            with watching(exchange.handshake):
                exchange.answer = await self._ask(exchange, url, context)
                return exchange.answer
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, exchange) from error
        finally:
            exchange.enter("")
            _current.reset(token)

    async def _ask(self, exchange: Exchange, url: URL, context: ssl.SSLContext) -> Answer:
        request = exchange.request
        async with (
            aiohttp.ClientSession(
                connector=self._opened(),
                connector_owner=False,
                cookie_jar=aiohttp.CookieJar(unsafe=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trace_configs=[self._trace],
                skip_auto_headers=("Content-Type",),
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                max_headers=MOST_HEADERS,
                read_bufsize=CHUNK,
                trust_env=False,
            ) as session,
            session.request(
                request.method,
                url,
                headers={"User-Agent": USER_AGENT, **request.headers},
                data=request.body,
                ssl=context,
                allow_redirects=request.redirects > 0,
                max_redirects=request.redirects + 1,
                middlewares=(_guard(exchange, url),),
                trace_request_ctx=exchange,
            ) as response,
        ):
            body, complete = await _read(response, exchange)
            return _answer(response, body, complete)

    def _opened(self) -> aiohttp.TCPConnector:
        if self._connector is None:
            self._connector = aiohttp.TCPConnector(
                limit=0, force_close=True, use_dns_cache=False, resolver=self._resolver, family=socket.AF_UNSPEC
            )
        return self._connector


def _guard(exchange: Exchange, start: URL) -> aiohttp.ClientMiddlewareType:
    """What is done around each hop of an exchange."""

    async def hop(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Keep the check's own headers, which may hold keys, from other hosts, and try each hop once only.

        aiohttp repeats a request that was broken off without an answer, as a browser would; a watcher must see it.
        """
        exchange.url = str(request.url)
        if request.url.origin() != start.origin():
            for name in exchange.request.headers:
                request.headers.popall(name, None)
            request.headers["Host"] = request.url.host_port_subcomponent or ""
        try:
            return await send(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise _Broken(error) from error

    return hop


class _Broken(aiohttp.ClientError):
    """The connection broke before the answer came."""

    def __init__(self, error: aiohttp.ClientOSError | aiohttp.ServerDisconnectedError) -> None:
        super().__init__(str(error))
        self.error = error


class _Resolver(AbstractResolver):
    """Looks up the names of the current exchange by its wishes: IP version, address given."""

    def __init__(self) -> None:
        self._names = NameResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        exchange = _current.get()
        request = exchange.request if exchange else Request("GET", "")
        wanted = request.resolve if request.resolve and host == URL(request.url).raw_host else host
        found = await self._names.addresses(wanted, port, request.ip)
        return [
            ResolveResult(hostname=host, host=entry[4][0], port=port, family=entry[0], proto=entry[2], flags=0)
            for entry in found
        ]

    async def close(self) -> None:
        """Let its threads end."""
        await self._names.close()


# --- phases --------------------------------------------------------------------------------------------------------


def _trace() -> aiohttp.TraceConfig:
    """Hooks that move the exchange, handed along as ``trace_request_ctx``, from phase to phase."""
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(_connecting)
    trace.on_dns_resolvehost_start.append(_looking_up)
    trace.on_dns_resolvehost_end.append(_connecting)
    trace.on_connection_create_end.append(_connected)
    trace.on_request_redirect.append(_redirected)
    trace.on_request_end.append(_answered)
    return trace


async def _connecting(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    exchange: Exchange = context.trace_request_ctx
    exchange.enter("connect", f"connecting to {URL(exchange.url).authority}")


async def _looking_up(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceDnsResolveHostStartParams
) -> None:
    exchange: Exchange = context.trace_request_ctx
    exchange.enter("dns", f"looking up {params.host}")


async def _connected(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    exchange: Exchange = context.trace_request_ctx
    exchange.enter("first_byte", f"waiting for the first byte of the answer of {exchange.url}")


async def _redirected(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> None:
    exchange: Exchange = context.trace_request_ctx
    exchange.enter("")
    if exchange.redirects < exchange.request.redirects:
        exchange.redirects += 1
    _check_downgrade(exchange, params.response)


async def _answered(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    exchange: Exchange = context.trace_request_ctx
    exchange.enter("transfer", f"reading the body of {exchange.url}")


def _check_downgrade(exchange: Exchange, response: aiohttp.ClientResponse) -> None:
    location = response.headers.get("Location", "")
    downgrade = response.url.scheme == "https" and location.lower().startswith("http:")
    if downgrade and not exchange.request.downgrade:
        exchange.problem = ExchangeError(
            "redirect",
            f"{response.url} redirects to {location[:200]}, from https down to http; if that is meant, allow_downgrade",
        )
        raise aiohttp.ClientError(exchange.problem.summary)


# --- the answer ----------------------------------------------------------------------------------------------------


async def _read(response: aiohttp.ClientResponse, exchange: Exchange) -> tuple[bytes, bool]:
    read = bytearray()
    limit = exchange.request.max_body
    while len(read) <= limit:
        chunk = await response.content.read(CHUNK)
        if not chunk:
            return bytes(read), True
        read += chunk
        exchange.told(f"reading the body of {exchange.url} ({len(read)} bytes so far)")
    return bytes(read[:limit]), False


def _answer(response: aiohttp.ClientResponse, body: bytes, complete: bool) -> Answer:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in response.headers.items():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    version = response.version
    return Answer(
        status=response.status,
        phrase=response.reason or "",
        version=f"{version.major}.{version.minor}" if version else "",
        url=str(response.url),
        headers=headers,
        body=body,
        charset=response.charset or "utf-8",
        complete=complete,
    )


# --- what went wrong -----------------------------------------------------------------------------------------------


def _translated(error: Exception, exchange: Exchange) -> Exception:
    """What aiohttp and the system raise, in the few kinds that :meth:`HttpClient.carry_out` promises."""
    if exchange.problem is not None:
        return exchange.problem
    if isinstance(error, _Broken):
        return _broken(error.error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error, exchange)
    if isinstance(error, aiohttp.TooManyRedirects):
        return ExchangeError(
            "redirect", f"more than {exchange.request.redirects} redirects, the last to {exchange.url}"
        )
    if isinstance(error, aiohttp.RedirectClientError):
        return ExchangeError("redirect", f"{exchange.url} redirects to what is no http or https URL: {error}"[:400])
    if isinstance(error, aiohttp.InvalidURL):
        return ExchangeError("redirect", f"cannot go to {error}"[:400])
    if isinstance(error, aiohttp.ClientPayloadError):
        return ExchangeError("protocol", f"the body of the answer is broken: {_plain(error)}")
    if isinstance(error, aiohttp.ClientResponseError):
        return ExchangeError("protocol", f"the answer is not proper HTTP: {_plain(error)}")
    if isinstance(error, ssl.SSLError):
        return error
    return ExchangeError("protocol", f"the exchange failed: {_plain(error)}")


def _not_connected(error: aiohttp.ClientConnectorError, exchange: Exchange) -> Exception:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ExchangeError("dns", f"{error.host} cannot be looked up: {connect_problem(cause)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError) and isinstance(error.certificate_error, OSError):
        return error.certificate_error
    if isinstance(cause, ssl.SSLError):
        return cause
    if exchange.phase == "tls":
        return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, str(cause))
    return ExchangeError("connect", f"no connection to {error.host} port {error.port}: {connect_problem(cause)}")


def _broken(error: aiohttp.ClientOSError | aiohttp.ServerDisconnectedError) -> Exception:
    """TLS 1.3 tells only with the first answer that the server wants a client certificate, hence the second case."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ExchangeError("protocol", "the server closed the connection without an answer")
    for cause in (error.__cause__, error):
        if isinstance(cause, ssl.SSLError):
            return cause
    return ExchangeError("protocol", f"the connection broke before an answer came: {connect_problem(error)}")


def _plain(error: Exception) -> str:
    return " ".join((getattr(error, "message", "") or str(error) or type(error).__name__).split())[:300]
