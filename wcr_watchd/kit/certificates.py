"""X.509 certificates as a person who must renew them sees them: for whom, by whom, until when, how strong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration

DAY = 86400.0
LONGEST_NOTICE = 30 * DAY
"""A certificate with more left than this is never due (the guide's 30-day warning)."""
RENEWAL_GRACE = 3 * DAY
"""How long a working renewal may be late: it runs daily or so, and may fail once or twice by chance."""
SMALLEST_RSA = 2048
SMALLEST_EC = 224
"""Bits below which a key is weak (NIST SP 800-57 part 1, table 2: 112 bits of security)."""

REMEMBERED_CHAINS = 256
"""Chains that need not be read again; a few kilobytes each."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is worth knowing of one certificate.

    ``role`` is its place in the chain: ``leaf``, ``intermediate-1`` … or ``root``. Times are epoch seconds,
    ``fingerprint`` is SHA-256 in hex, ``key`` reads ``EC secp256r1, 256 bits``. ``weaknesses`` says in words what is
    too weak by today's measure. ``issuer_url`` is where its issuer's certificate can be fetched (empty: not said).
    """

    role: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: float
    not_after: float
    fingerprint: str
    key: str
    weaknesses: tuple[str, ...]
    self_signed: bool
    issuer_url: str
    issuer_organisation: str

    @property
    def lifetime(self) -> float:
        """Seconds from its first to its last moment."""
        return self.not_after - self.not_before

    def left(self, now: float) -> float:
        """Seconds until it expires; negative afterwards."""
        return self.not_after - now

    def lifetime_left(self, now: float) -> float:
        """The part of its lifetime that is left, 0-1."""
        return min(1.0, max(0.0, self.left(now) / self.lifetime)) if self.lifetime > 0 else 0.0

    def overdue(self, now: float) -> float:
        """Seconds since a working renewal would have replaced it; negative before that moment."""
        return renewal_notice(self.lifetime) - self.left(now)


def renewal_notice(lifetime: float) -> float:
    """Seconds before its end from which on a certificate of this lifetime should have been replaced.

    Renewal runs at a third of the lifetime left (at 30 days left for one of 90 days; certbot and the ACME clients'
    common practice) and gets a few days of grace, so that a renewal that works never warns: 27 days before the end
    of 90, 12 of 45, one and a half of the 160-hour ones. Never more than 30 days.
    """
    grace = min(RENEWAL_GRACE, lifetime / 10)
    return min(LONGEST_NOTICE, max(0.0, lifetime / 3 - grace))


def read_chain(encoded: Sequence[bytes]) -> tuple[Certificate, ...]:
    """Read the certificates of a chain in DER, leaf first, as served. ``ValueError`` when one cannot be read."""
    return _read_chain(tuple(encoded))


@lru_cache(maxsize=REMEMBERED_CHAINS)
def _read_chain(encoded: tuple[bytes, ...]) -> tuple[Certificate, ...]:
    """A server shows the same chain for weeks; reading it is a tenth of what an HTTPS check costs."""
    return describe([x509.load_der_x509_certificate(der) for der in encoded])


def read_pem(text: bytes) -> tuple[Certificate, ...]:
    """Read the certificates of a PEM file, leaf first. ``ValueError`` when there is none or one cannot be read."""
    return describe(x509.load_pem_x509_certificates(text))


def describe(chain: Sequence[x509.Certificate]) -> tuple[Certificate, ...]:
    """What is worth knowing of a chain, leaf first."""
    return tuple(_describe(certificate, place) for place, certificate in enumerate(chain))


def _describe(certificate: x509.Certificate, place: int) -> Certificate:
    own = certificate.issuer == certificate.subject
    organisations = certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return Certificate(
        role="leaf" if place == 0 else "root" if own else f"intermediate-{place}",
        subject=_short_name(certificate.subject),
        issuer=_short_name(certificate.issuer),
        names=_names(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key=_key(certificate),
        weaknesses=_weaknesses(certificate, own),
        self_signed=own,
        issuer_url=_issuer_url(certificate),
        issuer_organisation=str(organisations[0].value) if organisations else "",
    )


def _short_name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "(no name)"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*found.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))


def _issuer_url(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    for access in found:
        if access.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
            return str(access.access_location.value)
    return ""


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "a key of an unknown kind"
    match key:
        case rsa.RSAPublicKey():
            return f"RSA, {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            return f"EC {key.curve.name}, {key.curve.key_size} bits"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def _weaknesses(certificate: x509.Certificate, own: bool) -> tuple[str, ...]:
    return tuple(filter(None, (_weak_key(certificate), "" if own else _weak_signature(certificate))))


def _weak_key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return ""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        return f"its RSA key has {key.key_size} bits, {SMALLEST_RSA} are the least"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < SMALLEST_EC:
        return f"its EC key has {key.curve.key_size} bits, {SMALLEST_EC} are the least"
    return ""


def _weak_signature(certificate: x509.Certificate) -> str:
    """Nobody checks a root's signature of itself, so only the others' counts."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        return f"it is signed with {algorithm.name.upper()}, which can be forged"
    return ""


def in_words(certificate: Certificate, now: float) -> str:
    """One line about a certificate: role, subject, issuer, end, key, weaknesses."""
    weak = "".join(f"; WEAK: {weakness}" for weakness in certificate.weaknesses)
    return (
        f"{certificate.role}: {certificate.subject}, issued by {certificate.issuer}, "
        f"{end_in_words(certificate, now)}, {certificate.key}{weak}"
    )


def end_in_words(certificate: Certificate, now: float) -> str:
    """``expires 2026-03-01 (in 30 d)`` or ``expired 2026-01-01 (3 d ago)`` or ``is valid only from …``."""
    if now < certificate.not_before:
        return (
            f"is valid only from {_date(certificate.not_before)} (in {format_duration(certificate.not_before - now)})"
        )
    left = certificate.left(now)
    if left <= 0:
        return f"expired {_date(certificate.not_after)} ({format_duration(-left)} ago)"
    return f"expires {_date(certificate.not_after)} (in {format_duration(left)})"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def that_matter(chain: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Those whose end a visitor notices: leaf and intermediates, not a root, which visitors have themselves."""
    return tuple(certificate for certificate in chain if certificate.role != "root")


EXPIRY = "expiry"
"""The topic of a certificate's coming end: handled apart from "it does not work now"."""

CERTIFICATE_MEASUREMENTS = (
    MeasurementSpec(
        "expires_in", Unit.SECONDS, "Time until the first certificate of leaf and intermediates expires", topic=EXPIRY
    ),
    MeasurementSpec(
        "lifetime_left", Unit.RATIO, "Part of the lifetime that is left of the one that expires first", topic=EXPIRY
    ),
    MeasurementSpec(
        "renewal_overdue",
        Unit.SECONDS,
        "Time since a working renewal would have replaced the most overdue one; negative before",
        topic=EXPIRY,
    ),
    MeasurementSpec(
        "certificate_expires_in",
        Unit.SECONDS,
        "Time until each certificate of the chain expires",
        labels=("certificate",),
        topic=EXPIRY,
    ),
    MeasurementSpec(
        "certificate_lifetime_left",
        Unit.RATIO,
        "Part of its lifetime that is left of each certificate of the chain",
        labels=("certificate",),
        topic=EXPIRY,
    ),
    MeasurementSpec(
        "weaknesses",
        Unit.COUNT,
        "Weak keys (RSA below 2048 bits, EC below 224) and forgeable signatures (SHA-1, MD5) in the chain",
        topic="strength",
    ),
)
"""What every probe that looks at certificates in detail measures, by :func:`measure_chain`."""

EXPIRES_SOON = "expires_in < 7d and lifetime_left < 10%"
"""Seven days, but no more than a tenth of the lifetime: one that lives six days must not be critical from birth."""
RENEWAL_FAILED = "renewal_overdue > 0s"
WEAK = "weaknesses > 0"


def measure_chain(run: Run, chain: Sequence[Certificate]) -> None:
    """Note the measurements of :data:`CERTIFICATE_MEASUREMENTS`, and the chain in words as evidence."""
    now = run.started
    seen = that_matter(chain)
    if not seen:
        return
    first = min(seen, key=lambda certificate: certificate.not_after)
    run.measure("expires_in", first.left(now))
    run.measure("lifetime_left", first.lifetime_left(now))
    run.measure("renewal_overdue", max(certificate.overdue(now) for certificate in seen))
    run.measure("weaknesses", sum(len(certificate.weaknesses) for certificate in chain))
    for role, certificate in {certificate.role: certificate for certificate in chain}.items():
        run.measure("certificate_expires_in", certificate.left(now), certificate=role)
        run.measure("certificate_lifetime_left", certificate.lifetime_left(now), certificate=role)
    end = datetime.fromtimestamp(chain[0].not_after, UTC)
    run.fact("certificate", (*chain[0].names, chain[0].subject)[0], f"serial {chain[0].serial}, until {end:%Y-%m-%d}")
    run.evidence["chain"] = "\n".join(in_words(certificate, now) for certificate in chain)
    run.evidence["names"] = ", ".join(chain[0].names)
    run.evidence["fingerprint"] = f"SHA-256 {chain[0].fingerprint}"


# --- beside another probe's own subject -------------------------------------------------------------------------------

SERVED_MEASUREMENTS = (
    MeasurementSpec(
        "certificate_expires_in",
        Unit.SECONDS,
        "Time until the first certificate of leaf and intermediates expires",
        topic="certificate",
    ),
    MeasurementSpec(
        "certificate_lifetime_left",
        Unit.RATIO,
        "Part of the lifetime that is left of the certificate that expires first",
        topic="certificate",
    ),
)
"""What probes of a service that speaks TLS measure beside it, by :func:`measure_served`."""

SERVED_EXPIRES_SOON = "certificate_expires_in < 7d and certificate_lifetime_left < 10%"


def measure_served(run: Run, chain: Sequence[Certificate]) -> None:
    """Note the measurements of :data:`SERVED_MEASUREMENTS`; none when there is no chain."""
    seen = that_matter(chain)
    if seen:
        first = min(seen, key=lambda certificate: certificate.not_after)
        run.measure("certificate_expires_in", first.left(run.started))
        run.measure("certificate_lifetime_left", first.lifetime_left(run.started))
