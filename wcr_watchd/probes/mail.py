"""Sends a mail and fetches it from its mailbox: whether mail arrives, how long it takes, and as what it is taken.

Each run sends one mail by SMTP, waits for it by IMAP, reads what the receiving server says of SPF, DKIM and DMARC
(Authentication-Results, RFC 8601), and deletes it. What comes later is found, and deleted, by a later run; what earlier
lives of the daemon left behind goes after a week. Only mails with the header `X-Watchd-Round-Trip` are ever touched.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

import aiosmtplib
from pydantic import AfterValidator, Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.imap import PORTS, Access, Found, Mailbox, MailboxError, open_mailbox
from wcr_watchd.kit.network import connect_problem
from wcr_watchd.kit.options import Duration, Options, Secret
from wcr_watchd.kit.tls import TlsContexts, TlsSettings, UnusableFileError, tls_problem

HEADER = "X-Watchd-Round-Trip"
LOOK_EVERY = 1.0
"""Seconds between two looks into the mailbox."""
MARGIN = 5.0
"""Seconds before the deadline at which a run stops waiting, so that what it has sent is remembered."""
MOST_AWAITED = 10
MOST_READ = 50
"""Mails of ours that one run reads and deletes."""
LEFT_BEHIND = timedelta(days=7)
METHODS = ("spf", "dkim", "dmarc")

_SMTP_PORTS = {"smtp": 25, "smtps": 465}
_RESULT = re.compile(r"\b(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.IGNORECASE)
_COMMENT = re.compile(r"\([^()]{0,200}\)")
LONGEST_RESULTS = 2_000
"""Characters of one Authentication-Results that are read."""


def _mail_url(schemes: Mapping[str, int]) -> AfterValidator:
    def check(url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname or parts.username or parts.port == 0:
            raise ValueError(f"{url!r} is none of: {', '.join(f'{scheme}://host' for scheme in schemes)}")
        return url

    return AfterValidator(check)


def _mail_address(text: str) -> str:
    if not re.fullmatch(r"[^\s@<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,253}", text):
        raise ValueError(f"{text!r} is no mail address")
    return text


MailAddress = Annotated[str, AfterValidator(_mail_address)]


class _NotSentError(Exception):
    """The mail was not taken."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class Mail(Options):
    """Sends a mail and fetches it."""

    type: ClassVar[str] = "mail"
    target_key: ClassVar[str] = "rcpt_to"
    every: ClassVar[float] = 1_800.0
    timeout: ClassVar[float] = 90.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("latency", Unit.SECONDS, "From sending the mail until it was in the mailbox"),
        MeasurementSpec("send_time", Unit.SECONDS, "Time until the sending server had taken it"),
        MeasurementSpec("missing", Unit.COUNT, "Mails in a row that were sent and have not arrived"),
        MeasurementSpec("junk", Unit.COUNT, "1 when it arrived in another folder than the first, 0 in the first"),
        *(
            MeasurementSpec(f"{method}_pass", Unit.COUNT, f"1 when {method.upper()} passed, 0 when it did not")
            for method in METHODS
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "missing >= 2 or latency > 10m"),
        (Severity.WARNING, "down or latency > 1m"),
        (Severity.WARNING, "junk == 1 or spf_pass == 0 or dkim_pass == 0 or dmarc_pass == 0"),
    )
    example: ClassVar[str] = """\
rcpt_to = "watch@example.org"
password = "the password of that mailbox"
smtp = "smtp://relay.example.org:587"
imap = "imaps://mail.example.org"
folders = ["INBOX", "Junk"]
"""

    rcpt_to: MailAddress
    """Where the mail goes; a mailbox of its own is best."""
    mail_from: MailAddress | None = None
    """Whom it is from; default: rcpt_to."""
    smtp: Annotated[str, _mail_url(_SMTP_PORTS)] = "smtp://localhost"
    """The server that sends: smtp://host:25, or smtps://host:465 where TLS comes first."""
    smtp_starttls: Literal["required", "offered", "never"] = "offered"
    """Whether to begin TLS there: it must be there, only if it is offered, or not at all."""
    smtp_username: str = ""
    """Whom to sign in as there; nobody when empty."""
    smtp_password: Secret = Secret("")
    """The password for that."""
    imap: Annotated[str, _mail_url(PORTS)] = "imap://localhost"
    """The server that has the mailbox: imaps://host:993, or imap://host:143."""
    imap_starttls: bool = True
    """Whether TLS must begin there, where it does not come first."""
    username: str = ""
    """Whose mailbox; default: rcpt_to."""
    password: Secret = Secret("")
    """The password of the mailbox."""
    folders: Annotated[tuple[str, ...], Field(min_length=1, max_length=5)] = ("INBOX",)
    """Where it may arrive; anywhere but in the first is told as junk."""
    authserv: str = ""
    """Whose Authentication-Results are believed (the name at their beginning); default: the topmost."""
    wait: Annotated[Duration, Field(gt=0)] = 75.0
    """How long a run waits for the mail, at most until shortly before its `timeout`."""
    verify: bool = True
    """Whether certificates must be valid."""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""

    @property
    def target(self) -> str:
        """From whom to whom, over what."""
        return f"{self.mail_from or self.rcpt_to} to {self.rcpt_to} over {self.smtp}"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Send one mail and wait for it."""
        trip = _Trip(self, run)
        run.step = "reading the certificates to trust"
        try:
            tls = TlsSettings(verify=self.verify, ca_file=self.ca_file)
            context = await run.shared.get(TlsContexts).get(tls)
            access = Access(
                self.imap, self.username or self.rcpt_to, self.password.get_secret_value(), self.imap_starttls, context
            )
            run.step = f"signing in at {self.imap}"
            async with open_mailbox(run.shared, access) as mailbox:
                await trip.clean_up(mailbox)
                await trip.send(context)
                await trip.wait(mailbox)
        except UnusableFileError as error:
            return run.unknown(error.reason, error.summary)
        except MailboxError as error:
            return run.down(error.reason, f"{self.imap}: {error.summary}")
        except _NotSentError as error:
            return run.down(error.reason, f"{self.smtp}: {error.summary}")
        return trip.told()


class _Trip:
    """One round trip: what is awaited, and what of it has arrived."""

    def __init__(self, check: Mail, run: Run) -> None:
        self._check = check
        self._run = run
        self._id: str = run.memory.setdefault("id", secrets.token_hex(8))
        self._awaited: dict[str, float] = run.memory.setdefault("awaited", {})
        self._token = secrets.token_hex(8)
        self._sent_at = 0.0
        self._latency: float | None = None
        self._notes: list[str] = []

    async def clean_up(self, mailbox: Mailbox) -> None:
        """Take in what has arrived since the last run, and delete what an earlier life left behind."""
        old = (datetime.fromtimestamp(self._run.started, UTC) - LEFT_BEHIND).date()
        for folder in self._check.folders:
            await self._look(mailbox, folder)
            leftovers = await mailbox.search(HEADER, "", before=old)
            await mailbox.delete(leftovers[:MOST_READ])

    async def send(self, context: ssl.SSLContext) -> None:
        """Hand the mail over. Raises :class:`_NotSentError`."""
        check, run = self._check, self._run
        parts = urlsplit(check.smtp)
        begun = run.clock()
        run.step = f"handing the mail to {check.smtp}"
        client = aiosmtplib.SMTP(
            hostname=parts.hostname,
            port=parts.port or _SMTP_PORTS[parts.scheme],
            timeout=None,
            use_tls=parts.scheme == "smtps",
            start_tls={"required": True, "offered": None, "never": False}[check.smtp_starttls],
            tls_context=context,
            username=check.smtp_username or None,
            password=check.smtp_password.get_secret_value() or None,
        )
        try:
            await client.connect()
            await client.send_message(self._message())
        except aiosmtplib.SMTPException as error:
            raise _NotSentError(*_why_not_sent(error)) from error
        except OSError as error:
            raise _NotSentError("connect", f"the mail is not taken: {connect_problem(error)}") from error
        finally:
            client.close()
        run.measure("send_time", run.clock() - begun)
        self._sent_at = run.started + run.elapsed
        self._awaited[self._token] = self._sent_at
        for oldest in list(self._awaited)[:-MOST_AWAITED]:
            del self._awaited[oldest]

    async def wait(self, mailbox: Mailbox) -> None:
        """Look until it is there, as long as there is time."""
        run = self._run
        ends = run.elapsed + min(self._check.wait, run.remaining - MARGIN)
        while self._latency is None:
            for folder in self._check.folders:
                run.step = f"waiting for the mail in {folder}"
                await self._look(mailbox, folder)
            if self._latency is not None or run.elapsed >= ends:
                return
            await asyncio.sleep(min(LOOK_EVERY, max(0.0, ends - run.elapsed)))

    def told(self) -> Observation:
        """What came of it."""
        run, check = self._run, self._check
        run.measure("missing", len(self._awaited))
        if self._notes:
            run.evidence["arrived"] = "\n".join(self._notes)
        if self._latency is not None:
            run.measure("latency", self._latency)
            return run.up(f"a mail to {check.rcpt_to} arrived after {format_duration(self._latency)}")
        waited = format_duration(run.started + run.elapsed - self._sent_at)
        more = f", nor have {len(self._awaited) - 1} before it" if len(self._awaited) > 1 else ""
        taken = f"{check.smtp} has taken a mail to {check.rcpt_to}"
        return run.down("late", f"{taken}, and it has not arrived within {waited}{more}; look at the mail queue there")

    def _message(self) -> EmailMessage:
        message = EmailMessage()
        sender = self._check.mail_from or self._check.rcpt_to
        message["From"], message["To"] = sender, self._check.rcpt_to
        message["Subject"] = "wcr-watchd: does mail arrive?"
        message["Date"] = format_datetime(datetime.fromtimestamp(self._run.started, UTC))
        message["Message-ID"] = f"<{self._token}.{self._id}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
        message[HEADER] = f"{self._id} {self._token}"
        message.set_content("A watcher sends this to itself, and deletes it as soon as it has arrived.\n")
        return message

    async def _look(self, mailbox: Mailbox, folder: str) -> None:
        """Read and delete the mails of ours in a folder."""
        if not await mailbox.select(folder):
            raise MailboxError("missing", f"there is no folder {folder}; correct `folders`")
        found = (await mailbox.search(HEADER, self._id))[-MOST_READ:]
        for uid in found:
            mail = await mailbox.headers(uid, (HEADER, "Authentication-Results"))
            if mail is not None:
                self._arrived(mail, folder)
        await mailbox.delete(found)

    def _arrived(self, mail: Found, folder: str) -> None:
        token = str(mail.headers.get(HEADER, "")).rpartition(" ")[2]
        sent_at = self._awaited.get(token)
        if sent_at is None:
            return
        # One that was sent before and is not there is lost; it came late or never, and later ones do arrive.
        for earlier in [one for one, at in self._awaited.items() if at <= sent_at]:
            del self._awaited[earlier]
        if token != self._token:
            took = format_duration(max(0.0, mail.arrived_at - sent_at))
            self._notes.append(f"an earlier mail arrived in {folder} after {took}")
            return
        self._latency = max(0.0, self._run.started + self._run.elapsed - sent_at)
        self._run.measure("junk", folder != self._check.folders[0])
        self._measure_authentication(mail, folder)

    def _measure_authentication(self, mail: Found, folder: str) -> None:
        lines = [str(line) for line in mail.headers.get_all("Authentication-Results", ())]
        results = dict(_results(lines, self._check.authserv))
        for method in METHODS:
            if method in results:
                self._run.measure(f"{method}_pass", results[method] == "pass")
        absent = [f"{method}_pass" for method in METHODS if method not in results]
        if absent:
            self._run.missing(absent, "the receiving server says nothing of it in Authentication-Results")
        said = ", ".join(f"{method}={result}" for method, result in results.items()) or "no authentication results"
        self._notes.append(f"this mail arrived in {folder}: {said}")


def _results(lines: Sequence[str], authserv: str) -> Iterator[tuple[str, str]]:
    """What the first header of the server that is believed says, the best of several results of a method."""
    for line in lines:
        name, _, rest = line.partition(";")
        if authserv and name.split()[:1] != [authserv]:
            continue
        found: dict[str, str] = {}
        for match in _RESULT.finditer(_COMMENT.sub(" ", rest[:LONGEST_RESULTS])):
            method, result = match[1].lower(), match[2].lower()
            if found.get(method) != "pass":
                found[method] = result
        yield from found.items()
        return


def _why_not_sent(error: aiosmtplib.SMTPException) -> tuple[str, str]:
    """Reason and sentence."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return "tls", f"the mail is not sent: {tls_problem(cause)}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "auth", f"signing in failed: {error.code} {_one_line(error.message)}; check smtp_username and password"
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        refused = error.recipients[0]
        return "refused", f"the recipient is refused: {refused.code} {_one_line(refused.message)}"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return "refused", f"the mail is refused: {error.code} {_one_line(error.message)}"
    if isinstance(cause, OSError):
        return "connect", f"the mail is not taken: {connect_problem(cause)}"
    return "protocol", f"the mail is not taken: {_one_line(str(error)) or 'the connection broke off'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
