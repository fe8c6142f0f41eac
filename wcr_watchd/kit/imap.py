"""A mailbox by IMAP (RFC 9051) for a watcher: find mails by a header, read their headers, delete them.

The protocol is the standard library's, which blocks: each command runs in a thread, under a timeout of its socket, and
whoever gives up closes the socket, which ends the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.policy
import imaplib
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.message import Message
from email.parser import BytesParser
from typing import TypeVar
from urllib.parse import urlsplit

from wcr_watchd.core.run import Shared
from wcr_watchd.kit.network import NameResolver, connect_problem, connect_socket
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tls import tls_problem

T = TypeVar("T")

PORTS = {"imap": 143, "imaps": 993}
PATIENCE = 15.0
"""Seconds for one answer."""
LONGEST_HEADERS = 64 * 1024
"""Bytes of one mail's headers that are asked for, and of any literal that a server may send."""
MOST_FOUND = 1_000
"""Mails that a search may find; the newest are taken."""

_UIDS = re.compile(rb"\d{1,10}")
_INTERNAL_DATE = re.compile(rb'INTERNALDATE "([^"]{1,40})"')


class MailboxError(Exception):
    """What was asked for cannot be had; ``reason`` is a label (``dns connect tls auth protocol``)."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Access:
    """Whose mailbox: ``imap://host`` (TLS begins by STARTTLS where ``starttls``) or ``imaps://host``."""

    url: str
    user: str
    password: str
    starttls: bool
    context: ssl.SSLContext

    @property
    def place(self) -> tuple[str, int, bool]:
        """Host, port, and whether TLS comes first."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORTS[parts.scheme], parts.scheme == "imaps"


@dataclass(frozen=True, slots=True)
class Found:
    """One mail: its number in the folder, when it arrived there (epoch seconds), and the headers asked for."""

    uid: int
    arrived_at: float
    headers: Message


class _Session(imaplib.IMAP4):
    """The standard library's session, over a connection that is there already, with bounded reads."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self._given = connection
        super().__init__(host)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        return self._given

    def read(self, size: int) -> bytes:
        if size > LONGEST_HEADERS:
            raise self.abort(f"the server sends {size} bytes at once")
        return super().read(size)


class Mailbox:
    """An open session; make it by :func:`open_mailbox`."""

    def __init__(self, shared: Shared, connection: socket.socket) -> None:
        self._threads = shared.get(Threads)
        self._connection = connection
        self._session: _Session | None = None
        self._deletes_one_by_one = False
        self._busy = threading.Lock()
        self._over = False

    async def sign_in(self, access: Access) -> None:
        """Greeting, TLS, sign-in."""
        await self._do("signing in", lambda: self._sign_in(access))

    async def select(self, folder: str) -> bool:
        """Open a folder; False when there is none of that name."""

        def select(session: _Session) -> bool:
            status, _ = session.select(_quoted(folder))
            return status == "OK"

        return await self._do(f"opening the folder {folder}", lambda: select(self._opened))

    async def search(self, header: str, text: str, before: date | None = None) -> list[int]:
        """The numbers of the mails with this text in this header, oldest first, of the newest :data:`MOST_FOUND`."""
        words = ["HEADER", header, _quoted(text)]
        if before is not None:
            words += ["BEFORE", f"{before.day}-{_MONTHS[before.month - 1]}-{before.year}"]

        def search(session: _Session) -> list[int]:
            # Servers tell of new mail only when they are asked something (RFC 9051, 6.1.2).
            session.noop()
            data = _asked(session.uid("SEARCH", *words))
            return [int(uid) for part in data if isinstance(part, bytes) for uid in _UIDS.findall(part)]

        return (await self._do("searching", lambda: search(self._opened)))[-MOST_FOUND:]

    async def headers(self, uid: int, names: Sequence[str]) -> Found | None:
        """Some headers of a mail; None when it is gone."""
        wanted = f"(INTERNALDATE BODY.PEEK[HEADER.FIELDS ({' '.join(names)})]<0.{LONGEST_HEADERS}>)"

        def fetch(session: _Session) -> Found | None:
            for part in _asked(session.uid("FETCH", str(uid), wanted)):
                if isinstance(part, tuple) and len(part) == 2:
                    return _found(uid, part[0], part[1])
            return None

        return await self._do("reading headers", lambda: fetch(self._opened))

    async def delete(self, uids: Sequence[int]) -> None:
        """Delete these mails and no others; without UIDPLUS (RFC 4315) they are only marked, as all the server has."""
        if not uids:
            return
        numbers = ",".join(map(str, uids))

        def delete(session: _Session) -> None:
            _asked(session.uid("STORE", numbers, "+FLAGS.SILENT", "(\\Deleted)"))
            if self._deletes_one_by_one:
                _asked(session.uid("EXPUNGE", numbers))

        await self._do("deleting mails of ours", lambda: delete(self._opened))

    async def leave(self) -> None:
        """Say goodbye; what a server says to that matters to nobody."""
        with contextlib.suppress(MailboxError):
            await self._do("signing out", lambda: self._opened.logout())

    def close(self) -> None:
        """Close the connection at once; a thread that waits for it is woken by that, and clears up in our place."""
        self._over = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._clear_up()

    def _clear_up(self) -> None:
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self._session is not None:
                with contextlib.suppress(OSError):
                    self._session.shutdown()
            self._connection.close()
        finally:
            self._busy.release()

    def _carry_out(self, command: Callable[[], T]) -> T:
        try:
            with self._busy:
                return command()
        finally:
            if self._over:
                self._clear_up()

    @property
    def _opened(self) -> _Session:
        assert self._session is not None, "sign in first"
        return self._session

    def _sign_in(self, access: Access) -> None:
        host, _, tls_first = access.place
        begin_tls = _Tls(self, access.context)
        if tls_first:
            begin_tls.wrap_socket(self._connection, server_hostname=host)
        session = self._session = _Session(self._connection, host)
        if access.starttls and not tls_first:
            session.starttls(begin_tls)  # all that it calls is wrap_socket
        if "AUTH=PLAIN" in session.capabilities:
            session.authenticate("PLAIN", lambda _: f"\0{access.user}\0{access.password}".encode())
        else:
            session.login(_quoted(access.user), access.password)
        # What a server can do is another thing for who has signed in (RFC 9051, 6.1.1).
        words = [part for part in _asked(session.capability()) if isinstance(part, bytes)]
        self._deletes_one_by_one = b"UIDPLUS" in b" ".join(words).upper().split()

    def secured(self, connection: ssl.SSLSocket) -> None:
        """The connection goes on as this one, which is to be closed from now on."""
        self._connection = connection

    async def _do(self, doing: str, command: Callable[[], T]) -> T:
        try:
            return await self._threads.call(lambda: self._carry_out(command))
        except ssl.SSLError as error:
            raise MailboxError("tls", f"{doing} failed: {tls_problem(error)}") from error
        except TimeoutError as error:
            raise MailboxError("timeout", f"{doing} failed: no answer within {PATIENCE:g} s") from error
        except OSError as error:
            raise MailboxError("protocol", f"{doing} failed: {connect_problem(error)}") from error
        except imaplib.IMAP4.abort as error:
            raise MailboxError("protocol", f"{doing} failed: {_words(error)}") from error
        except imaplib.IMAP4.error as error:
            reason = "auth" if doing == "signing in" else "protocol"
            raise MailboxError(reason, f"{doing} failed: {_words(error)}") from error
        except (ValueError, UnicodeError) as error:
            raise MailboxError("protocol", f"{doing} failed: what answers is no IMAP server: {error}") from error


class _Tls:
    """Begins TLS so that the connection can be closed also while the handshake hangs."""

    def __init__(self, mailbox: Mailbox, context: ssl.SSLContext) -> None:
        self._mailbox = mailbox
        self._context = context

    def wrap_socket(self, connection: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        """As ``SSLContext.wrap_socket``."""
        wrapped = self._context.wrap_socket(connection, server_hostname=server_hostname, do_handshake_on_connect=False)
        self._mailbox.secured(wrapped)
        wrapped.do_handshake()
        return wrapped


@contextlib.asynccontextmanager
async def open_mailbox(shared: Shared, access: Access) -> AsyncIterator[Mailbox]:
    """Connect and sign in; what is left is closed in any case. Raises :class:`MailboxError`."""
    host, port, _ = access.place
    try:
        addresses = await shared.get(NameResolver).addresses(host, port)
    except OSError as error:
        raise MailboxError("dns", f"{host} cannot be looked up: {connect_problem(error)}") from error
    try:
        connection = await connect_socket(addresses)
    except OSError as error:
        raise MailboxError("connect", f"{host} port {port}: {connect_problem(error)}") from error
    connection.settimeout(PATIENCE)
    mailbox = Mailbox(shared, connection)
    try:
        await mailbox.sign_in(access)
        yield mailbox
        async with asyncio.timeout(1.0):
            await mailbox.leave()
    except TimeoutError as error:
        raise MailboxError("timeout", "the server did not say goodbye") from error
    finally:
        mailbox.close()


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _quoted(text: str) -> str:
    """A quoted string (RFC 9051, 4.3); what it cannot hold is left out."""
    plain = "".join(character for character in text if " " <= character <= "~")
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _asked(answer: tuple[str, Sequence[object]]) -> Sequence[object]:
    status, data = answer
    if status != "OK":
        said = data[0] if data and isinstance(data[0], bytes) else b""
        raise imaplib.IMAP4.error(f"{status} {said.decode(errors='replace')[:200]}")
    return data


def _found(uid: int, head: bytes, raw: bytes) -> Found:
    at = _INTERNAL_DATE.search(head)
    if at is None:
        raise ValueError("it does not say when a mail arrived")
    arrived = datetime.strptime(at[1].decode("ascii", "replace").strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()
    # The plain policy: the richer one takes a header apart when it is looked at, which a hostile one makes last long.
    headers = BytesParser(policy=email.policy.compat32).parsebytes(raw, headersonly=True)
    return Found(uid, arrived, headers)


def _words(error: Exception) -> str:
    """What the server said, without Python's marks of bytes."""
    said = error.args[0] if error.args else ""
    return (said.decode(errors="replace") if isinstance(said, bytes) else str(said))[:300] or type(error).__name__
