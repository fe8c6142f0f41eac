"""What is said in the clear before TLS begins, for protocols that begin without it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Literal

Protocol = Literal["smtp", "imap", "postgres"]
"""A protocol that can change to TLS in the middle, as an option."""

LONGEST_ANSWER = 64
"""Lines of one answer that are read; a server that sends more is not what it should be."""

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class StartTlsError(Exception):
    """The server would not begin TLS; the text says what it answered instead."""


async def begin(protocol: Protocol, reader: Reader, writer: Writer) -> None:
    """Bring a new connection to the point where TLS begins.

    Raises :class:`StartTlsError` when the server answers something else, and ``OSError`` when it breaks off.
    """
    await _BEGINNINGS[protocol](reader, writer)


async def _smtp(reader: Reader, writer: Writer) -> None:
    """RFC 5321 (greeting, EHLO) and RFC 3207 (STARTTLS)."""
    await _smtp_answer(reader, "the greeting", "220")
    await _send(writer, b"EHLO watchd.invalid\r\n")
    offered = await _smtp_answer(reader, "the answer to EHLO", "250")
    if not any(line[4:].strip().upper() == "STARTTLS" for line in offered):
        raise StartTlsError(f"it does not offer STARTTLS; it offers {', '.join(line[4:] for line in offered[1:])}")
    await _send(writer, b"STARTTLS\r\n")
    await _smtp_answer(reader, "the answer to STARTTLS", "220")


async def _smtp_answer(reader: Reader, what: str, wanted: str) -> list[str]:
    lines = []
    for _ in range(LONGEST_ANSWER):
        line = await _line(reader, what)
        lines.append(line)
        if not line.startswith(wanted):
            raise StartTlsError(f'{what} was "{line[:200]}", expected {wanted}')
        if line[3:4] != "-":
            return lines
    raise StartTlsError(f"{what} has more than {LONGEST_ANSWER} lines")


async def _imap(reader: Reader, writer: Writer) -> None:
    """RFC 9051, 7.1 (greeting) and 6.2.1 (STARTTLS)."""
    greeting = await _line(reader, "the greeting")
    if not re.match(r"\* (OK|PREAUTH)\b", greeting, re.IGNORECASE):
        raise StartTlsError(f'the greeting was "{greeting[:200]}", expected "* OK"')
    await _send(writer, b"w1 STARTTLS\r\n")
    for _ in range(LONGEST_ANSWER):
        line = await _line(reader, "the answer to STARTTLS")
        if line.startswith("* "):
            continue  # something said without being asked
        if not re.match(r"w1 OK\b", line, re.IGNORECASE):
            raise StartTlsError(f'the answer to STARTTLS was "{line[:200]}", expected "w1 OK"')
        return
    raise StartTlsError(f"the answer to STARTTLS has more than {LONGEST_ANSWER} lines")


async def _postgres(reader: Reader, writer: Writer) -> None:
    """PostgreSQL's SSLRequest: length 8 and the number 80877103, answered by one byte (protocol-flow, 55.2.10)."""
    await _send(writer, (8).to_bytes(4) + (80877103).to_bytes(4))
    answer = await reader.read(1)
    if answer == b"N":
        raise StartTlsError("PostgreSQL answered that it has TLS switched off; set ssl = on there")
    if answer != b"S":
        said = repr(answer.decode("latin-1")) if answer else "the end of the connection"
        raise StartTlsError(f"the answer to the TLS request was {said}, expected 'S'; is it PostgreSQL?")


_BEGINNINGS: dict[Protocol, Callable[[Reader, Writer], Awaitable[None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "postgres": _postgres,
}


async def _send(writer: Writer, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _line(reader: Reader, what: str) -> str:
    try:
        line = await reader.readuntil(b"\n")  # bounded by the reader's limit of 64 KiB
    except asyncio.IncompleteReadError as error:
        said = error.partial.decode("utf-8", "replace")[:200]
        raise StartTlsError(f'the connection was closed while waiting for {what}, after "{said}"') from error
    except asyncio.LimitOverrunError as error:
        raise StartTlsError(f"{what} is a line without end") from error
    return line.decode("utf-8", "replace").strip()
