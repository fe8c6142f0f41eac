"""The probers ``tcp`` and ``unix``: a connection, and a dialogue line by line, perhaps with TLS from some step on."""

from __future__ import annotations

import asyncio
import socket

from wcr_watchd.kit.blackbox_modules import QueryResponse, TcpModule
from wcr_watchd.kit.go_patterns import expand
from wcr_watchd.kit.network import NameResolver, abort, connect_problem, connect_socket, split_address
from wcr_watchd.kit.patterns import Match, PatternsTooSlowError, search
from wcr_watchd.kit.tls import Handshake, TlsContexts, UnusableFileError, watching
from wcr_watchd.web.compatible.blackbox import secured
from wcr_watchd.web.compatible.blackbox.attempt import Attempt

LONGEST_LINE = 64 * 1024
"""Bytes of one line, as the exporter's scanner has them."""
GATHER = 0.02
"""Seconds in which more lines may come before an expression is tried; trying costs a process."""


async def probe(attempt: Attempt, target: str, module: TcpModule) -> bool:
    """Whether the target takes the connection and holds the dialogue. Raises :class:`ProbeFailedError`."""
    attempt.zero("probe_failed_due_to_regex")
    if any(step.expect_bytes for step in module.query_response):
        attempt.zero("probe_failed_due_to_bytes")
    host, connected = await _connected(attempt, target, module)
    return await _talk(attempt, connected, module, host)


async def probe_unix(attempt: Attempt, target: str, module: TcpModule) -> bool:
    """Likewise at a Unix socket; its queue being full is a failure, too."""
    attempt.zero("probe_failed_due_to_regex")
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connected.connect(target)
    except (OSError, ValueError) as error:
        connected.close()
        words = connect_problem(error) if isinstance(error, OSError) else str(error)
        raise attempt.fail("Error dialing Unix socket", err=words) from error
    return await _talk(attempt, connected, module, "")


async def _connected(attempt: Attempt, target: str, module: TcpModule) -> tuple[str, socket.socket]:
    try:
        host, port = split_address(target)
    except ValueError as error:
        raise attempt.fail("Error splitting target address and port", err=error) from error
    address, _ = await attempt.choose_address(host, module.preferred_ip_protocol, module.ip_protocol_fallback)
    attempt.log("Dialing TCP", address=address, port=port)
    try:
        if module.source_ip_address:
            return host, await _from_address(module.source_ip_address, address, port)
        return host, await connect_socket(await attempt.shared.get(NameResolver).addresses(address, port))
    except (OSError, ValueError) as error:
        words = connect_problem(error) if isinstance(error, OSError) else str(error)
        raise attempt.fail("Error dialing TCP", err=words) from error


async def _from_address(source: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        socket.inet_pton(family, source)
        connected.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(connected, (address, port))
    except BaseException:
        connected.close()
        raise
    return connected


async def _talk(attempt: Attempt, connected: socket.socket, module: TcpModule, host: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(sock=connected)
    except BaseException:
        connected.close()
        raise
    lines = _Lines(attempt, reader)
    try:
        if module.tls:
            await _begin_tls(attempt, writer, module, host)
        for number, step in enumerate(module.query_response):
            attempt.log("Processing query response entry", entry_number=number)
            await _step(attempt, lines, writer, step)
            if step.starttls:
                await _begin_tls(attempt, writer, module, host)
    except OSError as error:
        raise attempt.fail("The connection broke", err=connect_problem(error)) from error
    finally:
        abort(writer)
    return True


async def _begin_tls(attempt: Attempt, writer: asyncio.StreamWriter, module: TcpModule, host: str) -> None:
    name = module.tls_config.server_name or host
    wanted = secured.settings(module.tls_config)
    contexts, handshake = attempt.shared.get(TlsContexts), Handshake()
    try:
        context = await contexts.get(wanted)
        with watching(handshake):
            await writer.start_tls(context, server_hostname=name, ssl_handshake_timeout=attempt.timeout + 60)
    except UnusableFileError as error:
        raise attempt.fail("Failed to create TLS configuration", err=error.summary) from error
    except (OSError, ValueError) as error:
        words = secured.problem(handshake, error, attempt.now()) if isinstance(error, OSError) else str(error)
        raise attempt.fail("TLS Handshake (client) failed", err=words) from error
    attempt.log("TLS Handshake (client) succeeded.")
    if handshake.session is not None:
        secured.tell(attempt, handshake.session)


async def _step(attempt: Attempt, lines: _Lines, writer: asyncio.StreamWriter, step: QueryResponse) -> None:
    send = step.send
    if step.expect is not None:
        match = await lines.wait_for(step.expect)
        attempt.set("probe_failed_due_to_regex", match is None)
        if match is None:
            raise attempt.fail("Regexp did not match", regexp=step.expect)
        send = expand(send, match.groups, match.names)
        if step.labels:
            filled = {label.name: expand(label.value, match.groups, match.names) for label in step.labels}
            attempt.set("probe_expect_info", 1, **filled)
    elif step.expect_bytes:
        there = await lines.wait_for_bytes(step.expect_bytes.encode())
        attempt.set("probe_failed_due_to_bytes", not there)
        if not there:
            raise attempt.fail("Bytes did not match", expected=step.expect_bytes)
    if send:
        attempt.log("Sending line", line=send)
        writer.write(f"{send}\n".encode())
        await writer.drain()


class _Lines:
    """What the other side says, line by line; what comes after a line that was waited for is left for the next step."""

    def __init__(self, attempt: Attempt, reader: asyncio.StreamReader) -> None:
        self._attempt = attempt
        self._reader = reader
        self._received = b""
        self._ended = False

    async def wait_for(self, pattern: str) -> Match | None:
        """The match in the first line that has one; None when the other side ends without."""
        while True:
            lines = await self._whole_lines()
            if not lines:
                return None
            texts = [line.rstrip(b"\n").removesuffix(b"\r").decode(errors="replace") for line in lines]
            for place, match in enumerate(await self._search(pattern, texts)):
                self._attempt.log("Read line", "debug", line=texts[place])
                if match is not None:
                    self._received = b"".join(lines[place + 1 :]) + self._received
                    self._attempt.log("Regexp matched", regexp=pattern, line=texts[place])
                    return match

    async def wait_for_bytes(self, expected: bytes) -> bool:
        """Whether exactly these bytes come next."""
        while len(self._received) < len(expected) and not self._ended:
            await self._read()
        come, self._received = self._received[: len(expected)], self._received[len(expected) :]
        return come == expected

    async def _whole_lines(self) -> list[bytes]:
        """Lines that have come and were not asked about yet; the last may lack its end when nothing follows."""
        while b"\n" not in self._received and not self._ended:
            if len(self._received) > LONGEST_LINE:
                raise self._attempt.fail("Error reading from connection", err="a line is too long")
            await self._read()
        if not self._ended:
            await asyncio.sleep(GATHER)
            await self._read(at_once=True)
        *whole, rest = self._received.split(b"\n")
        self._received = b"" if self._ended else rest
        return [line + b"\n" for line in whole] + ([rest] if rest and self._ended else [])

    async def _read(self, *, at_once: bool = False) -> None:
        try:
            async with asyncio.timeout(0 if at_once else None):
                data = await self._reader.read(LONGEST_LINE)
        except TimeoutError:
            return
        except OSError as error:
            raise self._attempt.fail("Error reading from connection", err=connect_problem(error)) from error
        self._received += data
        self._ended = not data

    async def _search(self, pattern: str, texts: list[str]) -> list[Match | None]:
        left = max(0.0, self._attempt.timeout - self._attempt.elapsed)
        try:
            return await search([(pattern, text) for text in texts], left)
        except PatternsTooSlowError as error:
            raise self._attempt.fail("The regular expression is too slow", regexp=pattern, err=error) from error
