"""Reading what a Nagios plugin prints: text, long text, and performance data.

Format: Monitoring Plugins Development Guidelines (https://www.monitoring-plugins.org/doc/guidelines.html), with the
refinements of Icinga 2: a ``|`` begins performance data only where a ``=`` follows it on the line, and an unquoted
label may hold blanks.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NO_OUTPUT = "(no output)"

_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_BYTES = {"B": 1.0} | {
    prefix + "B": float(base**power)
    for base, prefixes in ((1000, "KMGTPE"), (1024, ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
    for power, prefix in enumerate(prefixes, 1)
}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_BETWEEN = re.compile(r"[\s|]*")
_BLANKS = re.compile(r"\s*")
_VALUE = re.compile(r"\S*")


@dataclass(frozen=True, slots=True)
class Datum:
    """One item of performance data as it was written; ``value`` is None for ``U``, which a plugin cannot tell."""

    label: str
    value: float | None
    unit: str
    warn: str | None
    crit: str | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """What a plugin printed; ``bad`` are items of performance data that cannot be read."""

    text: str
    long: str
    data: tuple[Datum, ...]
    bad: tuple[str, ...]


def parse(output: str) -> PluginOutput:
    """Split a plugin's standard output into its parts."""
    lines = re.split(r"\r?\n", output)
    text, performance = _split(lines[0])
    found = [performance]
    long: list[str] = []
    in_performance = False
    for line in lines[1:]:
        if in_performance:
            found.append(line)
            continue
        before, data = _split(line)
        long.append(before)
        found.append(data)
        in_performance = bool(data)
    data_, bad = _items(" ".join(found))
    return PluginOutput(text.strip() or NO_OUTPUT, "\n".join(long).strip(), data_, bad)


def base_unit(datum: Datum) -> tuple[float, str]:
    """A value in base units with ``s``, ``B``, ``%``, ``c`` (counter) or no unit; an unknown unit is dropped."""
    value = datum.value or 0.0
    if datum.unit in _SECONDS:
        return value * _SECONDS[datum.unit], "s"
    if datum.unit in _BYTES:
        return value * _BYTES[datum.unit], "B"
    return value, datum.unit if datum.unit in ("%", "c") else ""


def _split(line: str) -> tuple[str, str]:
    bar = line.find("|")
    if bar < 0 or "=" not in line[bar:]:
        return line, ""
    return line[:bar].rstrip(), line[bar + 1 :]


def _items(text: str) -> tuple[tuple[Datum, ...], tuple[str, ...]]:
    """Read ``label=value;…`` one after the other, in one pass forward: a plugin may print 64 KiB of anything."""
    data: list[Datum] = []
    bad: list[str] = []
    at = _past(_BETWEEN, text, 0)
    while at < len(text):
        label, after = _label(text, at)
        end = after if label is None else _past(_VALUE, text, after)
        datum = None if label is None else _datum(label, text[after:end])
        if datum:
            data.append(datum)
        else:
            bad.append(text[at:end].strip())
        at = _past(_BETWEEN, text, end)
    return tuple(data), tuple(bad)


def _label(text: str, at: int) -> tuple[str | None, int]:
    """The label that begins here, and where its value begins; None when there is none, and where to go on."""
    if text[at] != "'":
        equals = text.find("=", at)
        bar = text.find("|", at, equals if equals >= 0 else len(text))
        if equals < 0 or bar >= 0:
            return None, bar if bar >= 0 else len(text)
        return text[at:equals].strip() or None, equals + 1
    quote = text.find("'", at + 1)
    while quote >= 0 and text.startswith("''", quote):
        quote = text.find("'", quote + 2)
    if quote < 0:
        return None, len(text)
    after = _past(_BLANKS, text, quote + 1)
    if not text.startswith("=", after):
        return None, after
    return text[at + 1 : quote].replace("''", "'"), after + 1


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _datum(label: str, text: str) -> Datum | None:
    if "," in text:
        return None
    value_text, warn, crit, low, high, *rest = [*text.split(";"), "", "", "", "", ""]
    number = _NUMBER.match(value_text)
    if value_text == "U":
        value, unit = None, ""
    elif number and math.isfinite(float(number[0])):
        value, unit = float(number[0]), value_text[number.end() :]
    else:
        return None
    try:
        minimum, maximum = (float(part) if part else None for part in (low, high))
    except ValueError:
        return None
    return None if any(rest[:-5]) else Datum(label, value, unit, warn or None, crit or None, minimum, maximum)
