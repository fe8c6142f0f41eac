"""What the rules of a check say about one observation alone, for a run by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wcr_watchd.core.model import Labels, Observation
from wcr_watchd.core.rules import History, Rule, RuleState, Verdict, evaluate, remember
from wcr_watchd.core.setup import Check


@dataclass(frozen=True, slots=True)
class Said:
    """A rule whose condition holds: for which labels, why, and whether it ``fires`` or would have to hold longer."""

    rule: Rule
    labels: Labels
    because: str
    fires: bool


def judge(check: Check, observation: Observation) -> Iterator[Said]:
    """The rules whose condition holds for an observation, without any before it and without confirmation."""
    history = remember(History(), check.rules, observation)
    for rule in check.rules:
        for labels, instance in evaluate(rule, RuleState(), history, observation, 0).instances:
            if instance.verdict is not Verdict.CLEAR:
                yield Said(rule, labels, instance.because, instance.verdict is Verdict.FIRING)
