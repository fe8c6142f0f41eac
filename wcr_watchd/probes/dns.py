"""Asks a name server for a record and compares the answer with what is expected (RFC 1035).

Every run asks anew, with nothing cached in between: ``server``, or those the system uses in their order, of which the
next is asked when one does not answer or cannot help (as resolver(3) does). An answer that is too long for UDP is asked
for again by TCP.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename
import dns.rrset
from pydantic import AfterValidator, Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import NameResolver, connect_problem, is_address, split_address
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.side_loop import SideLoop
from wcr_watchd.kit.threads import Threads

_PORT = 53
_SHOWN = 8
"""Answers that are named in a summary; a zone may hold hundreds."""
_CANNOT_HELP = ("SERVFAIL", "REFUSED", "NOTIMP")
"""What a server answers that another one may do better."""

Record = Literal["A", "AAAA", "CNAME", "MX", "TXT", "NS", "SOA", "SRV", "CAA", "PTR"]


def _server(value: str) -> str:
    if not value or is_address(value.strip("[]")):
        return value
    split_address(value if ":" in value else f"{value}:{_PORT}")
    return value


def _name(value: str) -> str:
    try:
        dns.name.from_text(value)
    except dns.exception.DNSException as error:
        raise ValueError(f"{value!r} is not a name that DNS can hold: {error}") from error
    return value


def _rcode(value: str) -> str:
    try:
        return dns.rcode.to_text(dns.rcode.from_text(value))
    except dns.exception.DNSException as error:
        raise ValueError(f"{value!r} is not a status of DNS: write NOERROR, NXDOMAIN, REFUSED or SERVFAIL") from error


class Expect(Options):
    """What the answer must be."""

    answers: tuple[str, ...] = ()
    """Values that must all be among the answers, as `dig +short` shows them."""
    exact: bool = False
    """Whether there may be no other values."""
    rcode: Annotated[str, AfterValidator(_rcode)] = "NOERROR"
    """The status the server must answer with."""


class _Failed(Exception):  # noqa: N818 - it is a verdict
    """No answer that could be compared."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class Dns(Options):
    """Asks a name server for a record."""

    type: ClassVar[str] = "dns"
    target_key: ClassVar[str] = "name"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time until the answer was there"),
        MeasurementSpec("answers", Unit.COUNT, "Records of the asked kind in the answer"),
        MeasurementSpec("ttl", Unit.SECONDS, "Shortest time to live among them"),
        MeasurementSpec("soa_serial", Unit.COUNT, "Serial number of the zone, from a SOA record"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)
    example: ClassVar[str] = 'name = "www.example.org"\nrecord = "A"\n'

    name: Annotated[str, AfterValidator(_name)]
    """The name to ask for; for PTR an address will do."""
    record: Record = "A"
    """The kind of record."""
    server: Annotated[str, AfterValidator(_server)] = ""
    """The name server to ask, "host" or "host:port"; the system's when empty."""
    transport: Literal["udp", "tcp"] = "udp"
    """How to ask."""
    recursive: bool = True
    """Whether the server may ask others."""
    expect: Expect = Field(default_factory=Expect)
    """What the answer must be."""

    @property
    def target(self) -> str:
        """The question."""
        return f"{self.name} {self.record}" + (f" at {self.server}" if self.server else "")

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask once, or each of the system's servers until one answers."""
        try:
            servers = await self._servers(run)
            if not servers:
                return run.unknown("missing", f"{self.target}: /etc/resolv.conf names no server; set server")
            return await run.shared.get(SideLoop).run(self._asked(run, servers))
        except _Failed as failed:
            return run.down(failed.reason, f"{self.target}: {failed.summary}")

    async def _asked(self, run: Run, servers: list[tuple[str, int]]) -> Observation:
        """On the side, since an answer may hold thousands of records, whoever sends it."""
        answer = await self._ask(run, servers)
        run.measure("response_time", run.elapsed)
        return self._judge(run, answer)

    async def _servers(self, run: Run) -> list[tuple[str, int]]:
        if not self.server:
            run.step = "reading /etc/resolv.conf"
            return await run.shared.get(Threads).call(_system_servers)
        bare = self.server.strip("[]")
        if is_address(bare):
            return [(bare, _PORT)]
        host, port = split_address(self.server if ":" in self.server else f"{self.server}:{_PORT}")
        if is_address(host):
            return [(host, port)]
        run.step = f"looking up the name server {host}"
        try:
            found = await run.shared.get(NameResolver).addresses(host, port)
        except OSError as error:
            raise _Failed("dns", f"the name server {host} cannot be looked up: {connect_problem(error)}") from error
        return [(str(entry[4][0]), port) for entry in found]

    async def _ask(self, run: Run, servers: list[tuple[str, int]]) -> dns.message.Message:
        name = dns.name.from_text(self.name)
        if self.record == "PTR" and is_address(self.name):
            name = dns.reversename.from_address(self.name)
        query = dns.message.make_query(name, self.record)
        if not self.recursive:
            query.flags &= ~dns.flags.RD
        problem = _Failed("dns", "there is no server to ask")
        for place, (address, port) in enumerate(servers):
            others = len(servers) - place - 1
            run.step = f"waiting for the answer of {address} port {port} about {self.name} {self.record}"
            try:
                # The last one has until the deadline of the run, so that a timeout is told as one.
                answer = await self._ask_one(query, address, port, run.remaining / (others + 1) if others else None)
            except _Failed as failed:
                problem = failed
                continue
            rcode = dns.rcode.to_text(answer.rcode())
            if not others or rcode == self.expect.rcode or rcode not in _CANNOT_HELP:
                run.evidence["answered by"] = f"{address} port {port}"
                return answer
        raise problem

    async def _ask_one(
        self, query: dns.message.Message, address: str, port: int, patience: float | None
    ) -> dns.message.Message:
        where = f"{address} port {port}"
        try:
            if self.transport == "tcp":
                return await dns.asyncquery.tcp(query, address, timeout=patience, port=port)
            return await _by_udp(query, address, port, patience)
        except dns.exception.Timeout as error:
            raise _Failed("timeout", f"{where} did not answer within {format_duration(patience or 0)}") from error
        except dns.exception.DNSException as error:
            raise _Failed("protocol", f"{where} sent no proper answer: {error or type(error).__name__}") from error
        except (OSError, EOFError) as error:
            words = connect_problem(error) if isinstance(error, OSError) else "it closed the connection"
            raise _Failed("connect", f"{where} cannot be asked: {words}") from error

    def _judge(self, run: Run, answer: dns.message.Message) -> Observation:
        rcode = dns.rcode.to_text(answer.rcode())
        if rcode != self.expect.rcode:
            meaning = "the name does not exist" if rcode == "NXDOMAIN" else f"the server answered {rcode}"
            return run.down("dns", f"{self.target}: {meaning}; expected {self.expect.rcode}")
        wanted = dns.rdatatype.from_text(self.record)
        try:
            found = _belonging(answer)
        except dns.exception.DNSException as error:
            return run.down("content", f"{self.target}: the names it leads over come to no end: {error}")
        records = [] if found is None else [(found.ttl, rdata) for rdata in found]
        run.measure("answers", len(records))
        if records:
            run.measure("ttl", min(ttl for ttl, _ in records))
        for _, rdata in records:
            if wanted == dns.rdatatype.SOA:
                run.measure("soa_serial", rdata.serial)
        values = sorted(_text(rdata) for _, rdata in records)
        run.evidence["answer"] = "\n".join(values)
        return self._compare(run, values)

    def _compare(self, run: Run, values: list[str]) -> Observation:
        shown = _listed(values) or "no record"
        wanted = {self._same(value): value for value in self.expect.answers}
        present = {self._same(value): value for value in values}
        missing = [wanted[value] for value in sorted(wanted.keys() - present.keys())]
        more = [present[value] for value in sorted(present.keys() - wanted.keys())]
        if not values and self.expect.rcode == "NOERROR":
            return run.down("content", f"{self.target}: the name exists, but has no {self.record} record")
        if missing:
            return run.down("content", f"{self.target}: got {shown}; expected {_listed(missing)} too")
        if self.expect.exact and more:
            return run.down("content", f"{self.target}: got {shown}; {_listed(more)} was not expected")
        found = shown if values else self.expect.rcode
        return run.up(f"{self.target}: {found} in {format_duration(run.elapsed)}")

    def _same(self, value: str) -> str:
        """What two ways of writing a value have in common: one form of an address, no final dot, no capitals.

        Capitals count in texts, which hold keys in base64.
        """
        if self.record in ("TXT", "CAA"):
            return value
        with suppress(ValueError):
            return str(ipaddress.ip_address(value))
        return value.rstrip(".").lower()


async def _by_udp(query: dns.message.Message, address: str, port: int, patience: float | None) -> dns.message.Message:
    """Ask by UDP, and again by TCP when the answer is truncated.

    The socket is a connected one, so that a port that nobody listens on is told at once, not by silence.
    """
    backend: Any = dns.asyncbackend.get_backend("asyncio")
    family = dns.inet.af_for_address(address)
    async with await backend.make_socket(family, socket.SOCK_DGRAM, destination=(address, port)) as connected:
        answer, _ = await dns.asyncquery.udp_with_fallback(
            query, address, timeout=patience, port=port, udp_sock=connected, backend=backend
        )
    return answer


def _belonging(answer: dns.message.Message) -> dns.rrset.RRset | None:
    """The records of the name that was asked for, or of the one its CNAMEs lead to; not those of somebody else.

    Raises :class:`dns.exception.DNSException` when the CNAMEs lead in a circle or on and on (more than 16).
    """
    assert isinstance(answer, dns.message.QueryMessage)
    return answer.resolve_chaining().answer


def _listed(values: list[str]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _system_servers() -> list[tuple[str, int]]:
    with suppress(dns.resolver.NoResolverConfiguration):
        resolver = dns.resolver.Resolver(configure=True)
        return [(str(server), _PORT) for server in resolver.nameservers if isinstance(server, str)]
    return []


def _text(rdata: Any) -> str:
    """A record's data as people write it: a TXT record's pieces joined, without quotes."""
    if rdata.rdtype == dns.rdatatype.TXT:
        return b"".join(rdata.strings).decode(errors="replace")
    return str(rdata.to_text())
