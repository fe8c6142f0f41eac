"""Units of measurements and how quantities are written: ``30s``, ``512MiB``, ``90%``."""

from __future__ import annotations

from enum import StrEnum


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


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``30s``, ``1h30m``, ``250ms``, ``7d``, ``2w``."""
    raise NotImplementedError


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512MiB`` or ``5GB``."""
    raise NotImplementedError


def parse_ratio(text: str) -> float:
    """The ratio 0-1 of a percentage such as ``90%`` or of a plain number ``0.9``."""
    raise NotImplementedError


def format_duration(seconds: float) -> str:
    """A duration for people: ``4 min``, ``1 h 20 min``, ``3 d``, ``213 ms``."""
    raise NotImplementedError


def format_value(value: float, unit: Unit) -> str:
    """A measured value for people: ``93.1 %``, ``1.5 GiB``, ``213 ms``, ``12.5 MiB/s``, ``42``."""
    raise NotImplementedError
