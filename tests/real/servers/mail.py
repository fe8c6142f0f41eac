"""A mail relay on loopback (aiosmtpd, on a thread of its own): STARTTLS or TLS, optional AUTH, failures to order."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.real.ports import free_port

USER, PASSWORD = "watch", "a-password-that-must-never-be-seen"


@dataclass(frozen=True)
class Mail:
    """One mail that the relay took."""

    at: float
    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    over_tls: bool
    user: str

    def part(self, subtype: str) -> str:
        """The text of the ``plain`` or ``html`` part."""
        body = self.message.get_body((subtype,))
        assert body is not None, f"no {subtype} part"
        return str(body.get_content())


class _Controller(Controller):
    def factory(self) -> SMTP:
        smtp = super().factory()
        smtp._auth_require_tls = False  # aiosmtpd does not see that TLS came first
        return smtp


class MailRelay:
    """A relay. ``rcpt_reply`` and ``data_reply`` are answered in place of acceptance while set; ``hang`` never answers.

    ``stop`` and ``start`` again use the same port.
    """

    def __init__(self, context: ssl.SSLContext | None, *, tls_first: bool = False, login: bool = False) -> None:
        self.mails: list[Mail] = []
        self.rcpt_reply = ""
        self.data_reply = ""
        self.hang = False
        self.port = free_port()
        self._context = context
        self._tls_first = tls_first
        self._login = login
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        return f"{'smtps' if self._tls_first else 'smtp'}://localhost:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        options: dict[str, Any] = {"hostname": "relay.test"}
        if self._tls_first:
            options["ssl_context"] = self._context
        elif self._context is not None:
            options |= {"tls_context": self._context, "require_starttls": True}
        if self._login:
            options |= {"authenticator": self._authenticate, "auth_required": True}
        server_hostname = options.pop("hostname")
        self._controller = _Controller(
            self, hostname="127.0.0.1", port=self.port, server_hostname=server_hostname, ready_timeout=20, **options
        )
        self._controller.start()

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    # --- aiosmtpd's hooks ---

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt_reply:
            return self.rcpt_reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        while self.hang:
            await asyncio.sleep(0.05)
        if self.data_reply:
            return self.data_reply
        content = envelope.original_content
        assert content is not None
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        login = getattr(session.auth_data, "login", b"") if session.authenticated else b""
        mail = Mail(
            at=time.time(),
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            message=message,
            over_tls=session.ssl is not None or self._tls_first,
            user=login.decode(),
        )
        self.mails.append(mail)
        return f"250 queued as {len(self.mails)}"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False, auth_data=data)


@pytest.fixture(scope="session")
def mail_ca() -> trustme.CA:
    """The authority that signed the relays' certificates."""
    return trustme.CA()


@pytest.fixture(scope="session")
def mail_ca_file(mail_ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate as a file."""
    path = tmp_path_factory.mktemp("mail-ca") / "ca.pem"
    mail_ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def make_mail_relay(mail_ca: trustme.CA) -> Iterator[Callable[..., MailRelay]]:
    """Make started relays: ``make_mail_relay(tls=False, tls_first=True, login=True)``."""
    made: list[MailRelay] = []

    def make(*, tls: bool = True, **options: bool) -> MailRelay:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            mail_ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        relay = MailRelay(context, **options)
        relay.start()
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.hang = False
        relay.stop()


@pytest.fixture
def mail_relay(make_mail_relay: Callable[..., MailRelay]) -> MailRelay:
    """One relay with STARTTLS."""
    return make_mail_relay()
