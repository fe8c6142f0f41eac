"""TLS servers at their worst, asked by the tls probe, and the same certificates asked for by https and by tcp."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.real.hostile.case import Case, run_all
from tests.real.hostile.conftest import serving
from tests.real.hostile.talks import babble, drip, line, reset, something, stall, talk
from tests.real.servers.certificates import Authority
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

IN_HANDSHAKE = "in the TLS handshake"
NO_TLS = "does not speak TLS"
CLOSED = "closed the connection during the handshake"
HELLO = b"\x16\x03\x03\x40\x00"
"""The head of a handshake message of 16 KB that never comes to its end."""
EHLO = b"250-mail\r\n250 STARTTLS\r\n"


def server_hello(version: bytes) -> bytes:
    """The first message of a server that would speak that version of TLS (RFC 5246, 7.4.1.3)."""
    message = version + bytes(32) + b"\x00\x00\x2f\x00"
    return b"\x16" + version + (len(message) + 4).to_bytes(2) + b"\x02" + len(message).to_bytes(3) + message


CERTIFICATES = [
    Case("expired", talk(stall), "tls", "expired", certificate="expired"),
    Case("not valid yet", talk(stall), "tls", "is valid only from", certificate="not yet"),
    Case(
        "for another host", talk(stall), "tls", "is for www.example.org; asked for 127.0.0.1", certificate="wrong host"
    ),
    Case("for nobody", talk(stall), "tls", ("is for", "asked for 127.0.0.1"), certificate="no name"),
    Case("signed by itself", talk(stall), "tls", "signed by itself", certificate="self-signed"),
    Case(
        "intermediate not sent", talk(stall), "tls", "neither sent by the server nor trusted", certificate="incomplete"
    ),
    Case("a stranger's", talk(stall), "tls", "not trusted here", certificate="stranger"),
    Case("weak key", talk(stall), "tls", "its RSA key has 1024 bits", certificate="weak"),
    Case("for clients only", talk(stall), "tls", "purpose", certificate="for clients"),
]
"""Servers whose handshake fails; ``WITH_CA`` says whom the asker trusts."""
HANDSHAKES = [
    Case("silence", talk(stall), "timeout", IN_HANDSHAKE),
    Case("drips", talk(something, drip(HELLO + b"\0" * 500)), "timeout", IN_HANDSHAKE),
    Case("stops in a message", talk(something, HELLO + b"\2\0\x3f\xfc", stall), "timeout", IN_HANDSHAKE),
    Case("TLS 1.1", talk(something, server_hello(b"\x03\x02"), stall), "tls", "no TLS version as new as asked for"),
    Case("alert: version", talk(something, b"\x15\x03\x01\x00\x02\x02\x46"), "tls", "no TLS version as new as asked"),
    Case("babbles zeros", talk(something, babble(b"\0" * 100)), "tls", NO_TLS),
    Case("resets at once", talk(reset), "tls", "broke"),
    Case("resets in the handshake", talk(something, HELLO, reset), "tls", "broke"),
    Case("closes at once", talk(something), "tls", CLOSED),
    Case("closes in the handshake", talk(something, HELLO + b"\2\0"), "tls", CLOSED),
    Case("speaks HTTP", talk(something, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls", NO_TLS),
    Case("speaks SSH", talk(b"SSH-2.0-OpenSSH_9.2\r\n", stall), "tls", NO_TLS),
    Case("speaks SSL 2", talk(something, b"\x80\x2e\x04\x00\x02" + b"\0" * 40), "tls", NO_TLS),
    Case("alert: handshake failure", talk(something, b"\x15\x03\x03\x00\x02\x02\x28"), "tls", "refused the handshake"),
    Case("alert: unknown name", talk(something, b"\x15\x03\x03\x00\x02\x02\x70"), "tls", "does not know this name"),
    Case("alert: internal error", talk(something, b"\x15\x03\x03\x00\x02\x02\x50"), "tls", "internal error"),
    Case("alert nobody knows", talk(something, b"\x15\x03\x03\x00\x02\x02\xee"), "tls", ""),
]
OF_TLS_ONLY = [
    Case(
        "TLS 1.2 where 1.3 is wanted",
        talk(something, server_hello(b"\x03\x03"), stall),
        "tls",
        "no TLS version as new as asked for",
        {"min_version": "1.3"},
    ),
    Case(
        "requests to begin anew, without end",
        talk(something, babble(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00")),
        "tls",
        "bytes in the handshake",
    ),
]
SMTP: dict[str, Any] = {"starttls": "smtp"}
IMAP: dict[str, Any] = {"starttls": "imap"}
POSTGRES: dict[str, Any] = {"starttls": "postgres"}
BEGINNINGS = [
    Case("smtp: silence", talk(stall), "timeout", "to begin TLS (smtp)", SMTP),
    Case("smtp: greeting drips", talk(drip(b"220-" * 90)), "timeout", "to begin TLS (smtp)", SMTP),
    Case("smtp: stops after the greeting", talk(b"220 a\r\n", stall), "timeout", "to begin TLS (smtp)", SMTP),
    Case("smtp: stops at STARTTLS", talk(b"220 a\r\n", line, EHLO, stall), "timeout", "to begin TLS (smtp)", SMTP),
    Case("smtp: babbles", talk(babble(b"220-again\r\n")), "protocol", "more than 64 lines", SMTP),
    Case("smtp: a line without end", talk(babble(b"220")), "protocol", "a line without end", SMTP),
    Case("smtp: resets", talk(b"220 a\r\n", line, reset), "protocol", "broke off before TLS began", SMTP),
    Case(
        "smtp: then no TLS", talk(b"220 a\r\n", line, EHLO, line, b"220 go\r\n", stall), "timeout", IN_HANDSHAKE, SMTP
    ),
    Case("smtp: codes for a terminal", talk(b"554 \x1b[2J\x07\r\n"), "protocol", "554", SMTP),
    Case("imap: babbles", talk(b"* OK a\r\n", line, babble(b"* BYE\r\n")), "protocol", "more than 64 lines", IMAP),
    Case("imap: stops", talk(b"* OK a\r\n", line, stall), "timeout", "to begin TLS (imap)", IMAP),
    Case("postgres: silence", talk(stall), "timeout", "to begin TLS (postgres)", POSTGRES),
    Case("postgres: then no TLS", talk(something, b"S", stall), "timeout", IN_HANDSHAKE, POSTGRES),
    Case("postgres: nonsense", talk(something, b"\xff"), "protocol", "is it PostgreSQL?", POSTGRES),
]


@pytest.fixture(scope="session")
def bad(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ssl.SSLContext]:
    """TLS servers with every certificate that is no good."""
    lax = "ALL:@SECLEVEL=0"
    nobody = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    weak = authority.build(small, nobody, nobody, small.public_key(), "127.0.0.1")
    with Path(authority.ca_file).open("ab") as trusted:
        trusted.write(Path(weak.certificate).read_bytes())  # trusted, so that its weakness is what is wrong
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    with_root = stranger.issue("127.0.0.1")
    with Path(with_root.certificate).open("ab") as chain:
        chain.write(stranger.root.cert_pem.bytes())
    return {
        "expired": serving(authority.issue("127.0.0.1", ends=-3)),
        "not yet": serving(authority.issue("127.0.0.1", begins=2)),
        "wrong host": serving(authority.issue("www.example.org")),
        "no name": serving(authority.issue(common_name="127.0.0.1")),
        "self-signed": serving(authority.self_signed("127.0.0.1")),
        "incomplete": serving(authority.issue("127.0.0.1", chain=False)),
        "stranger": serving(with_root),
        "weak": serving(weak, lax),
        "for clients": serving(for_clients(authority)),
        "": None,  # type: ignore[dict-item]
    }


def for_clients(authority: Authority) -> Any:
    """A certificate that is right but for its purpose."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    pair = authority.build(key, name, name, key.public_key(), "127.0.0.1", purpose)
    with Path(authority.ca_file).open("ab") as trusted:
        trusted.write(Path(pair.certificate).read_bytes())
    return pair


Start = Callable[..., Awaitable[Odd]]


async def test_tls(odd: Start, shared: SharedHelpers, authority: Authority, bad: dict[str, Any]) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"address": server.address, "ca_file": authority.ca_file}

    await run_all("tls", [*CERTIFICATES, *HANDSHAKES, *OF_TLS_ONLY, *BEGINNINGS], aim, odd, shared, bad)


async def test_https_says_the_same(
    odd: Start, shared: SharedHelpers, authority: Authority, bad: dict[str, Any]
) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"url": f"https://{server.address}/", "ca_file": authority.ca_file}

    await run_all("http", [*CERTIFICATES, *HANDSHAKES], aim, odd, shared, bad)


async def test_tcp_says_the_same(odd: Start, shared: SharedHelpers, authority: Authority, bad: dict[str, Any]) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"address": server.address, "tls": True, "ca_file": authority.ca_file}

    await run_all("tcp", [*CERTIFICATES, *HANDSHAKES], aim, odd, shared, bad)


async def test_smtps_says_the_same(
    odd: Start, shared: SharedHelpers, authority: Authority, bad: dict[str, Any]
) -> None:
    def aim(server: Odd) -> dict[str, Any]:
        return {"url": f"smtps://{server.address}", "ca_file": authority.ca_file}

    await run_all("smtp", [*CERTIFICATES, *HANDSHAKES], aim, odd, shared, bad)


async def test_without_verification_only_the_age_counts(odd: Start, shared: SharedHelpers, bad: dict[str, Any]) -> None:
    """A certificate that is out of its time is down whoever may be trusted; the rest is what was asked for."""
    wanted = {"expired": ("tls", "expired"), "not yet": ("tls", "is valid only from")}
    cases = [
        replace(
            case,
            reason=wanted.get(case.certificate, ("", ""))[0],
            words=wanted.get(case.certificate, ("", ""))[1],
            outcome=Outcome.DOWN if case.certificate in wanted else Outcome.UP,
        )
        for case in CERTIFICATES
        if case.certificate != "weak"
    ]
    await run_all("tls", cases, lambda server: {"address": server.address, "verify": False}, odd, shared, bad)
