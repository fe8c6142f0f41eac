"""From a snapshot of the running daemon to metric families. Measures nothing, reads no clock, touches no loop."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from wcr_watchd.core.model import Incident, MeasurementSpec, Observation, Severity
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.view import CheckCounters, Counters, Histogram, View


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a scrape sees: frozen values, and counters that may go on counting while they are read."""

    setup: Setup
    states: Mapping[str, CheckState]
    incidents: tuple[Incident, ...]
    latest: Mapping[str, Observation]
    specs: Mapping[str, tuple[MeasurementSpec, ...]]
    counters: Counters
    check_counters: Mapping[str, CheckCounters]
    started_at: float
    now: float
    version: str


def take_snapshot(view: View) -> Snapshot:
    """Copy what may change; to be called on the event loop, and quick however many checks there are."""
    return Snapshot(
        setup=view.setup,
        states=dict(view.state.checks),
        incidents=tuple(view.state.incidents.values()),
        latest=dict(view.latest),
        specs=dict(view.specs),
        counters=view.counters,
        check_counters=dict(view.counters.checks),
        started_at=view.started_at,
        now=view.now(),
        version=view.version,
    )


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Every metric family about the daemon itself, each once."""
    yield from _daemon(snapshot)
    yield from _notifications(snapshot)
    yield from _heartbeats(snapshot.counters)
    yield from _objectives(snapshot.counters)
    yield from _moving_parts(snapshot.counters)


def _daemon(snapshot: Snapshot) -> Iterator[Metric]:
    counters = snapshot.counters
    build = {"version": snapshot.version, "python": platform.python_version()}
    yield InfoMetricFamily("watchd_build", "Version of wcr-watchd and of the Python that runs it.", value=build)
    yield GaugeMetricFamily(
        "watchd_config_last_reload_successful",
        "Whether the last attempt to read the configuration succeeded (1) or the old one goes on (0).",
        float(counters.reload_successful),
    )
    yield GaugeMetricFamily(
        "watchd_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read.",
        counters.reload_at,
        unit="seconds",
    )
    open_incidents = GaugeMetricFamily(
        "watchd_incidents_open", "Incidents that are not resolved.", labels=("severity",)
    )
    for severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL):
        number = sum(incident.severity is severity for incident in snapshot.incidents)
        open_incidents.add_metric((severity.word,), number)
    yield open_incidents


def _notifications(snapshot: Snapshot) -> Iterator[Metric]:
    counters = snapshot.counters
    channels = dict(counters.channels)
    attempts = CounterMetricFamily(
        "watchd_notifications", "Attempts to deliver a notification, successful or not.", labels=("channel",)
    )
    failed = CounterMetricFamily(
        "watchd_notifications_failed", "Attempts to deliver a notification that failed.", labels=("channel", "reason")
    )
    success = GaugeMetricFamily(
        "watchd_channel_last_success_timestamp_seconds",
        "When the channel last accepted a notification.",
        labels=("channel",),
        unit="seconds",
    )
    for name in dict.fromkeys((*snapshot.setup.channels, *channels)):
        channel = channels.get(name)
        reasons = dict(channel.failed) if channel else {}
        attempts.add_metric((name,), (channel.sent if channel else 0) + sum(reasons.values()))
        for reason, number in reasons.items():
            failed.add_metric((name, reason), number)
        if channel and channel.last_success_at is not None:
            success.add_metric((name,), channel.last_success_at)
    yield from (attempts, failed, success)
    yield GaugeMetricFamily(
        "watchd_notifications_pending", "Notifications not delivered yet.", counters.notifications_pending
    )
    yield GaugeMetricFamily(
        "watchd_dead_letters", "Messages given up, neither sent again nor discarded.", counters.dead_letters
    )
    oldest = counters.oldest_pending_at
    yield GaugeMetricFamily(
        "watchd_notification_oldest_pending_seconds",
        "Age of the oldest notification not delivered yet; 0 when there is none.",
        0.0 if oldest is None else max(0.0, snapshot.now - oldest),
        unit="seconds",
    )


def _heartbeats(counters: Counters) -> Iterator[Metric]:
    labels = ("heartbeat",)
    attempts = CounterMetricFamily(
        "watchd_heartbeats", "Signs of life sent to whoever watches this daemon, arrived or not.", labels=labels
    )
    failed = CounterMetricFamily("watchd_heartbeats_failed", "Signs of life that did not arrive.", labels=labels)
    success = GaugeMetricFamily(
        "watchd_heartbeat_last_success_timestamp_seconds",
        "When a sign of life last arrived.",
        labels=labels,
        unit="seconds",
    )
    for name, counted in dict(counters.heartbeats).items():
        attempts.add_metric((name,), counted.sent + counted.failed)
        failed.add_metric((name,), counted.failed)
        if counted.last_success_at is not None:
            success.add_metric((name,), counted.last_success_at)
    yield from (attempts, failed, success)


def _objectives(counters: Counters) -> Iterator[Metric]:
    labels = ("objective",)
    target = GaugeMetricFamily(
        "watchd_objective_target_ratio", "The share of the time that was promised.", labels=labels, unit="ratio"
    )
    availability = GaugeMetricFamily(
        "watchd_objective_availability_ratio",
        "The share of the time up over the period, without planned maintenance; reckoned every five minutes.",
        labels=labels,
        unit="ratio",
    )
    left = GaugeMetricFamily(
        "watchd_objective_budget_left_ratio",
        "What is left of the error budget, negative when more is used; reckoned every five minutes.",
        labels=labels,
        unit="ratio",
    )
    rates = GaugeMetricFamily(
        "watchd_objective_burn_rate",
        "How many times as fast as it may the error budget went in the last so many seconds.",
        labels=("objective", "window_seconds"),
    )
    for name, found in dict(counters.objectives).items():
        target.add_metric((name,), found.target)
        if found.budget is not None and found.budget.availability is not None:
            availability.add_metric((name,), found.budget.availability)
        if found.budget is not None and found.budget.left is not None:
            left.add_metric((name,), found.budget.left)
        for window, rate in found.rates:
            if rate is not None:
                rates.add_metric((name, f"{window:.0f}"), rate)
    yield from (target, availability, left, rates)


def _moving_parts(counters: Counters) -> Iterator[Metric]:
    yield _histogram(
        "watchd_scheduler_lag_seconds", "How much later than planned checks were started.", counters.scheduler_lag
    )
    yield CounterMetricFamily(
        "watchd_scheduler_missed", "Runs that could not take place in their slot.", counters.scheduler_missed
    )
    yield CounterMetricFamily(
        "watchd_scheduler_void", "Runs that did not count because the daemon itself was held up.", counters.runs_void
    )
    yield GaugeMetricFamily("watchd_scheduler_in_flight", "Checks being carried out now.", counters.runs_in_flight)
    yield GaugeMetricFamily(
        "watchd_event_loop_lag_seconds",
        "How long the event loop last kept a due timer waiting.",
        counters.event_loop_lag,
        unit="seconds",
    )
    yield GaugeMetricFamily(
        "watchd_event_loop_tasks", "Tasks of the event loop; steady in the long run.", counters.event_loop_tasks
    )
    yield _histogram("watchd_store_write_seconds", "How long writing a batch to the store took.", counters.store_write)
    yield CounterMetricFamily(
        "watchd_store_failures", "Batches that the store did not take at once.", counters.store_failures
    )


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    # Cumulative: each bucket counts all values up to its bound, the last one all there are.
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(tuple(histogram.counts)), strict=True))
    return HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=histogram.sum, unit="seconds")
