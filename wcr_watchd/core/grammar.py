"""Reading conditions: words, then a tree with every unit checked, or an error that says what would be right.

::

    condition  := comparison, joined by and / or / not, with parentheses; also down, up, unknown
    comparison := value op value                            op: < <= > >= == !=
    value      := literal with unit | [number *] (measurement | function)
    function   := avg|min|max|p95|rate|increase|delta(measurement, 5m) | forecast(measurement, 4d)
                  | baseline(measurement)
    measurement:= response_time · disk_used{mount="/"} · disk_used{mount!="/boot"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from wcr_watchd.core.errors import RuleError, UnitError
from wcr_watchd.core.expressions import (
    OPERATORS,
    OUTCOME_WORDS,
    Comparison,
    Condition,
    Filter,
    Junction,
    Literal,
    Not,
    Scaled,
    Series,
    Source,
    Value,
    Window,
    Word,
)
from wcr_watchd.core.model import Labels, MeasurementSpec
from wcr_watchd.core.units import Unit, meant_duration, meant_size, parse_duration, parse_ratio, parse_size
from wcr_watchd.core.windows import FUNCTIONS

MAX_LENGTH = 2_000
MAX_DEPTH = 50
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?[0-9][A-Za-z0-9_.]*%?(?:/[A-Za-z]+)?) | (?P<name>[A-Za-z_][A-Za-z0-9_]*) |
    (?P<text>"(?:[^"\\]|\\.)*") | (?P<symbol><=|>=|==|!=|[<>(){},=*])
    )""",
    re.VERBOSE,
)
_RESERVED = frozenset({"and", "or", "not", "for", "until", *OUTCOME_WORDS})
_INSTEAD = {
    "=": "==",
    "=<": "<=",
    "=>": ">=",
    "<>": "!=",
    "&": "and",
    "|": "or",
    "!": "not",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "FOR": "for",
    "UNTIL": "until",
    "DOWN": "down",
    "UP": "up",
    "UNKNOWN": "unknown",
}
"""What other languages have for our words."""
_PER = {"/s": 1.0, "/m": 60.0, "/h": 3_600.0, "/d": 86_400.0}
_RATES = {Unit.SECONDS: Unit.SECONDS_PER_SECOND, Unit.BYTES: Unit.BYTES_PER_SECOND}
_COUNTABLE = frozenset({Unit.COUNT})
"""Units of which a number that is not declared a counter may be one all the same (a number from an answer)."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a rule: its kind (``number name text symbol end``), its text, and where it stands."""

    kind: str
    text: str
    column: int

    @property
    def found(self) -> str:
        """How it is named in an error."""
        return repr(self.text or "the end")


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
            raise wrong(self.next, f"expected {text!r}, found {self.next.found}")

    def end(self) -> None:
        """Make sure that nothing is left over."""
        if self.next.kind == "end":
            return
        if self.next.text in OPERATORS:
            hint = "compare two at a time: response_time > 1s and response_time < 2s"
        elif self.next.text in _INSTEAD:
            hint = f"did you mean {_INSTEAD[self.next.text]!r}?"
        else:
            hint = "conditions are joined by and, or; after them come `for` and `until`"
        raise wrong(self.next, f"{self.next.found} is left over", hint)

    def condition(self) -> Condition:
        """Read conditions joined by ``or``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise wrong(self.next, f"more than {MAX_DEPTH} parentheses within each other")
        found = self._junction("or", lambda: self._junction("and", self._negation))
        self._depth -= 1
        return found

    def _junction(self, word: str, part: Callable[[], Condition]) -> Condition:
        items = [part()]
        while self.accept(word):
            items.append(part())
        if len(items) == 1:
            return items[0]
        flat = (one.items if isinstance(one, Junction) and one.word == word else (one,) for one in items)
        return Junction(word, tuple(item for group in flat for item in group))

    def _negation(self) -> Condition:
        negated = False
        while self.accept("not"):
            negated = not negated
        item = self._atom()
        if not negated:
            return item
        return item.item if isinstance(item, Not) else Not(item)

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
            hint = f"did you mean {_INSTEAD[symbol.text]!r}?" if symbol.text in _INSTEAD else f"write {left} > …"
            raise wrong(symbol, f"expected a comparison (< <= > >= == !=) after {left}, found {symbol.found}", hint)
        start = self.next
        right = self._value()
        if not isinstance(left, Literal):
            _check_units(left, right, start)
        elif not isinstance(right, Literal):
            _check_units(right, left, start)
        else:
            raise wrong(start, f"compares two constants, {left} and {right}", "one side must be a measurement")
        return Comparison(left, symbol.text, right)

    def _value(self) -> Value:
        if self.next.kind == "number":
            number = self.take()
            return self._scaled(number) if self.accept("*") else _literal(number)
        return self._source()

    def _scaled(self, number: Token) -> Scaled:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number.text) or float(number.text) == 0:
            raise wrong(number, f"a multiple is a plain number greater than 0, not {number.text}", "write 1.5 * …")
        return Scaled(float(number.text), number.text, self._source())

    def _source(self) -> Series | Window:
        token = self.take()
        if token.kind != "name" or token.text in _RESERVED:
            raise wrong(token, f"expected a measurement or a number, found {token.found}")
        return self._window(token) if self.accept("(") else self._series(token)

    def _series(self, name: Token) -> Series:
        spec = self._specs.get(name.text)
        if spec is None:
            if name.text in _INSTEAD:
                raise wrong(name, f"{name.text!r} is no word here", f"did you mean {_INSTEAD[name.text]!r}?")
            raise wrong(name, f"unknown measurement {name.text!r}", _near(name.text, {*self._specs, *OUTCOME_WORDS}))
        labels = tuple(sorted(spec.labels))
        filters = self._filters(spec) if self.accept("{") else ()
        return Series(spec.name, filters, spec.unit, spec.topic, labels, _pin(labels, filters))

    def _filters(self, spec: MeasurementSpec) -> tuple[Filter, ...]:
        found: list[Filter] = []
        while not self.accept("}"):
            label = self.take()
            if label.text not in spec.labels:
                hint = _near(label.text, spec.labels) if spec.labels else "it has no labels"
                raise wrong(label, f"{spec.name} has no label {label.found}", hint)
            symbol = self.take()
            if symbol.text not in ("=", "!="):
                raise wrong(symbol, f"expected '=' or '!=' after label {label.text}, found {symbol.found}")
            value = self.take()
            if value.kind != "text":
                raise wrong(value, f'the value of a label stands in double quotes: {label.text}="…"')
            found.append(Filter(label.text, symbol.text, re.sub(r"\\(.)", r"\1", value.text[1:-1])))
            if not self.accept(","):
                self.expect("}")
                break
        return tuple(found)

    def _window(self, function: Token) -> Window:
        if function.text not in FUNCTIONS:
            raise wrong(function, f"unknown function {function.text!r}", _near(function.text, FUNCTIONS))
        name = self.take()
        series = self._series(name)
        if function.text in ("rate", "increase"):
            self._check_counter(function.text, name)
        span, text = 0.0, ""
        if function.text != "baseline":
            if self.next.text == ")":
                raise wrong(self.next, f"{function.text} needs a time", f"write {function.text}({series}, 5m)")
            self.expect(",")
            token = self.take()
            span, text = _span(token), token.text
        self.expect(")")
        return Window(function.text, series, span, text, _unit_over(function.text, series.unit))

    def _check_counter(self, function: str, name: Token) -> None:
        spec = self._specs[name.text]
        if not spec.counter and spec.unit not in _COUNTABLE:
            reason = f"{function} is for counters, but {spec.name} goes up and down"
            raise wrong(name, reason, f"write delta({spec.name}, …) or avg({spec.name}, …)")


def wrong(token: Token, reason: str, suggestion: str = "") -> RuleError:
    """An error at a word."""
    return RuleError(reason, token.column, suggestion)


def _pin(labels: tuple[str, ...], filters: Iterable[Filter]) -> Labels | None:
    wanted = {one.label: one.value for one in filters if one.symbol == "="}
    return tuple((label, wanted[label]) for label in labels) if len(wanted) == len(labels) else None


def _unit_over(function: str, unit: Unit) -> Unit:
    if function == "rate":
        return _RATES.get(unit, Unit.PER_SECOND)
    return Unit.SECONDS if function == "delta" and unit is Unit.TIMESTAMP else unit


# --- words and literals ---


def _tokens(text: str) -> Iterator[Token]:
    if len(text) > MAX_LENGTH:
        raise RuleError(f"a rule has at most {MAX_LENGTH} characters, this one has {len(text)}")
    at, length = 0, len(text.rstrip())
    while at < length:
        found = _TOKEN.match(text, at)
        if not found or found.lastgroup is None:
            column = len(text) - len(text[at:].lstrip())
            raise _meaningless(text, column)
        yield Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
        at = found.end()
    yield Token("end", "", len(text))


def _meaningless(text: str, column: int) -> RuleError:
    character = text[column]
    if character == "%":
        hint = "the percent sign stands right after the number: 90%"
    elif character in "\"'“”„":
        hint = "text stands in double quotes, and its end is marked too"
    else:
        hint = f"write {_INSTEAD[character]!r}" if character in _INSTEAD else ""
    return RuleError(f"{character!r} means nothing here", column, hint)


def _literal(token: Token) -> Literal:
    """A constant with its unit: ``1.5s 512MiB 90% 10/s 5MB/s 80C 42``."""
    number = token.text.removeprefix("-")
    sign = -1.0 if token.text.startswith("-") else 1.0
    per = number[-2:] if number[-2:] in _PER else ""
    value, unit = _quantity(token, number.removesuffix(per))
    if per and unit in (Unit.RATIO, Unit.CELSIUS):
        raise wrong(token, f"{token.text!r} is not a value", "a rate is written like 10/s, 3/m, 5MB/s")
    if per:
        unit = _RATES.get(unit, Unit.PER_SECOND) if unit else Unit.PER_SECOND
        value /= _PER[per]
    return Literal(sign * value, unit, token.text)


def _quantity(token: Token, text: str) -> tuple[float, Unit | None]:
    if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", text):
        return float(text), None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?C", text):
        return float(text[:-1]), Unit.CELSIUS
    for parse, unit in ((parse_ratio, Unit.RATIO), (parse_duration, Unit.SECONDS), (parse_size, Unit.BYTES)):
        try:
            return float(parse(text)), unit
        except UnitError:
            continue
    better = meant_duration(text) or meant_size(text)
    known = "a number, or one with % ms s m h d w B kB MB GB TB KiB MiB GiB TiB C, and /s /m /h after it for a rate"
    raise wrong(token, f"{token.text!r} is not a value", f"did you mean {better}?" if better else f"write {known}")


def _span(token: Token) -> float:
    try:
        seconds = parse_duration(token.text)
    except UnitError as error:
        raise wrong(token, str(error) if token.text else "expected a time such as 5m, found the end") from error
    if seconds <= 0:
        raise wrong(token, "a window must be longer than nothing")
    return seconds


# --- units ---

_SPOKEN = {
    Unit.SECONDS: "seconds",
    Unit.BYTES: "bytes",
    Unit.RATIO: "percent",
    Unit.COUNT: "plain numbers",
    Unit.CELSIUS: "degrees Celsius",
    Unit.TIMESTAMP: "points in time",
    Unit.BYTES_PER_SECOND: "bytes per second",
    Unit.PER_SECOND: "times per second",
    Unit.SECONDS_PER_SECOND: "seconds per second",
}
_EXAMPLES = {
    Unit.SECONDS: ("{}s", "{}m", "{}h"),
    Unit.BYTES: ("{}MB", "{}MiB", "{}GB"),
    Unit.RATIO: ("{}%",),
    Unit.COUNT: ("{}",),
    Unit.CELSIUS: ("{}C",),
    Unit.TIMESTAMP: ("1700000000",),
    Unit.BYTES_PER_SECOND: ("{}kB/s", "{}MiB/s"),
    Unit.PER_SECOND: ("{}/s", "{}/m", "{}/h"),
    Unit.SECONDS_PER_SECOND: ("{}%",),
}
_BARE = frozenset({Unit.COUNT, Unit.CELSIUS, Unit.TIMESTAMP})
"""Units that are written as plain numbers."""
_SHARES = frozenset({Unit.RATIO, Unit.SECONDS_PER_SECOND})
"""Units that are written in percent, or as a plain number from 0 to 1."""


def _check_units(value: Source | Scaled, other: Value, at: Token) -> None:
    """Make sure that two values can be compared; ``at`` is where the second one begins."""
    if not isinstance(other, Literal):
        if value.unit is not other.unit:
            reason = f"{value} is in {_SPOKEN[value.unit]}, {other} in {_SPOKEN[other.unit]}"
            raise wrong(at, reason, "compare measurements of the same unit")
        return
    if not _fits(other, value.unit):
        spoken = "a number without a unit" if other.unit is None else f"in {_SPOKEN[other.unit]}"
        number = re.match(r"[0-9.]*[0-9]", other.text.removeprefix("-"))
        examples = ", ".join(form.format(number[0] if number else 1) for form in _EXAMPLES[value.unit])
        raise wrong(at, f"{value} is in {_SPOKEN[value.unit]}, {other} is {spoken}", f"write it like {examples}")


def _fits(literal: Literal, unit: Unit) -> bool:
    if literal.unit is None:
        # 90 for a share would be 9000 %: a rule that never fires.
        return literal.value == 0 or unit in _BARE or (unit in _SHARES and abs(literal.value) <= 1)
    return literal.unit is unit or (literal.unit is Unit.RATIO and unit in _SHARES)


def _near(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = get_close_matches(name, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known)}"
