"""The many series of the checks, written line by line: of ten thousand checks there are a hundred thousand and more.

An object for every sample, as the client library makes them, would take seconds and hundreds of megabytes, and make the
garbage collector stop the daemon. Formats: see :mod:`wcr_watchd.metrics.exposition`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.setup import Check
from wcr_watchd.core.view import CheckCounters
from wcr_watchd.metrics.families import Snapshot
from wcr_watchd.metrics.names import OWN_LABELS, family_name, label_name, unit_metadata

_UP = {Outcome.UP: 1.0, Outcome.DOWN: 0.0, Outcome.UNKNOWN: math.nan}
_MISSED_RUNS_UNTIL_STALE = 2
_NOT_FINITE = {math.inf: "+Inf", -math.inf: "-Inf"}
_AT_A_TIME = 50
"""Checks that are written before others get their turn."""


@dataclass(slots=True)
class Family:
    """A metric family: what its head says, and the lines of its series as they are exposed."""

    name: str
    help: str
    kind: str = "gauge"
    unit: str = ""
    lines: bytearray = field(default_factory=bytearray)

    def add(self, labels: str, value: float) -> None:
        """Add a series with these labels, written as :func:`labels_text` writes them."""
        suffix = "_total" if self.kind == "counter" else ""
        self.lines += f"{self.name}{suffix}{{{labels}}} {_number(value)}\n".encode()


def labels_text(names: Iterable[str], values: Iterable[str]) -> str:
    """Labels as both formats write them between the braces."""
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")


def check_families(snapshot: Snapshot, breathe: Callable[[], None]) -> list[Family]:
    """All families about checks that have a series; ``breathe`` is called every millisecond or so of work."""
    states = _States()
    measured: dict[str, Family] = {}
    for number, check in enumerate(snapshot.setup.checks.values(), 1):
        own = labels_text(OWN_LABELS, (check.name, check.probe, snapshot.setup.location))
        states.add(snapshot, check, own)
        observation = snapshot.latest.get(check.name)
        if observation:
            families = _families_of(check, snapshot.specs.get(check.name, ()), measured)
            _add_measurements(check, observation, own, families)
        if number % _AT_A_TIME == 0:
            breathe()
    return [family for family in (*states.families, *measured.values()) if family.lines]


class _States:
    """How checks are, by the words of the house."""

    def __init__(self) -> None:
        self.up = Family("watchd_check_up", "1 up, 0 down, NaN when the last run could not tell.")
        self.severity = Family("watchd_check_severity", "Worst open incident: 0 ok, 1 info, 2 warning, 3 critical.")
        self.stale = Family(
            "watchd_check_stale", "1 when the check has not run for two of its intervals, so the rest is old."
        )
        self.duration = Family("watchd_check_duration_seconds", "How long the last run took.", unit="seconds")
        self.last_run = Family("watchd_check_last_run_timestamp_seconds", "When the last run began.", unit="seconds")
        self.runs = Family("watchd_check_runs", "Runs of the check.", "counter")
        self.failures = Family(
            "watchd_check_failures", "Runs that were not up, and rules that fired, by reason.", "counter"
        )
        self.families = (
            self.up, self.severity, self.stale, self.duration, self.last_run, self.runs, self.failures,
        )  # fmt: skip

    def add(self, snapshot: Snapshot, check: Check, own: str) -> None:
        """Write the series of one check, whose own labels are ``own``."""
        state, observation = snapshot.states.get(check.name), snapshot.latest.get(check.name)
        self.severity.add(own, state.severity if state else Severity.OK)
        self.stale.add(own, _is_stale(snapshot, check, observation))
        outcome = observation.outcome if observation else state.outcome if state else None
        if outcome is not None:
            self.up.add(own, _UP[outcome])
        if observation:
            self.duration.add(own, observation.duration)
            self.last_run.add(own, observation.at)
        counters = snapshot.check_counters.get(check.name) or CheckCounters()
        self.runs.add(own, counters.runs)
        for reason, number in dict(counters.failures).items():
            self.failures.add(f"{own},{labels_text(('reason',), (reason,))}", number)


def _is_stale(snapshot: Snapshot, check: Check, observation: Observation | None) -> bool:
    """Counted from the start of the daemon, so that a restart alone makes nothing stale."""
    known_at = max(observation.at if observation else 0.0, snapshot.started_at)
    return snapshot.now - known_at > _MISSED_RUNS_UNTIL_STALE * check.every + check.timeout


def _families_of(check: Check, specs: Iterable[MeasurementSpec], found: dict[str, Family]) -> dict[str, Family]:
    """The family of each measurement of a check, made on first use.

    Checks of one probe type share families. Where the options of one add a measurement of the same name but
    another kind (counter or gauge) than the other's, the first one keeps the name: a family has one type.
    """
    families_of: dict[str, Family] = {}
    for spec in specs:
        name = family_name(check.probe, spec)
        kind = "counter" if spec.counter else "gauge"
        family = found.get(name)
        if family is None:
            family = found[name] = Family(name, spec.help or spec.name, kind, unit_metadata(spec))
        if family.kind == kind:
            families_of[spec.name] = family
    return families_of


def _add_measurements(check: Check, observation: Observation, own: str, families_of: Mapping[str, Family]) -> None:
    """The measurements of the last run; what was not measured is absent."""
    seen = set()
    for measurement in observation.measurements:
        family = families_of.get(measurement.name)
        if family is None or (family.kind == "counter" and not measurement.value >= 0):
            continue
        labels = own
        if measurement.labels:
            names, values = zip(*measurement.labels, strict=True)
            labels = f"{own},{labels_text([label_name(check.probe, name) for name in names], values)}"
        if (family.name, labels) not in seen:
            seen.add((family.name, labels))
            family.add(labels, measurement.value)
