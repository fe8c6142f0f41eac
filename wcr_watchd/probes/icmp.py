"""Pings a host (ICMP echo, RFC 792 and RFC 4443): whether it answers, how many packets are lost, how long they take.

Uses a raw socket where that is permitted (CAP_NET_RAW), else an unprivileged one where ``net.ipv4.ping_group_range``
permits that (icmp(7)).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import icmplib
from icmplib.utils import unique_identifier
from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import HostName, IpVersion, NameResolver, connect_problem
from wcr_watchd.kit.options import Options

_PORT = 7
"""Any port will do for looking up an address; this one is echo's."""
_LONGEST_WAIT = 2.0
"""Seconds that one answer may take at most, however long the run may."""


@dataclass(frozen=True, slots=True)
class _Echoes:
    """The round trips there were, in seconds, and what went wrong last (empty: answers just did not come)."""

    round_trips: tuple[float, ...]
    problem: str


class Icmp(Options):
    """Pings a host."""

    type: ClassVar[str] = "icmp"
    target_key: ClassVar[str] = "host"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("packet_loss", Unit.RATIO, "Part of the packets that no answer came for"),
        MeasurementSpec("rtt_min", Unit.SECONDS, "Shortest round trip"),
        MeasurementSpec("rtt_avg", Unit.SECONDS, "Mean round trip"),
        MeasurementSpec("rtt_max", Unit.SECONDS, "Longest round trip"),
        MeasurementSpec("jitter", Unit.SECONDS, "Mean difference of round trips that follow each other"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "packet_loss > 20% for 3x"),
    )
    example: ClassVar[str] = 'host = "192.0.2.1"\n'

    host: HostName
    """A name or an address."""
    count: Annotated[int, Field(ge=1, le=20)] = 3
    """How many packets to send."""
    interval: Annotated[float, Field(ge=0.01, le=2)] = 0.2
    """Seconds between two packets."""
    ip: IpVersion = "any"
    """Which version of IP to use: "any", "4" or "6"."""

    @property
    def target(self) -> str:
        """The host."""
        return self.host

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Send the packets and gather the answers."""
        run.step = f"looking up {self.host}"
        try:
            addresses = await run.shared.get(NameResolver).addresses(self.host, _PORT, self.ip)
        except OSError as error:
            return run.down("dns", f"{self.host} cannot be looked up: {connect_problem(error)}")
        address = str(addresses[0][4][0])
        run.step = f"waiting for the echo of {address}"
        # Every packet has the same share of the time, so that even if none is answered there is a result.
        share = (run.remaining - (self.count - 1) * self.interval) * 0.9 / self.count
        try:
            with _open_socket(address) as connection:
                echoes = await self._ping(run, connection, address, min(_LONGEST_WAIT, max(0.05, share)))
        except icmplib.SocketPermissionError:
            return run.unknown(
                "permission",
                f"may not ping {self.host}: needs CAP_NET_RAW (AmbientCapabilities= in the unit) "
                "or net.ipv4.ping_group_range",
            )
        except icmplib.ICMPLibError as error:
            return run.down("connect", f"{self.host} ({address}) cannot be pinged: {error}")
        return self._verdict(run, address, echoes)

    async def _ping(self, run: Run, connection: Any, address: str, patience: float) -> _Echoes:
        """Send one packet after the other; what fails for one does not keep the next from being sent."""
        round_trips: list[float] = []
        problem = ""
        identifier = unique_identifier()
        for sequence in range(self.count):
            if sequence:
                await asyncio.sleep(self.interval)
            request = icmplib.ICMPRequest(destination=address, id=identifier, sequence=sequence)
            sent = run.clock()
            try:
                connection.send(request)
                reply = await connection.receive(request, patience)
                took = run.clock() - sent
                reply.raise_for_status()
            except icmplib.TimeoutExceeded:
                continue
            except icmplib.ICMPError as error:
                who = f"{error.reply.source} answered " if error.reply.source else ""  # this machine has no way there
                problem = who + str(error).rstrip(".").lower()
            except icmplib.ICMPSocketError as error:
                problem = str(error).rpartition("] ")[2].rstrip(".").lower()
            else:
                round_trips.append(took)
        return _Echoes(tuple(round_trips), problem)

    def _verdict(self, run: Run, address: str, echoes: _Echoes) -> Observation:
        times = echoes.round_trips
        run.measure("packet_loss", 1 - len(times) / self.count)
        where = self.host if self.host == address else f"{self.host} ({address})"
        why = f": {echoes.problem}" if echoes.problem else ""
        if not times:
            return run.down("no_answer", f"{where} answered none of {self.count} pings{why}")
        mean = sum(times) / len(times)
        run.measure_all({"rtt_min": min(times), "rtt_avg": mean, "rtt_max": max(times)})
        if len(times) > 1:
            run.measure("jitter", sum(abs(later - earlier) for earlier, later in pairwise(times)) / (len(times) - 1))
        took = format_duration(mean)
        return run.up(f"{where} answered {len(times)} of {self.count} pings, {took} on average{why}")


def _open_socket(address: str) -> icmplib.AsyncSocket:
    """A raw socket, or one without privileges. Raises :class:`icmplib.SocketPermissionError` when neither may be."""
    kind = icmplib.ICMPv6Socket if ":" in address else icmplib.ICMPv4Socket
    try:
        return icmplib.AsyncSocket(kind(None, privileged=True))
    except icmplib.SocketPermissionError:
        return icmplib.AsyncSocket(kind(None, privileged=False))
