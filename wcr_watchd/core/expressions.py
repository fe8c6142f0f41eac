"""Conditions over measurements: their tree, and what they are worth for an observation.

Logic is three-valued (Kleene): what cannot be decided because a value is absent is None, never False.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wcr_watchd.core.model import Labels, Outcome
from wcr_watchd.core.rhythm import LATELY
from wcr_watchd.core.units import Unit, format_value
from wcr_watchd.core.windows import BASELINE_PAST, AtLeast, Samples, Track, course_of, foretold, over

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
OUTCOME_WORDS = ("down", "up", "unknown")


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; its unit is None for a plain number, which fits every unit that people write without one."""

    value: float
    unit: Unit | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a label: it is (``=``) or is not (``!=``) this value."""

    label: str
    symbol: str
    value: str

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{self.label}{self.symbol}"{quoted}"'


@dataclass(frozen=True, slots=True)
class Series:
    """A measurement, narrowed by label filters.

    ``labels`` are the names of its labels, sorted. ``pin`` is the one label set it stands for when the filters say
    the value of every label (``()`` for a measurement without labels); None while it stands for several series.
    """

    name: str
    filters: tuple[Filter, ...]
    unit: Unit
    topic: str
    labels: tuple[str, ...]
    pin: Labels | None

    def __str__(self) -> str:
        return f"{self.name}{{{', '.join(map(str, self.filters))}}}" if self.filters else self.name

    def matches(self, labels: Labels) -> bool:
        """Whether the series with these labels is meant."""
        return all(((one.label, one.value) in labels) is (one.symbol == "=") for one in self.filters)

    def of(self, instance: Labels) -> Labels | None:
        """The label set of this measurement in an instance of a rule; None if the instance has none."""
        if self.pin is not None:
            return self.pin
        own = tuple(pair for pair in instance if pair[0] in self.labels)
        return own if len(own) == len(self.labels) and self.matches(own) else None


@dataclass(frozen=True, slots=True)
class Window:
    """A function over the recent values of a series; ``span`` is its second argument (seconds)."""

    function: str
    series: Series
    span: float
    span_text: str
    unit: Unit

    def __str__(self) -> str:
        return f"{self.function}({self.series}{', ' + self.span_text if self.span_text else ''})"

    @property
    def past(self) -> float:
        """Seconds of the past that it looks at."""
        if self.function == "baseline":
            return BASELINE_PAST
        return LATELY if self.function == "forecast" else self.span

    @property
    def track(self) -> Track:
        """What must be remembered for it."""
        return Track(self.series.name, self.past, self.function if self.function in ("min", "max") else "")

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All of it: a forecast also looks at a coarser course of the weeks before."""
        return (
            (self.track, Track(self.series.name, course_of(self.span)))
            if self.function == "forecast"
            else (self.track,)
        )


@dataclass(frozen=True, slots=True)
class Scaled:
    """A multiple of a value: ``3 * baseline(response_time)``."""

    factor: float
    text: str
    item: Series | Window

    def __str__(self) -> str:
        return f"{self.text} * {self.item}"

    @property
    def unit(self) -> Unit:
        """The unit of what is multiplied."""
        return self.item.unit


Source = Series | Window
Value = Literal | Source | Scaled


@dataclass(frozen=True, slots=True)
class Comparison:
    """``value op value``."""

    left: Value
    symbol: str
    right: Value

    def __str__(self) -> str:
        return f"{self.left} {self.symbol} {self.right}"


@dataclass(frozen=True, slots=True)
class Word:
    """``down``, ``up`` or ``unknown``: the outcome itself."""

    word: str

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; what cannot be decided stays so."""

    item: Condition

    def __str__(self) -> str:
        return f"not {_wrapped(self.item)}"


@dataclass(frozen=True, slots=True)
class Junction:
    """``and`` or ``or`` over two or more conditions."""

    word: str
    items: tuple[Condition, ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(_wrapped(item) for item in self.items)


Condition = Comparison | Word | Not | Junction


def _wrapped(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, Junction) else str(condition)


def sources(condition: Condition) -> Iterator[Source]:
    """All measurements and windows that a condition looks at, in order."""
    if isinstance(condition, Comparison):
        for value in (condition.left, condition.right):
            if not isinstance(value, Literal):
                yield value.item if isinstance(value, Scaled) else value
    elif isinstance(condition, Not):
        yield from sources(condition.item)
    elif isinstance(condition, Junction):
        for item in condition.items:
            yield from sources(item)


def series_of(source: Source) -> Series:
    """The measurement that is looked at, now or over a window."""
    return source.series if isinstance(source, Window) else source


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition is decided on: the outcome, the values now (by name and labels) and the recent ones."""

    at: float
    outcome: Outcome
    now: Mapping[str, Mapping[Labels, float]]
    history: Mapping[Track, Mapping[Labels, Samples]]


# --- which instances there are ---


def instances(apart: Iterable[Source], facts: Facts) -> list[Labels]:
    """The label sets that a rule is decided for, told ``apart`` by these measurements, as far as they are there now.

    Measurements with the same labels share instances; others are matched on the labels they have in common.
    """
    groups: dict[tuple[str, ...], dict[Labels, None]] = {}
    for source in apart:
        group = groups.setdefault(series_of(source).labels, {})
        group.update(dict.fromkeys(_present(source, facts)))
    found: list[Labels] = []
    names: set[str] = set()
    for labels, known in groups.items():
        found = _joined(found, list(known), names.intersection(labels)) if names else list(known)
        names.update(labels)
    return found


def _present(source: Source, facts: Facts) -> Iterator[Labels]:
    if isinstance(source, Series):
        yield from (labels for labels in facts.now.get(source.name, ()) if source.matches(labels))
    else:
        for labels, samples in facts.history.get(source.track, {}).items():
            if samples[-1][0] >= facts.at and source.series.matches(labels):
                yield labels


def _joined(left: Sequence[Labels], right: Sequence[Labels], common: set[str]) -> list[Labels]:
    """Every pair that agrees on the common labels, as one; those without a partner stand alone."""
    partners: dict[Labels, list[Labels]] = {}
    for labels in right:
        partners.setdefault(_only(labels, common), []).append(labels)
    found: dict[Labels, None] = {}
    matched = set()
    for labels in left:
        key = _only(labels, common)
        matched.add(key)
        found.update(dict.fromkeys(tuple(sorted({*labels, *other})) for other in partners.get(key, ((),))))
    alone = (labels for key, group in partners.items() if key not in matched for labels in group)
    return [*found, *alone]


def _only(labels: Labels, names: set[str]) -> Labels:
    return tuple(pair for pair in labels if pair[0] in names)


# --- what a condition is worth ---


def truth(condition: Condition, facts: Facts, instance: Labels) -> bool | None:
    """Whether the condition holds for one instance; None when that cannot be decided."""
    if isinstance(condition, Word):
        return _outcome_is(condition.word, facts.outcome)
    if isinstance(condition, Comparison):
        left, right = worth(condition.left, facts, instance), worth(condition.right, facts, instance)
        return None if left is None or right is None else _compared(left, condition.symbol, right)
    if isinstance(condition, Not):
        inner = truth(condition.item, facts, instance)
        return None if inner is None else not inner
    results = [truth(item, facts, instance) for item in condition.items]
    deciding = condition.word == "or"
    if deciding in results:
        return deciding
    return None if None in results else not deciding


def _outcome_is(word: str, outcome: Outcome) -> bool | None:
    if word == "unknown":
        return outcome is Outcome.UNKNOWN
    return None if outcome is Outcome.UNKNOWN else outcome.value == word


def _compared(left: float, symbol: str, right: float) -> bool | None:
    """The comparison; None when a side that may yet be more could change it."""
    if isinstance(right, AtLeast):
        if isinstance(left, AtLeast):
            return None
        left, symbol, right = right, {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(symbol, symbol), left
    if isinstance(left, AtLeast) and not (left > right or (left == right and symbol in (">=", "<"))):
        return None
    return OPERATORS[symbol](left, right)


def worth(value: Value, facts: Facts, instance: Labels) -> float | None:
    """The number a value stands for in one instance; None when it is absent."""
    if isinstance(value, Literal):
        return value.value
    if isinstance(value, Scaled):
        number = worth(value.item, facts, instance)
        if number is None:
            return None
        return AtLeast(number * value.factor) if isinstance(number, AtLeast) else number * value.factor
    labels = series_of(value).of(instance)
    if labels is None:
        return None
    if isinstance(value, Series):
        return facts.now.get(value.name, {}).get(labels)
    samples, *course = (facts.history.get(track, {}).get(labels, ()) for track in value.tracks)
    if course:
        return foretold(samples, course[0], facts.at, value.span)
    return over(value.function, samples, facts.at, value.past, value.span)


# --- why it holds ---


def because(condition: Condition, facts: Facts, instance: Labels, wanted: bool = True) -> str:
    """Why the condition holds (or does not, if that is ``wanted``), with the values that make it so.

    ``disk_used{mount="/"} 93.1 % > 90 %``
    """
    if isinstance(condition, Word):
        return condition.word if wanted else f"not {condition.word}"
    if isinstance(condition, Comparison):
        return _comparison_because(condition, facts, instance, wanted)
    if isinstance(condition, Not):
        return because(condition.item, facts, instance, not wanted)
    telling = [item for item in condition.items if truth(item, facts, instance) is wanted]
    word = condition.word if wanted else {"and": "or", "or": "and"}[condition.word]
    return f" {word} ".join(because(item, facts, instance, wanted) for item in telling)


def _comparison_because(comparison: Comparison, facts: Facts, instance: Labels, wanted: bool) -> str:
    sides = (comparison.left, comparison.right)
    unit = next((side.unit for side in sides if not isinstance(side, Literal)), Unit.COUNT)
    numbers = [worth(side, facts, instance) for side in sides]
    symbol = comparison.symbol if wanted else OPPOSITE[comparison.symbol]
    left, right = (
        text if isinstance(side, Literal) else f"{_named(side, instance)} {text}"
        for side, text in zip(sides, _shown(numbers, unit), strict=True)
    )
    return f"{left} {symbol} {right}"


def _shown(numbers: Sequence[float | None], unit: Unit) -> list[str]:
    """Both numbers, exact enough to be told apart: never ``90 % > 90 %``."""
    texts: list[str] = []
    for digits in (3, 4, 5, 6, 9):
        texts = ["?" if number is None else format_value(number, unit, digits) for number in numbers]
        if len(set(texts)) > 1 or numbers[0] == numbers[1]:
            break
    return texts


def _named(value: Source | Scaled, instance: Labels) -> str:
    """The value as the rule has it, with the labels of this instance."""
    item = value.item if isinstance(value, Scaled) else value
    series = series_of(item)
    labels = series.of(instance)
    if series.pin is not None or not labels:
        return str(value)
    named = f"{series.name}{{{', '.join(str(Filter(label, '=', is_)) for label, is_ in labels)}}}"
    return str(value).replace(str(series), named, 1)
