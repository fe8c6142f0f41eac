"""Asks a Redis (or Valkey) server whether it answers, and how full, how durable and how well replicated it is.

Sends PING and INFO (https://redis.io/docs/latest/commands/info/). Where an ACL forbids INFO, the numbers are absent.

Speaks RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), of which four commands need one page; the
usual client reads whatever length a server announces, and a watcher must bound it.
"""

from __future__ import annotations

import asyncio
import socket
from math import isfinite
from typing import Annotated, ClassVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import AfterValidator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.certificates import read_chain
from wcr_watchd.kit.network import NameResolver, abort, connect_problem, connect_socket
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, UnusableFileError, explain, served_chain, watching

_PORT = 6379
_LONGEST_TEXT = 1024 * 1024
"""Bytes of one answer; INFO has some thousands."""
_PLAIN = {
    "memory": "used_memory",
    "clients": "connected_clients",
    "evicted_keys": "evicted_keys",
    "expired_keys": "expired_keys",
    "rejected_connections": "rejected_connections",
    "keyspace_hits": "keyspace_hits",
    "keyspace_misses": "keyspace_misses",
    "uptime": "uptime_in_seconds",
}
"""Measurements that stand in INFO as they are."""


_WRONG_SIGN_IN = ("NOAUTH", "WRONGPASS", "ERR invalid password", "ERR Client sent AUTH", "ERR AUTH")
"""How errors begin that are about who asks."""
_REFUSALS = ("LOADING", "BUSY", "MASTERDOWN", "DENIED", "ERR max number of clients")
"""How errors begin of a server that is there but serves nobody, or not us."""


def _redis_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"{url!r} is not a Redis URL: write redis://host:6379/0, rediss://… or unix:///path")
    if parts.password:
        raise ValueError("a password does not stand in the URL: set password, from ${credential:…}")
    if parts.scheme == "unix" and not parts.path.startswith("/"):
        raise ValueError(f"{url!r} names no socket: write unix:///path/to/socket")
    if parts.port == 0:
        raise ValueError("0 is not a port")
    _database(parts)
    return url


def _database(parts: SplitResult) -> int:
    """The number of the database that a URL names, 0 when it names none."""
    named = parse_qs(parts.query).get("db", [""])[0] or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    if named and not (named.isascii() and named.isdigit()):
        raise ValueError(f"{named!r} is not the number of a database, such as 0")
    return int(named or 0)


class _Failed(Exception):  # noqa: N818 - it is a verdict
    """The dialogue did not go as it should."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class _Refused(Exception):  # noqa: N818 - it is an answer
    """The server answered with an error; the text is the server's."""


class Redis(Options):
    """Asks a Redis server how it is."""

    type: ClassVar[str] = "redis"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time of a PING on an open connection"),
        MeasurementSpec("connect_time", Unit.SECONDS, "Time to connect, with TLS and sign-in"),
        MeasurementSpec("memory_used", Unit.RATIO, "Used part of maxmemory; absent without a limit", topic="memory"),
        MeasurementSpec("memory", Unit.BYTES, "Memory used by data and overhead", topic="memory"),
        MeasurementSpec("clients", Unit.COUNT, "Connected clients", topic="clients"),
        MeasurementSpec("clients_used", Unit.RATIO, "Used part of maxclients", topic="clients"),
        MeasurementSpec("rejected_connections", Unit.COUNT, "Refused at maxclients", counter=True, topic="clients"),
        MeasurementSpec("evicted_keys", Unit.COUNT, "Thrown out for want of memory", counter=True, topic="memory"),
        MeasurementSpec("expired_keys", Unit.COUNT, "Keys whose time ran out", counter=True),
        MeasurementSpec("keyspace_hits", Unit.COUNT, "Look-ups that found a key", counter=True),
        MeasurementSpec("keyspace_misses", Unit.COUNT, "Look-ups that found none", counter=True),
        MeasurementSpec("rdb_saved", Unit.COUNT, "Whether the last snapshot worked (1)", topic="persistence"),
        MeasurementSpec("aof_written", Unit.COUNT, "Whether the log is written; absent if off", topic="persistence"),
        MeasurementSpec("replication_link", Unit.COUNT, "Whether a replica has its master (1)", topic="replication"),
        MeasurementSpec("uptime", Unit.SECONDS, "Time since the server started"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "memory_used > 90% for 3x until memory_used < 85%"),
        (Severity.WARNING, "increase(evicted_keys, 10m) > 0"),
        (Severity.WARNING, "clients_used > 80% for 3x until clients_used < 70%"),
        (Severity.WARNING, "rdb_saved == 0 or aof_written == 0"),
        (Severity.WARNING, "replication_link == 0 for 3x"),
    )
    example: ClassVar[str] = 'url = "redis://localhost:6379/0"\n'

    url: Annotated[str, AfterValidator(_redis_url)]
    """Where it listens: redis://host:6379/0, rediss:// for TLS, unix:///path/to/socket."""
    username: str = ""
    """The ACL user."""
    password: Secret | None = None
    """The password."""
    ca_file: str | None = None
    """Certificates to trust in place of the system's (TLS)."""
    verify: bool = True
    """Whether the server's certificate must be valid (TLS)."""

    @property
    def target(self) -> str:
        """The URL, which holds no secret."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Connect, sign in, PING, INFO, disconnect."""
        try:
            reader, writer = await self._connect(run)
            try:
                return await self._ask(run, _Dialogue(reader, writer))
            finally:
                abort(writer)
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self.url}: {error.summary}")
        except _Failed as failed:
            return run.down(failed.reason, f"{self.url}: {failed.summary}")
        except _Refused as error:
            return self._refused(run, str(error))
        except (OSError, asyncio.IncompleteReadError) as error:
            words = connect_problem(error) if isinstance(error, OSError) else "the server closed the connection"
            return run.down("protocol", f"{run.step} failed: {words}")

    def _refused(self, run: Run, said: str) -> Observation:
        if said.startswith(_WRONG_SIGN_IN):
            return run.down("auth", f"{self.url} refuses the sign-in: {said}; check username and password")
        if said.startswith(_REFUSALS):
            return run.down("refused", f"{self.url} is there, but serves nobody: {said}")
        return run.down("protocol", f"{self.url} answers with an error: {said}")

    async def _connect(self, run: Run) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, through TLS for rediss. Raises :class:`_Failed`, :class:`UnusableFileError`."""
        parts = urlsplit(self.url)
        run.step = f"connecting to {self.url}"
        try:
            if parts.scheme == "unix":
                return await asyncio.open_unix_connection(parts.path)
            host = parts.hostname or "localhost"
            addresses = await run.shared.get(NameResolver).addresses(host, parts.port or _PORT)
            connected = await connect_socket(addresses)
        except socket.gaierror as error:
            raise _Failed("dns", f"{parts.hostname} cannot be looked up: {connect_problem(error)}") from error
        except OSError as error:
            raise _Failed("connect", f"no connection: {connect_problem(error)}") from error
        try:
            if parts.scheme == "rediss":
                return await self._begin_tls(run, connected, host)
            return await asyncio.open_connection(sock=connected)
        except BaseException:
            connected.close()
            raise

    async def _begin_tls(
        self, run: Run, connected: socket.socket, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        settings = TlsSettings(verify=self.verify, ca_file=self.ca_file or "")
        contexts = run.shared.get(TlsContexts)
        context = await contexts.get(settings)
        run.step = f"in the TLS handshake with {self.url}"
        handshake = Handshake()
        try:
            with watching(handshake):
                return await asyncio.open_connection(
                    sock=connected, ssl=context, server_hostname=host, ssl_handshake_timeout=run.remaining + 60
                )
        except OSError as error:
            session = handshake.session
            try:
                chain = read_chain(served_chain(session)) if session is not None else ()
            except ValueError:
                chain = ()
            trusted = contexts.authorities(settings)
            raise _Failed("tls", explain(error, chain, host, run.started, trusted)) from error

    async def _sign_in(self, run: Run, dialogue: _Dialogue) -> None:
        parts = urlsplit(self.url)
        if self.password:
            run.step = f"signing in at {self.url}"
            who = self.username or parts.username
            await dialogue.command("AUTH", *([who] if who else []), self.password.get_secret_value())
        if database := _database(parts):
            run.step = f"choosing database {database} of {self.url}"
            await dialogue.command("SELECT", str(database))

    async def _ask(self, run: Run, dialogue: _Dialogue) -> Observation:
        await self._sign_in(run, dialogue)
        run.measure("connect_time", run.elapsed)
        run.step = f"waiting for the answer to PING from {self.url}"
        begun = run.clock()
        answer = await dialogue.command("PING")
        took = run.clock() - begun
        run.measure("response_time", took)
        if answer != "PONG":
            return run.down("content", f"{self.url} answered {answer!r:.80} to PING, expected PONG")
        run.step = f"waiting for the answer to INFO from {self.url}"
        try:
            info = _parsed(await dialogue.command("INFO"))
        except _Refused as error:
            if not str(error).startswith("NOPERM"):
                raise
            run.missing(["all but the times"], "the ACL user may not use INFO: ACL SETUSER … +info")
            return run.up(f"{self.url} answered PING in {took:.3f} s; INFO is not permitted")
        self._measure(run, info)
        used = _number(info, "used_memory")
        memory = f", {used / 2**20:.1f} MiB used" if used is not None else ""
        return run.up(f"{self.url} answered PING in {took:.3f} s{memory}")

    def _measure(self, run: Run, info: dict[str, str]) -> None:
        for name, key in _PLAIN.items():
            if (value := _number(info, key)) is not None:
                run.measure(name, value)
        for name, used, limit in (
            ("memory_used", "used_memory", "maxmemory"),
            ("clients_used", "connected_clients", "maxclients"),
        ):
            most, now = _number(info, limit), _number(info, used)
            if most and now is not None:
                run.measure(name, now / most)
        if "rdb_last_bgsave_status" in info:
            run.measure("rdb_saved", info["rdb_last_bgsave_status"] == "ok")
        if info.get("aof_enabled") == "1" and "aof_last_write_status" in info:
            run.measure("aof_written", info["aof_last_write_status"] == "ok")
        if info.get("role") == "slave" and "master_link_status" in info:
            run.measure("replication_link", info["master_link_status"] == "up")
        run.evidence["server"] = ", ".join(
            f"{key} {info[key]}" for key in ("redis_version", "role", "maxmemory_policy") if key in info
        )


class _Dialogue:
    """Commands and their answers, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def command(self, *words: str) -> str:
        """Send a command and return the answer as text (a number in digits, nothing as the empty text).

        Raises :class:`_Refused` for an error, :class:`_Failed` for what is no answer of a Redis, ``OSError`` and
        ``asyncio.IncompleteReadError`` for a connection that broke or was closed.
        """
        encoded = [word.encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        self._writer.write(b"".join(parts))
        await self._writer.drain()
        try:
            line = (await self._reader.readuntil(b"\r\n"))[:-2]  # bounded by the reader's limit of 64 KiB
        except asyncio.LimitOverrunError as error:
            raise _Failed("protocol", "does not answer as a Redis does: a line without end") from error
        kind, said = line[:1], line[1:].decode(errors="replace")
        if kind == b"-":
            raise _Refused(said)
        if kind == b"$":
            return await self._text(said)
        if kind in (b"+", b":"):
            return said
        shown = line[:60].decode(errors="replace")
        raise _Failed("protocol", f"does not answer as a Redis does: it said {shown!r}")

    async def _text(self, length: str) -> str:
        if length == "-1":
            return ""
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise _Failed("protocol", f"does not answer as a Redis does: {length[:40]!r} is no length")
        if int(length) > _LONGEST_TEXT:
            raise _Failed("protocol", f"announces an answer of {length} bytes, more than 1 MiB; is it a Redis?")
        return (await self._reader.readexactly(int(length) + 2))[:-2].decode(errors="replace")


def _parsed(answer: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in answer.splitlines() if ":" in line)
    return {key: value for key, _, value in pairs}


def _number(info: dict[str, str], key: str) -> float | None:
    try:
        number = float(info[key])
    except (KeyError, ValueError):
        return None
    return number if isfinite(number) else None
