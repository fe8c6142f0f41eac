"""HTTP servers at their worst."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from tests.real.hostile.case import Case, run_all
from tests.real.hostile.talks import babble, drip, head, reset, stall, talk
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = OK + b"Content-Length: 1000\r\n\r\n"
UP = Outcome.UP


def answer(*fields: bytes, body: bytes = b"", status: bytes = b"200 OK") -> Any:
    """A whole answer with these header fields, and the length of the body unless they say it."""
    if not any(field.lower().startswith((b"content-length", b"transfer-encoding")) for field in fields):
        fields = (*fields, b"Content-Length: %d" % len(body))
    return b"\r\n".join((b"HTTP/1.1 " + status, *fields, b"", body))


def redirect(to: bytes, *fields: bytes) -> Any:
    """An answer that leads elsewhere."""
    return answer(b"Location: " + to, *fields, status=b"302 Found")


def packed(body: bytes, coding: bytes) -> Any:
    """An answer whose body is said to be encoded."""
    return answer(b"Content-Encoding: " + coding, body=body)


def bomb(kind: str) -> bytes:
    """A quarter of a megabyte that grows to 256 MB; the same megabyte each time, so that packing it takes no second.

    The checksum at its end, which nobody should come to, is not right.
    """
    packer = zlib.compressobj(9, wbits={"gzip": 31, "deflate": 15, "raw": -15}[kind])
    block = bytes(1024 * 1024)
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 255 * again + packer.flush()


RIGHT = gzip.compress(b"all is well " * 1000)
TOO_LARGE: dict[str, Any] = {"max_body": 100_000, "expect": {"max_size": 100_000}}
HEAD_AWAITED = "waiting for status and headers"
BODY_AWAITED = "reading the body"
BODY_BROKEN = "the body of the answer is broken"
NOT_HTTP = "the answer is not proper HTTP"

STALLS = [
    Case("silence", talk(head, stall), "timeout", HEAD_AWAITED),
    Case("does not even read", talk(stall), "timeout", HEAD_AWAITED),
    Case("status line drips", talk(head, drip(OK * 9)), "timeout", HEAD_AWAITED),
    Case("headers drip", talk(head, OK, drip(b"X-Slow: " + b"y" * 500)), "timeout", HEAD_AWAITED),
    Case("header after header, slowly", talk(head, OK, drip(b"A: b\r\n", 0.01, repeat=True)), "timeout", HEAD_AWAITED),
    Case("stops in the status line", talk(head, b"HTTP/1.1 2", stall), "timeout", HEAD_AWAITED),
    Case("stops in the headers", talk(head, OK + b"Content-", stall), "timeout", HEAD_AWAITED),
    Case("stops after the headers", talk(head, LONG, stall), "timeout", BODY_AWAITED),
    Case("stops in the body", talk(head, LONG + b"x" * 999, stall), "timeout", (BODY_AWAITED, "999 bytes so far")),
    Case("body drips", talk(head, LONG, drip(b"x" * 1000)), "timeout", (BODY_AWAITED, "bytes so far")),
    Case("stops in a chunk", talk(head, CHUNKED + b"ff\r\nabc", stall), "timeout", BODY_AWAITED),
    Case("the last chunk never comes", talk(head, CHUNKED + b"3\r\nabc\r\n", stall), "timeout", BODY_AWAITED),
    Case("chunk size drips", talk(head, CHUNKED, drip(b"0" * 500)), "timeout", BODY_AWAITED),
    Case("no length and no end", talk(head, OK + b"\r\nabc", stall), "timeout", BODY_AWAITED),
    Case("gzip stops", talk(head, packed(RIGHT, b"gzip")[:-9], stall), "timeout", BODY_AWAITED),
    Case("continue without end", talk(head, babble(b"HTTP/1.1 100 Continue\r\n\r\n")), "timeout", HEAD_AWAITED),
    Case(
        "early hints, then nothing", talk(head, b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n", stall), "timeout", HEAD_AWAITED
    ),
    Case("slow redirects", talk(head, drip(redirect(b"/again"), 0.004)), "timeout", HEAD_AWAITED),
    Case("silence after TLS", talk(head, stall), "timeout", HEAD_AWAITED, {"verify": False}, certificate="good"),
    Case("handshake stalls", talk(stall), "timeout", "in the TLS handshake", {"verify": False}, certificate="-"),
    Case(
        "handshake drips",
        talk(drip(b"\x16\x03\x03\x40\x00" + b"\0" * 500)),
        "timeout",
        "in the TLS handshake",
        {"verify": False},
        certificate="-",
    ),
]
FLOODS = [
    Case("endless status line", talk(head, babble(b"HTTP/1.1 200 OK ")), "protocol", NOT_HTTP),
    Case("endless header", talk(head, OK + b"X: ", babble(b"y")), "protocol", NOT_HTTP),
    Case("endless header name", talk(head, OK, babble(b"y")), "protocol", NOT_HTTP),
    Case("endless headers", talk(head, OK, babble(b"X: y\r\n")), "protocol", NOT_HTTP),
    Case("endless body", talk(head, OK + b"\r\n", babble(b"x")), "too_large", "more than 100000 bytes", TOO_LARGE),
    Case("endless small chunks", talk(head, CHUNKED, babble(b"1\r\nx\r\n")), "too_large", "more than", TOO_LARGE),
    Case("endless chunk", talk(head, CHUNKED + b"fffffff\r\n", babble(b"x")), "too_large", "more than", TOO_LARGE),
    Case("endless chunk size", talk(head, CHUNKED, babble(b"0")), "timeout", BODY_AWAITED),
    Case("endless chunk extension", talk(head, CHUNKED + b"5;a=", babble(b"x")), "timeout", BODY_AWAITED),
    Case("endless trailers", talk(head, CHUNKED + b"0\r\n", babble(b"X: y\r\n")), "protocol", "Too many headers"),
    Case("gzip bomb", packed(bomb("gzip"), b"gzip"), "too_large", "more than 100000 bytes", TOO_LARGE),
    Case("deflate bomb", packed(bomb("deflate"), b"deflate"), "too_large", "more than 100000 bytes", TOO_LARGE),
    Case("raw deflate bomb", packed(bomb("raw"), b"deflate"), "too_large", "more than 100000 bytes", TOO_LARGE),
    Case(
        "redirects with endless bodies",
        talk(head, b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", babble(b"x")),
        "redirect",
        "more than 10 redirects",
        {"max_body": 100_000},
    ),
]
LENGTHS = [
    Case("closed before the end", LONG + b"short", "protocol", (BODY_BROKEN, "after 5 of the 1000 bytes")),
    Case("a length below nothing", OK + b"Content-Length: -5\r\n\r\nx", "protocol", NOT_HTTP),
    Case("a length that is no number", OK + b"Content-Length: 0x5\r\n\r\nxxxxx", "protocol", NOT_HTTP),
    Case("two lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "protocol", NOT_HTTP),
    Case("a length without bounds", OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nx", "protocol", ""),
    Case(
        "a length and chunks",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "protocol",
        NOT_HTTP,
    ),
    Case("more than its length", OK + b"Content-Length: 2\r\n\r\nabcdef", "protocol", NOT_HTTP),
    Case(
        "not as long as wanted",
        OK + b"Content-Length: 2\r\n\r\nab",
        "content",
        "expected at least 5",
        {"expect": {"min_size": 5}},
    ),
    Case("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "protocol", NOT_HTTP),
]
CHUNKS = [
    Case("chunk size is no number", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", "protocol", "chunk size"),
    Case("chunk size below nothing", CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", "protocol", "chunk size"),
    Case("chunk size without bounds", CHUNKED + b"f" * 40 + b"\r\nabc", "protocol", "Chunk size overflow"),
    Case("chunk longer than said", CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n", "protocol", "after chunk data"),
    Case("closed in a chunk", CHUNKED + b"ff\r\nabc", "protocol", BODY_BROKEN),
    Case("closed after a chunk", CHUNKED + b"3\r\nabc\r\n", "protocol", BODY_BROKEN),
]
BREAKS = [
    Case("reset when asked", talk(reset), "protocol", "broke before an answer came"),
    Case("reset after the request", talk(head, reset), "protocol", "broke before an answer came"),
    Case("closed after the request", talk(head), "protocol", "closed the connection without an answer"),
    Case("closed in the status line", talk(head, b"HTTP/1.1 2"), "protocol", ""),
    Case("closed in the headers", talk(head, OK + b"Content-"), "protocol", ""),
    Case("reset in the headers", talk(head, OK + b"Content-", reset), "protocol", ""),
    Case("reset after the headers", talk(head, LONG, reset), "protocol", BODY_BROKEN),
    Case("reset in the body", talk(head, LONG + b"x" * 500, reset), "protocol", BODY_BROKEN),
    Case("reset in a chunk", talk(head, CHUNKED + b"ff\r\nabc", reset), "protocol", BODY_BROKEN),
    Case(
        "reset after TLS",
        talk(head, reset),
        "protocol",
        "broke before an answer came",
        {"verify": False},
        certificate="good",
    ),
]
NONSENSE = [
    Case("nothing but zeros", talk(head, b"\0" * 1000), "protocol", NOT_HTTP),
    Case("an answer without a head", talk(head, b"<html>hello</html>"), "protocol", NOT_HTTP),
    Case("another service", talk(head, b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol", NOT_HTTP),
    Case("TLS where none was asked for", talk(head, b"\x15\x03\x01\x00\x02\x02\x46"), "protocol", NOT_HTTP),
    Case("a version of the future", b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case("a status of two digits", b"HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case("a status beyond all", b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "status", "999"),
    Case("a status that is no number", b"HTTP/1.1 two OK\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case("a status below nothing", b"HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case("a header without colon", OK + b"Odd header\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case("a zero in a header", OK + b"A: b\0c\r\nContent-Length: 0\r\n\r\n", "protocol", NOT_HTTP),
    Case(
        "bytes that are no text",
        b"HTTP/1.1 500 \xff\xfe\x1b[2J\r\nX: \xff\xff\r\nContent-Length: 2\r\n\r\n\xff\0",
        "status",
        "500",
    ),
    Case("codes for a terminal", b"HTTP/1.1 500 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n", "status", "500"),
    Case(
        "a phrase without end", b"HTTP/1.1 500 " + b"very " * 1000 + b"\r\nContent-Length: 0\r\n\r\n", "status", "500"
    ),
    Case("gzip cut short", packed(RIGHT[:-9], b"gzip"), "protocol", "its gzip data is cut short"),
    Case("deflate cut short", packed(zlib.compress(b"all is well " * 99)[:-5], b"deflate"), "protocol", "cut short"),
    Case("plain is not gzip", packed(b"plain", b"gzip"), "protocol", BODY_BROKEN),
    Case("gzip that is damaged", packed(RIGHT[:20] + b"\xff" * 9 + RIGHT[29:], b"gzip"), "protocol", BODY_BROKEN),
    Case("brotli unasked", packed(b"\x1b\x00\x00", b"br"), "protocol", "encod"),
    Case("an encoding nobody knows", packed(b"abc", b"x-odd"), "", "200", {"expect": {"body": "abc"}}, UP),
    *(
        Case(
            f"character set {name}",
            answer(b"Content-Type: text/plain; charset=" + name.encode(), body=b"\xff\xfeabc"),
            "content",
            "does not contain",
            {"expect": {"body": "xyz", "json": {"a": 1}}},
        )
        for name in ("undefined", "idna", "punycode", "rot13", "unicode_escape", "utf-7", "zlib", '"a b"', "x" * 200)
    ),
    Case(
        "no JSON but NaN",
        answer(body=b'{"a": NaN, "b": Infinity, "c": -0.0}'),
        "content",
        "JSON a is NaN",
        {"expect": {"json": {"a": 1}}},
    ),
    Case(
        "JSON with half a character",
        answer(body=b'{"a": "\\ud800"}'),
        "content",
        "JSON a is",
        {"expect": {"json": {"a": "x"}}},
    ),
    Case("JSON nested deeply", answer(body=b'{"a":' * 90_000), "content", "not JSON", {"expect": {"json": {"a": "x"}}}),
    Case(
        "cookies without end",
        answer(*(b"Set-Cookie: c%d=%s" % (n, b"x" * 4000) for n in range(120))),
        "",
        "200",
        {},
        UP,
    ),
]
REDIRECTS = [
    Case("in a circle", redirect(b"/"), "redirect", "more than 10 redirects", least_connections=11),
    Case("one too many", redirect(b"/x"), "redirect", "more than 2 redirects", {"max_redirects": 2}),
    *(
        Case(f"to {to[:20].decode('latin-1')!r}", redirect(to), "redirect", words)
        for to, words in (
            (b"ftp://127.0.0.1/x", "no http or https URL: ftp://127.0.0.1/x"),
            (b"file:///etc/passwd", "no http or https URL: file:///etc/passwd"),
            (b"javascript:alert(1)", "no http or https URL: javascript:alert(1)"),
            (b"data:text/plain,hello", "no http or https URL"),
            (b"gopher://127.0.0.1:70/_x", "no http or https URL"),
            (b"mailto:root@example.org", "no http or https URL"),
            (b"unix:/run/docker.sock", "no http or https URL"),
            (b"http://[bad/", "to what is no URL: http://[bad/"),
            (b"http://127.0.0.1:99999/", "to what is no URL"),
            (b"http:///x", "more than 10 redirects"),
            (b"//", "more than 10 redirects"),
        )
    ),
    Case("to a closed port", redirect(b"http://127.0.0.1:1/"), "connect", "127.0.0.1 port 1: connection refused"),
    Case("to a name that is none", redirect(b"http://no-such-name.invalid/"), "dns", "no-such-name.invalid"),
    Case(
        "to a name that DNS cannot hold", redirect(b"http://" + b"a" * 70 + b".example/"), "dns", "cannot be looked up"
    ),
    Case("with a password in it", redirect(b"http://root:pw-of-it@127.0.0.1:1/"), "connect", "connection refused"),
    Case("nowhere", answer(status=b"302 Found"), "status", "expected 2xx"),
    Case("to a place too long to name", redirect(b"/" + b"x" * 100_000), "protocol", NOT_HTTP),
    Case(
        "down from https",
        redirect(b"http://127.0.0.1:1/"),
        "redirect",
        "from https down to http",
        {"verify": False},
        certificate="good",
    ),
]
CASES = [*STALLS, *FLOODS, *LENGTHS, *CHUNKS, *BREAKS, *NONSENSE, *REDIRECTS]


async def test_http(odd: Callable[..., Awaitable[Odd]], shared: SharedHelpers, contexts: dict[str, Any]) -> None:
    tls = {case.name for case in CASES if case.certificate}
    plain = [case for case in CASES if case.name not in tls]
    await run_all("http", plain, lambda server: {"url": server.url()}, odd, shared, contexts)
    over_tls = [case for case in CASES if case.name in tls]
    await run_all("http", over_tls, lambda server: {"url": f"https://{server.address}/"}, odd, shared, contexts)
