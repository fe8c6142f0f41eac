"""TLS as a watcher needs it: shared contexts, the served chain out of the one handshake, and a verdict in words.

The verdict is OpenSSL's own (``verify_code``), because that is what visitors' programs say; the words come from the
certificates. A failed handshake gives the chain just as a good one does.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from wcr_watchd.kit.certificates import Certificate, end_in_words, that_matter
from wcr_watchd.kit.threads import Threads

Version = Literal["1.2", "1.3"]
"""A TLS version, as an option."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CONTEXT_AGE = 86400.0
"""Seconds after which a context is made anew, so that changed certificate authorities of the system take effect."""
LOOK_AGAIN = 1.0
"""Seconds before the files of a context are looked at again, for many checks that share one."""
LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of a file of certificates or keys that are read; the whole public bundle has a quarter of a megabyte."""
LONGEST_HANDSHAKE = 1024 * 1024
"""Bytes a server may send in a handshake; OpenSSL takes no more than 100 KB of certificates anyway."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What makes one TLS context differ from another; empty paths mean the system's authorities, no own certificate."""

    verify: bool = True
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    minimum: Version = "1.2"


class UnusableFileError(Exception):
    """A file on this machine (authorities, certificate, key) that cannot be used.

    ``reason`` is ``missing``, ``permission`` or ``parse``; the text says which file, what is wrong and what to do.
    """

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


# --- observing handshakes --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Handshake:
    """What is seen of the TLS handshakes of one exchange (several when a redirect leads on; the last one counts).

    ``rename`` says for which host another name is asked for (SNI and the name that is checked). ``began`` is called
    when TCP stands and TLS begins. ``session`` is the TLS side afterwards, readable even when the handshake failed.
    """

    rename: dict[str, str] = field(default_factory=dict)
    began: Callable[[], None] = lambda: None
    session: ssl.SSLObject | None = None
    asked: str = ""

    @property
    def unfinished(self) -> bool:
        """Whether a handshake began and has not come to its end, because it goes on or because it failed."""
        return self.session is not None and self.session.version() is None


_watched: ContextVar[Handshake | None] = ContextVar("watched_handshake", default=None)


@contextmanager
def watching(handshake: Handshake) -> Iterator[None]:
    """See the handshakes that begin in this block, in this task, with contexts of :class:`TlsContexts`."""
    token = _watched.set(handshake)
    try:
        yield
    finally:
        _watched.reset(token)


class ObservedContext(ssl.SSLContext):
    """An SSL context that tells whoever watches of each handshake; asyncio calls ``wrap_bio`` when TLS begins."""

    organisations: frozenset[str] = frozenset()
    """Whose authorities it trusts."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As the base class's, with the name replaced where the watcher wants another one."""
        watcher = _watched.get()
        if watcher is None:
            return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        host = server_hostname.decode("ascii") if isinstance(server_hostname, bytes) else server_hostname or ""
        watcher.asked = watcher.rename.get(host, host)
        watcher.began()
        watcher.session = super().wrap_bio(incoming, outgoing, server_side, watcher.asked or None, session)
        return watcher.session


def served_chain(session: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates the server sent, leaf first, in DER, checked or not; empty when it came to none.

    Public from Python 3.13 on (``get_unverified_chain``); before, the same call exists one object deeper.
    """
    inner: Any = session if hasattr(session, "get_unverified_chain") else session._sslobj  # type: ignore[attr-defined] # noqa: SLF001
    found = inner.get_unverified_chain() or []
    return tuple(one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found)


# --- contexts --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Made:
    """A context, what its files were like (:func:`_stamp`), and when it was made and they were last looked at."""

    context: ObservedContext
    stamp: object
    made_at: float
    looked_at: float


class TlsContexts:
    """TLS contexts, one for each different setting, since making one costs 20 ms and a megabyte.

    A context is made anew when one of its files has changed, and once a day.
    """

    def __init__(self) -> None:
        self._made: dict[TlsSettings, _Made] = {}
        self._threads = Threads()

    async def close(self) -> None:
        """Let its threads end."""
        await self._threads.close()

    async def get(self, settings: TlsSettings) -> ssl.SSLContext:
        """The context for these settings. Raises :class:`UnusableFileError`."""
        known, now = self._made.get(settings), time.monotonic()
        if known is not None and now - known.looked_at < LOOK_AGAIN:
            return known.context
        stamp = await self._threads.call(_stamp, settings) if _files(settings) else ()
        if known is not None and known.stamp == stamp and now - known.made_at < CONTEXT_AGE:
            known.looked_at = now
            return known.context
        context = await self._threads.call(make_context, settings)
        self._made[settings] = _Made(context, stamp, now, now)
        return context

    def authorities(self, settings: TlsSettings) -> frozenset[str]:
        """The organisations of the authorities that the context for these settings trusts, if it has been made."""
        known = self._made.get(settings)
        return known.context.organisations if known else frozenset()


def make_context(settings: TlsSettings) -> ObservedContext:
    """Make a context; blocks on files. Raises :class:`UnusableFileError`."""
    context = ObservedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[settings.minimum]
    context.set_alpn_protocols(["http/1.1"])
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file:
        read_file(settings.ca_file, "the file of certificate authorities (ca_file)")
        _load(settings.ca_file, "as certificate authorities", lambda: context.load_verify_locations(settings.ca_file))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.certificate:
        read_file(settings.certificate, "the client certificate")
        key = settings.key or settings.certificate
        read_file(key, "the client certificate's key")
        _load(settings.certificate, f"with the key {key}", lambda: _load_own(context, settings))
    context.organisations = _organisations(context)
    return context


def _organisations(context: ssl.SSLContext) -> frozenset[str]:
    """Those of all authorities that a context trusts; to go through the system's takes some milliseconds."""
    trusted: list[Any] = context.get_ca_certs()
    names = (name for authority in trusted for part in authority["subject"] for name in part)
    return frozenset(value for kind, value in names if kind == "organizationName")


def _load_own(context: ssl.SSLContext, settings: TlsSettings) -> None:
    # An empty passphrase makes an encrypted key an error; without one OpenSSL would ask on the terminal.
    context.load_cert_chain(settings.certificate, settings.key or None, password="")


def _load(path: str, use: str, load: Callable[[], None]) -> None:
    try:
        load()
    except (ssl.SSLError, OSError, ValueError) as error:
        said = getattr(error, "reason", None) or error
        raise UnusableFileError("parse", f"{path} cannot be used {use}: {said}; it must be PEM") from error


def read_file(path: str, what: str) -> bytes:
    """The file's content, bounded; blocks. Raises :class:`UnusableFileError` that calls it ``what``."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise UnusableFileError("missing", f"{what}, {path}, does not exist; correct the path or create it") from error
    except PermissionError as error:
        raise UnusableFileError("permission", f"{what}, {path}, {_unreadable(path)}") from error
    except OSError as error:
        raise UnusableFileError("missing", f"{what}, {path}, cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise UnusableFileError("parse", f"{what}, {path}, has more than {LARGEST_FILE} bytes; is it the right file?")
    return content


def _unreadable(path: str) -> str:
    return (
        f"may not be read by user id {os.geteuid()}: let a group of this user read it and its folders, or hand it in "
        f"with systemd's LoadCredential={Path(path).name}:{path} and name the copy under ${{CREDENTIALS_DIRECTORY}}"
    )


def _files(settings: TlsSettings) -> tuple[str, ...]:
    return tuple(filter(None, (settings.ca_file, settings.certificate, settings.key)))


def _stamp(settings: TlsSettings) -> object:
    return tuple(_file_stamp(path) for path in _files(settings))


def _file_stamp(path: str) -> object:
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino


# --- one handshake on a connection that stands ------------------------------------------------------------------------


async def shake_hands(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, name: str
) -> tuple[ssl.SSLObject, OSError | None]:
    """Carry out one TLS handshake over a connection, asking for ``name``.

    Returns the TLS side, whose chain, version and cipher can be read even when the handshake failed, and what it
    failed with (None: it did not). Nothing can be sent afterwards; whoever looks at certificates needs no more.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
    received = 0
    while True:
        error = _advance(session)
        try:
            writer.write(outgoing.read())
            await writer.drain()
            if not isinstance(error, ssl.SSLWantReadError):
                return session, error
            data = await reader.read(65536)
        except OSError as broken:
            return session, broken
        received += len(data)
        if not data:
            return session, ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the server closed the connection during the handshake")
        if received > LONGEST_HANDSHAKE:
            return session, ssl.SSLError(f"the server sent more than {LONGEST_HANDSHAKE} bytes in the handshake")
        incoming.write(data)


def _advance(session: ssl.SSLObject) -> ssl.SSLError | None:
    try:
        session.do_handshake()
    except ssl.SSLError as error:
        return error
    return None


# --- the verdict in words ---------------------------------------------------------------------------------------------

# X509_V_ERR_… of OpenSSL, include/openssl/x509_vfy.h
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED_LEAF = 18
_SELF_SIGNED_IN_CHAIN = 19
_ISSUER_UNKNOWN = (2, 20, 21)
_NAME_MISMATCH = (62, 64)
_WEAK = (66, 67, 68)

_PROBLEMS = {
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
    "RECORD_LAYER_FAILURE": "what answers there does not speak TLS",
    "HTTP_REQUEST": "what answers there does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "the server speaks no TLS version as new as asked for",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server speaks no TLS version as new as asked for",
    "TLSV1_UNRECOGNIZED_NAME": "the server does not know this name; is server_name right?",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server refused the handshake: no cipher in common, or it wants a client "
    "certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server refused the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the server does not trust the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the server says that the client certificate has expired",
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection during the handshake",
    "DH_KEY_TOO_SMALL": "the server's Diffie-Hellman key is too small",
}


def explain(
    error: OSError, chain: Sequence[Certificate], asked: str, now: float, trusted: frozenset[str] = frozenset()
) -> str:
    """Why a handshake failed, in words for whoever must mend it.

    ``chain`` is what the server sent, ``asked`` the name asked for, ``now`` epoch seconds, ``trusted`` the
    organisations of the authorities trusted here.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, chain, asked, now, trusted)
    closed = isinstance(error, ConnectionResetError) and error.errno is None  # asyncio's word for an end in between
    if isinstance(error, ssl.SSLEOFError) or closed:
        return "the server closed the connection during the handshake"
    if isinstance(error, ssl.SSLError):
        return _PROBLEMS.get(_reason(error), f"TLS failed: {tls_problem(error)}")
    return f"the connection broke during the handshake: {error.strerror or error}"


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's word for it; an error that was not raised by OpenSSL has none."""
    return getattr(error, "reason", None) or ""


def tls_problem(error: ssl.SSLError) -> str:
    """What OpenSSL says went wrong, in its words but without its punctuation."""
    said = _reason(error) or re.sub(r"^\[[^]]*\]|\(_ssl\.c:\d+\)", "", error.strerror or str(error))
    return said.replace("_", " ").strip().lower()


def _explain_certificate(
    error: ssl.SSLCertVerificationError, chain: Sequence[Certificate], asked: str, now: float, trusted: frozenset[str]
) -> str:
    code = error.verify_code
    if not chain:
        return error.verify_message
    leaf = chain[0]
    if code in (_EXPIRED, _NOT_YET_VALID):
        return _out_of_time(chain, now) or f"{error.verify_message}: an authority that the chain leads to"
    if code in _NAME_MISMATCH:
        return f"the certificate is for {', '.join(leaf.names) or 'no name at all'}; asked for {asked}"
    if code == _SELF_SIGNED_LEAF:
        return f"the certificate of {leaf.subject} is signed by itself only; if that is meant, name it as ca_file"
    if code == _SELF_SIGNED_IN_CHAIN:
        return f'the chain ends in "{chain[-1].subject}", which is not trusted here; if that is meant, set ca_file'
    if code in _ISSUER_UNKNOWN:
        return _issuer_unknown(chain, trusted)
    if code in _WEAK:
        found = [f"{one.role}: {weakness}" for one in chain for weakness in one.weaknesses]
        return "; ".join(found) or error.verify_message
    return error.verify_message


def _out_of_time(chain: Sequence[Certificate], now: float) -> str:
    for certificate in that_matter(chain):
        if not certificate.not_before <= now <= certificate.not_after:
            whose = "the certificate" if certificate.role == "leaf" else f"the {certificate.role} certificate"
            return f"{whose} of {certificate.subject} {end_in_words(certificate, now)}"
    return ""


def _issuer_unknown(chain: Sequence[Certificate], trusted: frozenset[str]) -> str:
    """A forgotten intermediate and an unknown root look the same to OpenSSL; these signs tell them apart.

    The certificate says where its issuer can be fetched, which those of public authorities do, or an authority
    trusted here has the issuer's organisation: then the issuer is a link that the server should have sent.
    """
    last = chain[-1]
    public = len(chain) == 1 and bool(last.issuer_url)
    if public or (last.issuer_organisation and last.issuer_organisation in trusted):
        where = f"; it can be fetched from {last.issuer_url}" if last.issuer_url else ""
        return (
            f'the server does not send the intermediate certificate "{last.issuer}" that issued "{last.subject}"{where}'
            "; let it serve the full chain"
        )
    return (
        f'the issuer "{last.issuer}" of "{last.subject}" is neither sent by the server nor trusted here: either an '
        "intermediate certificate is missing from what it sends, or this authority must be named as ca_file"
    )
