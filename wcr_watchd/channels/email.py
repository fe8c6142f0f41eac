"""Email: text and HTML by one of several relays, with everything about an incident in one thread.

Formats: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 5322 (message, threading), RFC 3834 (automatic messages).
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, getaddresses
from importlib.resources import files
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import aiosmtplib
from jinja2 import Environment
from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import account, colour, facts, headline, long_text, one_line, tag, what
from wcr_watchd.core.model import Enclosure, Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret

GOODBYE = 1.0
"""Seconds for the relay's answer to QUIT; it has the mail by then."""
SUBJECT_LENGTH = 200
UNSUBSCRIBING = frozenset({"List-Unsubscribe", "List-Unsubscribe-Post"})
"""Parts that are headers (RFC 2369, RFC 8058): mails to subscribers have them."""
_DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
_HTML = Environment(autoescape=True, trim_blocks=True).from_string(
    files("wcr_watchd.channels").joinpath("email.html.j2").read_text("utf-8")
)


@dataclass(frozen=True, slots=True)
class Relay:
    """One mail server to hand messages to; ``tls_first`` for smtps, where TLS begins before SMTP."""

    host: str
    port: int
    tls_first: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_relay(url: str) -> Relay:
    """The relay that ``smtp://host:port`` or ``smtps://host:port`` names; ``ValueError`` says what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f'"{url}" must look like smtp://relay.example.org:587 or smtps://relay.example.org:465')
    if parts.username or parts.password:
        raise ValueError('user and password do not belong into "servers"; use "username" and "password"')
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f'"{url}" must end after the port')
    return Relay(parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "smtps")


def _check_relay(url: str) -> str:
    read_relay(url)
    return url


class _Client(aiosmtplib.SMTP):
    """A client whose connection is gone when it is closed, instead of waiting for the relay's TLS farewell."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


def bare_address(text: str) -> str:
    """The address in ``Watch <watch@example.org>`` or ``watch@example.org``; ``ValueError`` when it is not just one."""
    try:
        ((_, spec),) = getaddresses([text])
        address = Address(addr_spec=spec)
    except (MessageError, ValueError, IndexError):
        address = Address()
    if not address.username or not address.domain or not text.isprintable():
        raise ValueError(f'"{text}" is no mail address')
    return address.addr_spec


def _check_address(text: str) -> str:
    bare_address(text)
    return text


class Email(Options):
    """Sends mails by the first of its relays that takes them."""

    type: ClassVar[str] = "email"
    address_kind: ClassVar[str] = "email"
    limits: ClassVar[Limits] = Limits()
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = """\
[channel.mail]
type = "email"
servers = ["smtp://relay-1:587", "smtp://relay-2:587"]
from = "watch@example.org"
username = "watch"
password = "${credential:smtp_password}"
"""

    servers: list[Annotated[str, AfterValidator(_check_relay)]] = Field(min_length=1)
    """Relays, tried in order: ``smtp://host:587`` (STARTTLS) or ``smtps://host:465``."""
    sender: Annotated[str, AfterValidator(_check_address)] = Field(alias="from")
    """The address that mails come from: ``watch@example.org`` or ``Watch <watch@example.org>``."""
    tls: Literal["required", "opportunistic", "none"] = "required"
    """STARTTLS for ``smtp://``: demanded and verified, used unverified when offered, or never."""
    ca_file: str | None = None
    """Certificates (PEM) to trust in addition to the system's."""
    username: str = ""
    """User name at the relays."""
    password: Secret | None = None
    """Password at the relays."""
    helo: str = ""
    """The name to greet with; empty: this host's name."""
    _tls_contexts: dict[bool, ssl.SSLContext] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _no_bare_password(self) -> Self:
        if bool(self.username) != bool(self.password):
            raise ValueError('"username" and "password" belong together')
        if self.username and self.tls != "required" and any(url.startswith("smtp://") for url in self.servers):
            raise ValueError('a password is only sent over verified TLS: set tls = "required" or use smtps://')
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """Subject, plain text and HTML."""
        subject = headline(message, SUBJECT_LENGTH)
        if message.enclosure is not None:
            return {"subject": subject, "text": message.enclosure.text, "html": message.enclosure.html}
        html = _HTML.render(
            subject=subject,
            tag=tag(message),
            about=what(message),
            message=message,
            facts=facts(message),
            account=account(message),
            colour=colour(message),
        )
        return {"subject": subject, "text": long_text(message), "html": html}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Hand the mail to the first relay that takes it."""
        mail = self._compose(notification, parts)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout - GOODBYE
        failures: list[ChannelError] = []
        relays = [read_relay(url) for url in self.servers]
        for position, relay in enumerate(relays):
            share = (deadline - loop.time()) / (len(relays) - position)
            try:
                async with asyncio.timeout(share) as limit:
                    return await self._hand_over(mail, notification.recipient.address, relay, limit)
            except (aiosmtplib.SMTPException, OSError, ValueError) as error:
                failures.append(failure(error, relay, share))
        raise together(failures)

    async def _hand_over(self, mail: EmailMessage, to: str, relay: Relay, limit: asyncio.Timeout) -> Receipt:
        client = _Client(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls_first,
            start_tls=None if relay.tls_first or self.tls == "opportunistic" else self.tls == "required",
            tls_context=await self._context(relay),
            username=self.username or None,
            password=self.password.get_secret_value() if self.password else None,
            local_hostname=self.helo or socket.gethostname() or "localhost",
            timeout=self.timeout,
        )
        try:
            await client.connect()
            _, answer = await client.sendmail(bare_address(self.sender), [to], mail.as_bytes())
            # From here on the relay has the mail: whatever happens to the farewell must not send it again.
            limit.reschedule(None)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=GOODBYE)
        finally:
            client.close()
        return Receipt(f"{relay}: {one_line(answer)[:200]}")

    async def _context(self, relay: Relay) -> ssl.SSLContext:
        verify = relay.tls_first or self.tls == "required"
        if verify not in self._tls_contexts:
            self._tls_contexts[verify] = await asyncio.to_thread(tls_context, self.ca_file, verify=verify)
        return self._tls_contexts[verify]

    def _compose(self, notification: Notification, parts: Mapping[str, str]) -> EmailMessage:
        """The mail; the same notification always has the same Message-ID, so that a repeated one can be recognised."""
        message = notification.message
        domain = bare_address(self.sender).rpartition("@")[2]
        # A link in a header must stay whole: one that is folded would be encoded, and no program could follow it.
        unsubscribing = UNSUBSCRIBING & parts.keys()
        mail = EmailMessage(policy=SMTP_POLICY.clone(max_line_length=998) if unsubscribing else SMTP_POLICY)
        try:
            mail["From"] = self.sender
            mail["To"] = bare_address(notification.recipient.address)
            mail["Subject"] = one_line(parts["subject"])
        except (MessageError, ValueError, IndexError) as error:
            raise ChannelError(
                f"{error}; correct the contact {notification.recipient.contact!r} in the configuration",
                reason="config",
                permanent=True,
            ) from error
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC).astimezone(ZoneInfo(message.timezone)))
        mail["Message-ID"] = f"<{_digest(notification.id)}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.incident:
            thread = f"<{_digest(message.watchd, str(message.incident), f'{message.opened_at:.3f}')}.incident@{domain}>"
            mail["In-Reply-To"] = thread
            mail["References"] = thread
            mail["X-Watchd-Incident"] = str(message.incident)
        for name in sorted(unsubscribing):
            mail[name] = parts[name]
        mail.set_content(parts["text"])
        mail.add_alternative(parts["html"], subtype="html")
        if message.enclosure is not None:
            _enclose(mail, message.enclosure)
        return mail


def _enclose(mail: EmailMessage, enclosure: Enclosure) -> None:
    """Put the pictures beside the HTML that shows them (RFC 2392), and the document as a page of its own after it."""
    _, body = mail.iter_parts()
    for name, png in enclosure.pictures:
        body.add_related(b64decode(png), "image", "png", cid=f"<{name}>", filename=f"{name}.png", disposition="inline")
    page = enclosure.page.encode()
    mail.add_attachment(page, "text", "html", filename=enclosure.page_name)


def _digest(*texts: str) -> str:
    """A short name for the texts that is safe in a Message-ID."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def tls_context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    """How to speak TLS with the relays; reads files, so call it in a thread."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: int
    text: str


def _refusal(error: Exception) -> _Refusal | None:
    """What the relay itself said, if it said anything."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        first = error.recipients[0]
        return _Refusal(first.code, first.message)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return _Refusal(error.code, error.message)
    return None


def failure(error: Exception, relay: Relay, waited: float) -> ChannelError:
    """What an error at one relay means: a 5xx answer refuses for good, everything else may pass."""
    said = _refusal(error)
    if said is not None:
        permanent = 500 <= said.code < 600
        auth = isinstance(error, aiosmtplib.SMTPAuthenticationError)
        reason = "auth" if auth else "rejected" if permanent else "server"
        return ChannelError(f"{relay} answered {said.code} {one_line(said.text)}", reason=reason, permanent=permanent)
    if isinstance(error, TimeoutError):
        return ChannelError(f"{relay} did not take the mail within {waited:.0f} s", reason="timeout", permanent=False)
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # a certificate error is both
        return ChannelError(f"{relay}: this mail cannot be sent: {error}", reason="config", permanent=True)
    return ChannelError(f"{relay}: {one_line(str(error))}", reason="connect", permanent=False)


def together(failures: Sequence[ChannelError]) -> ChannelError:
    """One error for all relays: for good when a relay refused this mail for good, or when all refused us for good."""
    refused_mail = [error for error in failures if error.permanent and error.reason in ("rejected", "config")]
    permanent = bool(refused_mail) or all(error.permanent for error in failures)
    telling = refused_mail[0] if refused_mail else failures[-1]
    return ChannelError("; ".join(error.summary for error in failures), reason=telling.reason, permanent=permanent)
