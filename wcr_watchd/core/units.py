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
