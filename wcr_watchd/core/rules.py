"""The rule language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from wcr_watchd.core.model import Labels, MeasurementSpec, Observation, Severity


class Verdict(StrEnum):
    """What a rule says about one instance after an observation."""

    CLEAR = "clear"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a condition must hold: ``seconds`` or a number of runs in a row."""

    seconds: float | None = None
    runs: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over measurements, held for a time, that gives a severity."""

    severity: Severity
    text: str
    topic: str = ""
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class InstanceState:
    """Where a rule stands for one label set."""

    verdict: Verdict = Verdict.CLEAR
    since: float | None = None
    runs: int = 0
    clear_since: float | None = None
    clear_runs: int = 0
    because: str = ""


@dataclass(frozen=True, slots=True)
class RuleState:
    """Where a rule stands, by label set."""

    instances: tuple[tuple[Labels, InstanceState], ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The recent values that the window functions of a check's rules need: (name, labels) to (time, value) pairs."""

    series: Mapping[tuple[str, Labels], tuple[tuple[float, float], ...]] = field(default_factory=dict)


def parse_rule(text: str, severity: Severity, specs: Sequence[MeasurementSpec]) -> Rule:
    """Read a rule and check its units against the measurements."""
    raise NotImplementedError


def remember(history: History, rules: Sequence[Rule], observation: Observation) -> History:
    """Return the history with the observation's values that the rules' windows need, older ones dropped."""
    raise NotImplementedError


def evaluate(rule: Rule, state: RuleState, history: History, observation: Observation, confirmations: int) -> RuleState:
    """Return where the rule stands after the observation (``history`` already holds it)."""
    raise NotImplementedError
