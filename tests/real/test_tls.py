"""The tls probe against real servers, good certificates and bad ones."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.certificates import Authority, Pair, from_now
from tests.real.servers.nginx import Nginx, Site
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.certificates import DAY, renewal_notice

StartNginx = Callable[..., Nginx]
StartOdd = Callable[..., Awaitable[Odd]]


async def test_a_good_chain(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("localhost", "*.example.org", ends=30)))
    seen = await observe("tls", address=f"localhost:{server.port}", ca_file=authority.ca_file)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert "the leaf certificate expires" in seen.summary
    assert measured(seen, "expires_in") == pytest.approx(30 * DAY, abs=120)
    assert measured(seen, "lifetime_left") == pytest.approx(1 / 3, abs=0.01)
    assert measured(seen, "renewal_overdue") == pytest.approx(-3 * DAY, abs=120)  # 90 days: due at 27 left
    assert measured(seen, "certificate_expires_in", certificate="leaf") == measured(seen, "expires_in")
    assert measured(seen, "certificate_expires_in", certificate="intermediate-1") > 30 * DAY
    assert 0 < measured(seen, "certificate_lifetime_left", certificate="intermediate-1") < 1
    assert measured(seen, "weaknesses") == 0
    assert measured(seen, "protocol") in (1.2, 1.3)
    took = sum(measured(seen, "response_phase", phase=phase) for phase in ("dns", "connect", "tls"))
    assert 0 < took <= measured(seen, "response_time")
    assert seen.evidence["names"] == "localhost, *.example.org"
    assert (server.folder / "access.log").read_text() == ""


async def test_one_handshake_even_when_it_fails(authority: Authority, observe: Observe, odd: StartOdd) -> None:
    server = await odd(silence, _server_context(authority.issue("localhost", ends=-1)))
    seen = await observe("tls", address=server.address, ca_file=authority.ca_file)
    assert seen.reason == "tls"
    assert "expires_in" in names(seen)
    assert server.connections <= 1


async def test_each_fault_has_its_own_words(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    elsewhere = trustme.CA(organization_name="Somebody else")
    foreign = elsewhere.issue_cert("localhost", not_after=from_now(30))
    chain = b"".join(blob.bytes() for blob in foreign.cert_chain_pems)
    unknown = authority.pair(chain, foreign.private_key_pem.bytes())
    with_root = authority.pair(chain + elsewhere.cert_pem.bytes(), foreign.private_key_pem.bytes())
    faults = {
        authority.issue("localhost", ends=-3): "the certificate of",
        authority.issue("localhost", begins=3): "is valid only from",
        authority.issue("other.example"): "the certificate is for other.example; asked for localhost",
        authority.self_signed("localhost"): "is signed by itself only",
        authority.by_public_authority("localhost"): 'does not send the intermediate certificate "Intermediate R7"',
        authority.issue("localhost", chain=False): "neither sent by the server nor trusted here",
        unknown: "neither sent by the server nor trusted here",
        with_root: "which is not trusted here",
    }
    server = nginx(*(Site(certificate=pair) for pair in faults))
    for port, words in zip(server.ports, faults.values(), strict=True):
        seen = await observe("tls", address=f"localhost:{port}", ca_file=authority.ca_file)
        assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
        assert words in seen.summary
        assert "expires_in" in names(seen)
    expired = await observe("tls", address=f"localhost:{server.port}", ca_file=authority.ca_file)
    assert measured(expired, "expires_in") == pytest.approx(-3 * DAY, abs=120)
    assert measured(expired, "lifetime_left") == 0


async def test_a_forgotten_intermediate_of_an_authority_trusted_here(
    nginx: StartNginx, authority: Authority, observe: Observe, tmp_path: Path
) -> None:
    """The issuer has the organisation of a trusted root, so it is a link of its chain."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Root of the tests")])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    pair = authority.build(key, subject, name, key.public_key(), "localhost")
    server = nginx(Site(certificate=pair))
    seen = await observe("tls", address=f"localhost:{server.port}", ca_file=authority.ca_file)
    assert "let it serve the full chain" in seen.summary


async def test_without_verification_the_end_still_counts(
    nginx: StartNginx, authority: Authority, observe: Observe
) -> None:
    server = nginx(
        Site(certificate=authority.self_signed("other.example")),
        Site(certificate=authority.issue("localhost", ends=-1)),
    )
    assert (await observe("tls", address=f"localhost:{server.ports[0]}", verify=False)).outcome is Outcome.UP
    expired = await observe("tls", address=f"localhost:{server.ports[1]}", verify=False)
    assert (expired.outcome, expired.reason) == (Outcome.DOWN, "tls")
    assert "the leaf certificate expired" in expired.summary


async def test_names_by_sni(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    pair = authority.issue("www.example.org")
    server = nginx(Site(certificate=pair))
    address = f"127.0.0.1:{server.port}"
    assert (await observe("tls", address=address, ca_file=authority.ca_file)).reason == "tls"
    seen = await observe("tls", address=address, ca_file=authority.ca_file, server_name="www.example.org")
    assert seen.outcome is Outcome.UP
    assert probe_of("tls", {"address": address, "server_name": "x.example"}).target == f"{address} as x.example"


async def test_addresses_are_names_too(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    pair = authority.issue("127.0.0.1", "::1")
    server = nginx(Site(certificate=pair), Site(certificate=pair, host="::1"))
    for address in (f"127.0.0.1:{server.ports[0]}", f"[::1]:{server.ports[1]}"):
        seen = await observe("tls", address=address, ca_file=authority.ca_file)
        assert seen.outcome is Outcome.UP, seen.summary


async def test_too_old_a_version(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(Site(certificate=authority.issue("localhost"), settings="ssl_protocols TLSv1.2;"))
    address = f"localhost:{server.port}"
    seen = await observe("tls", address=address, ca_file=authority.ca_file, min_version="1.3")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    assert "no TLS version as new as asked for" in seen.summary
    assert measured(await observe("tls", address=address, ca_file=authority.ca_file), "protocol") == 1.2


async def test_a_weak_key(authority: Authority, odd: StartOdd, observe: Observe) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    pair = authority.build(key, subject, subject, key.public_key(), "127.0.0.1")
    context.load_cert_chain(pair.certificate, pair.key)
    server = await odd(silence, context)
    lax = await observe("tls", address=server.address, verify=False)
    assert measured(lax, "weaknesses") == 1, lax.summary
    assert "its RSA key has 1024 bits, 2048 are the least" in lax.evidence["chain"]
    strict = await observe("tls", address=server.address, ca_file=pair.certificate)
    assert (strict.outcome, strict.reason) == (Outcome.DOWN, "tls")
    assert "its RSA key has 1024 bits" in strict.summary


# --- STARTTLS -------------------------------------------------------------------------------------------------------


def _server_context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


@pytest.fixture
def smtp(authority: Authority) -> Iterator[int]:
    """A real SMTP server that offers STARTTLS; its port."""
    port = free_port()
    context = _server_context(authority.issue("127.0.0.1"))
    controller = Controller(object(), hostname="127.0.0.1", port=port, tls_context=context)
    controller.start()
    yield port
    controller.stop()


async def test_starttls_smtp(smtp: int, authority: Authority, observe: Observe) -> None:
    seen = await observe("tls", address=f"127.0.0.1:{smtp}", starttls="smtp", ca_file=authority.ca_file)
    assert seen.outcome is Outcome.UP, seen.summary
    assert "expires_in" in names(seen)
    assert measured(seen, "response_phase", phase="starttls") > 0


async def test_starttls_imap(imap: int, authority: Authority, observe: Observe) -> None:
    seen = await observe("tls", address=f"127.0.0.1:{imap}", starttls="imap", ca_file=authority.ca_file)
    assert seen.outcome is Outcome.UP, seen.summary


@pytest.fixture
def postgres_with_tls(authority: Authority) -> Iterator[int]:
    """A real PostgreSQL with ssl = on; its port."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "PostgreSQL is not installed: apt-get install postgresql"
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    pair, port = authority.issue("127.0.0.1"), free_port()
    # Not pytest's folder: PostgreSQL refuses to run as root, and its user may not enter that.
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for source, copy in ((pair.certificate, "server.crt"), (pair.key, "server.key")):
            (folder / copy).write_bytes(Path(source).read_bytes())
            (folder / copy).chmod(0o600)
        if as_owner:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")

        def carry_out(*command: str) -> None:
            done = subprocess.run([*as_owner, *command], cwd=folder, capture_output=True, text=True, check=False)
            log = folder / "log"
            assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")

        carry_out(str(programs[-1] / "initdb"), "-D", f"{folder}/data", "--no-sync", "-A", "trust", "-E", "UTF8")
        tls = f"-c ssl=on -c ssl_cert_file={folder}/server.crt -c ssl_key_file={folder}/server.key"
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off {tls}"
        control = (str(programs[-1] / "pg_ctl"), "-D", f"{folder}/data", "-w", "-t", "60", "-l", f"{folder}/log")
        carry_out(*control, "-o", options, "start")
        yield port
        carry_out(*control, "-m", "immediate", "stop")


async def test_starttls_postgres(postgres_with_tls: int, authority: Authority, observe: Observe) -> None:
    address = f"127.0.0.1:{postgres_with_tls}"
    seen = await observe("tls", address=address, starttls="postgres", ca_file=authority.ca_file)
    assert seen.outcome is Outcome.UP, seen.summary
    assert "expires_in" in names(seen)


async def test_starttls_postgres_asks_as_the_manual_says(odd: StartOdd, observe: Observe) -> None:
    asked = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readexactly(8)
        writer.write(b"N")

    seen = await observe("tls", address=(await odd(answer)).address, starttls="postgres")
    assert asked == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
    assert "set ssl = on" in seen.summary


@pytest.mark.parametrize(
    ("protocol", "said", "words"),
    [
        (
            "smtp",
            b"220 mail ESMTP\r\n250-mail\r\n250-SIZE 1000\r\n250 HELP\r\n",
            "does not offer STARTTLS; it offers SIZE",
        ),
        ("smtp", b"554 go away\r\n", 'the greeting was "554 go away", expected 220'),
        ("smtp", b"220 mail\r\n250-STARTTLS\r\n250 X\r\n454 not now\r\n", 'the answer to STARTTLS was "454 not now"'),
        ("smtp", b"220-a\r\n" * 1000, "more than 64 lines"),
        ("smtp", b"x" * 200_000, "a line without end"),
        ("smtp", b"220 ", "the connection was closed while waiting for the greeting"),
        ("imap", b"* OK ready\r\nw1 BAD unknown\r\n", 'the answer to STARTTLS was "w1 BAD unknown"'),
        ("imap", b"* BYE full\r\n", 'the greeting was "* BYE full"'),
        ("imap", b"* OK ready\r\n" + b"* NOISE\r\n" * 1000, "more than 64 lines"),
        ("postgres", b"N", "TLS switched off"),
        ("postgres", b"E", "is it PostgreSQL?"),
        ("postgres", b"", "is it PostgreSQL?"),
    ],
)
async def test_starttls_refused(odd: StartOdd, observe: Observe, protocol: str, said: bytes, words: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()
        await reader.read()

    server = await odd(say)
    seen = await observe("tls", address=server.address, starttls=protocol)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol")
    assert words in seen.summary


@pytest.mark.parametrize(("protocol", "step"), [(None, "in the TLS handshake"), ("smtp", "to begin TLS (smtp)")])
async def test_a_silent_server(odd: StartOdd, observe: Observe, protocol: str | None, step: str) -> None:
    server = await odd(silence)
    seen = await observe("tls", address=server.address, starttls=protocol, timeout=0.4)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert step in seen.summary


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "closed the connection during"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "does not speak TLS"),
        (b"\0" * 2**21, "TLS"),
    ],
)
async def test_what_is_no_tls(odd: StartOdd, observe: Observe, said: bytes, words: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(said)
        await writer.drain()

    server = await odd(say)
    seen = await observe("tls", address=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    assert words in seen.summary


async def test_nobody_there(observe: Observe) -> None:
    refused = await observe("tls", address=f"127.0.0.1:{free_port()}")
    assert (refused.outcome, refused.reason) == (Outcome.DOWN, "connect")
    assert "connection refused" in refused.summary
    unknown = await observe("tls", address="no-such-name.invalid:443")
    assert (unknown.outcome, unknown.reason) == (Outcome.DOWN, "dns")
    no_file = await observe("tls", address="127.0.0.1:1", ca_file="/no/such.pem")
    assert (no_file.outcome, no_file.reason) == (Outcome.UNKNOWN, "missing")


# --- when a certificate is due --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "notice"),
    [(3650, 30), (398, 30), (90, 27), (64, 64 / 3 - 3), (45, 12), (30, 7), (160 / 24, 160 / 24 * (1 / 3 - 1 / 10))],
)
def test_when_a_working_renewal_should_have_happened(lifetime: float, notice: float) -> None:
    assert renewal_notice(lifetime * DAY) == pytest.approx(notice * DAY)


async def test_an_overdue_renewal(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    server = nginx(
        Site(certificate=authority.issue("localhost", begins=-64, ends=26)),
        Site(certificate=authority.issue("localhost", begins=-3, ends=160 / 24 - 3)),
    )
    late = await observe("tls", address=f"localhost:{server.ports[0]}", ca_file=authority.ca_file)
    assert measured(late, "renewal_overdue") == pytest.approx(DAY, abs=120)
    short = await observe("tls", address=f"localhost:{server.ports[1]}", ca_file=authority.ca_file)
    assert measured(short, "renewal_overdue") < 0
    assert measured(short, "expires_in") < 7 * DAY
    assert measured(short, "lifetime_left") > 0.1


async def test_an_intermediate_that_ends_first(nginx: StartNginx, authority: Authority, observe: Observe) -> None:
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    middle_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = authority.issue("localhost", ends=80)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Soon gone")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some root")])
    middle = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(issuer)
        .public_key(middle_key.public_key())
        .serial_number(7)
        .not_valid_before(from_now(-1000))
        .not_valid_after(from_now(5))
        .sign(root_key, hashes.SHA256())
    )
    served = authority.pair(
        Path(leaf.certificate).read_bytes() + middle.public_bytes(Encoding.PEM), Path(leaf.key).read_bytes()
    )
    server = nginx(Site(certificate=served))
    seen = await observe("tls", address=f"localhost:{server.port}", verify=False)
    assert measured(seen, "expires_in") == pytest.approx(5 * DAY, abs=120)
    assert measured(seen, "renewal_overdue") == pytest.approx(25 * DAY, abs=120)
    assert "the intermediate-2 certificate expires" in seen.summary


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("example.org", 'must be "host:port"'),
        ("example.org:", "is not a port"),
        ("example.org:70000", "is not a port"),
        (":443", 'must be "host:port"'),
        ("::1:443", "in brackets"),
        ("[example]:443", "is not an IPv6 address"),
        ("https://example.org:443", "in brackets"),
        ("exa mple:443", "is not a host name"),
    ],
)
def test_wrong_addresses(address: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        probe_of("tls", {"address": address})
