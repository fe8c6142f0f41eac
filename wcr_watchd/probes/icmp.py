"""Pings a host (ICMP echo, RFC 792 and RFC 4443): whether it answers, how many packets are lost, how long they take.

Uses a raw socket where that is permitted (CAP_NET_RAW), else an unprivileged one where ``net.ipv4.ping_group_range``
permits that (icmp(7)).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import icmplib
from pydantic import AfterValidator, Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import NameResolver, check_host, connect_problem
from wcr_watchd.kit.options import Options

_PORT = 7
"""Any port will do for looking up an address; this one is echo's."""


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

    host: Annotated[str, AfterValidator(check_host)]
    """A name or an address."""
    count: Annotated[int, Field(ge=1, le=20)] = 3
    """How many packets to send."""
    interval: Annotated[float, Field(ge=0.01, le=2)] = 0.2
    """Seconds between two packets."""
    ip: Literal["any", "4", "6"] = "any"
    """Which version of IP to use."""

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
        address = addresses[0][4][0]
        run.step = f"waiting for the echo of {address}"
        # Each packet may take what is left when all were sent, so that the last one has its fair chance.
        patience = max(0.1, (run.remaining - self.count * self.interval) * 0.8)
        try:
            result = await self._ping(str(address), min(patience, 2.0))
        except icmplib.SocketPermissionError:
            return run.unknown(
                "permission",
                f"may not ping {self.host}: needs CAP_NET_RAW (AmbientCapabilities= in the unit) "
                "or net.ipv4.ping_group_range",
            )
        except icmplib.ICMPLibError as error:
            return run.down("connect", f"{self.host} ({address}) cannot be pinged: {error}")
        except OSError as error:
            return run.down("connect", f"{self.host} ({address}) cannot be pinged: {connect_problem(error)}")
        return self._verdict(run, str(address), result)

    async def _ping(self, address: str, patience: float) -> icmplib.Host:
        try:
            return await icmplib.async_ping(address, self.count, self.interval, patience, privileged=True)
        except icmplib.SocketPermissionError:
            return await icmplib.async_ping(address, self.count, self.interval, patience, privileged=False)

    def _verdict(self, run: Run, address: str, result: icmplib.Host) -> Observation:
        run.measure("packet_loss", result.packet_loss)
        where = self.host if self.host == address else f"{self.host} ({address})"
        if not result.is_alive:
            return run.down("no_answer", f"{where} answered none of {self.count} pings")
        for name in ("min_rtt", "avg_rtt", "max_rtt"):
            run.measure("rtt_" + name.removesuffix("_rtt"), getattr(result, name) / 1_000)
        if result.packets_received > 1:
            run.measure("jitter", result.jitter / 1_000)
        mean = format_duration(result.avg_rtt / 1_000)
        return run.up(f"{where} answered {result.packets_received} of {self.count} pings, {mean} on average")
