"""What the rules of a check say: about one observation alone, for a run by hand, and as they stand now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from wcr_watchd.core.model import Labels, Observation, Severity
from wcr_watchd.core.rules import History, Rule, RuleState, Verdict, evaluate, remember
from wcr_watchd.core.setup import Check
from wcr_watchd.core.state import CheckState


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


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rule stands for one label set: firing, or true but not for long enough; with the values that make it."""

    rule: Rule
    labels: Labels
    because: str
    fires: bool
    since: float | None

    @property
    def severity(self) -> Severity:
        """How bad it is when it fires."""
        return self.rule.severity


def standings(check: Check, state: CheckState | None) -> tuple[Standing, ...]:
    """The rules of a check that are not clear now: those that fire first, the worst of them first."""
    by_text = {rule.text: rule for rule in check.rules}
    found = [
        Standing(by_text[text], labels, one.because, one.verdict is Verdict.FIRING, one.since)
        for text, rules in (state.rules if state else ())
        if text in by_text
        for labels, one in rules.instances
        if one.verdict is not Verdict.CLEAR
    ]
    return tuple(sorted(found, key=lambda one: (not one.fires, -one.severity)))
