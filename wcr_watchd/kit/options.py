"""Option types for the configuration: durations, sizes, percentages, secrets, and the base class of all options."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, WithJsonSchema

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import parse_duration, parse_ratio, parse_size


class Options(BaseModel):
    """Base of every settings class: frozen, unknown keys refused, every field described."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=False)


def _reader(parse: Any) -> Any:
    def read(value: object) -> object:
        if isinstance(value, str):
            try:
                return parse(value)
            except UnitError as error:
                raise ValueError(str(error)) from error
        return value

    return read


def _needs_unit(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
        raise ValueError(f'a duration needs a unit: write "{value}s", "{value}m", "{value}h" or "{value}d"')
    return value


def _duration(value: object) -> object:
    return _reader(parse_duration)(_needs_unit(value))


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d|w))+$", "examples": ["30s", "5m"]}),
]
"""Seconds, written ``30s 5m 2h 7d`` (also ``1h30m``, ``250ms``)."""

Size = Annotated[
    int,
    BeforeValidator(_reader(parse_size)),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["512MiB", "5GB"]}),
]
"""Bytes, written ``512MiB`` (1024) or ``5GB`` (1000)."""

Ratio = Annotated[
    float,
    BeforeValidator(_reader(parse_ratio)),
    WithJsonSchema({"type": ["string", "number"], "examples": ["90%"]}),
]
"""0-1, written ``90%`` or ``0.9``."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError('is no time zone: write an IANA name such as "Europe/Berlin" or "UTC"') from error
    return name


TimeZone = Annotated[str, AfterValidator(_zone)]
"""The IANA name of a time zone."""

Secret = SecretStr
"""A value that must never be shown; in the file it stands as ``${env:…}``, ``${file:…}`` or ``${credential:…}``."""
