"""Measurements, observations and a way to play them to a rule, for tests of the rule language."""

from __future__ import annotations

from collections.abc import Iterable

from wcr_watchd.core.model import Labels, Measurement, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.rules import History, InstanceState, Rule, RuleState, evaluate, parse_rule, remember
from wcr_watchd.core.units import Unit

SPECS = (
    MeasurementSpec("response_time", Unit.SECONDS, "How long the answer took"),
    MeasurementSpec("connect_time", Unit.SECONDS, "How long connecting took"),
    MeasurementSpec("expires_in", Unit.SECONDS, "Time until the certificate ends"),
    MeasurementSpec("renewed_at", Unit.TIMESTAMP, "When the certificate was renewed"),
    MeasurementSpec("status", Unit.COUNT, "Status of the answer"),
    MeasurementSpec("users", Unit.COUNT, "Users"),
    MeasurementSpec("body_size", Unit.BYTES, "Size of the answer"),
    MeasurementSpec("cpu_used", Unit.RATIO, "Used part of the processor", topic="cpu"),
    MeasurementSpec("memory_used", Unit.RATIO, "Used part of the memory", topic="memory"),
    MeasurementSpec("temperature", Unit.CELSIUS, "Temperature", labels=("sensor",)),
    MeasurementSpec("oom_kills", Unit.COUNT, "Processes killed for want of memory", counter=True, topic="memory"),
    MeasurementSpec("cpu_time", Unit.SECONDS, "Processor time", counter=True, topic="cpu"),
    MeasurementSpec("disk_used", Unit.RATIO, "Used part of a disk", labels=("mount",), topic="disk"),
    MeasurementSpec("inodes_used", Unit.RATIO, "Used part of the inodes", labels=("mount",), topic="disk"),
    MeasurementSpec("disk_errors", Unit.COUNT, "Errors", labels=("mount", "kind"), counter=True, topic="disk"),
    MeasurementSpec("received", Unit.BYTES, "Received", labels=("interface",), counter=True, topic="network"),
)


def rule(text: str, severity: Severity = Severity.WARNING) -> Rule:
    """A rule over the measurements above."""
    return parse_rule(text, severity, SPECS)


def labels(**values: str) -> Labels:
    """A label set."""
    return tuple(sorted(values.items()))


def series(name: str, value: float, **values: str) -> Measurement:
    """A measured value with labels."""
    return Measurement(name, value, labels(**values))


def up(at: float, *more: Measurement, **values: float) -> Observation:
    """The check is up and measured these values."""
    return seen(at, Outcome.UP, *more, **values)


def seen(at: float, outcome: Outcome, *more: Measurement, **values: float) -> Observation:
    """An observation with values without labels (by name) and others."""
    plain = tuple(Measurement(name, value) for name, value in values.items())
    return Observation("api", "here", at, 0.1, outcome, "", "", (*plain, *more))


class Player:
    """Plays observations to a rule and remembers what the engine would."""

    def __init__(self, text: str, confirmations: int = 0) -> None:
        self.rule = rule(text)
        self.confirmations = confirmations
        self.state = RuleState()
        self.history = History()

    def play(self, observation: Observation) -> str:
        """One more observation; returns the verdict (the worst, where there are several instances)."""
        self.history = remember(self.history, [self.rule], observation)
        self.state = evaluate(self.rule, self.state, self.history, observation, self.confirmations)
        return self.verdict

    def play_all(self, observations: Iterable[Observation]) -> list[str]:
        """The verdicts after each of the observations."""
        return [self.play(observation) for observation in observations]

    @property
    def verdict(self) -> str:
        """The worst verdict."""
        verdicts = [one.verdict.value for _, one in self.state.instances]
        return next((word for word in ("firing", "pending") if word in verdicts), "clear")

    @property
    def firing(self) -> list[Labels]:
        """The label sets that fire."""
        return [labels for labels, one in self.state.instances if one.verdict.value == "firing"]

    @property
    def only(self) -> InstanceState:
        """The one instance there is."""
        ((_, instance),) = self.state.instances
        return instance

    @property
    def because(self) -> str:
        """Why the one instance stands as it does."""
        return self.only.because
