"""Units of measurements, and how quantities are written: ``30s``, ``512MiB``, ``90%``."""

from __future__ import annotations

import math
import re
from enum import StrEnum

from wcr_watchd.core.errors import UnitError


class Unit(StrEnum):
    """The unit of a measurement, in base units as Prometheus wants them; the value is the metric-name suffix."""

    SECONDS = "seconds"
    BYTES = "bytes"
    RATIO = "ratio"
    COUNT = ""
    CELSIUS = "celsius"
    TIMESTAMP = "timestamp_seconds"
    BYTES_PER_SECOND = "bytes_per_second"
    PER_SECOND = "per_second"
    SECONDS_PER_SECOND = "seconds_per_second"


SECONDS_OF = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
BYTES_OF = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``30s``, ``1h30m``, ``250ms``, ``7d``, ``2w``. Raises :class:`UnitError`."""
    stripped = text.strip()
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise UnitError(f"{text!r} is not a duration: a number with a unit is needed, such as 30s, 5m, 2h or 7d")
    return sum(float(number) * SECONDS_OF[unit] for number, unit in parts)


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512MiB`` (1024), ``5GB`` (1000) or ``512``. Raises :class:`UnitError`."""
    found = _SIZE.fullmatch(text.strip())
    if not found or (found[2] or "B") not in BYTES_OF:
        raise UnitError(f"{text!r} is not a size: write it like 512MiB, 5GB or a number of bytes")
    return round(float(found[1]) * BYTES_OF[found[2] or "B"])


def parse_ratio(text: str) -> float:
    """The ratio 0-1 of a percentage such as ``90%`` or of a plain number ``0.9``. Raises :class:`UnitError`."""
    stripped = text.strip()
    percent = stripped.endswith("%")
    number = stripped.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(number):
        raise UnitError(f"{text!r} is not a percentage: write it like 90% or 0.9")
    return float(number) / 100 if percent else float(number)


def format_duration(seconds: float) -> str:
    """A duration for people, in at most two units: ``213 ms``, ``4 min``, ``1 h 20 min``, ``3 d``."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, word, smaller, smaller_word in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {word} {rest} {smaller_word}" if rest else f"{whole // size} {word}"
    return f"{whole} s"


def format_value(value: float, unit: Unit) -> str:
    """A measured value for people: ``93.1 %``, ``1.5 GiB``, ``213 ms``, ``12.5 MiB/s``, ``42``."""
    if not math.isfinite(value):
        return str(value)
    if unit is Unit.SECONDS:
        return format_duration(value)
    if unit is Unit.BYTES:
        return _size(value)
    if unit is Unit.BYTES_PER_SECOND:
        return _size(value) + "/s"
    if unit in (Unit.RATIO, Unit.SECONDS_PER_SECOND):
        return f"{_short(value * 100)} %"
    suffix = {Unit.CELSIUS: " C", Unit.PER_SECOND: "/s"}.get(unit, "")
    return _short(value) + suffix


def _size(value: float) -> str:
    for word, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= size:
            return f"{_short(value / size)} {word}"
    return f"{_short(value)} B"


def _short(value: float) -> str:
    """At most three significant digits after the point, no exponent for everyday numbers."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.2g}"
