"""The http probe against a real nginx, and against servers that answer what nginx never would."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import json
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

StartNginx = Callable[..., Nginx]
StartOdd = Callable[..., Awaitable[Odd]]

API = r"""
location = /health { default_type application/json; return 200 '{"status": "Healthy", "up": true, "users": 42,
    "load": 0.5, "ratio": "0.5", "data": {"list": [1, 2, 3], "first-name": "x"}, "none": null}'; }
location = /error { return 500 "stack trace\n"; }
location = /nothing { return 204; }
location = /old { return 301 /new; }
location = /new { return 200 "arrived\n"; }
location = /loop { return 302 /loop; }
location = /nowhere { return 302 "ftp://example.org/"; }
location = /text { add_header X-One one; add_header X-Many first; add_header X-Many second; add_header X-Empty "";
    default_type "text/html; charset=utf-8"; return 200 "<title>Täst</title><div id=\"root\"></div>"; }
location = /echo { default_type application/json; return 200
    '{"method": "$request_method", "host": "$http_host", "agent": "$http_user_agent", "auth": "$http_authorization",
      "key": "$http_x_key", "type": "$content_type", "length": "$content_length", "address": "$remote_addr"}'; }
location = /latin { default_type "text/plain; charset=iso-8859-1"; return 200 "\xfc"; }
"""


@pytest.fixture
def api(nginx: StartNginx) -> Nginx:
    return nginx(Site(API))


# --- what comes back ------------------------------------------------------------------------------------------------


async def test_a_2xx_is_up_and_everything_is_measured(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/health"))
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert f"GET {api.url('/health')} answered 200 OK in 0." in seen.summary
    assert measured(seen, "status") == 200
    assert measured(seen, "redirects") == 0
    assert measured(seen, "body_size") > 100
    phases = [measured(seen, "response_phase", phase=phase) for phase in ("connect", "first_byte", "transfer")]
    assert all(seconds > 0 for seconds in phases)
    assert sum(phases) == pytest.approx(measured(seen, "response_time"))
    with pytest.raises(AssertionError, match="absent"):
        measured(seen, "response_phase", phase="tls")
    assert "certificate_expires_in" not in names(seen)


async def test_a_name_has_a_dns_phase(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/health", host="localhost"), ip="4")
    assert seen.outcome is Outcome.UP
    assert measured(seen, "response_phase", phase="dns") > 0


async def test_500_is_down_with_what_was_expected_and_an_excerpt(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/error"))
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    assert "answered 500 Internal Server Error in" in seen.summary
    assert seen.summary.endswith("expected 2xx")
    assert seen.evidence["body"] == "stack trace\n"
    assert measured(seen, "status") == 500


@pytest.mark.parametrize(
    ("expected", "path", "up"),
    [
        (200, "/health", True),
        ("2xx", "/nothing", True),
        ([200, 204], "/nothing", True),
        ("200-204", "/nothing", True),
        ([200, "3xx"], "/nothing", False),
        ("5xx", "/error", True),
        (404, "/health", False),
        (404, "/missing", True),
    ],
)
async def test_status_sets(api: Nginx, observe: Observe, expected: Any, path: str, up: bool) -> None:
    seen = await observe("http", url=api.url(path), expect={"status": expected})
    assert seen.outcome is (Outcome.UP if up else Outcome.DOWN)


@pytest.mark.parametrize(
    ("path", "wanted", "up"),
    [
        ("status", "Healthy", True),
        ("status", ["Degraded", "Healthy"], True),
        ("status", "Degraded", False),
        ("up", True, True),
        ("up", 1, False),
        ("users", 42, True),
        ("users", 42.0, True),
        ("users", "42", False),
        ("users", "> 41", True),
        ("users", ">= 43", False),
        ("users", "!= 0", True),
        ("load", "< 0.5", False),
        ("load", "<= 0.5", True),
        ("ratio", "< 1", False),
        ("missing", "!= 5", False),
        ("missing", "< 5", False),
        ("none", "!= 5", False),
        ("missing.deeper", "x", False),
        ("data.list[2]", 3, True),
        ("data.list[9]", 3, False),
        ('data."first-name"', "x", True),
        ("length(data.list)", 3, True),
        ("length(users)", 3, False),
        ("status == 'Healthy'", True, True),
    ],
)
async def test_json_by_jmespath(api: Nginx, observe: Observe, path: str, wanted: Any, up: bool) -> None:
    seen = await observe("http", url=api.url("/health"), expect={"json": {path: wanted}})
    assert seen.outcome is (Outcome.UP if up else Outcome.DOWN), seen.summary
    assert seen.reason == ("" if up else "content")


async def test_a_wrong_value_is_told_with_the_value_found(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", f'url = "{api.url("/health")}"\nexpect.json.data.list = 4\nexpect.json.none = "x"')
    assert "JSON data.list is [1, 2, 3], expected 4 (and 1 more)" in seen.summary
    assert 'JSON none is absent, expected "x"' in seen.evidence["failed"]
    assert '"Healthy"' in seen.evidence["body"]


@pytest.mark.parametrize("body", [b"hello", b"", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"\xff\xfe\xfd"])
async def test_no_json_is_no_crash(odd: StartOdd, observe: Observe, body: bytes) -> None:
    server = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    seen = await observe("http", url=server.url(), expect={"json": {"a": 1}}, values={"a": "a"})
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "the body is not JSON" in seen.summary
    assert "a: " in seen.evidence["absent"]


async def test_values_become_measurements_and_what_is_no_number_is_absent(api: Nginx, observe: Observe) -> None:
    values = {"people": "users", "running": "up", "busy": "load", "word": "status", "gone": "missing", "n": "none"}
    seen = await observe("http", url=api.url("/health"), values=values)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "people") == 42
    assert measured(seen, "running") == 1
    assert measured(seen, "busy") == 0.5
    assert not {"word", "gone", "n"} & names(seen)
    assert 'word: status is "Healthy", not a number' in seen.evidence["absent"]
    probe = probe_of("http", {"url": api.url(), "values": values})
    assert {"people", "running"} <= {spec.name for spec in probe.specs()}


async def test_an_infinite_value_is_absent(odd: StartOdd, observe: Observe) -> None:
    server = await odd(b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"a": 1e999, "b": NaN }')
    seen = await observe("http", url=server.url(), values={"a": "a", "b": "b"})
    assert not {"a", "b"} & names(seen)


@pytest.mark.parametrize(
    ("expect", "up"),
    [
        ({"body": '<div id="root"'}, True),
        ({"body": ["Täst", "root"]}, True),
        ({"body": ["Täst", "other"]}, False),
        ({"body_not": "Welcome to nginx!"}, True),
        ({"body_not": ["x", "root"]}, False),
        ({"body_matches": r"<title>T\wst</title>"}, True),
        ({"body_matches": ["title", "^nothing$"]}, False),
        ({"body_not_matches": "error|exception"}, True),
        ({"body_not_matches": "ro+t"}, False),
        ({"headers": {"X-One": "one"}}, True),
        ({"headers": {"x-one": "One"}}, False),
        ({"headers": {"X-One": "/^o.e$/"}}, True),
        ({"headers": {"X-One": "/two/"}}, False),
        ({"headers": {"X-One": "!/two/"}}, True),
        ({"headers": {"X-One": "!/one/"}}, False),
        ({"headers": {"X-Many": "second"}}, True),
        ({"headers": {"X-Many": "/^second$/"}}, True),
        ({"headers": {"X-Many": ["first", "second"]}}, True),
        ({"headers": {"X-One": True, "X-None": False}}, True),
        ({"headers": {"X-None": True}}, False),
        ({"headers": {"X-One": False}}, False),
        ({"headers": {"X-None": "/.*/"}}, False),
        ({"headers": {"X-None": "!/.*/"}}, True),
        ({"headers": {"X-None": [True, "!/x/"]}}, False),
        ({"min_size": 20}, True),
        ({"min_size": 20000}, False),
        ({"max_size": "20KiB"}, True),
    ],
)
async def test_text_and_headers(api: Nginx, observe: Observe, expect: dict[str, Any], up: bool) -> None:
    seen = await observe("http", url=api.url("/text"), expect=expect)
    assert seen.outcome is (Outcome.UP if up else Outcome.DOWN), seen.summary
    assert seen.reason == ("" if up else "content")


async def test_content_is_not_judged_when_the_status_is_wrong(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/error"), expect={"body_not": "stack trace", "body": "root"})
    assert seen.reason == "status"
    assert "more)" not in seen.summary


async def test_a_body_in_another_character_set(odd: StartOdd, observe: Observe) -> None:
    for charset, body in (("iso-8859-1", "ü".encode("latin-1")), ("no-such-set", "ü".encode())):
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset={charset}\r\nContent-Length: {len(body)}\r\n\r\n"
        server = await odd(head.encode() + body)
        assert (await observe("http", url=server.url(), expect={"body": "ü"})).outcome is Outcome.UP


async def test_a_body_in_chunks_of_a_byte_does_not_hold_the_loop(odd: StartOdd, observe: Observe) -> None:
    """The harness fails a step of more than 5 ms; all that is there taken at once is one of 50."""
    length = 60_000
    server = await odd(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * length + b"0\r\n\r\n")
    seen = await observe("http", url=server.url(), expect={"body": "a" * 100})
    assert seen.outcome is Outcome.UP
    assert measured(seen, "body_size") == length


# --- what is asked --------------------------------------------------------------------------------------------------


async def test_what_is_sent(api: Nginx, observe: Observe) -> None:
    async def echo(**options: Any) -> dict[str, str]:
        seen = await observe("http", url=api.url("/echo"), expect={"json": {"method": "never"}}, **options)
        return dict(json.loads(seen.evidence["body"]))

    plain = await echo()
    assert plain["method"] == "GET"
    assert plain["agent"].startswith("wcr-watchd/")
    assert plain["type"] == ""
    assert (await echo(auth={"user": "u", "password": "p:ü"}))["auth"] == "Basic dTpwOsO8"
    assert (await echo(auth={"bearer": "t0ken"}))["auth"] == "Bearer t0ken"
    named = await echo(headers={"Host": "www.example.org", "User-Agent": "me", "X-Key": "k"})
    assert (named["host"], named["agent"], named["key"]) == ("www.example.org", "me", "k")
    posted = await echo(method="POST", json={"a": 1})
    assert (posted["method"], posted["type"], posted["length"]) == ("POST", "application/json", "8")
    form = await echo(method="POST", form={"a": "b c"})
    assert (form["type"], form["length"]) == ("application/x-www-form-urlencoded", "5")
    raw = await echo(method="PUT", body="{}", headers={"Content-Type": "application/json"})
    assert (raw["method"], raw["type"], raw["length"]) == ("PUT", "application/json", "2")


async def test_head_has_no_body(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/health"), method="HEAD")
    assert seen.outcome is Outcome.UP
    assert measured(seen, "body_size") == 0


async def test_ip_version_and_resolve(nginx: StartNginx, observe: Observe) -> None:
    server = nginx(Site(API), Site(API, host="::1"))
    six = await observe("http", url=f"http://[::1]:{server.ports[1]}/new")
    assert six.outcome is Outcome.UP
    refused = await observe("http", url=server.url("/new", host="localhost"), ip="6")
    assert refused.outcome is Outcome.DOWN  # the first site listens on IPv4 only
    assert refused.reason in ("connect", "dns")  # dns where localhost has no IPv6 address
    elsewhere = await observe("http", url=server.url("/echo", host="www.example.org"), resolve="127.0.0.1")
    assert elsewhere.outcome is Outcome.UP
    also_elsewhere = await observe("http", url=server.url("/echo", site=1, host="www.example.org"), resolve="::1")
    assert also_elsewhere.outcome is Outcome.UP


# --- redirects ------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_and_counted(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/old"), expect={"body": "arrived", "url": "/new$/"})
    assert seen.outcome is Outcome.UP
    assert measured(seen, "redirects") == 1
    assert seen.evidence["final_url"] == api.url("/new")
    elsewhere = await observe("http", url=api.url("/old"), expect={"url": api.url("/other")})
    assert (elsewhere.reason, elsewhere.summary.endswith(f"expected {api.url('/other')}")) == ("redirect", True)


async def test_redirects_are_not_followed_when_not_wanted(api: Nginx, observe: Observe) -> None:
    seen = await observe("http", url=api.url("/old"), follow_redirects=False, expect={"status": 301})
    assert seen.outcome is Outcome.UP
    assert measured(seen, "redirects") == 0


async def test_endless_and_foreign_redirects(api: Nginx, observe: Observe) -> None:
    endless = await observe("http", url=api.url("/loop"))
    assert (endless.outcome, endless.reason) == (Outcome.DOWN, "redirect")
    assert "more than 10 redirects" in endless.summary
    assert measured(endless, "redirects") == 10
    assert (api.folder / "access.log").read_text().count("/loop") == 11
    foreign = await observe("http", url=api.url("/nowhere"))
    assert (foreign.outcome, foreign.reason) == (Outcome.DOWN, "redirect")
    assert "ftp://example.org/" in foreign.summary


async def test_cookies_live_as_long_as_the_exchange(nginx: StartNginx, observe: Observe) -> None:
    login = "location = /in { add_header Set-Cookie 'session=7; Path=/'; return 302 /home; }"
    server = nginx(Site(login + "location = /home { if ($cookie_session = 7) { return 200; } return 403; }"))
    assert (await observe("http", url=server.url("/in"))).outcome is Outcome.UP
    assert (await observe("http", url=server.url("/home"))).reason == "status"


async def test_keys_are_not_sent_to_another_host(odd: StartOdd, observe: Observe) -> None:
    other = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    first = await odd(f"HTTP/1.1 302 Found\r\nLocation: {other.url('/x')}\r\nContent-Length: 0\r\n\r\n".encode())
    headers = {"X-Key": "s3cret", "Host": "www.example.org"}
    seen = await observe("http", url=first.url(), headers=headers, auth={"bearer": "t0ken"})
    assert seen.outcome is Outcome.UP
    assert "s3cret" in first.requests[0]
    assert "t0ken" in first.requests[0]
    assert "s3cret" not in other.requests[0]
    assert "t0ken" not in other.requests[0]
    assert f"Host: {other.address}" in other.requests[0]


# --- TLS ------------------------------------------------------------------------------------------------------------


async def test_https_measures_the_handshake_and_the_certificate(
    nginx: StartNginx, authority: Authority, observe: Observe
) -> None:
    server = nginx(Site(certificate=authority.issue("localhost", ends=20)))
    url = server.url(scheme="https", host="localhost")
    seen = await observe("http", url=url, ca_file=authority.ca_file, ip="4")
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "response_phase", phase="tls") > 0
    assert measured(seen, "certificate_expires_in") == pytest.approx(20 * 86400, abs=120)
    assert measured(seen, "certificate_lifetime_left") == pytest.approx(0.25, abs=0.01)
    assert "TLSv1." in seen.evidence["tls"]
    assert "intermediate-1" in seen.evidence["certificates"]


async def test_another_name_is_asked_for(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("www.example.org")))
    url = server.url(scheme="https")
    wrong = await observe("http", url=url, ca_file=authority.ca_file)
    assert (wrong.outcome, wrong.reason) == (Outcome.DOWN, "tls")
    assert "the certificate is for www.example.org; asked for 127.0.0.1" in wrong.summary
    assert measured(wrong, "certificate_expires_in") > 0  # the chain is known from the failed handshake
    right = await observe("http", url=url, ca_file=authority.ca_file, server_name="www.example.org")
    assert right.outcome is Outcome.UP
    assert (await observe("http", url=url, verify=False)).outcome is Outcome.UP


async def test_bad_certificates_are_told_apart(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(
        Site(certificate=authority.issue("localhost", ends=-3)),
        Site(certificate=authority.issue("localhost", begins=2)),
        Site(certificate=authority.self_signed("localhost")),
        Site(certificate=authority.issue("localhost", chain=False)),
        Site(),
    )
    said = [
        await observe("http", url=f"https://localhost:{port}/", ca_file=authority.ca_file, ip="4")
        for port in server.ports
    ]
    assert [seen.reason for seen in said] == ["tls"] * 5
    assert "expired" in said[0].summary
    assert "ago)" in said[0].summary
    assert measured(said[0], "certificate_expires_in") == pytest.approx(-3 * 86400, abs=120)
    assert "is valid only from" in said[1].summary
    assert "signed by itself" in said[2].summary
    assert "neither sent by the server nor trusted here" in said[3].summary
    assert "does not speak TLS" in said[4].summary
    # without ca_file the system's authorities count, which do not know the one of the tests
    unknown = await observe("http", url=f"https://localhost:{server.ports[0]}/", ip="4")
    assert unknown.reason == "tls"


async def test_client_certificates(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    mine = authority.issue("client")
    verify = f"ssl_client_certificate {authority.ca_file}; ssl_verify_depth 2; ssl_verify_client on;"
    server = nginx(Site(certificate=authority.issue("localhost"), settings=verify))
    options = {"url": server.url(scheme="https", host="localhost"), "ca_file": authority.ca_file, "ip": "4"}
    assert (await observe("http", **options)).reason == "status"  # nginx: 400 No required SSL certificate was sent
    seen = await observe("http", **options, certificate=mine.certificate, key=mine.key)
    assert seen.outcome is Outcome.UP, seen.summary


async def test_a_server_that_refuses_in_the_handshake(authority: Authority, observe: Observe) -> None:
    """nginx answers 400 to whoever has no certificate; others, such as OpenSSL's own server, end the handshake."""
    pair, port = authority.issue("127.0.0.1"), free_port()
    server = await asyncio.create_subprocess_exec(
        *("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", pair.certificate, "-key", pair.key),
        *(
            "-cert_chain",
            pair.certificate,
            "-CAfile",
            authority.ca_file,
            "-Verify",
            "2",
            "-verify_return_error",
            "-www",
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        while b"ACCEPT" not in await server.stdout.readline():
            assert server.returncode is None
        seen = await observe("http", url=f"https://127.0.0.1:{port}/", ca_file=authority.ca_file)
    finally:
        server.terminate()
        await server.communicate()
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    assert "the server wants a client certificate" in seen.summary


async def test_files_of_ours_that_cannot_be_used_are_unknown(
    api: Nginx, authority: Authority, observe: Observe, tmp_path: Path
) -> None:
    url = "https://localhost/"
    missing = await observe("http", url=url, ca_file="/no/such/file.pem")
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")
    assert "/no/such/file.pem, does not exist" in missing.summary
    (tmp_path / "text").write_text("no certificate")
    broken = await observe("http", url=url, ca_file=str(tmp_path / "text"))
    assert (broken.outcome, broken.reason) == (Outcome.UNKNOWN, "parse")
    pair, other = authority.issue("a"), authority.issue("b")
    mismatch = await observe("http", url=url, certificate=pair.certificate, key=other.key)
    assert (mismatch.outcome, mismatch.reason) == (Outcome.UNKNOWN, "parse")


async def test_no_way_down_from_https(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    plain = nginx(Site())
    down = f"return 301 {plain.url()};"
    server = nginx(Site(down, certificate=authority.issue("127.0.0.1")))
    options = {"url": server.url(scheme="https"), "ca_file": authority.ca_file}
    seen = await observe("http", **options)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "redirect")
    assert "from https down to http" in seen.summary
    assert (await observe("http", **options, allow_downgrade=True)).outcome is Outcome.UP


# --- what goes wrong ------------------------------------------------------------------------------------------------


async def test_nobody_listens(observe: Observe) -> None:
    port = free_port()
    seen = await observe("http", url=f"http://127.0.0.1:{port}/")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert f"127.0.0.1 port {port}: connection refused" in seen.summary
    assert "status" not in names(seen)


async def test_a_name_that_is_none(observe: Observe) -> None:
    seen = await observe("http", url="http://no-such-name.invalid/")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    assert "no-such-name.invalid cannot be looked up" in seen.summary


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (b"", "protocol", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "protocol", "body of the answer is broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "protocol", ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "protocol", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n", "protocol", "not proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain", "protocol", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[bad/\r\nContent-Length: 0\r\n\r\n", "redirect", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://h:99999/\r\nContent-Length: 0\r\n\r\n", "redirect", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http:///x\r\nContent-Length: 0\r\n\r\n", "redirect", ""),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "status", "expected 2xx"),
    ],
)
async def test_odd_answers_are_down_and_asked_for_once(
    odd: StartOdd, observe: Observe, answer: bytes, reason: str, words: str
) -> None:
    server = await odd(answer)
    seen = await observe("http", url=server.url())
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason), seen.summary
    assert words in seen.summary
    if reason == "protocol":
        assert server.connections == 1


async def test_a_silent_server_is_cut_off_with_what_was_waited_for(odd: StartOdd, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("http", url=server.url(), timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert f"waiting for status and headers of {server.url()}" in seen.summary
    assert measured(seen, "response_phase", phase="first_byte") > 0.1


async def test_a_server_silent_in_the_handshake(odd: StartOdd, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("http", url=f"https://{server.address}/", timeout=0.5)
    assert "in the TLS handshake with 127.0.0.1" in seen.summary
    assert measured(seen, "response_phase", phase="tls") > 0.1


async def test_an_endless_body_is_read_up_to_the_bound(odd: StartOdd, observe: Observe) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"a" * 65536)
            await writer.drain()

    server = await odd(flood)
    seen = await observe("http", url=server.url(), max_body="256KiB", expect={"body": "aaa"})
    assert seen.outcome is Outcome.UP
    assert "body_size" not in names(seen)
    late = await observe("http", url=server.url(), max_body="256KiB", expect={"body": "b"})
    assert "within its first 262144 bytes; raise max_body" in late.summary
    large = await observe("http", url=server.url(), max_body="256KiB", expect={"max_size": "256KiB"})
    assert large.reason == "too_large"
    as_json = await observe("http", url=server.url(), max_body="256KiB", expect={"json": {"a": 1}})
    assert "raise max_body" in as_json.summary
    digest = await observe("http", url=server.url(), max_body="256KiB", expect={"body_sha256": "0" * 64})
    assert "raise max_body" in digest.summary


async def test_a_decompression_bomb_does_not_go_off(odd: StartOdd, observe: Observe) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 10_000_000, 9) * 1 + b"\0" * 50_000_000, 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    server = await odd(head + bomb)
    seen = await observe("http", url=server.url(), max_body=100_000, expect={"max_size": 100_000})
    assert seen.reason == "too_large"
    packed = gzip.compress(b"small")
    small = await odd(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed)
    )
    digest = hashlib.sha256(b"small").hexdigest()
    seen = await observe("http", url=small.url(), expect={"body_matches": "^small$", "body_sha256": digest.upper()})
    assert seen.outcome is Outcome.UP
    assert measured(seen, "body_size") == 5
    other = await observe("http", url=small.url(), expect={"body_sha256": "0" * 64})
    assert other.reason == "content"
    assert f"SHA-256 {digest}" in other.summary


async def test_a_pattern_that_never_ends_harms_nobody_else(odd: StartOdd, observe: Observe) -> None:
    body = b"x" * 200_000
    server = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.05)
            ticks += 1

    ticking = asyncio.create_task(tick())
    seen = await observe("http", url=server.url(), expect={"body_matches": "(x+x+)+y"})
    ticking.cancel()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert "make them simpler" in seen.summary
    assert ticks > 5


async def test_cancelling_leaves_nothing_behind(odd: StartOdd, shared: SharedHelpers) -> None:
    server = await odd(silence)
    before = asyncio.all_tasks()
    running = asyncio.create_task(carry_out(probe_of("http", {"url": server.url()}), new_run(shared)))
    while not server.open:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for _ in range(500):
        if not server.open and asyncio.all_tasks() <= before:
            break
        await asyncio.sleep(0.01)
    assert not server.open
    assert asyncio.all_tasks() <= before


async def test_many_at_once(api: Nginx, observe: Observe) -> None:
    seen = await asyncio.gather(*(observe("http", url=api.url("/health", host="localhost"), ip="4") for _ in range(60)))
    assert {one.outcome for one in seen} == {Outcome.UP}


def test_names_are_looked_up_by_the_system() -> None:
    """aiodns, if it is only installed, would answer out of a hidden cache, and aiohttp would use it."""
    assert aiohttp.DefaultResolver is aiohttp.ThreadedResolver


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [("status", "Healthy"), ("users", "42"), ("load", "0.5"), ("none", ""), ("data", ""), ("up", ""), ("gone", "")],
)
async def test_the_version_that_answers_is_stated(api: Nginx, observe: Observe, path: str, told: str) -> None:
    seen = await observe("http", url=api.url("/health"), version=path)
    assert [(one.kind, one.value) for one in seen.facts or ()] == ([("version", told)] if told else [])
    assert (await observe("http", url=api.url("/text"), version=path)).facts is None, "no JSON tells nothing"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('url = "ftp://example.org"', "http://"),
        ('url = "http://user:pw@example.org"', "auth.user"),
        ('url = "http://h"\nexpect.status = "20x"', '"2xx"'),
        ('url = "http://h"\nexpect.status = "204-200"', "is no status"),
        ('url = "http://h"\nexpect.status = true', "is no status"),
        ('url = "http://h"\nexpect.status = []', "at least one status"),
        ('url = "http://h"\nexpect.json."a[" = 1', "not a JMESPath expression"),
        ('url = "http://h"\nexpect.body_matches = "("', "not a regular expression"),
        ('url = "http://h"\nexpect.headers.X = "/(/"', "not a regular expression"),
        ('url = "http://h"\nvalues.status = "a"', "every http check has"),
        ('url = "http://h"\nvalues.Users = "a"', "pattern"),
        ('url = "http://h"\nbody = "a"\nform.a = "b"', "one of body, json and form"),
        ('url = "http://h"\nauth.user = "a"\nauth.bearer = "b"', "either user and password, or bearer"),
        ('url = "http://h"\nkey = "/k"', "key needs certificate"),
        ('url = "http://127.0.0.1"\nip = "6"', "not an address of"),
        ('url = "http://h"\nip = 5', "'any', '4' or '6'"),
        ('url = "http://h"\nexpect.max_size = "2MiB"', "max_body"),
        ('url = "http://h"\nexpects.status = 200', "Extra inputs"),
        ('url = "http://h"\nexpect.stat = 200', "Extra inputs"),
    ],
)
def test_wrong_options_say_what_would_be_right(toml: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("[", r"\[").replace("(", r"\(")):
        probe_of("http", toml)


def test_secrets_are_not_shown() -> None:
    probe = probe_of(
        "http",
        'url = "http://h"\nheaders.X-Key = "s3cret"\nauth.user = "u"\nauth.password = "s3cret"\nform.f = "s3cret"',
    )
    assert "s3cret" not in repr(probe)
    assert "s3cret" not in probe.target


@pytest.mark.parametrize("kind", ["http", "tls"])
async def test_a_finished_exchange_over_tls_waits_for_no_garbage_collector(
    nginx: StartNginx, observe: Observe, authority: Authority, kind: str
) -> None:
    """A TLS session has a quarter of a megabyte; collected every few minutes only, thousands would pile up."""
    server = nginx(Site(certificate=authority.issue("localhost")))
    url = server.url(scheme="https", host="localhost")
    target = {"url": url, "ip": "4"} if kind == "http" else {"address": f"localhost:{server.ports[-1]}"}
    options = {**target, "ca_file": authority.ca_file}
    await observe(kind, **options)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            seen = await observe(kind, **options)
            assert seen.outcome is Outcome.UP, seen.summary
        await asyncio.sleep(0.05)
        left = [type(one).__name__ for one in gc.get_objects() if isinstance(one, ssl.SSLObject | SSLProtocol)]
    finally:
        gc.enable()
    assert left == []
