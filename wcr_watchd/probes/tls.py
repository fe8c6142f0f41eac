"""Looks at the certificates a server serves: their ends, names, trust and strength, by one handshake.

Works for whatever speaks TLS at once and, by ``starttls``, for mail servers and PostgreSQL. A certificate is due by
its lifetime, not by a fixed number of days, so that a renewal that works never warns and one that does not always does.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.certificates import (
    CERTIFICATE_MEASUREMENTS,
    EXPIRES_SOON,
    RENEWAL_FAILED,
    WEAK,
    Certificate,
    end_in_words,
    measure_chain,
    read_chain,
    that_matter,
)
from wcr_watchd.kit.network import (
    Address,
    HostName,
    IpVersion,
    NameResolver,
    abort,
    connect,
    connect_problem,
    split_address,
)
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.phases import phase, phases
from wcr_watchd.kit.starttls import Protocol, StartTlsError, begin
from wcr_watchd.kit.tls import TlsContexts, TlsSettings, UnusableFileError, Version, explain, served_chain, shake_hands


class Tls(Options):
    """Options of a TLS check."""

    type: ClassVar[str] = "tls"
    target_key: ClassVar[str] = "address"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'address = "www.example.org:443"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time from the start until the handshake was done"),
        phases("dns", "connect", "starttls", "tls"),
        *CERTIFICATE_MEASUREMENTS,
        MeasurementSpec("protocol", Unit.COUNT, "TLS version that was agreed on, 1.2 or 1.3", topic="strength"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, EXPIRES_SOON),
        (Severity.WARNING, RENEWAL_FAILED),
        (Severity.WARNING, WEAK),
    )

    address: Address
    """Where: "host:port"."""
    server_name: HostName | None = None
    """Name to ask for (SNI) and to check, when it is not the address's host."""
    starttls: Protocol | None = None
    """Protocol that begins in the clear: "smtp", "imap" or "postgres"."""
    ca_file: str = ""
    """File with the certificate authorities to trust instead of the system's, PEM."""
    verify: bool = True
    """Whether name and trust must be right; when false, only ends and strength are looked at."""
    min_version: Version = "1.2"
    """Oldest TLS version that will do."""
    ip: IpVersion = "any"
    """Addresses to use: "any", "4" or "6"."""

    @property
    def target(self) -> str:
        """Address, and the name asked for when it is another one."""
        return f"{self.address} as {self.server_name}" if self.server_name else self.address

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    @property
    def _settings(self) -> TlsSettings:
        return TlsSettings(verify=self.verify, ca_file=self.ca_file, minimum=self.min_version)

    async def run(self, run: Run) -> Observation:
        """Connect, shake hands once, and read what was served."""
        host, port = split_address(self.address)
        contexts = run.shared.get(TlsContexts)
        run.step = "reading the certificates to trust"
        try:
            context = await contexts.get(self._settings)
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self.address}: {error.summary}")
        run.step = f"looking up {host}"
        try:
            with phase(run, "dns"):
                addresses = await run.shared.get(NameResolver).addresses(host, port, self.ip)
        except OSError as error:
            return run.down("dns", f"{self.address}: {host} cannot be looked up: {connect_problem(error)}")
        run.step = f"connecting to {self.address}"
        try:
            with phase(run, "connect"):
                reader, writer = await connect(addresses)
        except OSError as error:
            return run.down("connect", f"{self.address}: no connection: {connect_problem(error)}")
        try:
            return await self._look(run, reader, writer, context)
        finally:
            abort(writer)

    async def _look(
        self, run: Run, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> Observation:
        if self.starttls is not None:
            run.step = f"asking {self.address} to begin TLS ({self.starttls})"
            try:
                with phase(run, "starttls"):
                    await begin(self.starttls, reader, writer)
            except StartTlsError as error:
                return run.down("protocol", f"{self.address}: no STARTTLS ({self.starttls}): {error}")
            except OSError as error:
                return run.down("protocol", f"{self.address}: broke off before TLS began: {connect_problem(error)}")
        asked = self.server_name or split_address(self.address)[0]
        run.step = f"in the TLS handshake with {self.address} as {asked}"
        with phase(run, "tls"):
            session, problem = await shake_hands(reader, writer, context, asked)
        chain, unreadable = _read(session)
        measure_chain(run, chain)
        if problem is not None:
            trusted = run.shared.get(TlsContexts).authorities(self._settings)
            return run.down("tls", f"{self.address}: {explain(problem, chain, asked, run.started, trusted)}")
        return self._judge(run, session, chain, unreadable)

    def _judge(self, run: Run, session: ssl.SSLObject, chain: tuple[Certificate, ...], unreadable: str) -> Observation:
        version = session.version() or ""
        run.measure("response_time", run.elapsed)
        run.measure("protocol", float(version.removeprefix("TLSv")))
        run.evidence["tls"] = f"{version}, {(session.cipher() or ('no cipher',))[0]}"
        if unreadable:
            return run.unknown("parse", f"{self.address}: a certificate it serves cannot be read: {unreadable}")
        for certificate in that_matter(chain):
            if not certificate.not_before <= run.started <= certificate.not_after:
                ends = end_in_words(certificate, run.started)
                return run.down("tls", f"{self.address}: the {certificate.role} certificate {ends}")
        first = min(that_matter(chain), key=lambda certificate: certificate.not_after)
        ends = end_in_words(first, run.started)
        return run.up(f"{self.address} serves {chain[0].subject} over {version}; the {first.role} certificate {ends}")


def _read(session: ssl.SSLObject) -> tuple[tuple[Certificate, ...], str]:
    try:
        return read_chain(served_chain(session)), ""
    except ValueError as error:
        return (), str(error)
