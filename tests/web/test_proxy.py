"""Behind a reverse proxy: who is believed about who asks; and our own listener's certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from tests.real.servers.certificates import Authority
from tests.web.access import TOKEN, access_for, everybody
from tests.web.test_web import Served, serve
from wcr_watchd.web.access.certificate import Certificate
from wcr_watchd.web.access.peer import is_direct, is_https, is_own_page
from wcr_watchd.web.access.proxy import behind_proxy
from wcr_watchd.web.access.sessions import SECURE_COOKIE

Seen = dict[str, Any]
TRUSTED = ("127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32")


@pytest.fixture
async def ask() -> AsyncIterator[Callable[..., object]]:
    """``await ask(trusted, header=value)``: the status, and what a handler sees of the request."""
    networks: list[str] = []

    async def show(request: web.Request) -> web.Response:
        seen = {"remote": request.remote, "scheme": request.scheme, "host": request.host}
        return web.json_response(seen | {"direct": is_direct(request), "https": is_https(request)})

    app = web.Application(middlewares=[behind_proxy(lambda: tuple(map(ip_network, networks)))])
    app.router.add_get("/", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession() as session:

        async def one(trusted: tuple[str, ...], **headers: str) -> tuple[int, Seen]:
            networks[:] = trusted
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(base, headers=named) as answer:
                return answer.status, await answer.json() if answer.status == 200 else {}

        yield one
    await runner.cleanup()


@pytest.mark.parametrize(
    ("headers", "remote", "scheme", "host"),
    [
        ({"X_Forwarded_For": "192.0.2.7"}, "192.0.2.7", "http", "ours"),
        ({"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}, "192.0.2.7", "https", "ours"),
        ({"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Host": "w.example"}, "192.0.2.7", "http", "w.example"),
        ({"X_Forwarded_For": "made-up, 192.0.2.7, 10.1.2.3"}, "192.0.2.7", "http", "ours"),
        ({"X_Forwarded_For": "127.0.0.1, 192.0.2.7"}, "192.0.2.7", "http", "ours"),
        ({"X_Forwarded_For": "10.0.0.9, 10.0.0.8"}, "10.0.0.9", "http", "ours"),
        ({"X_Forwarded_For": "192.0.2.7:4711"}, "192.0.2.7", "http", "ours"),
        ({"X_Forwarded_For": "[2001:db9::1]:4711"}, "2001:db9::1", "http", "ours"),
        ({"X_Forwarded_For": "192.0.2.7, 10.0.0.8", "X_Forwarded_Proto": "https, http"}, "192.0.2.7", "https", "ours"),
        ({"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "javascript"}, "192.0.2.7", "http", "ours"),
        ({"Forwarded": "for=192.0.2.7;proto=https;host=w.example"}, "192.0.2.7", "https", "w.example"),
        ({"Forwarded": 'for=192.0.2.9, for="[2001:db9::7]:80", for=10.0.0.8'}, "2001:db9::7", "http", "ours"),
        ({"Forwarded": "for=192.0.2.7", "X_Forwarded_For": "192.0.2.7"}, "192.0.2.7", "http", "ours"),
        ({"Forwarded": "for=unknown"}, "unknown", "http", "ours"),
        ({}, "127.0.0.1", "http", "ours"),
    ],
)
async def test_a_trusted_proxy_says_for_whom_it_speaks(
    ask: Callable[..., object], headers: dict[str, str], remote: str, scheme: str, host: str
) -> None:
    status, seen = await ask(TRUSTED, Host="ours", **headers)  # type: ignore[misc]
    assert (status, seen["remote"], seen["scheme"], seen["host"]) == (200, remote, scheme, host)
    assert (seen["direct"], seen["https"]) == (True, scheme == "https")


async def test_who_is_not_trusted_is_not_believed(ask: Callable[..., object]) -> None:
    said = {"X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "w.example"}
    for trusted in ((), ("10.0.0.0/8",)):
        _, seen = await ask(trusted, Host="ours", **said)  # type: ignore[misc]
        assert (seen["remote"], seen["scheme"], seen["host"]) == ("127.0.0.1", "http", "ours")
        assert not seen["direct"], "it still shows that somebody stands between"


async def test_headers_that_contradict_each_other_are_refused(ask: Callable[..., object]) -> None:
    status, _ = await ask(TRUSTED, Forwarded="for=127.0.0.1", X_Forwarded_For="192.0.2.7")  # type: ignore[misc]
    assert status == 400


ODD = (
    b"X-Forwarded-For: \xff\xfe",
    b"X-Forwarded-For: 192.0.2.1\r\nUser-Agent: \xff",
    b"X-Forwarded-For: ,,,",
    b"X-Forwarded-For: [[[::",
    b"X-Forwarded-For: " + b"1.1.1.1, " * 500,
    b'Forwarded: for="\xff"',
    b"Forwarded: ;;,=,",
    b"Forwarded: for",
)


@pytest.mark.parametrize("headers", ODD)
async def test_no_header_upsets_it(proxied: Served, headers: bytes) -> None:
    host, _, port = proxied.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] in {b"200", b"400"}, answer


@pytest.mark.parametrize("headers", ODD)
async def test_whatever_the_headers_a_sign_in_can_be_stored(proxied: Served, headers: bytes) -> None:
    host, _, port = proxied.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    form = f"token={TOKEN}".encode()
    writer.write(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: close\r\n" + headers)
    writer.write(b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(form))
    writer.write(form)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] in {b"303", b"400"}, answer
    for one in (*await proxied.access.audit.records.sessions(), *await proxied.access.audit.entries()):
        assert str(one).encode()


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("https://watch.example", "upstream:9848", True),
        ("http://watch.example", "upstream:9848", False),
        ("https://watch.example.evil.example", "upstream:9848", False),
        ("http://upstream:9848", "upstream:9848", True),
        ("https://", "", False),
    ],
)
def test_our_own_pages_are_those_of_the_public_address_too(origin: str, host: str, ours: bool) -> None:
    """Many a proxy passes on a host name of its own."""
    request = make_mocked_request("POST", "/", headers={"Origin": origin, "Host": host})
    assert is_own_page(request, "https://watch.example/", ambient=True) == ours


@pytest.fixture
async def proxied() -> AsyncIterator[Served]:
    async for one in serve(access_for(replace(everybody(), proxies=(ip_network("127.0.0.0/8"),)))):
        yield one


async def test_attempts_and_actions_are_counted_for_the_real_address(proxied: Served) -> None:
    guess = {"token": "wrong"}
    origin = {"Origin": proxied.base, "X-Forwarded-Proto": "http"}
    for _ in range(10):
        headers = origin | {"X-Forwarded-For": "192.0.2.7"}
        async with proxied.session.post(proxied.base + "/sign-in", data=guess, headers=headers) as answer:
            assert answer.status == 403
    statuses = {}
    for address in ("192.0.2.7", "192.0.2.8"):
        headers = origin | {"X-Forwarded-For": address}
        async with proxied.session.post(proxied.base + "/sign-in", data=guess, headers=headers) as answer:
            statuses[address] = answer.status
    assert statuses == {"192.0.2.7": 429, "192.0.2.8": 403}
    assert {one.source for one in await proxied.access.audit.entries()} == {"192.0.2.7", "192.0.2.8"}


async def test_behind_a_proxy_nobody_is_taken_for_local(proxied: Served) -> None:
    assert (await proxied.get("/metrics", X_Forwarded_For="192.0.2.7"))[0] == 403
    assert (await proxied.get("/metrics"))[0] == 200


async def test_behind_a_proxy_with_https_pages_and_cookies_are_those_of_https(proxied: Served) -> None:
    public = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "watch.example"}
    form = {"token": TOKEN}
    for origin, status in (("https://watch.example", 303), ("http://watch.example", 403), (proxied.base, 403)):
        async with proxied.session.post(
            proxied.base + "/sign-in", data=form, headers=public | {"Origin": origin}, allow_redirects=False
        ) as answer:
            assert answer.status == status, origin
            assert "max-age" in answer.headers["Strict-Transport-Security"]
            assert (SECURE_COOKIE in answer.cookies) == (status == 303)


async def test_a_renewed_certificate_is_in_force_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    first, second, other = (authority.issue("localhost", "127.0.0.1") for _ in range(3))
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"

    def put(certificate: str, its_key: str) -> None:
        chain.write_bytes(Path(certificate).read_bytes())
        key.write_bytes(Path(its_key).read_bytes())

    put(first.certificate, first.key)
    certificate = Certificate(chain, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context).start()
    port = runner.addresses[0][1]
    trust = ssl.create_default_context(cafile=str(authority.ca_file))

    async def served() -> bytes:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return found

    before = await served()
    await certificate.look()
    assert await served() == before
    put(second.certificate, second.key)
    await certificate.look()
    renewed = await served()
    assert renewed != before
    put(other.certificate, first.key)
    with capture_logs() as logs:
        await certificate.look()
    assert [row["log_level"] for row in logs] == ["warning"]
    assert await served() == renewed
    await runner.cleanup()
