"""What is told of a TLS connection: versions, cipher, when which certificate of it expires."""

from __future__ import annotations

import re
import ssl
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wcr_watchd.kit.blackbox_modules import TlsConfig
from wcr_watchd.kit.certificates import read_chain
from wcr_watchd.kit.tls import Handshake, TlsSettings, explain, served_chain
from wcr_watchd.web.compatible.blackbox.attempt import Attempt

NO_CHAIN = -62135596800.0
"""The exporter's word for "no chain was verified": Go's zero time, the beginning of the year 1."""


def settings(config: TlsConfig) -> TlsSettings:
    """The same wishes in our words. Below TLS 1.2 nothing is spoken here, as in Go unless one insists."""
    return TlsSettings(
        verify=not config.insecure_skip_verify,
        ca_file=config.ca_file,
        certificate=config.cert_file,
        key=config.key_file,
        minimum="1.3" if config.min_version == "TLS13" else "1.2",
    )


def problem(handshake: Handshake, error: OSError, now: float) -> str:
    """Why a handshake failed, in words."""
    try:
        chain = read_chain(served_chain(handshake.session)) if handshake.session is not None else ()
    except ValueError:
        chain = ()
    return explain(error, chain, handshake.asked, now)


def tell(attempt: Attempt, session: ssl.SSLObject) -> None:
    """Set the gauges about a finished handshake."""
    try:
        served = [x509.load_der_x509_certificate(der) for der in served_chain(session)]
        verified = [x509.load_der_x509_certificate(der) for der in _verified_chain(session)]
        leaf = served[0]
    except (ValueError, IndexError):
        attempt.log("The certificates cannot be read", "error")
        return
    attempt.set("probe_ssl_earliest_cert_expiry", min(_end(one) for one in served))
    attempt.set("probe_ssl_last_chain_expiry_timestamp_seconds", min((_end(one) for one in verified), default=NO_CHAIN))
    attempt.set("probe_tls_version_info", 1, version=(session.version() or "unknown").replace("TLSv", "TLS "))
    attempt.set("probe_tls_cipher_info", 1, cipher=cipher_name((session.cipher() or ("unknown",))[0]))
    attempt.set(
        "probe_ssl_last_chain_info",
        1,
        fingerprint_sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        subjectalternative=",".join(_dns_names(leaf)),
        serialnumber=serial(leaf.serial_number),
    )


def serial(number: int) -> str:
    """A serial number in hexadecimal, whole bytes: a leading zero is kept."""
    digits = f"{number:x}"
    return digits.zfill(len(digits) + len(digits) % 2)


def cipher_name(openssl: str) -> str:
    """IANA's name of a cipher by OpenSSL's: ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`` (openssl-ciphers(1))."""
    match = re.fullmatch(r"(ECDHE-(?:RSA|ECDSA)|DHE-RSA|)-?(AES|CHACHA20)(\d*)-(.+)", openssl)
    if openssl.startswith("TLS_") or match is None:
        return openssl
    exchange, cipher, bits, rest = match.groups()
    rest = {"SHA": "CBC-SHA", "SHA256": "CBC-SHA256", "SHA384": "CBC-SHA384", "POLY1305": "POLY1305-SHA256"}.get(
        rest, rest
    )
    parts = ("TLS", exchange or "RSA", "WITH", cipher, bits, rest)
    return "_".join(filter(None, parts)).replace("-", "_")


def _verified_chain(session: ssl.SSLObject) -> list[bytes]:
    """The chain that OpenSSL found good, root included, in DER; empty when it was not to look.

    Public from Python 3.13 on (``get_verified_chain``); before, the same call exists one object deeper.
    """
    if session.context.verify_mode == ssl.CERT_NONE:
        return []
    inner: Any = session if hasattr(session, "get_verified_chain") else session._sslobj  # type: ignore[attr-defined] # noqa: SLF001
    found = inner.get_verified_chain() or []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found]


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return found.get_values_for_type(x509.DNSName)
