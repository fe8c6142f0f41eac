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
_NEARLY_UNITS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "M"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "H"), "h"),
    **dict.fromkeys(("day", "days", "D"), "d"),
    **dict.fromkeys(("wk", "week", "weeks", "W"), "w"),
    **dict.fromkeys(("msec", "msecs", "millisecond", "milliseconds"), "ms"),
}
"""What people write for the units of time, so that the error can say what would be right."""

# Twenty digits are more than any quantity here needs; more would overflow instead of being read.
_NUMBER = r"\d{1,20}(?:\.\d{1,20})?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d|w))+", re.ASCII)
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d|w)", re.ASCII)
_WITH_WORD = re.compile(rf"({_NUMBER})\s*([A-Za-z]*)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``30s``, ``1h30m``, ``250ms``, ``7d``, ``2w``. Raises :class:`UnitError`."""
    stripped = text.strip()
    if _DURATION.fullmatch(stripped):
        return sum(float(number) * SECONDS_OF[unit] for number, unit in _DURATION_PART.findall(stripped))
    if _PLAIN.fullmatch(stripped):
        raise UnitError(f"{text!r} is not a duration: it needs a unit, {stripped}s, {stripped}m, {stripped}h, …")
    if better := meant_duration(stripped):
        raise UnitError(f"{text!r} is not a duration: write {better}")
    raise UnitError(f"{text!r} is not a duration: a number with a unit is needed, such as 30s, 5m, 2h or 7d")


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512MiB`` (1024), ``5GB`` (1000) or ``512``. Raises :class:`UnitError`."""
    found = _WITH_WORD.fullmatch(text.strip())
    if found and (found[2] or "B") in BYTES_OF:
        return round(float(found[1]) * BYTES_OF[found[2] or "B"])
    if better := meant_size(text):
        raise UnitError(f"{text!r} is not a size: write {better}")
    raise UnitError(f"{text!r} is not a size: write it like 512MiB, 5GB or a number of bytes")


def parse_ratio(text: str) -> float:
    """The ratio 0-1 of a percentage such as ``90%`` or of a plain number ``0.9``. Raises :class:`UnitError`."""
    stripped = text.strip()
    number = stripped.removesuffix("%").rstrip()
    if not _PLAIN.fullmatch(number):
        raise UnitError(f"{text!r} is not a percentage: write it like 90% or 0.9")
    return float(number) / 100 if stripped.endswith("%") else float(number)


def meant_duration(text: str) -> str:
    """How a duration in a nearly right spelling is written, ``5m`` for ``5 min``; empty if it is none."""
    found = _WITH_WORD.fullmatch(text.strip())
    unit = found and (_NEARLY_UNITS.get(found[2]) or (found[2] if found[2] in SECONDS_OF else None))
    return f"{found[1]}{unit}" if found and unit else ""


def meant_size(text: str) -> str:
    """How a size in a nearly right spelling is written, ``5GB`` for ``5gb``; empty if it is none."""
    found = _WITH_WORD.fullmatch(text.strip())
    unit = next((word for word in BYTES_OF if found and word.lower() == found[2].lower()), None)
    return f"{found[1]}{unit}" if found and unit else ""


def format_duration(seconds: float) -> str:
    """A duration for people, in at most two units: ``213 ms``, ``4 min``, ``1 h 20 min``, ``3 d``."""
    if not math.isfinite(seconds):
        return f"{seconds} s"
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.9995:
        return f"{_short(seconds * 1000)} ms" if seconds else "0 s"
    if seconds < 9.995:
        return f"{_short(seconds)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return _two_units(whole, (60, "min"), (1, "s"))
    whole = round(seconds / 60) * 60
    if whole < 86_400:
        return _two_units(whole, (3_600, "h"), (60, "min"))
    return _two_units(round(seconds / 3_600) * 3_600, (86_400, "d"), (3_600, "h"))


def _two_units(whole: int, large: tuple[int, str], small: tuple[int, str]) -> str:
    count, rest = divmod(whole, large[0])
    return f"{count} {large[1]} {rest // small[0]} {small[1]}" if rest else f"{count} {large[1]}"


def format_value(value: float, unit: Unit, digits: int = 3) -> str:
    """A measured value for people: ``93.1 %``, ``1.5 GiB``, ``213 ms``, ``12.5 MiB/s``, ``42``.

    Only characters that a text message has (GSM 03.38). ``digits`` are the significant ones; with more than three a
    duration is written in plain seconds.
    """
    if not math.isfinite(value):
        return str(value)
    if unit is Unit.SECONDS:
        return format_duration(value) if digits <= 3 else f"{_short(value, digits)} s"
    if unit is Unit.BYTES:
        return _size(value, digits)
    if unit is Unit.BYTES_PER_SECOND:
        return f"{_size(value, digits)}/s"
    if unit in (Unit.RATIO, Unit.SECONDS_PER_SECOND):
        return f"{_short(value * 100, digits)} %"
    if unit is Unit.PER_SECOND:
        return _frequency(value, digits)
    return _short(value, digits) + (" C" if unit is Unit.CELSIUS else "")


def format_availability(share: float) -> str:
    """A share of the time up (0-1), in as many digits as agreements have: ``99.987 %``; ``100 %`` is all of it only.

    It is cut off, never rounded up to what was promised: everybody who tells an availability says it by this.
    """
    return "100 %" if share >= 1.0 else f"{math.floor(share * 100_000 + 1e-6) / 1_000:.6g} %"


def format_part(share: float) -> str:
    """A share (0-1) in three digits, of which one below all is not rounded up to all either: ``75.6 %``."""
    said = format_value(share, Unit.RATIO)
    return format_availability(share) if share < 1.0 and said == "100 %" else said


def _size(value: float, digits: int) -> str:
    for word, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(value) >= size:
            return f"{_short(value / size, digits)} {word}"
    return f"{_short(value, digits)} B"


def _frequency(value: float, digits: int) -> str:
    """What is rare is told per minute or hour: ``2/h`` says more than ``0.000556/s``."""
    for word, seconds in (("s", 1), ("min", 60)):
        if abs(value) * seconds >= 1 or not value:
            return f"{_short(value * seconds, digits)}/{word}"
    return f"{_short(value * 3_600, digits)}/h"


def _short(value: float, digits: int = 3) -> str:
    """So many significant digits and no exponent for everyday numbers; whole numbers stay whole."""
    rounded = float(f"{value:.{digits}g}")
    if value % 1 == 0 or abs(rounded) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{rounded:.{digits}g}"
