"""Metric names of measurements: ``watchd_<probe>_<measurement>_<unit>``, ``_total`` for counters.

The rules are those of https://prometheus.io/docs/practices/naming/ and of ``promtool check metrics``.
"""

from __future__ import annotations

import re
from functools import lru_cache

from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.units import Unit

PREFIX = "watchd_"
OWN_LABELS = ("check", "probe", "location")

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TYPE_WORDS = {
    "counter": "counters",
    "gauge": "gauges",
    "histogram": "histograms",
    "summary": "summaries",
    "untyped": "no_type",
}
_RESERVED_FOR_OTHER_TYPES = ("_total", "_count", "_sum", "_bucket", "_info", "_created")
_UNIT_METADATA = {
    Unit.SECONDS: "seconds",
    Unit.TIMESTAMP: "seconds",
    Unit.BYTES: "bytes",
    Unit.RATIO: "ratio",
    Unit.CELSIUS: "celsius",
}


@lru_cache(maxsize=10_000)
def family_name(probe: str, spec: MeasurementSpec) -> str:
    """The name of the metric family; the series of a counter carry ``_total`` after it."""
    name = _clean(f"{PREFIX}{probe}_{spec.name}")
    if spec.counter:
        name = name.removesuffix("_total")
    name = _with_unit(name, spec.unit)
    if not spec.counter and name.endswith(_RESERVED_FOR_OTHER_TYPES):
        name += "_value"
    return name


def series_name(probe: str, spec: MeasurementSpec) -> str:
    """The name under which a query finds it."""
    return family_name(probe, spec) + ("_total" if spec.counter else "")


def unit_metadata(spec: MeasurementSpec) -> str:
    """The unit for OpenMetrics' ``# UNIT`` line, where it is a plain one."""
    return _UNIT_METADATA.get(spec.unit, "")


def label_name(probe: str, name: str) -> str:
    """A label of a measurement, kept apart from the labels that every series of a check has."""
    cleaned = _clean(name)
    return f"{probe}_{cleaned}" if cleaned in OWN_LABELS or cleaned[0].isdigit() else cleaned


def _with_unit(name: str, unit: Unit) -> str:
    """The unit after the name, without repeating words: ``expiry_timestamp`` becomes ``expiry_timestamp_seconds``."""
    words, unit_words = name.split("_"), unit.value.split("_") if unit else []
    common = next(n for n in range(len(unit_words), -1, -1) if words[len(words) - n :] == unit_words[:n])
    return "_".join(words + unit_words[common:])


def _clean(text: str) -> str:
    """Any text (users name measurements of their own) in snake case, without the words that name metric types."""
    words = _NOT_IN_A_NAME.sub("_", _CAMEL_CASE.sub("_", text)).lower().strip("_").split("_")
    return "_".join(_TYPE_WORDS.get(word, word) for word in words) or "_"
