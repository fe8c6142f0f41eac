"""Times and durations as words of the command line."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.units import parse_duration
from wcr_watchd.kit.local_zone import local_timezone
from wcr_watchd.web import shapes


def moment(text: str) -> float:
    """Epoch seconds of a time as people write it, in this machine's zone unless it names another."""
    try:
        return shapes.moment(text, ZoneInfo(local_timezone()))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def duration(text: str) -> float:
    """Seconds of a duration such as ``2h``; anything else is wrong usage."""
    try:
        return parse_duration(text)
    except UnitError as error:
        raise click.UsageError(str(error)) from None
