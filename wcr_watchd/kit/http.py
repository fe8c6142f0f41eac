"""One HTTP exchange as a watcher needs it: every phase timed, the certificates kept, every read bounded.

aiohttp's protocol reads HTTP (its parser, body decoding, limits and flow control); connecting, TLS and redirects are
gone through step by step here, because a watcher times and tells each of them, and because that takes a fraction of the
processor time of aiohttp's client session with trace hooks. Every exchange has a connection, cookies and a clock of its
own, and nothing is tried twice: a browser would, a watcher must see it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from wcr_watchd import __version__
from wcr_watchd.kit.network import NameResolver, connect_problem, connect_socket
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, watching

USER_AGENT = f"wcr-watchd/{__version__}"
LONGEST_LINE = 8190
"""Bytes of a status line or header field that are read."""
MOST_HEADERS = 128
CHUNK = 65536
"""Bytes decompressed at a time, so that a bomb cannot go off."""
CHUNKS_AT_A_TIME = 256
"""Chunks of a body (RFC 9112, 7.1) that are taken before others have the loop: a server may send one for every byte."""
BUFFERED = 16 * 1024
"""Bytes of a body that wait to be taken, about; for every 16 of them the parser takes one chunk in at a time."""

_CODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "br", "zstd"})
"""Registered content codings of which only some are asked for."""
_GZIP_MAGIC = b"\x1f\x8b"
"""How a further member of a gzip body begins."""
_AUTOMATIC = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip, deflate", "Connection": "close"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, and how far to go.

    ``ip`` is ``any``, ``4`` or ``6``; ``resolve`` an address to use for the URL's host instead of looking it up;
    ``server_name`` another name than the host's to ask for in TLS. ``redirects`` is how many are followed (0: none),
    ``downgrade`` whether one may lead from https to http. ``max_body`` bounds the body, in bytes after decompression.
    ``coding`` is the content coding to take off the body, whatever the answer says of it (None: as the answer says).
    ``kept`` is how many bytes of the body are kept (None: all that are read).
    """

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    ip: str = "any"
    resolve: str = ""
    server_name: str = ""
    tls: TlsSettings = TlsSettings()
    redirects: int = 10
    downgrade: bool = False
    max_body: int = 1024 * 1024
    coding: str | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back last, after all redirects. ``complete`` is False when the body is longer than was read.

    ``size`` is how many bytes of it were read, also when fewer are kept.
    """

    status: int
    phrase: str
    version: str
    url: str
    headers: Mapping[str, tuple[str, ...]]
    """By lower-case name."""
    body: bytes
    complete: bool
    size: int

    @property
    def text(self) -> str:
        """The body as text; what is not text in its character set is replaced."""
        content = Message()
        content["Content-Type"] = self.headers.get("content-type", ("",))[0]
        try:
            return self.body.decode(content.get_content_charset("utf-8"), "replace")
        except (LookupError, ValueError):  # no such character set, or one that is not for text, such as "idna"
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
    ``cookies`` are those of exchanges before; without them, those that are set on the way are forgotten at its end.
    """

    request: Request
    told: Callable[[str], None] = lambda step: None
    cookies: aiohttp.CookieJar | None = None
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


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request of an exchange: the first one, or where a redirect leads."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None


class HttpClient:
    """The HTTP client of all probes; get it by ``run.shared.get(HttpClient)``. TLS contexts are shared among them."""

    def __init__(self) -> None:
        self.contexts = TlsContexts()
        self._names = NameResolver()

    async def close(self) -> None:
        """Close what is open."""
        await self.contexts.close()
        await self._names.close()

    async def carry_out(self, exchange: Exchange) -> Answer:
        """Carry the exchange out; it can be read meanwhile and afterwards, also when this is cancelled.

        Raises :class:`ExchangeError` for everything the other side does, ``ssl.SSLError`` (an ``OSError``) for a
        failed handshake, whose chain is in ``exchange.handshake``, and
        :class:`~wcr_watchd.kit.tls.UnusableFileError` for a file of ours that cannot be used.
        """
        request = exchange.request
        hop = _Hop(request.method, request.url, request.headers, request.body)
        cookies = exchange.cookies
        try:
            while True:
                exchange.url = str(hop.url)
                answer = await self._ask(exchange, hop, _cookie_header(cookies, hop.url))
                location = answer.headers.get("location", ("",))[0]
                ended = request.redirects == 0 or answer.status not in _REDIRECTS or not location
                if cookies is None and not ended:
                    cookies = aiohttp.CookieJar(unsafe=True)
                if cookies is not None:
                    cookies.update_cookies_from_headers(answer.headers.get("set-cookie", ()), hop.url)
                if ended:
                    exchange.answer = answer
                    return answer
                hop = _redirected(exchange, hop, answer.status, location)
        finally:
            exchange.enter("")

    async def _ask(self, exchange: Exchange, hop: _Hop, cookies: str) -> Answer:
        context = await self.contexts.get(exchange.request.tls) if hop.url.scheme == "https" else None
        sent = _serialised(hop, cookies)
        connected = await self._connect(exchange, hop.url)
        protocol = ResponseHandler(asyncio.get_running_loop())
        try:
            await _set_up(exchange, hop.url, connected, protocol, context)
            protocol.set_response_params(
                skip_payload=hop.method == "HEAD",
                read_until_eof=True,
                auto_decompress=False,  # aiohttp takes a gzip body that is cut short for a whole one
                read_bufsize=BUFFERED,
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                max_headers=MOST_HEADERS,
            )
            exchange.enter("first_byte", f"waiting for status and headers of {exchange.url}")
            return await _answered(exchange, protocol, sent)
        finally:
            protocol.abort()
            connected.close()

    async def _connect(self, exchange: Exchange, url: URL) -> socket.socket:
        """A TCP connection to the URL's host, by the exchange's wishes: IP version, address given."""
        request = exchange.request
        host, port = url.raw_host or "", url.port or 0
        wanted = request.resolve if request.resolve and host == request.url.raw_host else host
        try:
            addresses = self._names.given(wanted, port, request.ip)
            if addresses is None:
                exchange.enter("dns", f"looking up {wanted}")
                addresses = await self._names.addresses(wanted, port, request.ip)
        except (OSError, UnicodeError) as error:
            problem = connect_problem(error) if isinstance(error, OSError) else str(error)
            raise ExchangeError("dns", f"{host} cannot be looked up: {problem}") from error
        exchange.enter("connect", f"connecting to {url.authority}")
        try:
            return await connect_socket(addresses)
        except OSError as error:
            raise ExchangeError("connect", f"no connection to {host} port {port}: {connect_problem(error)}") from error


async def _set_up(
    exchange: Exchange, url: URL, connected: socket.socket, protocol: ResponseHandler, context: ssl.SSLContext | None
) -> None:
    """Put the protocol on the connection, through TLS for https."""
    loop = asyncio.get_running_loop()
    if context is None:
        await loop.create_connection(lambda: protocol, sock=connected)
        return
    handshake, request = exchange.handshake, exchange.request
    handshake.began = lambda: exchange.enter("tls", f"in the TLS handshake with {url.authority} as {handshake.asked}")
    host = (url.raw_host or "").rstrip(".")
    renamed = request.server_name and url.raw_host == request.url.raw_host
    name = request.server_name if renamed else host
    try:
        with watching(handshake):
            await loop.create_connection(lambda: protocol, sock=connected, ssl=context, server_hostname=name)
    except ssl.SSLError:  # some are ValueErrors, too
        raise
    except ValueError as error:  # no certificate can be for that name
        raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, str(error)) from error
    finally:
        # It holds the exchange, which holds the handshake: TLS sessions would pile up until somebody looks for garbage.
        handshake.began = lambda: None


# --- what is asked ---------------------------------------------------------------------------------------------------


def _serialised(hop: _Hop, cookies: str) -> bytes:
    """The request as it is sent (RFC 9112, 2 and 3)."""
    own = {name.lower() for name in hop.headers}
    headers = {name: value for name, value in _AUTOMATIC.items() if name.lower() not in own}
    if "host" not in own:
        headers["Host"] = hop.url.host_port_subcomponent or ""
    if cookies and "cookie" not in own:
        headers["Cookie"] = cookies
    if hop.url.user is not None and "authorization" not in own:
        headers["Authorization"] = aiohttp.encode_basic_auth(hop.url.user, hop.url.password or "")
    if hop.body is not None or hop.method not in _WITHOUT_BODY:
        headers["Content-Length"] = str(len(hop.body or b""))
    headers.update(hop.headers)
    lines = [f"{hop.method} {hop.url.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise ExchangeError("protocol", "nothing was sent: a header has a line break or a null character in it")
    return f"{head}\r\n\r\n".encode() + (hop.body or b"")


def _cookie_header(cookies: aiohttp.CookieJar | None, url: URL) -> str:
    found = cookies.filter_cookies(url).values() if cookies is not None else ()
    return "; ".join(f"{one.key}={one.coded_value}" for one in found)


def _redirected(exchange: Exchange, hop: _Hop, status: int, location: str) -> _Hop:
    """Where an answer sends us (RFC 9110, 15.4): method and body as browsers keep them, own headers to the same host.

    A check's own headers may hold keys, so they are never sent to another host.
    """
    exchange.enter("")
    request = exchange.request
    if exchange.redirects >= request.redirects:
        raise ExchangeError("redirect", f"more than {request.redirects} redirects, the last to {exchange.url}")
    exchange.redirects += 1
    try:
        url = hop.url.join(URL(location))
    except ValueError as error:
        raise ExchangeError("redirect", f"{exchange.url} redirects to what is no URL: {location[:200]}") from error
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ExchangeError("redirect", f"{exchange.url} redirects to what is no http or https URL: {location[:200]}")
    if hop.url.scheme == "https" and url.scheme == "http" and not request.downgrade:
        raise ExchangeError(
            "redirect",
            f"{exchange.url} redirects to {location[:200]}, from https down to http; if that is meant, allow_downgrade",
        )
    headers = request.headers if url.origin() == request.url.origin() else {}
    if (status == 303 and hop.method != "HEAD") or (status in (301, 302) and hop.method == "POST"):
        return _Hop(
            "GET", url, {name: value for name, value in headers.items() if name.lower() != "content-type"}, None
        )
    return _Hop(hop.method, url, headers, hop.body)


# --- the answer ----------------------------------------------------------------------------------------------------


async def _answered(exchange: Exchange, protocol: ResponseHandler, sent: bytes) -> Answer:
    """Send the request and read what comes back."""
    try:
        assert protocol.transport is not None
        protocol.transport.write(sent)
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code < 200 or message.code == 101:
                break
        exchange.enter("transfer", f"reading the body of {exchange.url}")
        coding = exchange.request.coding
        if coding is None:
            coding = message.headers.get("Content-Encoding", "").strip().lower()
        body, size, complete = await _read(content, exchange, coding)
    except HttpProcessingError as error:
        raise ExchangeError("protocol", f"the answer is not proper HTTP: {_plain(error)}") from error
    except aiohttp.ClientPayloadError as error:
        raise ExchangeError("protocol", f"the body of the answer is broken: {_plain(error)}") from error
    except aiohttp.ServerDisconnectedError as error:
        raise ExchangeError("protocol", "the server closed the connection without an answer") from error
    except OSError as error:
        raise _broken(error) from error
    return _answer(exchange, message, body, size, complete)


async def _read(content: aiohttp.StreamReader, exchange: Exchange, coding: str) -> tuple[bytes, int, bool]:
    """What is kept of the body, how much was read, and whether that is all."""
    read, size = bytearray(), 0
    limit = exchange.request.max_body
    kept = limit if exchange.request.kept is None else min(limit, exchange.request.kept)
    # What no browser knows either (`utf-8`, a mistake seen in the field) leaves the body as it is.
    unpack = _Unpacking(coding) if coding in _CODINGS else None
    taken = 0
    while True:
        received, ends_chunk = await content.readchunk()  # unlike read(), it looks no further than one of them
        if not received and (content.at_eof() or not ends_chunk):
            if unpack is not None:
                unpack.end()
            return bytes(read), size, True
        for at in range(0, len(received), CHUNK):
            chunk = received[at : at + CHUNK]
            piece = unpack.feed(chunk, limit + 1 - size) if unpack is not None else chunk
            size += len(piece)
            read += piece[: kept - len(read)]
            if size > limit:
                return bytes(read), limit, False
        exchange.told(f"reading the body of {exchange.url} ({size} bytes so far)")
        taken += 1
        if taken % CHUNKS_AT_A_TIME == 0:
            await asyncio.sleep(0)


class _Unpacking:
    """Takes a content coding off a body piece by piece (RFC 9110, 8.4.1; gzip: RFC 1952, deflate: RFC 1950 or 1951)."""

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            asked = _AUTOMATIC["Accept-Encoding"]
            raise ExchangeError("protocol", f"the body has the content encoding {coding}; {asked} was asked for")
        self._coding = coding
        self._stream: zlib._Decompress | None = None
        self._whole = True

    def feed(self, data: bytes, room: int) -> bytes:
        """What the piece holds, at most ``room`` bytes of it: more is never unpacked, so that a bomb cannot go off."""
        found = bytearray()
        while data and len(found) < room:
            if self._stream is None:
                self._stream, self._whole = zlib.decompressobj(self._bits(data)), False
            try:
                found += self._stream.decompress(data, room - len(found))
            except zlib.error as error:
                broken = f"the body of the answer is broken: it is no {self._coding} data ({error})"
                raise ExchangeError("protocol", broken) from error
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                self._whole = True
                if not self._stream.unused_data.startswith(_GZIP_MAGIC):  # padding, as browsers take it
                    break
                data, self._stream = self._stream.unused_data, None
        return bytes(found)

    def end(self) -> None:
        """The body is over; raises :class:`ExchangeError` when the packed data is not."""
        if not self._whole:
            raise ExchangeError("protocol", f"the body of the answer is broken: its {self._coding} data is cut short")

    def _bits(self, data: bytes) -> int:
        """How zlib is told the format: deflate comes with and, by old mistake, without its header."""
        if self._coding == "deflate":
            return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
        return zlib.MAX_WBITS + 16


def _answer(exchange: Exchange, message: RawResponseMessage, body: bytes, size: int, complete: bool) -> Answer:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in message.headers.items():
        headers[name.lower()] = (*headers.get(name.lower(), ()), value)
    return Answer(
        status=message.code,
        phrase=message.reason or "",
        version=f"{message.version.major}.{message.version.minor}",
        url=exchange.url,
        headers=headers,
        body=body,
        complete=complete,
        size=size,
    )


def _broken(error: OSError) -> Exception:
    """TLS 1.3 tells only with the first answer that the server wants a client certificate."""
    for cause in (error.__cause__, error):
        if isinstance(cause, ssl.SSLError):
            return cause
    return ExchangeError("protocol", f"the connection broke before an answer came: {connect_problem(error)}")


def _plain(error: Exception) -> str:
    """What aiohttp says, without the names of Python's things in it, which it quotes from inside."""
    text = " ".join((getattr(error, "message", "") or str(error) or type(error).__name__).split())
    if cut_off := re.search(r"received (\d+) of (\d+) bytes", text):
        return f"it ended after {cut_off[1]} of the {cut_off[2]} bytes that Content-Length says"
    if "TransferEncodingError" in text:
        return "it ended before its last chunk"
    text = re.sub(r"\b(?:bytearray\()?b(?=['\"])", "", text)
    return text.removesuffix(" ^")[:200]
