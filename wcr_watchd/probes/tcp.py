"""Connects to a port by TCP, or to a Unix socket, and may hold a short dialogue there: what to send, what must come.

With ``tls = true`` the dialogue begins after a TLS handshake.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.certificates import Certificate, read_chain
from wcr_watchd.kit.network import IpVersion, NameResolver, abort, connect_problem, connect_socket, split_address
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.patterns import PatternsTooSlowError, check_pattern, found
from wcr_watchd.kit.phases import phase, phases
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, UnusableFileError, explain, served_chain, watching

READ_LIMIT = 64 * 1024
"""Bytes that are read while waiting for one expected text."""
_MOST_LINES = 1_000
"""Lines that a pattern is looked for in one by one; no dialogue has so many, and 64 KiB of empty ones take 50 ms."""
SHOWN = 120
_QUEUE_WAIT = 0.05
"""Seconds between two attempts to enter the full queue of a Unix socket."""
_GATHER = 0.05
"""Seconds in which more may come in before a pattern is tried again; trying costs a process."""


def _address(value: str) -> str:
    if value.startswith("unix:"):
        if not value.startswith("unix:/"):
            raise ValueError(f'{value!r}: a Unix socket is named by its absolute path, "unix:/run/app.sock"')
        return value
    split_address(value)
    return value


def _expectation(value: str) -> str:
    if _is_pattern(value):
        check_pattern(value[1:-1])
    return value


def _is_pattern(value: str) -> bool:
    return len(value) > 2 and value.startswith("/") and value.endswith("/")


Expectation = Annotated[str, AfterValidator(_expectation)]


class Exchange(Options):
    """One step of a dialogue: wait for a text, then send one (either may be left out)."""

    expect: Expectation = ""
    """A text that must come, or a regular expression between slashes."""
    send: str = ""
    """What to send then; \\r\\n ends a line in most protocols."""


class _Failed(Exception):  # noqa: N818 - it is a verdict
    """The dialogue did not go as it should."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class Tcp(Options):
    """Connects to a port."""

    type: ClassVar[str] = "tcp"
    target_key: ClassVar[str] = "address"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("connect_time", Unit.SECONDS, "Time to look up, connect and, with tls, shake hands"),
        MeasurementSpec("response_time", Unit.SECONDS, "Time from the start to the end of the dialogue"),
        phases("dns", "connect", "tls", "dialogue"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)
    example: ClassVar[str] = 'address = "localhost:22"\nexpect = "SSH-2.0"\n'

    address: Annotated[str, AfterValidator(_address)]
    """Where to connect: "host:port", "[::1]:22", or "unix:/run/app.sock"."""
    send: str = ""
    """What to send after connecting."""
    expect: Expectation = ""
    """A text that must come (after `send`), or a regular expression between slashes."""
    script: Annotated[tuple[Exchange, ...], Field(max_length=50)] = ()
    """A longer dialogue in steps of expect and send, in place of send and expect."""
    tls: bool = False
    """Whether to begin with a TLS handshake."""
    verify: bool = True
    """Whether the server's certificate must be valid (TLS)."""
    ca_file: str = ""
    """Certificates to trust in place of the system's (TLS)."""
    server_name: str = ""
    """The name to ask for and to check, in place of the host (TLS)."""
    ip: IpVersion = "any"
    """Which version of IP to use: "any", "4" or "6"."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.script and (self.send or self.expect):
            raise ValueError("write send and expect into the steps of script, not beside it")
        if self.tls and self.address.startswith("unix:"):
            raise ValueError("tls is for host:port; a Unix socket leads to this machine only")
        return self

    @property
    def target(self) -> str:
        """Where it connects."""
        return self.address

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Connect, hold the dialogue, disconnect."""
        try:
            reader, writer = await self._connect(run)
            try:
                run.measure("connect_time", run.elapsed)
                with phase(run, "dialogue"):
                    said = await self._talk(run, _Incoming(reader), writer)
            finally:
                abort(writer)
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self.address}: {error.summary}")
        except _Failed as failed:
            return run.down(failed.reason, f"{self.address}: {failed.summary}")
        except PatternsTooSlowError as error:
            return run.unknown(
                "pattern", f"{self.address}: the regular expressions are too slow: {error}; simplify them"
            )
        except PermissionError as error:
            return run.unknown("permission", f"{self.address}: this user may not connect to it: {error.strerror}")
        except OSError as error:
            return run.unknown("exec", f"{self.address}: the regular expression could not be tried: {error}")
        run.measure("response_time", run.elapsed)
        answer = f", said {said!r}" if said else ""
        return run.up(f"{self.address} accepts connections in {format_duration(run.elapsed)}{answer}")

    async def _connect(self, run: Run) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.address.startswith("unix:"):
            with phase(run, "connect"):
                return await self._connect_unix(run, self.address.removeprefix("unix:"))
        host, port = split_address(self.address)
        run.step = f"looking up {host}"
        try:
            with phase(run, "dns"):
                addresses = await run.shared.get(NameResolver).addresses(host, port, self.ip)
        except OSError as error:
            raise _Failed("dns", f"{host} cannot be looked up: {connect_problem(error)}") from error
        run.step = f"connecting to {self.address}"
        try:
            with phase(run, "connect"):
                connected = await connect_socket(addresses)
        except OSError as error:
            raise _Failed("connect", f"no connection: {connect_problem(error)}") from error
        try:
            if self.tls:
                return await self._begin_tls(run, connected, host)
            return await asyncio.open_connection(sock=connected)
        except BaseException:
            connected.close()
            raise

    async def _connect_unix(self, run: Run, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a Unix socket, which succeeds or fails at once, or as soon as there is a place in its queue.

        asyncio takes a full queue for a connection that is coming and reports it as made (connect(2): EAGAIN).
        """
        run.step = f"connecting to {self.address}"
        unconnected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unconnected.setblocking(False)
            while True:
                try:
                    unconnected.connect(path)
                except BlockingIOError:
                    run.step = f"waiting for a place in the full queue of {self.address}: its program accepts nobody"
                    await asyncio.sleep(_QUEUE_WAIT)
                else:
                    return await asyncio.open_unix_connection(sock=unconnected)
        except BaseException as error:
            unconnected.close()
            if isinstance(error, OSError) and not isinstance(error, PermissionError):
                raise _Failed("connect", f"no connection: {connect_problem(error)}") from error
            raise

    async def _begin_tls(
        self, run: Run, connected: socket.socket, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self.server_name or host
        settings = TlsSettings(verify=self.verify, ca_file=self.ca_file)
        contexts = run.shared.get(TlsContexts)
        context = await contexts.get(settings)
        run.step = f"in the TLS handshake with {self.address} as {name}"
        handshake = Handshake()
        try:
            with phase(run, "tls"), watching(handshake):
                return await asyncio.open_connection(
                    sock=connected, ssl=context, server_hostname=name, ssl_handshake_timeout=run.remaining + 60
                )
        except OSError as error:
            trusted = contexts.authorities(settings)
            raise _Failed("tls", explain(error, _chain(handshake), name, run.started, trusted)) from error

    async def _talk(self, run: Run, incoming: _Incoming, writer: asyncio.StreamWriter) -> str:
        """Hold the dialogue; returns the last thing that was said to us."""
        said = ""
        for step in self.script or (Exchange(send=self.send), Exchange(expect=self.expect)):
            if step.expect:
                run.step = f"waiting for {step.expect!r} from {self.address}"
                said = await incoming.wait_for(step.expect)
            if step.send:
                run.step = f"sending to {self.address}"
                try:
                    writer.write(step.send.encode())
                    await writer.drain()
                except OSError as error:
                    raise _Failed(
                        "protocol", f"the connection broke while sending: {connect_problem(error)}"
                    ) from error
        return said


class _Incoming:
    """What the other side says. What comes after an expected text is left for the next expectation."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._received = b""

    async def wait_for(self, expected: str) -> str:
        """Read until the text is there; returns the line it is in. Raises :class:`_Failed` when it will not come."""
        while True:
            text = self._received.decode(errors="replace")
            if text and (span := await _find(expected, text)):
                self._received = text[span[1] :].encode()
                return _line_at(text, span)
            if len(self._received) >= READ_LIMIT:
                raise _Failed("content", f"got {READ_LIMIT} bytes, first {_shown(text)}, expected {expected!r}")
            if not await self._read_more():
                raise _Failed("content", f"got {_shown(text)} and then no more, expected {expected!r}")
            if _is_pattern(expected):
                await asyncio.sleep(_GATHER)

    async def _read_more(self) -> bool:
        try:
            data = await self._reader.read(READ_LIMIT - len(self._received))
        except OSError as error:
            raise _Failed("protocol", f"the connection broke: {connect_problem(error)}") from error
        self._received += data
        return bool(data)


def _chain(handshake: Handshake) -> tuple[Certificate, ...]:
    try:
        return read_chain(served_chain(handshake.session)) if handshake.session is not None else ()
    except ValueError:
        return ()


async def _find(expected: str, text: str) -> tuple[int, int] | None:
    """Where a text, or what a pattern stands for, begins and ends; a pattern is taken to end with its line.

    A pattern that goes over several lines, or is found after very many lines only, takes all there is.
    """
    if not _is_pattern(expected):
        at = text.find(expected)
        return (at, at + len(expected)) if at >= 0 else None
    pattern = expected[1:-1]
    lines = text.splitlines(keepends=True)[:_MOST_LINES]
    anywhere, *in_line = await found([(pattern, text), *((pattern, line.rstrip("\r\n")) for line in lines)])
    at = 0
    for line, matches in zip(lines, in_line, strict=True):
        if matches:
            return at, at + len(line)
        at += len(line)
    return (0, len(text)) if anywhere else None


def _line_at(text: str, span: tuple[int, int]) -> str:
    begin = text.rfind("\n", 0, span[0]) + 1
    end = text.find("\n", begin)
    return _cut(text[begin : end if end >= 0 else len(text)].strip())


def _shown(text: str) -> str:
    return repr(_cut(text.strip().partition("\n")[0].strip())) if text else "nothing"


def _cut(line: str) -> str:
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
