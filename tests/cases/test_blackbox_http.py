"""Replays the blackbox_exporter's facts about HTTP and certificates on the http and tls probes.

Each case is either replayed or listed in :data:`NOT_HERE` with the reason; a case of these families that is neither
makes a test fail. A metric of theirs is compared where ours has the same meaning (:data:`MEASUREMENTS`).
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names
from tests.real.servers.certificates import Authority, Pair
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Observation, Outcome

Case = dict[str, Any]
FILE = Path(__file__).with_name("blackbox-cases.yaml")
ALL: list[Case] = yaml.load(FILE.read_text(), yaml.CSafeLoader)["cases"]
FAMILIES = ("http", "tcp-tls")
CASES = [case for case in ALL if case["id"].startswith(FAMILIES)]

NO_BROTLI = "no brotli decoder is installed, so br is never asked for; an answer in it is not what was asked"
NO_PROXY = "probes connect directly: a proxy's failure would be told as the target's"
NOT_HERE = {
    "http-version-04": "only HTTP/1.1 is spoken, so there is no version to choose",
    "http3-ok": "only HTTP/1.1 is spoken",
    "http-length-br-not-decoded": NO_BROTLI,
    "http-compression-br": NO_BROTLI,
    "http-length-gzip-not-decoded": "gzip is always decoded, as browsers do; see http-compression-accept-1",
    "http-redirect-to-tls-host": "needs the network; that keys and names stay with their host is tested in tests/real",
    "http-body-file": "a body from a file is written ${file:/path} in the configuration, which fills it in",
    "http-scheme-5": "a URL without a scheme is a configuration error that says so, not a guess",
    "http-header-not-matches-6": "no expectation means 'absent or like this'; leave the header out instead",
    "http-resolve-no-proxy": NO_PROXY,
    "http-resolve-proxy-resolve": NO_PROXY,
    "http-resolve-proxy-skip": NO_PROXY,
    "http-resolve-proxy-env-skip": NO_PROXY,
}
"""Cases that should not hold here, each with the reason."""

OTHERWISE = {
    "http-redirect-not-followed-default-codes": "redirects counts those followed; the one not followed is the status",
    "http-expired-cert-skip-verify": "with verify = false only whether the answer comes counts, as there",
    "http-skip-verify-no-chain": "no made-up year 1: the served chain's real end is measured",
    "http-expired-cert": "the end of the certificate is measured although the handshake failed",
    "tcp-tls-two-chains": "a root sent along concerns no visitor, so the first end is the leaf's",
}
"""Cases whose verdict holds here while a metric is different on purpose, each with the reason."""

MEASUREMENTS = {
    "probe_http_status_code": "status",
    "probe_http_redirects": "redirects",
    "probe_http_uncompressed_body_length": "body_size",
}

CEL = {
    "body.foo.bar == 'baz'": "foo.bar == 'baz'",
    "body.foo.bar == 'qux'": "foo.bar == 'qux'",
    "body == 'foo'": "@ == 'foo'",
    "body[2] == 'baz'": "[2] == 'baz'",
    "body": "@",
    "body.foo.bar": "foo.bar",
    "!has(body.foo)": "foo == `null`",
}
"""Their expressions and ours."""


def test_every_case_is_replayed_or_listed() -> None:
    known = {case["id"] for case in CASES}
    assert known >= set(NOT_HERE) | set(OTHERWISE)
    assert not set(NOT_HERE) & set(OTHERWISE)


@pytest.mark.parametrize("case", [case for case in CASES if case["id"] not in NOT_HERE], ids=lambda case: case["id"])
async def test_case(case: Case, odd: Callable[..., Awaitable[Odd]], observe: Observe, authority: Authority) -> None:
    served = _certificate(case, authority)
    address = await _serve(case, odd, served)
    timeout = 0.5 if case["id"] == "http-timeout-keeps-metrics" else 60.0
    if case["module"]["prober"] == "http":
        seen = await observe("http", timeout=timeout, **_http_options(case, address, authority, served))
    else:
        seen = await observe("tls", timeout=timeout, **_tls_options(case, address, authority, served))
    assert (seen.outcome is Outcome.UP) is case["expect"]["success"], seen.summary
    if case["id"] not in OTHERWISE:
        _compare(case["expect"], seen)


def _compare(expect: Case, seen: Observation) -> None:
    metrics = expect.get("metrics", {})
    for theirs, ours in MEASUREMENTS.items():
        wanted = metrics.get(theirs)
        if theirs == "probe_http_status_code" and wanted == 0:
            assert ours not in names(seen)  # no answer is no status, not status 0
        elif wanted is not None and "status" in names(seen):
            assert measured(seen, ours) == wanted
    if "probe_failed_due_to_regex" in metrics or "probe_failed_due_to_cel" in metrics:
        failed = metrics.get("probe_failed_due_to_regex", 0) or metrics.get("probe_failed_due_to_cel", 0)
        assert (seen.reason == "content") is bool(failed)
    for phase in expect.get("label_values", {}).get("probe_http_duration_seconds{phase}", []):
        ours = {"resolve": "dns", "processing": "first_byte"}.get(phase, phase)
        assert measured(seen, "response_phase", phase=ours) >= 0


# --- their configuration in ours --------------------------------------------------------------------------------------


def _http_options(case: Case, address: str, authority: Authority, served: Pair | None) -> dict[str, Any]:
    theirs: Case = dict(case["module"].get("http", {}))
    scheme = case.get("target", "https://H" if served else "http://H").partition("://")[0]
    host = address.replace("127.0.0.1", "localhost") if case["id"] == "http-phases" else address
    options: dict[str, Any] = {"url": f"{scheme}://{host}/", "expect": {}, "ip": "4"}
    for name, value in theirs.items():
        _TRANSLATE[name](value, options)
    if "ca_file" in options:
        options["ca_file"] = authority.ca_file
    return options


def _tls_options(case: Case, address: str, authority: Authority, served: Pair | None) -> dict[str, Any]:
    theirs = case["module"]["tcp"]
    host = "localhost" if case["target"].startswith("localhost") else "127.0.0.1"
    options: dict[str, Any] = {"address": address.replace("127.0.0.1", host), "ip": "4"}
    options["ca_file"] = authority.ca_file
    if name := theirs["tls_config"].get("server_name"):
        options["server_name"] = name
    return options


def _limit(value: str, options: dict[str, Any]) -> None:
    size = int(value.removesuffix("B"))
    options["max_body"] = size
    options["expect"]["max_size"] = size


def _tls_config(value: Case, options: dict[str, Any]) -> None:
    options["verify"] = not value.get("insecure_skip_verify", False)
    if "ca_file" in value:
        options["ca_file"] = True


def _headers(value: list[Case], options: dict[str, Any], *, unwanted: bool) -> None:
    for one in value:
        pattern = f"{'!' if unwanted else ''}/{one['regexp']}/"
        options["expect"].setdefault("headers", {})[one["header"]] = (
            [pattern] if one["allow_missing"] else [True, pattern]
        )


def _expecting(name: str) -> Callable[[Any, dict[str, Any]], None]:
    return lambda value, options: options["expect"].update({name: value})


def _option(name: str) -> Callable[[Any, dict[str, Any]], None]:
    return lambda value, options: options.update({name: value})


_TRANSLATE: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "valid_status_codes": _expecting("status"),
    "body_size_limit": _limit,
    "compression": lambda value, options: None,  # what is asked for is always decoded
    "follow_redirects": _option("follow_redirects"),
    "headers": _option("headers"),
    "body": lambda value, options: options.update(body=value, method="POST"),
    "basic_auth": lambda value, options: options.update(
        auth={"user": value["username"], "password": value["password"]}
    ),
    "bearer_token": lambda value, options: options.update(auth={"bearer": value}),
    "fail_if_not_ssl": lambda value, options: options["expect"].update(url="/^https:/"),
    "fail_if_ssl": lambda value, options: options["expect"].update(url="/^http:/"),
    "tls_config": _tls_config,
    "fail_if_body_matches_regexp": _expecting("body_not_matches"),
    "fail_if_body_not_matches_regexp": _expecting("body_matches"),
    "fail_if_header_matches": lambda value, options: _headers(value, options, unwanted=True),
    "fail_if_header_not_matches": lambda value, options: _headers(value, options, unwanted=False),
    "fail_if_body_json_matches_cel": lambda value, options: options["expect"].update(json={CEL[value]: False}),
    "fail_if_body_json_not_matches_cel": lambda value, options: options["expect"].update(json={CEL[value]: True}),
}


# --- their servers ----------------------------------------------------------------------------------------------------


def _certificate(case: Case, authority: Authority) -> Pair | None:
    kind = case.get("server", {}).get("tls", {}).get("cert", "")
    if not kind:
        return None
    if kind == "self-signed":
        return authority.self_signed("127.0.0.1")
    if kind == "expired 2020-02-01":
        expired = datetime(2020, 2, 1, tzinfo=UTC)
        return authority.issue("127.0.0.1", begins=-9000, ends=(expired - datetime.now(UTC)).total_seconds() / 86400)
    if kind == "expired 1 day ago":
        return authority.issue("127.0.0.1", ends=-1)
    if kind.startswith("SAN localhost, TLS 1.2 only"):
        return authority.issue("localhost", ends=1)
    assert kind.startswith("leaf +2d, server also sends older root"), f"how is {kind!r} made?"
    pair = authority.issue("localhost", ends=2)
    with Path(pair.certificate).open("ab") as file:
        file.write(authority.root.cert_pem.bytes())
    return pair


async def _serve(case: Case, odd: Callable[..., Awaitable[Odd]], served: Pair | None) -> str:
    server = case.get("server", {})
    if server.get("listen") is False:
        return f"127.0.0.1:{free_port()}"
    context = None
    if served is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(served.certificate, served.key)
        if "TLS 1.2 only" in server["tls"]["cert"]:
            context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.get("close"):
            return
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("Content-Length", 0)))
        path = head.split(" ")[1]
        await asyncio.sleep(server.get("delay_s", 0))
        writer.write(_answer(server.get("routes", {}).get(path, server), path, fields, body))
        await writer.drain()

    return (await odd(talk, context)).address


def _answer(server: Case, path: str, fields: dict[str, str], body: bytes) -> bytes:
    status, headers, content = server.get("status", 200), list(server.get("headers", [])), _content(server)
    if "echo" in server:
        status = 200 if _as_checked(server["echo"], fields, body) else 400
    if "redirect" in server and path != server["redirect"]["to"]:
        status = server["redirect"]["code"]
        headers.append(["Location", server["redirect"]["to"]])
    if server.get("encode") == "gzip":
        content = gzip.compress(content)
        headers.append(["Content-Encoding", "gzip"])
    if not any(name == "Content-Length" for name, _ in headers) and status != 204:
        headers.append(["Content-Length", len(content)])
    lines = [f"HTTP/1.1 {status} Some words", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode() + content


def _content(server: Case) -> bytes:
    text: str = server.get("body", "")
    if text == "hello110":
        return b"hello world" * 10
    letter, star, count = text.partition("*")
    return (letter * int(count) if star else text).encode()


def _as_checked(echo: str, fields: dict[str, str], body: bytes) -> bool:
    if echo.startswith("Cookie: "):
        return fields.get("Cookie") == "somecookie=cookie"
    if echo.startswith("request body equals"):
        return body == b"Test Body"
    wanted = [part.strip().split(" ", 1) for part in echo.split(",")]
    return all(fields.get(name) == value for name, value in wanted)
