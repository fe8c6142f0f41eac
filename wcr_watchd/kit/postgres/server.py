"""Talking to a PostgreSQL server as a watcher: one login, one read-only transaction, every read and every wait bounded.

What all probes of PostgreSQL have in common: where it is (:class:`PostgresServer`), how its refusals are told, and
queries of which one that is refused costs that one only (:class:`Session`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import asyncpg
from pydantic import ConfigDict, field_validator

from wcr_watchd.core.model import Observation
from wcr_watchd.core.run import Run
from wcr_watchd.kit.network import NameResolver, connect_problem, is_address
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.postgres.bounds import bounded
from wcr_watchd.kit.postgres.tls import context_of
from wcr_watchd.kit.threads import Threads

Row = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STATEMENT_TIMEOUT = 5.0
"""Seconds after which the server itself gives one of our queries up."""

_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_FAILURES_AT_NONSENSE = (AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What the driver also fails with when what it connects to does not speak as PostgreSQL does."""


_ROLE = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       current_user::text AS own_role,
       pg_is_in_recovery() AS in_recovery,
       pg_has_role('pg_read_all_stats', 'USAGE') AS may_read_statistics,
       pg_has_role('pg_read_all_settings', 'USAGE') AS may_read_settings,
       pg_has_role('pg_monitor', 'USAGE') AS may_list_archive,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_size,
       current_setting('archive_mode') AS archive_mode
"""


class PostgresServer(Options):
    """Where a PostgreSQL server is and as whom to log in; a probe adds what it looks at there (:meth:`look`)."""

    model_config = ConfigDict(hide_input_in_errors=True)

    dsn: Secret
    """Where and as whom: "postgresql://user:password@host:5432/database?sslmode=verify-full"."""
    password: Secret | None = None
    """The password, when it does not stand in the DSN; here it needs no percent-encoding."""

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: Secret) -> Secret:
        """Refuse what the driver would refuse at every run; the text must not repeat the DSN, which is a secret."""
        text = dsn.get_secret_value()
        if not text.startswith(("postgresql://", "postgres://")):
            raise ValueError('must begin with "postgresql://", as in postgresql://user:password@host:5432/database')
        if urlsplit(text).netloc.count("@") > 1:
            raise ValueError(
                'a "@" in the password must be written "%40", or set the password by itself: password = "…"'
            )
        try:
            places_of(urlsplit(text))
            parse_qs(urlsplit(text).query, strict_parsing=bool(urlsplit(text).query))
        except ValueError:
            raise ValueError("host, port or parameters of the DSN cannot be read") from None
        return dsn

    @property
    def target(self) -> str:
        """Database and server, without user and password."""
        parts = urlsplit(self.dsn.get_secret_value())
        parameters = parse_qs(parts.query)
        database = unquote(parts.path.lstrip("/")) or "".join(parameters.get("dbname", ()))
        where = ", ".join(host if host.startswith("/") else f"{host}:{port}" for host, port in places_of(parts))
        return f"{database or 'the default database'} on {where or 'this machine'}"

    async def run(self, run: Run) -> Observation:
        """Log in, ask, and leave."""
        places = places_of(urlsplit(self.dsn.get_secret_value()))
        if len(places) == 1 and not places[0][0].startswith("/") and not is_address(places[0][0]):
            run.step = f"looking up {places[0][0]}"
            try:
                await run.shared.get(NameResolver).addresses(*places[0])
            except OSError as error:
                return run.down("dns", f"{self.target}: {places[0][0]} cannot be looked up: {connect_problem(error)}")
        with bounded() as conversation:
            seen = await self._converse(run)
        return run.down("protocol", f"{self.target}: {conversation.excess}") if conversation.excess else seen

    async def _converse(self, run: Run) -> Observation:
        run.step = f"connecting to {self.target}"
        begun = run.clock()
        try:
            connection = await self._connect(run)
        except (*_FAILURES, *_FAILURES_AT_NONSENSE) as error:
            return _not_connected(run, self.target, error)
        took = run.clock() - begun
        try:
            return await self._ask(run, Session(run, connection, took))
        finally:
            # Says goodbye and waits for nobody. When a run is cut off in a query, the driver begins a task that would
            # connect again to cancel it; this stops that task, which needs one turn to notice.
            connection.terminate()
            await asyncio.sleep(0)

    async def _connect(self, run: Run) -> Connection:
        """Connect; the driver's own deadline lies behind the run's. No statement cache: a pooler changes servers."""
        dsn = self.dsn.get_secret_value()
        password = self.password.get_secret_value() if self.password else None
        return await asyncpg.connect(
            dsn,
            password=password,
            ssl=await context_of(dsn, run.shared.get(Threads)),
            timeout=run.timeout + 1,
            statement_cache_size=0,
            server_settings={"application_name": "wcr-watchd"},
        )

    @abstractmethod
    async def look(self, run: Run, session: Session) -> Observation:
        """Ask what this probe is about; what the server objects to may be raised."""

    async def _ask(self, run: Run, session: Session) -> Observation:
        try:
            return await self.look(run, session)
        except _FAILURES as error:
            reason, _ = _REFUSALS.get(_state(error)[:2], ("protocol", ""))
            return run.down(reason, f"{self.target}: failed while {run.step}: {words(error)}")


class Session:
    """Queries in one read-only transaction; one that fails is left out, and the next begin a new one.

    The time limit is set for the transaction only, so that behind a pooler nobody else inherits it. ``connect_time`` is
    how long it took to connect and log in, in seconds.
    """

    def __init__(self, run: Run, connection: Connection, connect_time: float) -> None:
        self.connect_time = connect_time
        self._run = run
        self._connection = connection
        self._begun = False

    async def rows(self, query: str, waiting_for: str, *args: object) -> Sequence[Row]:
        """Rows of a query; whatever the server objects is raised."""
        self._run.step = f"waiting for {waiting_for}"
        if not self._begun:
            limit = round(STATEMENT_TIMEOUT * 1000)
            await self._connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}")
            self._begun = True
        return await self._connection.fetch(query, *args)

    async def row(self, query: str, waiting_for: str) -> Row:
        """The one row of a query."""
        return (await self.rows(query, waiting_for))[0]

    @property
    def connection(self) -> Connection:
        """The driver's connection, for what is no query."""
        return self._connection

    async def server(self) -> Row:
        """What the server is, and what the role that we are may see of it."""
        return await self.row(_ROLE, "the server's version and our rights")

    async def rows_or_missing(
        self, query: str, about: str, names: Sequence[str], *args: object
    ) -> Sequence[Row] | None:
        """Rows of a query; None when the server refuses it, which is said in the evidence. A lost connection raises."""
        try:
            return await self.rows(query, about, *args)
        except asyncpg.PostgresError as error:
            if self._connection.is_closed() or _is_the_end(error):
                raise
            self._run.missing(names or (about,), words(error))
            await self._connection.execute("ROLLBACK")
            self._begun = False
        return None

    def untold(self, target: str) -> Observation:
        """The verdict when the server refused, or gave up, the query that the run is about."""
        return self._run.unknown("refused", f"{target} does not tell: {self._run.evidence.get('absent', '')}")

    async def end(self) -> None:
        """End the transaction."""
        if self._begun:
            await self._connection.execute("COMMIT")
            self._begun = False


# --- in words ---------------------------------------------------------------------------------------------------------


def places_of(parts: SplitResult) -> list[tuple[str, int]]:
    """Hosts (or folders of sockets) and ports that a DSN names; ``ValueError`` when a port is none."""
    parameters = parse_qs(parts.query)
    named = parts.netloc.rpartition("@")[2] or "".join(parameters.get("host", ()))
    default = "".join(parameters.get("port", ())) or "5432"
    places = []
    for place in filter(None, unquote(named).split(",")):
        found = re.fullmatch(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>/.*|[^:\[\]]+))(?::(?P<port>\d+))?", place)
        if not found or not 0 < int(found["port"] or default.split(",")[0]) < 65536:
            raise ValueError("not a host and port")
        places.append((found["ipv6"] or found["host"], int(found["port"] or default.split(",")[0])))
    return places


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "08": ("connect", "it ended the connection"),
    "28": ("auth", "it refused the login"),
    "3D": ("missing", "it has no such database"),
    "42": ("permission", "the role may not connect"),
    "53": ("refused", "it takes no more connections"),
    "57": ("refused", "it is starting, stopping or under repair"),
}
"""What a refusal means, by class of its SQLSTATE (PostgreSQL documentation, appendix A)."""


def _not_connected(run: Run, target: str, error: Exception) -> Observation:
    """Why there is no connection, with the words of the system or of the server."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return run.unknown("parse", f"{target}: the DSN cannot be used: {words(error)}")
    if isinstance(error, FileNotFoundError) and "on /" not in target:
        return run.unknown("missing", f"{target}: a file that the DSN names (sslrootcert, sslcert …): {error.strerror}")
    if isinstance(error, ssl.SSLError) or (isinstance(error, ConnectionError) and "SSL" in str(error)):
        return run.down("tls", f"{target}: no TLS: {words(error)}")
    if isinstance(error, OSError):
        return run.down("connect", f"{target}: no connection: {connect_problem(error)}")
    # PgBouncer calls a wrong password a violation of the protocol.
    state = "28P01" if "authentication failed" in words(error) else _state(error)
    reason, meaning = _REFUSALS.get(state[:2], ("protocol", "it does not speak as PostgreSQL does"))
    return run.down(reason, f"{target}: {meaning}: {words(error)}" + (f" ({state})" if state else ""))


def _state(error: Exception) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_the_end(error: asyncpg.PostgresError) -> bool:
    """Whether the server ends the connection with it: connection exceptions, and shut-downs but not a time-out."""
    return _state(error).startswith(("08", "57P"))


def words(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or "an error without words"


def without_values(query: str | None) -> str:
    """The beginning of a query without the values in it, which may be anybody's data."""
    shown = re.split(r"'|\$[A-Za-z_]*\$", query or "no query shown")[0]
    shown = re.sub(r"(?<![\w$])\d+(?:\.\d+)?", "?", " ".join(shown.split()))
    return shown[:200] + (" …" if len(shown) > 200 or shown != " ".join((query or shown).split()) else "")
