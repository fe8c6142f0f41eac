"""Finding out what answers on a port, by one polite greeting in the protocol that is expected there."""

from __future__ import annotations

import asyncio
import http.client
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg

from wcr_watchd.config.look import Listener, is_socket, user_name
from wcr_watchd.kit.certificates import read_chain

K = TypeVar("K")
T = TypeVar("T")

PATIENCE = 2.0
"""Seconds for one step of a greeting."""
AGENT = "wcr-watchd discovery"
POSTGRES_FOLDERS = ("run/postgresql", "var/run/postgresql", "tmp")
_NO_ANSWER = (
    OSError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    smtplib.SMTPException,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
"""What may come of greeting somebody who speaks something else."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A web server: the status of ``/``; with TLS the certificate's first name, and whether it is trusted here."""

    status: int
    tls: bool = False
    name: str = ""
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class SmtpAnswer:
    """A mail server: whether it offers STARTTLS."""

    starttls: bool


def ask_all(questions: Mapping[K, Callable[[], T]], deadline: float) -> dict[K, T]:
    """Ask everything at the same time and return what was answered within ``deadline`` seconds.

    What hangs is left behind in a daemon thread; what answers in another protocol is left out.
    """
    answers: dict[K, T] = {}

    def ask(key: K, question: Callable[[], T]) -> None:
        try:
            answers[key] = question()
        except _NO_ANSWER:
            return

    threads = [threading.Thread(target=ask, args=one, name="discovery", daemon=True) for one in questions.items()]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + deadline
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return {key: answers[key] for key in questions if key in answers}


def web(listener: Listener) -> HttpAnswer:
    """Ask for ``/``: in plain HTTP, or over TLS when that is what is spoken there."""
    plain = None if listener.port in (443, 8443) else _plain(listener)
    if plain is not None and plain.status != 400:  # with which many answer plain HTTP where they speak TLS
        return plain
    try:
        return _secured(listener)
    except OSError:
        if plain is None:
            raise
        return plain


def _plain(listener: Listener) -> HttpAnswer | None:
    try:
        return HttpAnswer(_status(http.client.HTTPConnection(listener.host, listener.port, timeout=PATIENCE), ""))
    except (http.client.HTTPException, ConnectionResetError):  # it may speak TLS
        return None


def _secured(listener: Listener) -> HttpAnswer:
    name = _certificate_name(listener)
    trusted = bool(name) and _is_trusted(listener, name)
    connection = http.client.HTTPSConnection(
        listener.host, listener.port, timeout=PATIENCE, context=_careless_context()
    )
    return HttpAnswer(_status(connection, name if trusted else ""), tls=True, name=name, trusted=trusted)


def _status(connection: http.client.HTTPConnection, host: str) -> int:
    headers = {"User-Agent": AGENT, "Connection": "close"} | ({"Host": host} if host else {})
    try:
        connection.request("GET", "/", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _careless_context() -> ssl.SSLContext:
    """For looking, not for trusting: nothing but a greeting is sent."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_name(listener: Listener) -> str:
    """The first name of the certificate shown; empty when it has none that can be asked for."""
    with (
        socket.create_connection((listener.host, listener.port), PATIENCE) as plain,
        _careless_context().wrap_socket(plain, server_hostname=listener.host) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    names = read_chain((shown,))[0].names if shown else ()
    return next((name for name in names if "*" not in name), "")


def _is_trusted(listener: Listener, name: str) -> bool:
    try:
        with (
            socket.create_connection((listener.host, listener.port), PATIENCE) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=name),
        ):
            return True
    except OSError:
        return False


def smtp(listener: Listener) -> SmtpAnswer:
    """Say EHLO to a mail server."""
    with smtplib.SMTP(listener.host, listener.port, local_hostname="localhost", timeout=PATIENCE) as server:
        server.ehlo()
        return SmtpAnswer(server.has_extn("starttls"))


def redis(listener: Listener) -> str:
    """Say PING to a Redis server: ``open``, or ``password`` when it wants one."""
    answer = _exchange(listener, b"PING\r\n")
    if answer.startswith("+PONG"):
        return "open"
    if answer.startswith(("-NOAUTH", "-DENIED")):
        return "password"
    raise ValueError(answer)


def ssh(listener: Listener) -> str:
    """The protocol version that an SSH server opens with (RFC 4253, 4.2)."""
    answer = _exchange(listener, b"")
    if not answer.startswith("SSH-"):
        raise ValueError(answer)
    return "-".join(answer.split("-")[:2])


def accepts(listener: Listener) -> str:
    """Whether a connection is accepted at all."""
    socket.create_connection((listener.host, listener.port), PATIENCE).close()
    return "accepts connections"


def _exchange(listener: Listener, words: bytes) -> str:
    with socket.create_connection((listener.host, listener.port), PATIENCE) as connection:
        connection.sendall(words)
        return connection.recv(256).decode("ascii", "replace").strip()


def postgres(root: Path, port: int) -> str:
    """The DSN by which this user may log in over the Unix socket without a password ("peer")."""
    for folder in POSTGRES_FOLDERS:
        if is_socket(root / folder / f".s.PGSQL.{port}"):
            dsn = f"postgresql://{user_name()}@/postgres?host=/{folder}&port={port}"
            asyncio.run(_log_in(root / folder, port))
            return dsn
    raise FileNotFoundError(f"no Unix socket of PostgreSQL for port {port}")


async def _log_in(folder: Path, port: int) -> None:
    connection = await asyncpg.connect(
        host=str(folder),
        port=port,
        user=user_name(),
        database="postgres",
        timeout=PATIENCE,
        command_timeout=PATIENCE,
    )
    await connection.close(timeout=PATIENCE)
