"""Connects to a port by TCP, or to a Unix socket, and may hold a short dialogue there: what to send, what must come.

With ``tls = true`` the dialogue begins after a TLS handshake.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import NameResolver, abort, connect, connect_problem, split_address
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.patterns import PatternsTooSlowError, found
from wcr_watchd.kit.tls import Handshake, TlsContexts, TlsSettings, UnusableFileError, explain, watching

READ_LIMIT = 64 * 1024
"""Bytes that are read while waiting for an expected text."""
SHOWN = 120


def _address(value: str) -> str:
    if value.startswith("unix:"):
        if not value.startswith("unix:/"):
            raise ValueError(f'{value!r}: a Unix socket is named by its absolute path, "unix:/run/app.sock"')
        return value
    split_address(value)
    return value


def _expectation(value: str) -> str:
    if _is_pattern(value):
        try:
            re.compile(value[1:-1])
        except re.error as error:
            raise ValueError(f"{value} is not a regular expression: {error}") from error
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
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)
    example: ClassVar[str] = 'address = "localhost:22"\nexpect = "SSH-2.0"\n'

    address: Annotated[str, AfterValidator(_address)]
    """Where to connect: "host:port", "[::1]:22", or "unix:/run/app.sock"."""
    send: str = ""
    """What to send after connecting."""
    expect: Expectation = ""
    """A text that must come (after `send`), or a regular expression between slashes."""
    script: tuple[Exchange, ...] = ()
    """A longer dialogue in steps of expect and send, in place of send and expect."""
    tls: bool = False
    """Whether to begin with a TLS handshake."""
    verify: bool = True
    """Whether the server's certificate must be valid (TLS)."""
    ca_file: str = ""
    """Certificates to trust in place of the system's (TLS)."""
    server_name: str = ""
    """The name to ask for and to check, in place of the host (TLS)."""
    ip: Literal["any", "4", "6"] = "any"
    """Which version of IP to use."""

    @property
    def target(self) -> str:
        """Where it connects."""
        return self.address

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Connect, hold the dialogue, disconnect."""
        handshake = Handshake()
        try:
            with watching(handshake):
                reader, writer = await self._connect(run, handshake)
            try:
                run.measure("connect_time", run.elapsed)
                said = await self._talk(run, reader, writer)
            finally:
                abort(writer)
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self.address}: {error.summary}")
        except _Failed as failed:
            return run.down(failed.reason, f"{self.address}: {failed.summary}")
        except PatternsTooSlowError as error:
            return run.unknown("pattern", f"{self.address}: the regular expression is too slow: {error}")
        run.measure("response_time", run.elapsed)
        answer = f", said {said!r}" if said else ""
        return run.up(f"{self.address} accepts connections in {format_duration(run.elapsed)}{answer}")

    async def _connect(self, run: Run, handshake: Handshake) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        run.step = f"connecting to {self.address}"
        try:
            if self.address.startswith("unix:"):
                return await asyncio.open_unix_connection(self.address.removeprefix("unix:"))
            host, port = split_address(self.address)
            run.step = f"looking up {host}"
            try:
                addresses = await run.shared.get(NameResolver).addresses(host, port, self.ip)
            except OSError as error:
                raise _Failed("dns", f"{host} cannot be looked up: {connect_problem(error)}") from error
            run.step = f"connecting to {self.address}"
            reader, writer = await connect(addresses)
        except OSError as error:
            raise _Failed("connect", f"no connection: {connect_problem(error)}") from error
        if self.tls:
            await self._begin_tls(run, writer, host, handshake)
        return reader, writer

    async def _begin_tls(self, run: Run, writer: asyncio.StreamWriter, host: str, handshake: Handshake) -> None:
        name = self.server_name or host
        settings = TlsSettings(verify=self.verify, ca_file=self.ca_file)
        run.step = f"in the TLS handshake with {self.address} as {name}"
        try:
            context = await run.shared.get(TlsContexts).get(settings)
            await writer.start_tls(context, server_hostname=name, ssl_handshake_timeout=run.remaining + 60)
        except OSError as error:
            abort(writer)
            trusted = run.shared.get(TlsContexts).authorities(settings) if self.ca_file else frozenset[str]()
            raise _Failed("tls", explain(error, (), name, run.started, trusted)) from error
        except BaseException:
            abort(writer)
            raise

    async def _talk(self, run: Run, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Hold the dialogue; returns the last thing that was said to us."""
        said = ""
        steps = self.script or (Exchange(send=self.send), Exchange(expect=self.expect))
        for step in steps:
            if step.expect:
                run.step = f"waiting for {step.expect!r} from {self.address}"
                said = await self._await_text(reader, step.expect)
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

    async def _await_text(self, reader: asyncio.StreamReader, expected: str) -> str:
        received = bytearray()
        while len(received) < READ_LIMIT:
            try:
                data = await reader.read(READ_LIMIT - len(received))
            except (OSError, ssl.SSLError) as error:
                raise _Failed("protocol", f"the connection broke: {connect_problem(error)}") from error
            if not data:
                break
            received += data
            text = received.decode(errors="replace")
            if await _occurs(expected, text):
                return _first_line(text)
        got = repr(_first_line(received.decode(errors="replace"))) if received else "nothing"
        raise _Failed("content", f"got {got} and then no more, expected {expected!r}")


async def _occurs(expected: str, text: str) -> bool:
    if _is_pattern(expected):
        return (await found([(expected[1:-1], text)]))[0]
    return expected in text


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
