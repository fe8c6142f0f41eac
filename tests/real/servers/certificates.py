"""Certificates good and bad, issued by an authority that exists for the tests only."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate file (leaf first) and its key, both PEM."""

    certificate: str
    key: str

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificate(Path(self.certificate).read_bytes())


def from_now(days: float) -> datetime:
    """So many days from now, to the second."""
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)


class Authority:
    """A root, an intermediate under it, and whatever servers they vouch for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = trustme.CA(organization_name="Root of the tests")
        self.intermediate = self.root.create_child_ca()
        self.ca_file = self._write("root.pem", self.root.cert_pem.bytes())
        self._count = 0

    def issue(self, *names: str, begins: float = -60, ends: float = 30, chain: bool = True, **settings: Any) -> Pair:
        """A server's certificate by the intermediate; times in days from now. Without ``chain``, that is not sent."""
        issued = self.intermediate.issue_cert(*names, not_before=from_now(begins), not_after=from_now(ends), **settings)
        pems = [blob.bytes() for blob in issued.cert_chain_pems]
        return self.pair(b"".join(pems if chain else pems[:1]), issued.private_key_pem.bytes())

    def self_signed(self, name: str, ends: float = 30) -> Pair:
        """A certificate that nobody vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self.build(key, subject, subject, key.public_key(), name, ends=ends)

    def by_public_authority(self, name: str) -> Pair:
        """A leaf without its intermediate that says, as those of public authorities do, where that one can be got."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Intermediate R7")])
        where = x509.UniformResourceIdentifier("http://r7.example/ca.crt")
        access = x509.AccessDescription(x509.AuthorityInformationAccessOID.CA_ISSUERS, where)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self.build(key, subject, issuer, key.public_key(), name, x509.AuthorityInformationAccess([access]))

    def build(
        self,
        key: Any,
        subject: x509.Name,
        issuer: x509.Name,
        public: Any,
        name: str,
        *extensions: x509.ExtensionType,
        ends: float = 30,
    ) -> Pair:
        """A certificate signed by its own key, whoever it says issued it."""
        try:
            general: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            general = x509.DNSName(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(from_now(-60))
            .not_valid_after(from_now(ends))
            .add_extension(x509.SubjectAlternativeName([general]), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return self.pair(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem_of(key))

    def pair(self, certificates: bytes, key: bytes) -> Pair:
        """Write a certificate and its key to files."""
        self._count += 1
        return Pair(self._write(f"{self._count}-chain.pem", certificates), self._write(f"{self._count}-key.pem", key))

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def pem_of(key: Any, password: bytes = b"") -> bytes:
    """A private key as PEM."""
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    encoded: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    return encoded


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose root stands in ``authority.ca_file``."""
    return Authority(tmp_path_factory.mktemp("authority"))


Issue = Callable[..., Pair]
