"""Reads a certificate file: its ends, strength and key, and whether the server really serves it.

A renewed file that no server has loaded helps nobody; with ``served`` the probe compares the file with what a server
shows ("renewed, not reloaded"). A copy that is kept for bad days must be of the certificate in use, be young, and keep
its key to its owner; with ``original`` that is looked at.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.certificates import (
    CERTIFICATE_MEASUREMENTS,
    EXPIRES_SOON,
    RENEWAL_FAILED,
    WEAK,
    Certificate,
    end_in_words,
    measure_chain,
    read_chain,
    read_pem,
    that_matter,
)
from wcr_watchd.kit.network import Address, HostName, NameResolver, abort, connect, connect_problem, split_address
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tls import TlsContexts, TlsSettings, UnusableFileError, read_file, served_chain, shake_hands

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What the group and everybody else may do."""


class CertFile(Options):
    """Options of a check of a certificate file."""

    type: ClassVar[str] = "certfile"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
path = "/etc/letsencrypt/live/www.example.org/fullchain.pem"
served = "127.0.0.1:443"
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        *CERTIFICATE_MEASUREMENTS,
        MeasurementSpec(
            "served_differs",
            Unit.COUNT,
            "1 when the server shows another certificate than the file's first, else 0",
            topic="served",
        ),
        MeasurementSpec("copy_differs", Unit.COUNT, "1 when it is not a copy of `original`, else 0", topic="copy"),
        MeasurementSpec("copy_age", Unit.SECONDS, "Since the copy was written", topic="copy"),
        MeasurementSpec("key_exposed", Unit.COUNT, "1 when others than its owner may read a copy's key", topic="copy"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, EXPIRES_SOON),
        (Severity.WARNING, RENEWAL_FAILED),
        (Severity.WARNING, WEAK),
        (Severity.WARNING, "served_differs > 0 for 2x"),
        (Severity.WARNING, "copy_differs > 0 for 2x"),
        (Severity.WARNING, "copy_age > 7d"),
        (Severity.WARNING, "key_exposed > 0"),
    )

    path: str
    """The file: PEM, the server's own certificate first."""
    key: str = ""
    """File with the private key, PEM, that must belong to the certificate."""
    names: tuple[HostName, ...] = ()
    """Names that the certificate must be for."""
    served: Address | None = None
    """Server that should show this certificate: "host:port"."""
    server_name: HostName | None = None
    """Name to ask that server for (SNI); without it, the first name in the certificate."""
    original: str = ""
    """The certificate file in use, of which this one is a copy kept elsewhere."""

    @property
    def target(self) -> str:
        """The path."""
        return self.path

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the file, and look at the server when one is named."""
        threads = run.shared.get(Threads)
        run.step = f"reading {self.path}"
        # A little before the run's own deadline: a file system that does not answer says nothing of the certificate.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                content = await threads.call(read_file, self.path, "the certificate file")
                key = await threads.call(read_file, self.key, "the key file") if self.key else b""
        except TimeoutError:
            return run.unknown("timeout", f"{self.path} could not be read within {format_duration(patience)}")
        except UnusableFileError as error:
            return run.unknown(error.reason, error.summary)
        try:
            chain = read_pem(content)
        except ValueError as error:
            return run.down("parse", f"{self.path} holds no readable certificate in PEM: {error}")
        measure_chain(run, chain)
        if self.served is not None:
            await self._compare_with_server(run, self.served, chain[0])
        if self.original:
            await self._look_at_copy(run, threads, chain[0])
        problem = self._out_of_order(run, content, key, chain)
        if problem:
            return run.down("content", f"{self.path}: {problem}")
        first = min(that_matter(chain), key=lambda certificate: certificate.not_after)
        return run.up(f"{self.path} is for {chain[0].subject}; {end_in_words(first, run.started)}")

    def _out_of_order(self, run: Run, content: bytes, key: bytes, chain: Sequence[Certificate]) -> str:
        for certificate in that_matter(chain):
            if not certificate.not_before <= run.started <= certificate.not_after:
                return f"the {certificate.role} certificate {end_in_words(certificate, run.started)}"
        missing = [name for name in self.names if not _covers(chain[0].names, name)]
        if missing:
            return (
                f"the certificate is not for {', '.join(missing)}; it is for {', '.join(chain[0].names) or 'no name'}"
            )
        return _key_problem(content, key, self.key) if self.key else ""

    async def _look_at_copy(self, run: Run, threads: Threads, copy: Certificate) -> None:
        """Measure what a copy must be; when the original cannot be read, whether they differ is absent."""
        run.step = f"reading {self.original}"
        try:
            async with asyncio.timeout(run.remaining * 0.9):
                modified, mode = await threads.call(_facts, self.path, self.key)
                run.measure("copy_age", max(0.0, run.started - modified))
                if self.key:
                    run.measure("key_exposed", bool(mode & _OTHERS))
                live = read_pem(await threads.call(read_file, self.original, "the original"))[0]
        except (UnusableFileError, ValueError, OSError) as error:
            run.missing(("copy_differs",), str(error) or f"{self.original} could not be read in time")
            return
        run.measure("copy_differs", live.fingerprint != copy.fingerprint)
        if live.fingerprint != copy.fingerprint:
            run.evidence["original"] = (
                f"{self.original} has serial {live.serial}, {end_in_words(live, run.started)}; the copy has serial "
                f"{copy.serial}. Copy it again."
            )

    async def _compare_with_server(self, run: Run, served: str, own: Certificate) -> None:
        """Measure whether the server shows the file's certificate; when it cannot be asked, that is absent."""
        name = self.server_name or next((name for name in own.names if "*" not in name), split_address(served)[0])
        try:
            shown = await _leaf(run, served, name)
        except (OSError, UnusableFileError, ValueError) as error:
            said = connect_problem(error) if isinstance(error, OSError) else str(error)
            run.missing(("served_differs",), f"{served} could not be asked for its certificate: {said}")
            return
        run.measure("served_differs", shown.fingerprint != own.fingerprint)
        if shown.fingerprint != own.fingerprint:
            run.evidence["served"] = (
                f"{served} still serves another certificate for {name}: {shown.subject}, serial {shown.serial}, "
                f"{end_in_words(shown, run.started)}; the file's has serial {own.serial}. Was the server reloaded?"
            )


def _facts(certificate: str, key: str) -> tuple[float, int]:
    """When the certificate file was written (epoch seconds), and the mode of the key file. Raises ``OSError``."""
    return os.stat(certificate).st_mtime, stat.S_IMODE(os.stat(key).st_mode) if key else 0


async def _leaf(run: Run, served: str, name: str) -> Certificate:
    host, port = split_address(served)
    context = await run.shared.get(TlsContexts).get(TlsSettings(verify=False))
    run.step = f"asking {served} for the certificate of {name}"
    reader, writer = await connect(await run.shared.get(NameResolver).addresses(host, port))
    try:
        session, problem = await shake_hands(reader, writer, context, name)
    finally:
        abort(writer)
    chain = read_chain(served_chain(session))
    if not chain:
        raise problem or ValueError("it showed none")
    return chain[0]


def _covers(names: Sequence[str], wanted: str) -> bool:
    """Whether a certificate for these names is for that one; ``*`` stands for one whole label (RFC 9525, 6.3)."""
    first, _, rest = wanted.lower().partition(".")
    return any(name.lower() in (wanted.lower(), f"*.{rest}" if first and rest else wanted.lower()) for name in names)


def _key_problem(content: bytes, key: bytes, path: str) -> str:
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError:
        return f"the key {path} is protected by a passphrase, so no server can start with it unattended"
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"{path} holds no readable private key: {error}"
    certificate = x509.load_pem_x509_certificates(content)[0]
    if private.public_key() != certificate.public_key():
        return f"the key {Path(path)} does not belong to the certificate; the server would not start with them"
    return ""
