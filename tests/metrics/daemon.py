"""A view of a daemon that does not run: what a scrape sees, set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from wcr_watchd.core.model import Incident, IncidentState, Measurement, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.objectives import Budget
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import Unit
from wcr_watchd.core.view import ChannelCounters, CheckCounters, Counters, HeartbeatCounters, ObjectiveFigures, Touched

NOW = 1_790_000_000.0

HTTP = (
    MeasurementSpec("response_time", Unit.SECONDS, "From asking to the last byte."),
    MeasurementSpec("status", Unit.COUNT, "The status code."),
    MeasurementSpec("certificate_expiry", Unit.TIMESTAMP, "When the first certificate of the chain ends."),
)
HOST = (
    MeasurementSpec("disk_used", Unit.RATIO, "Share of the disk in use.", labels=("mount",)),
    MeasurementSpec("network_received", Unit.BYTES, "Bytes received.", labels=("device",), counter=True),
    MeasurementSpec("oom_kills", Unit.COUNT, "Processes killed for want of memory.", counter=True),
)


def a_check(name: str, probe: str = "http") -> Check:
    return Check(name, probe, f"{probe}://{name}", every=60.0, timeout=10.0, rules=())


def an_observation(
    check: str, outcome: Outcome = Outcome.UP, measurements: tuple[Measurement, ...] = (), at: float = NOW - 5
) -> Observation:
    return Observation(check, "nyc3", at, 0.25, outcome, "", "fine", measurements)


@dataclass
class Daemon:
    """Shaped like :class:`wcr_watchd.core.view.View`."""

    setup: Setup = field(default_factory=lambda: Setup("wcr-test", "nyc3", "UTC", "", {}))
    state: State = field(default_factory=State)
    latest: dict[str, Observation] = field(default_factory=dict)
    specs: dict[str, tuple[MeasurementSpec, ...]] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    started_at: float = NOW - 3600
    reload_problems: tuple[str, ...] = ()
    version: str = "1.2.3"
    wall: float = NOW
    elapsed: float = 0.0

    @property
    def store(self) -> Store:
        raise AssertionError("a scrape does not ask the store")

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.elapsed

    def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        raise AssertionError("a scrape does not wait for changes")

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        raise AssertionError("a scrape does not draw")

    async def acknowledge(self, incident: int, by: str) -> str:
        raise AssertionError("a scrape changes nothing")

    def add(self, check: Check, specs: tuple[MeasurementSpec, ...], observation: Observation | None) -> None:
        """Watch another check."""
        self._replace_checks({**self.setup.checks, check.name: check})
        self.specs[check.name] = specs
        if observation:
            self.latest[check.name] = observation
            self.counters.checks[check.name] = CheckCounters(runs=1)
            self.state.checks[check.name] = CheckState(check.name, observation.outcome)

    def remove(self, name: str) -> None:
        """Stop watching a check, as a reload does."""
        self._replace_checks({known: check for known, check in self.setup.checks.items() if known != name})
        for values in (self.specs, self.latest, self.counters.checks, self.state.checks):
            values.pop(name, None)

    def _replace_checks(self, checks: Mapping[str, Check]) -> None:
        self.setup = replace(self.setup, checks=checks)


def a_busy_daemon() -> Daemon:
    """One with something of everything."""
    daemon = Daemon()
    daemon.setup = replace(daemon.setup, channels={"sms": "phone", "mail": "email"})
    daemon.add(
        a_check("api"),
        HTTP,
        an_observation(
            "api",
            measurements=(
                Measurement("response_time", 0.213),
                Measurement("status", 200),
                Measurement("certificate_expiry", NOW + 86400),
            ),
        ),
    )
    daemon.add(
        a_check('the "odd"\none\\', "host"),
        HOST,
        an_observation(
            'the "odd"\none\\',
            measurements=(
                Measurement("disk_used", 0.93, (("mount", '/data "x"\\n'),)),
                Measurement("disk_used", 0.5, (("mount", "/"),)),
                Measurement("network_received", 123456789.0, (("device", "eth0"),)),
                Measurement("oom_kills", 2),
            ),
        ),
    )
    daemon.add(a_check("new"), HTTP, None)
    daemon.add(a_check("down"), HTTP, an_observation("down", Outcome.DOWN))
    daemon.add(a_check("dark"), HTTP, an_observation("dark", Outcome.UNKNOWN, at=NOW - 300))
    daemon.counters.checks["down"] = CheckCounters(runs=7, failures={"dns": 2, "rule": 1})
    daemon.state.checks["down"] = CheckState("down", Outcome.DOWN, severity=Severity.CRITICAL)
    daemon.state.incidents[1] = Incident(
        1, "down", "", Severity.CRITICAL, Severity.CRITICAL, IncidentState.OPEN, NOW - 60, NOW - 60, "dns"
    )
    daemon.counters.channels["sms"] = ChannelCounters(sent=3, failed={"server": 2}, last_success_at=NOW - 30)
    budget = Budget(0.9987, 0.9981, 60.0, 86_000.0, 400.0, 0.75)
    rates = ((3_600.0, 2.5), (300.0, None))
    daemon.counters.objectives["shop"] = ObjectiveFigures(0.999, budget, rates)
    daemon.counters.objectives["new"] = ObjectiveFigures(0.99, None, ())
    daemon.counters.heartbeats["elsewhere"] = HeartbeatCounters(sent=7, failed=2, last_success_at=NOW - 60)
    daemon.counters.notifications_pending = 2
    daemon.counters.dead_letters = 3
    daemon.counters.oldest_pending_at = NOW - 42
    daemon.counters.reload_at = NOW - 3600
    daemon.counters.scheduler_missed = 4
    for seconds in (0.0005, 0.02, 0.02, 99.0):
        daemon.counters.scheduler_lag.observe(seconds)
    daemon.counters.store_write.observe(0.004)
    return daemon
