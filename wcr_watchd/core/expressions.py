"""Conditions over measurements: their tree, how they are read, and what they are worth for an observation.

Logic is three-valued (Kleene): what cannot be decided because a value is absent is None, never False.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from statistics import linear_regression, median, quantiles

from wcr_watchd.core.errors import RuleError, UnitError
from wcr_watchd.core.model import Labels, MeasurementSpec, Outcome
from wcr_watchd.core.units import Unit, format_value, parse_duration, parse_ratio, parse_size

Samples = tuple[tuple[float, float], ...]
"""Times (epoch seconds) and values of a series, oldest first."""

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
OUTCOME_WORDS = ("down", "up", "unknown")
FORECAST_PAST = 6 * 3_600.0
"""Seconds of the past that a forecast follows."""
BASELINE_PAST = 7 * 86_400.0
"""Seconds of the past that a baseline is the median of."""
_RATES = {Unit.SECONDS: Unit.SECONDS_PER_SECOND, Unit.BYTES: Unit.BYTES_PER_SECOND}


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; its unit is None for a plain number, which fits every unit that people write without one."""

    value: float
    unit: Unit | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Series:
    """A measurement, narrowed by a label filter: pairs of label and wanted value."""

    name: str
    filters: Labels
    unit: Unit
    topic: str
    labelled: bool

    def __str__(self) -> str:
        if not self.filters:
            return self.name
        return self.name + "{" + ", ".join(f'{label}="{_quoted(value)}"' for label, value in self.filters) + "}"

    def matches(self, labels: Labels) -> bool:
        """Whether a series with these labels is meant."""
        return all(pair in labels for pair in self.filters)


@dataclass(frozen=True, slots=True)
class Window:
    """A function over the recent values of a series; ``past`` is how far it looks back (seconds)."""

    function: str
    series: Series
    span: float | None
    span_text: str
    unit: Unit

    def __str__(self) -> str:
        return f"{self.function}({self.series}{', ' + self.span_text if self.span_text else ''})"

    @property
    def past(self) -> float:
        """Seconds of history it needs."""
        return {"forecast": FORECAST_PAST, "baseline": BASELINE_PAST}.get(self.function, self.span or 0.0)


Value = Literal | Series | Window


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


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def comparisons(condition: Condition) -> Iterator[Comparison]:
    """All comparisons in a condition, in order."""
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, Not):
        yield from comparisons(condition.item)
    elif isinstance(condition, Junction):
        for item in condition.items:
            yield from comparisons(item)


def values_in(condition: Condition) -> Iterator[Series | Window]:
    """All measurements and windows that a condition looks at."""
    for comparison in comparisons(condition):
        for value in (comparison.left, comparison.right):
            if not isinstance(value, Literal):
                yield value


# --- what a condition is worth ---


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition is decided on: the outcome, the values now and the recent ones, by name and labels."""

    at: float
    outcome: Outcome
    now: Mapping[str, Sequence[tuple[Labels, float]]]
    history: Mapping[tuple[str, Labels], Samples]


def truth(condition: Condition, facts: Facts, instance: Labels) -> bool | None:
    """Whether the condition holds for one instance; None when that cannot be decided."""
    if isinstance(condition, Word):
        return _outcome_is(condition.word, facts.outcome)
    if isinstance(condition, Comparison):
        left, right = worth(condition.left, facts, instance), worth(condition.right, facts, instance)
        return None if left is None or right is None else OPERATORS[condition.symbol](left, right)
    if isinstance(condition, Not):
        inner = truth(condition.item, facts, instance)
        return None if inner is None else not inner
    results = [truth(item, facts, instance) for item in condition.items]
    deciding = condition.word == "or"
    if deciding in results:
        return deciding
    return None if None in results else not deciding


def because(condition: Condition, facts: Facts, instance: Labels) -> str:
    """Why the condition holds, with the values that make it so: ``disk_used{mount="/"} 93.1 % > 90 %``."""
    if isinstance(condition, Word):
        return condition.word
    if isinstance(condition, Not):
        return str(condition)
    if isinstance(condition, Comparison):
        return _comparison_because(condition, facts, instance)
    holding = [because(item, facts, instance) for item in condition.items if truth(item, facts, instance)]
    return f" {condition.word} ".join(holding)


def _comparison_because(comparison: Comparison, facts: Facts, instance: Labels) -> str:
    unit = _unit_of(comparison.left) or _unit_of(comparison.right) or Unit.COUNT
    shown = []
    for value in (comparison.left, comparison.right):
        number = worth(value, facts, instance)
        text = "?" if number is None else format_value(number, unit)
        shown.append(text if isinstance(value, Literal) else f"{_named(value, instance)} {text}")
    return f"{shown[0]} {comparison.symbol} {shown[1]}"


def _named(value: Series | Window, instance: Labels) -> str:
    series = value if isinstance(value, Series) else value.series
    if not series.labelled or not instance:
        return str(value)
    name = str(Series(series.name, instance, series.unit, series.topic, True))
    return name if isinstance(value, Series) else str(value).replace(str(series), name, 1)


def _outcome_is(word: str, outcome: Outcome) -> bool | None:
    if word == "unknown":
        return outcome is Outcome.UNKNOWN
    return None if outcome is Outcome.UNKNOWN else outcome.value == word


def worth(value: Value, facts: Facts, instance: Labels) -> float | None:
    """The number a value stands for in one instance; None when it is absent."""
    if isinstance(value, Literal):
        return value.value
    if isinstance(value, Series):
        for labels, number in facts.now.get(value.name, ()):
            if value.matches(labels) and _agree(labels, instance):
                return number
        return None
    for (name, labels), samples in facts.history.items():
        if name == value.series.name and value.series.matches(labels) and _agree(labels, instance):
            return _over(value, samples, facts.at)
    return None


def _agree(labels: Labels, instance: Labels) -> bool:
    """Whether a series belongs to an instance: no label of both has two values."""
    known = dict(instance)
    return all(known.get(label, value) == value for label, value in labels)


def instances(condition: Condition, facts: Facts) -> list[Labels]:
    """The label sets a condition is decided for; ``[()]`` when none of its measurements has labels."""
    found: list[Labels] = [()]
    for value in dict.fromkeys(values_in(condition)):
        series = value if isinstance(value, Series) else value.series
        if not series.labelled:
            continue
        if isinstance(value, Series):
            known = [labels for labels, _ in facts.now.get(series.name, ()) if series.matches(labels)]
        else:
            known = [labels for name, labels in facts.history if name == series.name and series.matches(labels)]
        joined = (tuple(sorted({*base, *labels})) for base in found for labels in known if _agree(labels, base))
        found = list(dict.fromkeys(joined)) if known else found
    return found


def _over(window: Window, samples: Samples, at: float) -> float | None:
    """The window function over the samples up to now; None while there are too few to say."""
    start = at - window.past
    inside = samples[bisect_left(samples, (start, float("-inf"))) :]
    if window.function in ("rate", "increase", "delta"):
        # One sample from before the window: what happened since then happened in it.
        return _change(window.function, samples[-len(inside) - 1 :] if len(samples) > len(inside) else inside)
    if window.function == "forecast":
        return _forecast(inside, at, window.span or 0.0)
    # Half a window must be covered: after a start one sample must not stand for five minutes.
    if not inside or samples[0][0] > at - window.past / 2:
        return None
    numbers = [value for _, value in inside]
    if window.function == "avg":
        return sum(numbers) / len(numbers)
    if window.function == "p95":
        return quantiles(numbers, n=20, method="inclusive")[-1] if len(numbers) > 1 else numbers[0]
    if window.function == "baseline":
        return median(numbers)
    return min(numbers) if window.function == "min" else max(numbers)


def _change(function: str, samples: Samples) -> float | None:
    if len(samples) < 2:
        return None
    if function == "delta":
        return samples[-1][1] - samples[0][1]
    # A counter that got smaller was reset: what it shows now has come since (as Prometheus' rate() does).
    pairs = pairwise(samples)
    increase = sum(now - before if now >= before else now for (_, before), (_, now) in pairs)
    return increase if function == "increase" else increase / (samples[-1][0] - samples[0][0])


def _forecast(samples: Samples, at: float, ahead: float) -> float | None:
    """Where a least-squares line through the past leads; needs half an hour of it."""
    if len(samples) < 5 or samples[-1][0] - samples[0][0] < 1_800:
        return None
    line = linear_regression([moment - at for moment, _ in samples], [value for _, value in samples])
    return line.slope * ahead + line.intercept


def _unit_of(value: Value) -> Unit | None:
    return value.unit


# --- reading ---

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?\d[\w.]*%?(?:/[smhd])?) | (?P<name>[A-Za-z_]\w*) | (?P<text>"(?:[^"\\]|\\.)*") |
    (?P<symbol><=|>=|==|!=|[<>(){},=])
    )""",
    re.VERBOSE | re.ASCII,
)
_WORDS = frozenset({"and", "or", "not", "for", "until", *OUTCOME_WORDS})
_FUNCTIONS = ("avg", "min", "max", "p95", "rate", "increase", "delta", "forecast", "baseline")
_PER = {"/s": 1.0, "/m": 60.0, "/h": 3_600.0, "/d": 86_400.0}
MAX_LENGTH = 2_000
MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a rule: its kind (``number name text symbol end``), its text, and where it stands."""

    kind: str
    text: str
    column: int


class Reader:
    """Reads a rule word by word; ``specs`` are the measurements that may be named."""

    def __init__(self, text: str, specs: Sequence[MeasurementSpec]) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self._specs = {spec.name: spec for spec in specs}

    @property
    def next(self) -> Token:
        """The word to be read."""
        return self._tokens[self._at]

    def take(self) -> Token:
        """Read one word."""
        token = self.next
        self._at += token.kind != "end"
        return token

    def accept(self, *texts: str) -> bool:
        """Read the word if it is one of these."""
        if self.next.text in texts and self.next.kind in ("name", "symbol"):
            self.take()
            return True
        return False

    def expect(self, text: str) -> None:
        """Read this word, or say that it is missing."""
        if not self.accept(text):
            raise self.wrong(f"expected {text!r}, found {self.next.text or 'the end'!r}")

    def wrong(self, reason: str, suggestion: str = "", token: Token | None = None) -> RuleError:
        """An error at the word to be read, or at another."""
        return RuleError(reason, (token or self.next).column, suggestion)

    def condition(self) -> Condition:
        """Read conditions joined by ``or``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.wrong(f"more than {MAX_DEPTH} conditions within each other")
        found = self._joined("or", lambda: self._joined("and", self._negated))
        self._depth -= 1
        return found

    def _joined(self, word: str, part: Callable[[], Condition]) -> Condition:
        items = [part()]
        while self.accept(word):
            items.append(part())
        if len(items) == 1:
            return items[0]
        flat = (one.items if isinstance(one, Junction) and one.word == word else (one,) for one in items)
        return Junction(word, tuple(item for group in flat for item in group))

    def _negated(self) -> Condition:
        negations = 0
        while self.accept("not"):
            negations += 1
        item = self._atom()
        for _ in range(negations):
            item = Not(item)
        return item

    def _atom(self) -> Condition:
        if self.accept("("):
            inner = self.condition()
            self.expect(")")
            return inner
        if self.next.kind == "name" and self.next.text in OUTCOME_WORDS:
            return Word(self.take().text)
        return self._comparison()

    def _comparison(self) -> Comparison:
        left = self._value()
        symbol = self.take()
        if symbol.text not in OPERATORS:
            found = symbol.text or "the end"
            raise self.wrong(f"expected a comparison (< <= > >= == !=) after {left}, found {found!r}", token=symbol)
        start = self.next
        right = self._value()
        self._check_units(left, right, start)
        return Comparison(left, symbol.text, right)

    def _value(self) -> Value:
        if self.next.kind == "number":
            return _literal(self.take())
        if self.next.kind != "name" or self.next.text in _WORDS:
            raise self.wrong(f"expected a measurement or a number, found {self.next.text or 'the end'!r}")
        name = self.take()
        if self.next.text == "(":
            return self._window(name)
        return self._series(name)

    def _series(self, name: Token) -> Series:
        spec = self._specs.get(name.text)
        if spec is None:
            raise self.wrong(f"unknown measurement {name.text!r}", _near(name.text, self._specs), name)
        filters = self._filters(spec) if self.accept("{") else ()
        return Series(spec.name, filters, spec.unit, spec.topic, bool(spec.labels))

    def _filters(self, spec: MeasurementSpec) -> Labels:
        found: dict[str, str] = {}
        while not self.accept("}"):
            label = self.take()
            if label.text not in spec.labels:
                known = f"it has {', '.join(spec.labels)}" if spec.labels else "it has no labels"
                raise self.wrong(f"{spec.name} has no label {label.text!r}", known, label)
            self.expect("=")
            value = self.take()
            if value.kind != "text":
                raise self.wrong(f'the value of a label stands in quotes: {label.text}="…"', token=value)
            found[label.text] = re.sub(r"\\(.)", r"\1", value.text[1:-1])
            if not self.accept(","):
                self.expect("}")
                break
        return tuple(sorted(found.items()))

    def _window(self, function: Token) -> Window:
        if function.text not in _FUNCTIONS:
            raise self.wrong(f"unknown function {function.text!r}", _near(function.text, _FUNCTIONS), function)
        self.expect("(")
        series = self._series(self.take())
        span, text = None, ""
        if function.text != "baseline":
            self.expect(",")
            token = self.take()
            span, text = _span(token), token.text
        self.expect(")")
        unit = _RATES.get(series.unit, Unit.PER_SECOND) if function.text == "rate" else series.unit
        return Window(function.text, series, span, text, unit)

    def _check_units(self, left: Value, right: Value, at: Token) -> None:
        if isinstance(left, Literal) and isinstance(right, Literal):
            raise self.wrong(f"compares two constants, {left} and {right}", "one side must be a measurement", at)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Literal) and not _fits(one, other.unit):
                unit = other.unit or Unit.COUNT
                raise self.wrong(
                    f"{other} is in {_SPOKEN[unit]}, {one} is {_spoken(one)}", f"write it like {_EXAMPLES[unit]}", at
                )
        both = not isinstance(left, Literal) and not isinstance(right, Literal)
        if both and left.unit is not right.unit:
            reason = f"{left} is in {_SPOKEN[left.unit or Unit.COUNT]}, {right} in {_SPOKEN[right.unit or Unit.COUNT]}"
            raise self.wrong(reason, "compare measurements of the same unit", at)


_SPOKEN = {
    Unit.SECONDS: "seconds",
    Unit.BYTES: "bytes",
    Unit.RATIO: "percent",
    Unit.COUNT: "plain numbers",
    Unit.CELSIUS: "degrees Celsius",
    Unit.TIMESTAMP: "points in time",
    Unit.BYTES_PER_SECOND: "bytes per second",
    Unit.PER_SECOND: "events per second",
    Unit.SECONDS_PER_SECOND: "seconds per second",
}
_EXAMPLES = {
    Unit.SECONDS: "1s, 500ms, 5m",
    Unit.BYTES: "512MiB, 5GB",
    Unit.RATIO: "90%",
    Unit.COUNT: "10",
    Unit.CELSIUS: "80C",
    Unit.TIMESTAMP: "1700000000",
    Unit.BYTES_PER_SECOND: "5MB/s",
    Unit.PER_SECOND: "10/s, 3/m",
    Unit.SECONDS_PER_SECOND: "50%",
}
_PLAIN = frozenset({Unit.COUNT, Unit.RATIO, Unit.CELSIUS, Unit.TIMESTAMP, Unit.PER_SECOND, Unit.SECONDS_PER_SECOND})


def _fits(literal: Literal, unit: Unit | None) -> bool:
    if literal.unit is None:
        return unit in _PLAIN or literal.value == 0
    return literal.unit is unit or (literal.unit is Unit.RATIO and unit is Unit.SECONDS_PER_SECOND)


def _spoken(literal: Literal) -> str:
    return "a number without a unit" if literal.unit is None else f"in {_SPOKEN[literal.unit]}"


def _tokens(text: str) -> Iterator[Token]:
    if len(text) > MAX_LENGTH:
        raise RuleError(f"a rule has at most {MAX_LENGTH} characters, this one has {len(text)}")
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if not found or found.lastgroup is None:
            column = at + len(text[at:]) - len(text[at:].lstrip())
            raise RuleError(f"{text[column]!r} means nothing here", column)
        yield Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        at = found.end()
    yield Token("end", "", len(text))


def _literal(token: Token) -> Literal:
    """A constant with its unit: ``1.5s 512MiB 90% 10/s 5MB/s 80C 42``."""
    text = token.text.removeprefix("-")
    sign = -1.0 if token.text.startswith("-") else 1.0
    per = text[-2:] if text[-2:] in _PER else ""
    number = text.removesuffix(per)
    value, unit = _quantity(token, number)
    if per:
        unit = _RATES.get(unit, Unit.PER_SECOND) if unit else Unit.PER_SECOND
        value /= _PER[per]
    return Literal(sign * value, unit, token.text)


def _quantity(token: Token, text: str) -> tuple[float, Unit | None]:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text), None
    if re.fullmatch(r"\d+(\.\d+)?C", text):
        return float(text[:-1]), Unit.CELSIUS
    for parse, unit in ((parse_ratio, Unit.RATIO), (parse_duration, Unit.SECONDS), (parse_size, Unit.BYTES)):
        try:
            return float(parse(text)), unit
        except UnitError:
            continue
    known = "a number, or one with % ms s m h d B kB MB GB KiB MiB GiB, and /s /m /h after it"
    raise RuleError(f"{token.text!r} is not a value", token.column, f"write {known}")


def _span(token: Token) -> float:
    try:
        seconds = parse_duration(token.text)
    except UnitError as error:
        raise RuleError(str(error), token.column) from error
    if seconds <= 0:
        raise RuleError("a window must be longer than nothing", token.column)
    return seconds


def _near(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(sorted(known))}" if known else "this check measures nothing"
