"""Numbers out of what exporters show: reading the exposition formats, choosing series, rates of counters.

Formats: Prometheus text 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/) and OpenMetrics 1.0
(https://prometheus.io/docs/specs/om/open_metrics_spec/), both read by prometheus-client. Its readers work letter by
letter, so :func:`read` belongs in a thread, and in a very long line they would go back and forth for ever.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as read_openmetrics
from prometheus_client.parser import text_fd_to_metric_families as read_text
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from wcr_watchd.core.model import Labels, MeasurementSpec
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.options import Options

LONGEST_LINE = 16 * 1024
"""Bytes of a line of an exposition."""
MOST_SERIES = 200
"""Series of one value that become measurements."""
MOST_COUNTERS = 2_000
"""Counters of one check whose last value is kept for the next run."""

_COUNTER_ENDINGS = ("_total", "_count", "_sum", "_bucket")
_UNITS = {
    "_timestamp_seconds": Unit.TIMESTAMP,
    "_seconds": Unit.SECONDS,
    "_bytes": Unit.BYTES,
    "_ratio": Unit.RATIO,
    "_celsius": Unit.CELSIUS,
}
_PER_SECOND = {Unit.SECONDS: Unit.SECONDS_PER_SECOND, Unit.BYTES: Unit.BYTES_PER_SECOND}


# --- options ----------------------------------------------------------------------------------------------------------

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\}\s*)?", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_WORDS = re.compile(r"\.\*|\.\+|\.|\\\.|[\w/:@ -]+|.", re.DOTALL)
_AS_GLOB = {".*": "*", ".+": "?*", ".": "?", "\\.": "."}


def _simple_pattern(text: str) -> re.Pattern[str]:
    """The pattern for ``5..``, ``api.*``, ``GET|POST``: what of PromQL's regular expressions is quick on any text."""
    globs = []
    for alternative in text.split("|"):
        words = _WORDS.findall(alternative)
        if strange := [word for word in words if word not in _AS_GLOB and not re.fullmatch(r"[\w/:@ -]+", word)]:
            raise ValueError(f'{strange[0]!r} in "{text}": only letters, digits, . .* .+ and | can stand in =~ and !~')
        globs.append("".join(_AS_GLOB.get(word, word) for word in words))
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


def matchers(selector: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Name of a metric and conditions on labels (label, operator, text) of a selector as in PromQL.

    ``ValueError`` says what is wrong.
    """
    found = _SELECTOR.fullmatch(selector)
    if not found:
        raise ValueError('write a metric as in PromQL: http_requests_total{code="500", method!="HEAD"}')
    conditions, rest = list[tuple[str, str, str]](), found[2] or ""
    while rest.strip():
        one = _MATCHER.match(rest)
        if not one:
            raise ValueError(f'expected label="value" at {rest.strip()!r}')
        text = re.sub(r"\\(.)", r"\1", one[3]) if one[2] in ("=", "!=") else one[3]
        if one[2] in ("=~", "!~"):
            _simple_pattern(text)
        conditions.append((one[1], one[2], text))
        rest = rest[one.end() :]
    return found[1], tuple(conditions)


def _checked_selector(selector: str) -> str:
    matchers(selector)
    return selector


def _checked_label(label: str) -> str:
    if label in ("le", "quantile"):
        raise ValueError(f'{label} parts one histogram or summary; choose one in the selector, as {label}="…"')
    return label


LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$"), AfterValidator(_checked_label)]
"""A label that stays apart, as an option."""
ValueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""The name of a measurement of one's own, as an option."""


class Chosen(Options):
    """Series of an exporter that become one measurement."""

    metric: Annotated[str, AfterValidator(_checked_selector)]
    """Name and labels, as in PromQL: http_requests_total{code=~"5..", method!="HEAD"}."""
    by: tuple[LabelName, ...] = ()
    """Labels that stay: one series each. Without it there is one number."""
    combine: Literal["sum", "max", "min", "mean"] = "sum"
    """How several series become one."""
    rate: bool | None = None
    """Whether it is a counter whose growth per second is measured. Without it that is so for names that end in _total,
    _count, _sum or _bucket; false gives the counter itself, for increase() and rate() in rules."""

    @property
    def name(self) -> str:
        """The metric's name."""
        return matchers(self.metric)[0]

    @property
    def is_rate(self) -> bool:
        """Whether growth per second is measured."""
        return self.name.endswith(_COUNTER_ENDINGS) if self.rate is None else self.rate

    def spec(self, measurement: str) -> MeasurementSpec:
        """The declaration of the measurement; the unit is the one that the metric's name ends in."""
        name = self.name
        base = re.sub("_(total|sum)$", "", name)
        unit = next((unit for ending, unit in _UNITS.items() if base.endswith(ending)), Unit.COUNT)
        if self.is_rate:
            unit = _PER_SECOND.get(unit, Unit.PER_SECOND)
        counter = self.rate is False and name.endswith(_COUNTER_ENDINGS)
        what = f"{'Growth per second of ' if self.is_rate else ''}{self.metric}"
        return MeasurementSpec(measurement, unit, what, self.by, counter=counter)


Value = Annotated[
    Chosen,
    BeforeValidator(lambda given: {"metric": given} if isinstance(given, str) else given),
    WithJsonSchema({"anyOf": [{"type": "string"}, Chosen.model_json_schema()]}),
]
"""Series that become a measurement, as an option: a selector, or a table with more."""
Values = dict[ValueName, Value]


def specs_of(own: Sequence[MeasurementSpec], values: Mapping[str, Chosen]) -> tuple[MeasurementSpec, ...]:
    """A type's own measurements and the chosen ones."""
    return (*own, *(chosen.spec(name) for name, chosen in values.items()))


def refuse_taken(own: Sequence[MeasurementSpec], values: Iterable[str]) -> None:
    """``ValueError`` when a value has the name of a measurement that the type has anyway."""
    if taken := {spec.name for spec in own} & set(values):
        raise ValueError(f"values.{min(taken)} has the name of a measurement that every such check has; rename it")


# --- reading and choosing ---------------------------------------------------------------------------------------------


class ExpositionError(Exception):
    """The text is not of the format."""


@dataclass(slots=True)
class Scraped:
    """What was found: how much there is, and the chosen series by value: labels that stay, key, number."""

    metrics: int = 0
    samples: int = 0
    series: dict[str, list[tuple[Labels, str, float]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """How much an exposition holds, and the values of which there is no series at all."""

    metrics: int
    samples: int
    absent: Sequence[str]


def read(body: bytes, openmetrics: bool, values: Mapping[str, Chosen]) -> Scraped:
    """Go through an exposition and choose. Takes its time; raises :class:`ExpositionError`."""
    lines = _Lines(body.decode("utf-8", "replace"))
    wanted: dict[str, list[_Choice]] = {}
    for name, chosen in values.items():
        choice = _Choice(name, chosen)
        wanted.setdefault(choice.metric, []).append(choice)
    scraped = Scraped(series={name: [] for name in values})
    try:
        for family in (read_openmetrics if openmetrics else read_text)(lines):
            scraped.metrics += 1
            _take(scraped, family, wanted)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        # Only what the readers raise on purpose is for people.
        words = ": " + " ".join(str(error).replace("'", '"').split())[:200] if type(error) is ValueError else ""
        raise ExpositionError(f"line {lines.number}, {lines.last}{words}") from error
    return scraped


def read_and_measure(body: bytes, openmetrics: bool, values: Mapping[str, Chosen], run: Run) -> Found:
    """Go through an exposition and note what is chosen in a ``run`` that nobody else uses meanwhile.

    Takes its time, and so does to give back what thousands of series took. Raises :class:`ExpositionError`.
    """
    scraped = read(body, openmetrics, values)
    return Found(scraped.metrics, scraped.samples, measure_chosen(run, values, scraped))


class _Lines(io.StringIO):
    """The lines of an exposition, none too long; ``number`` and ``last`` tell the one that was read last."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.number = 0
        self.last = ""

    def __next__(self) -> str:  # type: ignore[override] # typeshed takes all files for binary ones
        line = super().__next__()
        self.number += 1
        self.last = line[:80].strip()
        if len(line) > LONGEST_LINE:
            raise ExpositionError(f"line {self.number} has more than {LONGEST_LINE} characters: {self.last}")
        return line


def _take(scraped: Scraped, family: Metric, wanted: Mapping[str, Sequence[_Choice]]) -> None:
    for sample in family.samples:
        scraped.samples += 1
        # The reader gives a counter of the text format the ending that OpenMetrics wants.
        also = sample.name.removesuffix("_total") if family.type == "counter" else sample.name
        for name in {sample.name, also}:
            for choice in wanted.get(name, ()):
                if choice.fits(sample.labels) and math.isfinite(sample.value):
                    scraped.series[choice.value].append(choice.series(sample.labels, float(sample.value)))


class _Choice:
    """One value, ready to be compared with many series."""

    def __init__(self, value: str, chosen: Chosen) -> None:
        self.value = value
        self.metric, conditions = matchers(chosen.metric)
        self._by = chosen.by
        self._equal = [(label, text, sign == "=") for label, sign, text in conditions if sign in ("=", "!=")]
        self._like = [
            (label, _simple_pattern(text), sign == "=~") for label, sign, text in conditions if sign in ("=~", "!~")
        ]

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is meant; a label that it has not is empty, as in PromQL."""
        return all((labels.get(label, "") == text) is wanted for label, text, wanted in self._equal) and all(
            bool(pattern.match(labels.get(label, ""))) is wanted for label, pattern, wanted in self._like
        )

    def series(self, labels: Mapping[str, str], number: float) -> tuple[Labels, str, float]:
        """The labels that stay, a short key of all of them, and the number."""
        kept = tuple(sorted((label, labels.get(label, "")[:200]) for label in self._by))
        text = json.dumps(sorted(labels.items()))
        return kept, hashlib.blake2b(text.encode(), digest_size=8).hexdigest(), number


# --- measuring --------------------------------------------------------------------------------------------------------


def measure_chosen(run: Run, values: Mapping[str, Chosen], scraped: Scraped) -> list[str]:
    """Note the chosen series as measurements; returns the values of which there is no series at all.

    Counters are compared with what the last run left in the run's memory: one that has become smaller was started anew,
    and has grown by what it shows; one that was not there before has no growth yet, as in Prometheus.
    """
    before: dict[str, Any] = run.memory.get("counters", {})
    elapsed = run.started - run.memory.get("at", run.started)
    kept: dict[str, dict[str, float]] = {}
    room = MOST_COUNTERS
    for name, chosen in values.items():
        series = scraped.series[name]
        if chosen.is_rate:
            kept[name] = {key: number for _, key, number in series[:room]}
            room -= len(kept[name])
            series = _grown(series, before.get(name, {}), elapsed)
        _measure(run, name, chosen, series)
    if kept:
        run.memory["counters"], run.memory["at"] = kept, run.started
    absent = [name for name in values if not scraped.series[name]]
    if absent:
        run.missing(absent, "there is no such series")
    return absent


def _grown(
    series: Sequence[tuple[Labels, str, float]], before: Mapping[str, float], elapsed: float
) -> list[tuple[Labels, str, float]]:
    if elapsed <= 0:
        return []
    return [
        (labels, key, (number - before[key] if number >= before[key] else number) / elapsed)
        for labels, key, number in series
        if key in before
    ]


def _measure(run: Run, name: str, chosen: Chosen, series: Sequence[tuple[Labels, str, float]]) -> None:
    groups: dict[Labels, list[float]] = {}
    for labels, _, number in series:
        groups.setdefault(labels, []).append(number)
    for labels, numbers in list(groups.items())[:MOST_SERIES]:
        run.measure(name, _COMBINED[chosen.combine](numbers), **dict(labels))
    if len(groups) > MOST_SERIES:
        run.evidence[f"series of {name}"] = f"{len(groups)}; only the first {MOST_SERIES} are kept"


_COMBINED: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
    "mean": lambda numbers: math.fsum(numbers) / len(numbers),
}
