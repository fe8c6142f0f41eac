"""Asks a mail server whether it would take mail: greeting, EHLO, STARTTLS, sign-in, recipient, but never a message.

Protocol: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4954 (AUTH). The dialogue ends with RSET and QUIT before DATA, so
nothing is ever delivered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, ClassVar, Literal, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import aiosmtplib
from pydantic import AfterValidator, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.certificates import SERVED_EXPIRES_SOON, SERVED_MEASUREMENTS, measure_served, read_chain
from wcr_watchd.kit.network import NameResolver, connect_problem
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, UnusableFileError, explain, served_chain, watching

T = TypeVar("T")

_PORTS = {"smtp": 25, "smtps": 465}
_GOODBYE = 1.0
"""Seconds for RSET and QUIT, at most."""
_WRONG_SIGN_IN = (530, 534, 535, 538)
"""What a server answers to a sign-in that is not right (RFC 4954, 6); anything else is its own trouble."""


def _smtp_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.username:
        raise ValueError(f"{url!r} is not the URL of a mail server: write smtp://host:25 or smtps://host:465")
    if parts.port == 0:
        raise ValueError("0 is not a port")
    return url


class _Failed(Exception):  # noqa: N818 - it is a verdict
    """A step of the dialogue did not go as it should."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class Smtp(Options):
    """Asks a mail server whether it would take mail."""

    type: ClassVar[str] = "smtp"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 20.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time of the whole dialogue"),
        MeasurementSpec("smtp_phase", Unit.SECONDS, "Time of one step of the dialogue", labels=("phase",)),
        *SERVED_MEASUREMENTS,
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "response_time > 10s for 3x"),
        (Severity.WARNING, SERVED_EXPIRES_SOON),
    )
    example: ClassVar[str] = 'url = "smtp://relay.example.org:587"\nstarttls = "required"\n'

    url: Annotated[str, AfterValidator(_smtp_url)]
    """Where it listens: smtp://host:25, or smtps://host:465 where TLS comes first."""
    starttls: Literal["required", "offered", "never"] = "offered"
    """Whether to begin TLS: it must be there, only if the server offers it, or not at all."""
    username: str = ""
    """Whom to sign in as; nobody when empty."""
    password: Secret | None = None
    """The password for the sign-in."""
    mail_from: str = ""
    """The sender to name, with rcpt_to."""
    rcpt_to: str = ""
    """A recipient the server must accept; no message follows."""
    helo: str = "localhost"
    """The name given in EHLO."""
    verify: bool = True
    """Whether the server's certificate must be valid."""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password belong together")
        return self

    @property
    def target(self) -> str:
        """The URL, which holds no secret."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Carry the dialogue out once, up to where a message would follow."""
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        run.step = "reading the certificates to trust"
        try:
            context = await run.shared.get(TlsContexts).get(TlsSettings(verify=self.verify, ca_file=self.ca_file))
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self.url}: {error.summary}")
        run.step = f"looking up {host}"
        try:
            await run.shared.get(NameResolver).addresses(host, port)
        except OSError as error:
            return run.down("dns", f"{self.url}: {host} cannot be looked up: {connect_problem(error)}")
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            local_hostname=self.helo,
            timeout=None,
            use_tls=parts.scheme == "smtps",
            start_tls=False,
            tls_context=context,
        )
        handshake = Handshake()
        try:
            with watching(handshake):
                return await self._talk(run, client, handshake)
        except _Failed as failed:
            return run.down(failed.reason, f"{self.url}: {failed.summary}")
        finally:
            client.close()

    async def _talk(self, run: Run, client: aiosmtplib.SMTP, handshake: Handshake) -> Observation:
        steps = _Steps(self, run, handshake)
        await steps.take("connect", "connecting and waiting for the greeting", client.connect)
        await steps.take("ehlo", "waiting for the answer to EHLO", client.ehlo)
        if self.starttls == "required" and client.transport is not None and not self._has_tls(client):
            if not client.supports_extension("starttls"):
                raise _Failed("tls", f"offers no STARTTLS, which is required; it offers: {_offers(client)}")
            await steps.take("starttls", "beginning TLS", client.starttls)
        elif self.starttls == "offered" and client.supports_extension("starttls") and not self._has_tls(client):
            await steps.take("starttls", "beginning TLS", client.starttls)
        if self.password is not None:
            if self.starttls != "never" and not self._has_tls(client):
                raise _Failed("tls", 'offers no TLS, so the password is not sent; starttls = "never" would send it')
            secret = self.password.get_secret_value()
            await steps.take("auth", "signing in", lambda: client.login(self.username, secret))
        if self.rcpt_to:
            await steps.take("rcpt", f"naming the sender {self.mail_from or '<>'}", lambda: client.mail(self.mail_from))
            await steps.take("rcpt", f"naming the recipient {self.rcpt_to}", lambda: client.rcpt(self.rcpt_to))
        run.measure("response_time", run.elapsed)
        steps.measure()
        run.evidence["offers"] = _offers(client)
        await self._say_goodbye(run, client)
        took = format_duration(run.elapsed)
        accepted = f", takes mail for {self.rcpt_to}" if self.rcpt_to else ""
        return run.up(f"{self.url} answers in {took}{', signed in' if self.password else ''}{accepted}")

    async def _say_goodbye(self, run: Run, client: aiosmtplib.SMTP) -> None:
        """The verdict stands: a server that does not answer any more changes nothing about it, nor has it the time."""
        with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            async with asyncio.timeout(min(_GOODBYE, run.remaining / 2)):
                if self.rcpt_to:
                    await client.rset()
                await client.quit()

    def _has_tls(self, client: aiosmtplib.SMTP) -> bool:
        return client.transport is not None and client.transport.get_extra_info("ssl_object") is not None


class _Steps:
    """The steps of one dialogue: timed, named for the runner, and their failures put into words."""

    def __init__(self, probe: Smtp, run: Run, handshake: Handshake) -> None:
        self._probe = probe
        self._run = run
        self._handshake = handshake
        self._seconds: dict[str, float] = {}

    async def take(self, phase: str, doing: str, step: Callable[[], Awaitable[T]]) -> T:
        self._run.step = f"{doing} ({self._probe.url})"
        begun = self._run.clock()
        try:
            return await step()
        except aiosmtplib.SMTPException as error:
            self._fail(doing, error)
        except OSError as error:
            self._fail_connection(doing, error)
        except asyncio.CancelledError:
            if self._handshake.unfinished:
                self._run.step = f"in the TLS handshake with {self._probe.url}"
            raise
        finally:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + self._run.clock() - begun

    def measure(self) -> None:
        for phase, seconds in self._seconds.items():
            self._run.measure("smtp_phase", seconds, phase=phase)
        session = self._handshake.session
        if session is not None:
            with suppress(ValueError):
                measure_served(self._run, read_chain(served_chain(session)))

    def _fail(self, doing: str, error: aiosmtplib.SMTPException) -> NoReturn:
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) and error.code in _WRONG_SIGN_IN:
            raise _Failed("auth", f"{doing} failed: {_answer(error)}; check username and password")
        if isinstance(error, aiosmtplib.SMTPResponseException):
            raise _Failed("protocol", f"{doing} failed: {_answer(error)}")
        cause = error.__cause__
        if self._handshake.unfinished:
            self._fail_connection(doing, cause if isinstance(cause, OSError) else ConnectionResetError())
        if isinstance(cause, OSError) and not isinstance(error, aiosmtplib.SMTPServerDisconnected):
            self._fail_connection(doing, cause)
        if isinstance(error, aiosmtplib.SMTPTimeoutError):
            raise TimeoutError from error
        raise _Failed("protocol", f"{doing} failed: {_plain(error)}")

    def _fail_connection(self, doing: str, error: OSError) -> NoReturn:
        if isinstance(error, ssl.SSLError) or self._handshake.unfinished:
            session = self._handshake.session
            try:
                chain = read_chain(served_chain(session)) if session is not None else ()
            except ValueError:
                chain = ()
            trusted = self._run.shared.get(TlsContexts).authorities(TlsSettings(ca_file=self._probe.ca_file))
            raise _Failed("tls", explain(error, chain, self._handshake.asked, self._run.started, trusted))
        reason = "connect" if doing.startswith("connecting") else "protocol"
        words = _plain(error) if isinstance(error, aiosmtplib.SMTPException) else connect_problem(error)
        raise _Failed(reason, f"{doing} failed: {words}")


_ENDS = {
    "Unexpected EOF received": "the server closed the connection",
    "Connection lost": "the connection broke off",
    "Invalid response received from server": "what answers there is no mail server",
}
"""The library's words, and plainer ones."""


def _plain(error: Exception) -> str:
    return _ENDS.get(str(error), str(error)) or "the connection broke off"


def _answer(error: aiosmtplib.SMTPResponseException) -> str:
    return f"the server answered {error.code} {' '.join(error.message.split())}"


def _offers(client: aiosmtplib.SMTP) -> str:
    return ", ".join(sorted(client.esmtp_extensions)) or "nothing"
