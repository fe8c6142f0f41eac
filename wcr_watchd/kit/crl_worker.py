"""The process that reads a list of revoked certificates: a long one takes a processor for longer than a daemon may.

``python -m wcr_watchd.kit.crl_worker JOB``: the arguments of :func:`look` as a JSON object, the list on standard input;
the answer is a JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

LARGEST = 20 * 1024 * 1024
"""Bytes of a list; the largest public ones have fewer."""


def look(raw: bytes, issuer: str, certificates: Sequence[str]) -> dict[str, Any]:
    """What a list says (RFC 5280, 5), or under ``trouble`` why nothing can be told, with whose fault it is.

    ``issuer`` is a file with the certificate that signs it (empty: that is not looked at), ``certificates`` are files
    whose first certificate must not be on it.
    """
    try:
        crl = x509.load_pem_x509_crl(raw) if raw.lstrip().startswith(b"-----") else x509.load_der_x509_crl(raw)
        following = crl.next_update_utc
    except ValueError as error:
        return {"trouble": f"it is no list of revoked certificates: {error}", "ours": False}
    found: dict[str, Any] = {
        "issuer": crl.issuer.rfc4514_string()[:200],
        "this": crl.last_update_utc.timestamp(),
        "next": following.timestamp() if following else None,
        "entries": len(crl),
        "revoked": [],
    }
    try:
        found["signed"] = _is_signed(crl, _certificates(issuer)) if issuer else None
        for path in certificates:
            found["revoked"] += _revoked(crl, path)
    except OSError as error:
        return {"trouble": f"{error.filename} cannot be read: {error.strerror}", "ours": True}
    except ValueError as error:
        return {"trouble": str(error), "ours": True}
    return found


def _is_signed(crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> str:
    """Empty when one of the authorities has signed the list; else why it does not count."""
    named = [one for one in authorities if one.subject == crl.issuer]
    if not named:
        return f"it is of {crl.issuer.rfc4514_string()[:200]}, which is none of the issuers given"
    if any(_fits(crl, one.public_key()) for one in named):
        return ""
    return "its signature is not by the key of its issuer"


def _fits(crl: x509.CertificateRevocationList, key: Any) -> bool:
    if not isinstance(key, CertificateIssuerPublicKeyTypes):  # type: ignore[arg-type]
        return False
    try:
        return crl.is_signature_valid(key)
    except (UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _revoked(crl: x509.CertificateRevocationList, path: str) -> list[dict[str, Any]]:
    certificate = _certificates(path)[0]
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is None or certificate.issuer != crl.issuer:
        return []
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        reason = ""
    serial = f"{certificate.serial_number:x}"
    return [{"path": path, "serial": serial, "at": entry.revocation_date_utc.timestamp(), "reason": reason}]


def _certificates(path: str) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} holds no readable certificate in PEM: {error}") from error


def main(argument: str) -> None:
    """Carry the job out and print the answer."""
    json.dump(look(sys.stdin.buffer.read(LARGEST + 1), **json.loads(argument)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
