"""One probe on behalf of a Prometheus: what it may use, its gauges by the exporter's names, and its log."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from wcr_watchd.core.run import Shared
from wcr_watchd.kit.network import NameResolver, connect_problem

_LONGEST_LINE = 500
_MOST_LINES = 200

HELP = {
    "probe_success": "Displays whether or not the probe was a success",
    "probe_duration_seconds": "Returns how long the probe took to complete in seconds",
    "probe_timeout_seconds": "Returns the probe's timeout in seconds",
    "probe_dns_lookup_time_seconds": "Returns the time taken for probe dns lookup in seconds",
    "probe_ip_protocol": "Specifies whether probe ip protocol is IP4 or IP6",
    "probe_ip_addr_hash": "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
    "probe_http_duration_seconds": "Duration of http request by phase, summed over all redirects",
    "probe_http_content_length": "Length of http content response",
    "probe_http_uncompressed_body_length": "Length of uncompressed response body",
    "probe_http_redirects": "The number of redirects",
    "probe_http_ssl": "Indicates if SSL was used for the final redirect",
    "probe_http_status_code": "Response HTTP status code",
    "probe_http_version": "Returns the version of HTTP of the probe response",
    "probe_http_last_modified_timestamp_seconds": "Returns the Last-Modified HTTP response header in unixtime",
    "probe_failed_due_to_regex": "Indicates if probe failed due to regex",
    "probe_failed_due_to_bytes": "Indicates if probe failed due to bytes",
    "probe_expect_info": "Explicit content matched",
    "probe_ssl_earliest_cert_expiry": "Returns earliest SSL cert expiry in unixtime",
    "probe_ssl_last_chain_expiry_timestamp_seconds": "Returns last SSL chain expiry in timestamp",
    "probe_ssl_last_chain_info": "Contains SSL leaf certificate information",
    "probe_tls_version_info": "Returns the TLS version used or NaN when unknown",
    "probe_tls_cipher_info": "Returns the TLS cipher negotiated during handshake",
    "probe_dns_duration_seconds": "Duration of DNS request by phase",
    "probe_dns_answer_rrs": "Returns number of entries in the answer resource record list",
    "probe_dns_authority_rrs": "Returns number of entries in the authority resource record list",
    "probe_dns_additional_rrs": "Returns number of entries in the additional resource record list",
    "probe_dns_query_succeeded": "Displays whether or not the query was executed successfully",
    "probe_dns_serial": "Returns the serial number of the zone",
    "probe_icmp_duration_seconds": "Duration of icmp request by phase",
    "probe_icmp_reply_hop_limit": "Replied packet hop limit (TTL for ipv4)",
}
"""All gauges there are, with the exporter's words about them."""


class ProbeFailedError(Exception):
    """The probe has failed; why stands in the attempt's log already."""


@dataclass(slots=True, eq=False)
class Attempt(Collector):
    """One probe. ``clock`` is monotonic seconds, ``timeout`` what it has of them, ``now`` the wall time (epoch)."""

    shared: Shared
    clock: Callable[[], float]
    now: Callable[[], float]
    timeout: float
    lines: list[str] = field(default_factory=list)
    _gauges: dict[str, dict[tuple[tuple[str, str], ...], float]] = field(default_factory=dict)
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return self.clock() - self._begun

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._gauges.setdefault(name, {})[tuple(labels.items())] = float(value)

    def add(self, name: str, value: float, **labels: str) -> None:
        """Add to a gauge."""
        series = self._gauges.setdefault(name, {})
        series[tuple(labels.items())] = series.get(tuple(labels.items()), 0.0) + value

    def zero(self, *names: str) -> None:
        """Set gauges without labels to 0, which the exporter shows from the beginning."""
        for name in names:
            self.set(name, 0)

    def zero_phases(self, name: str, *phases: str) -> None:
        """Likewise a gauge with a series for each phase."""
        for phase in phases:
            self.add(name, 0, phase=phase)

    def log(self, said: str, level: str = "info", **facts: object) -> None:
        """Write a line (logfmt, as the exporter's); shown by ``debug=true``."""
        if len(self.lines) < _MOST_LINES:
            known = {"level": level, "at": f"{self.elapsed:.6f}s", "msg": said, **facts}
            self.lines.append(" ".join(f"{name}={_quoted(str(value))}" for name, value in known.items()))

    def fail(self, said: str, **facts: object) -> ProbeFailedError:
        """Log why it fails, and the exception to raise."""
        self.log(said, "error", **facts)
        return ProbeFailedError(said)

    def text(self) -> bytes:
        """The gauges in the text format that Prometheus reads."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as the client library wants them."""
        for name in sorted(self._gauges):
            series = self._gauges[name]
            family = GaugeMetricFamily(name, HELP[name], labels=[label for label, _ in next(iter(series))])
            for labels, value in series.items():
                family.add_metric([text for _, text in labels], value)
            yield family

    async def choose_address(self, host: str, preferred: str, fallback: bool) -> tuple[str, float]:
        """The one address of a host that is probed, and the seconds that finding it took.

        The preferred version's first address; where fallback is allowed and there is none, the other version's last.
        Raises :class:`ProbeFailedError`.
        """
        version = "4" if preferred == "ip4" else "6"
        self.zero("probe_dns_lookup_time_seconds", "probe_ip_protocol", "probe_ip_addr_hash")
        self.log("Resolving target address", target=host, ip_protocol=f"ip{version}")
        begun = self.clock()
        try:
            address, version = await self._find(host, version, fallback)
        except (OSError, IndexError) as error:
            words = connect_problem(error) if isinstance(error, OSError) else "it has no such address"
            raise self.fail("Resolution with IP protocol failed", target=host, err=words) from error
        except ValueError as error:  # a name that none can have, with a null character in it
            raise self.fail("Resolution with IP protocol failed", target=host, err=error) from error
        finally:
            took = self.clock() - begun
            self.set("probe_dns_lookup_time_seconds", took)
        self.set("probe_ip_protocol", int(version))
        self.set("probe_ip_addr_hash", _fnv1a(socket.inet_pton(_FAMILIES[version], address.partition("%")[0])))
        self.log("Resolved target address", target=host, ip=address)
        return address, took

    async def _find(self, host: str, version: str, fallback: bool) -> tuple[str, str]:
        names = self.shared.get(NameResolver)
        try:
            return str((await names.addresses(host, 0, version))[0][4][0]), version
        except (OSError, IndexError):
            if not fallback:
                raise
        other = "4" if version == "6" else "6"
        return str((await names.addresses(host, 0, other))[-1][4][0]), other


_FAMILIES: Mapping[str, int] = {"4": socket.AF_INET, "6": socket.AF_INET6}


def _fnv1a(data: bytes) -> int:
    """FNV hash, 32 bits, variant 1 as Go's ``fnv.New32a`` (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    found = 0x811C9DC5
    for byte in data:
        found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return found


def _quoted(text: str) -> str:
    shown = " ".join(text.split())[:_LONGEST_LINE]
    return shown if shown and not set(shown) & set(' "=') else '"' + shown.replace('"', '\\"') + '"'
