"""Lists of revoked certificates made here by a certificate authority of our own, from files and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Ca:
    """An authority with a certificate that it may revoke."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "VPN CA")])
        self.issuer = self._certificate("ca.pem", self.name, 1)
        self.ours = self._certificate("ours.pem", x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")]), 0xABC)

    def _certificate(self, file: str, subject: x509.Name, serial: int) -> str:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).serial_number(serial)
        builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + 365 * DAY).public_key(self.key.public_key())
        path = self.folder / file
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return str(path)

    def crl(
        self, *serials: int, following: timedelta | None = 6 * DAY, key: Any = None, encoding: Encoding = Encoding.PEM
    ) -> bytes:
        """A list of a day ago."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(NOW - DAY)
        builder = builder.next_update(NOW + (following or DAY))
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 2 * DAY)
            revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(encoding)

    def file(self, content: bytes) -> str:
        path = self.folder / "crl.pem"
        path.write_bytes(content)
        return str(path)


@pytest.fixture
def ca(tmp_path: Path) -> Ca:
    return Ca(tmp_path)


Look = Callable[..., Awaitable[Any]]


@pytest.fixture
def look(observe: Observe) -> Look:
    return lambda **options: observe("crl", started=NOW.timestamp(), **options)


async def test_a_good_list(ca: Ca, look: Look) -> None:
    seen = await look(source=ca.file(ca.crl(7, 8)), issuer=ca.issuer, certificates=[ca.ours])
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "entries") == 2
    assert measured(seen, "age") == 86_400
    assert measured(seen, "expires_in") == 6 * 86_400
    assert measured(seen, "lifetime_left") == pytest.approx(6 / 7)
    assert measured(seen, "revoked") == 0
    assert "2 revoked certificates, signed by its issuer" in seen.summary


async def test_over_http_in_der(ca: Ca, look: Look, odd: Callable[..., Awaitable[Odd]]) -> None:
    raw = ca.crl(7, encoding=Encoding.DER)
    server = await odd(f"HTTP/1.1 200 OK\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
    seen = await look(source=server.url("/ca.crl"))
    assert seen.outcome is Outcome.UP, seen.summary
    assert "signed" not in seen.summary


async def test_what_is_wrong_with_a_list_is_down(ca: Ca, look: Look, tmp_path: Path) -> None:
    async def said(content: bytes, **options: Any) -> str:
        seen = await look(source=ca.file(content), **options)
        assert seen.outcome is Outcome.DOWN
        return str(seen.summary)

    words = await said(ca.crl(0xABC), certificates=[ca.ours])
    assert "(serial abc) was revoked 2 d ago: keyCompromise" in words
    assert "next update was due 1 h ago" in await said(ca.crl(following=timedelta(hours=-1)))
    forged = ca.crl(key=ec.generate_private_key(ec.SECP256R1()))
    assert "signature is not by the key of its issuer" in await said(forged, issuer=ca.issuer)
    (tmp_path / "other").mkdir()
    other = Ca(tmp_path / "other")
    other.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other CA")])
    assert "it is of CN=Other CA, which is none of the issuers" in await said(other.crl(), issuer=ca.issuer)
    for junk in (b"", b"junk", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"\x30\x82" * 50_000):
        assert "no list of revoked certificates" in await said(junk)


async def test_the_same_serial_of_another_authority_is_another_certificate(ca: Ca, look: Look, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Ca(tmp_path / "other")
    other.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other CA")])
    seen = await look(source=ca.file(other.crl(0xABC)), certificates=[ca.ours])
    assert measured(seen, "revoked") == 0


async def test_what_is_missing_here_is_unknown(ca: Ca, look: Look) -> None:
    assert (await look(source="/no/such/file")).outcome is Outcome.UNKNOWN
    good = ca.file(ca.crl())
    for options in ({"issuer": "/no/such/ca"}, {"certificates": ["/no/such/file"]}, {"certificates": [good]}):
        seen = await look(source=good, **options)
        assert seen.outcome is Outcome.UNKNOWN
        assert names(seen) == set()


async def test_a_server_that_has_none_is_down(look: Look, odd: Callable[..., Awaitable[Odd]]) -> None:
    server = await odd(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    seen = await look(source=server.url())
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    hanging = await odd(silence)
    seen = await look(source=hanging.url(), timeout=0.4)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")


async def test_cancelling_ends_the_reading_process(
    ca: Ca, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("wcr_watchd.probes.crl.sys.executable", str(program))
    before = asyncio.all_tasks()
    run = new_run(shared)
    running = asyncio.create_task(carry_out(probe_of("crl", {"source": ca.file(ca.crl())}), run))
    async with asyncio.timeout(20):
        while not run.step.startswith("reading"):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert asyncio.all_tasks() <= before


def test_what_makes_no_sense_is_refused() -> None:
    for source in ("crl.pem", "ftp://x/crl", "http://user:secret@x/crl"):
        with pytest.raises(ValidationError, match="must be the path of a file"):
            probe_of("crl", {"source": source})
