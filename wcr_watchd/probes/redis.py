"""Asks a Redis (or Valkey) server whether it answers, and how full, how durable and how well replicated it is.

Sends PING and INFO (https://redis.io/docs/latest/commands/info/). Where an ACL forbids INFO, the numbers are absent.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.network import connect_problem
from wcr_watchd.kit.options import Options, Secret

_SECTION_BYTES = 64 * 1024
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


def _redis_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"{url!r} is not a Redis URL: write redis://host:6379/0, rediss://… or unix:///path")
    if parts.password:
        raise ValueError("a password does not stand in the URL: set password, from ${credential:…}")
    parse_url(url)
    return url


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
        """Connect, PING, INFO, disconnect."""
        connection = self._connection(run.remaining)
        try:
            return await self._ask(run, connection)
        except AuthenticationError as error:
            return run.down("auth", f"{self.url} refuses the sign-in: {error}; check username and password")
        except ResponseError as error:
            return run.down("protocol", f"{self.url} answers with an error: {error}")
        except ssl.SSLError as error:
            return run.down("tls", f"{self.url}: no TLS: {error.reason or error}")
        except TimeoutError:
            raise
        except (ValueError, RecursionError) as error:
            return run.down("protocol", f"{self.url} does not answer as a Redis does: {_plain(error)}")
        except (RedisError, OSError) as error:
            if run.remaining <= 0 or "Timeout" in str(error):
                raise TimeoutError from error
            return run.down("connect", f"{run.step} failed: {_why(error)}")
        finally:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    async def _ask(self, run: Run, connection: Any) -> Observation:
        run.step = f"connecting to {self.url}"
        await connection.connect()
        run.measure("connect_time", run.elapsed)
        run.step = f"waiting for the answer to PING from {self.url}"
        begun = run.clock()
        answer = await _command(connection, "PING")
        took = run.clock() - begun
        run.measure("response_time", took)
        if answer not in (b"PONG", "PONG"):
            return run.down("content", f"{self.url} answered {answer!r:.80} to PING, expected PONG")
        run.step = f"waiting for the answer to INFO from {self.url}"
        try:
            info = _parsed(await _command(connection, "INFO"))
        except NoPermissionError:
            run.missing(["all but the times"], "the ACL user may not use INFO: ACL SETUSER … +info")
            return run.up(f"{self.url} answered PING in {took:.3f} s; INFO is not permitted")
        self._measure(run, info)
        memory = f", {int(info['used_memory']) / 2**20:.1f} MiB used" if "used_memory" in info else ""
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

    def _connection(self, timeout: float) -> Any:
        """One connection of its own: no pool, no retry, nothing that outlives the run."""
        parsed: dict[str, Any] = dict(parse_url(self.url))
        kind = parsed.pop("connection_class", Connection)
        # The runner's deadline rules; the library's own must not come first.
        parsed |= {
            "socket_timeout": timeout + 60,
            "socket_connect_timeout": timeout + 60,
            "retry": Retry(NoBackoff(), 0),
        }
        if self.username:
            parsed["username"] = self.username
        if self.password:
            parsed["password"] = self.password.get_secret_value()
        if kind is SSLConnection:
            parsed["ssl_cert_reqs"] = "required" if self.verify else "none"
            parsed["ssl_check_hostname"] = self.verify
            if self.ca_file:
                parsed["ssl_ca_certs"] = self.ca_file
        if kind is UnixDomainSocketConnection:
            parsed.pop("host", None)
        return kind(**parsed)


async def _command(connection: Any, word: str) -> Any:
    await connection.send_command(word)
    return await connection.read_response()


def _parsed(answer: Any) -> dict[str, str]:
    text = (answer if isinstance(answer, bytes) else str(answer).encode())[:_SECTION_BYTES].decode(errors="replace")
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {key: value for key, _, value in pairs}


def _number(info: dict[str, str], key: str) -> float | None:
    try:
        return float(info[key])
    except (KeyError, ValueError):
        return None


def _why(error: BaseException) -> str:
    """Why there is no connection; the library hides the system's own error behind one of its own."""
    if isinstance(error.__context__, OSError):
        return connect_problem(error.__context__)
    return f"{_plain(error)}; is the server running?"


def _plain(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
