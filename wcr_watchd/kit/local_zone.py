"""The time zone of this machine."""

from __future__ import annotations

import os
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def local_timezone() -> str:
    """The IANA name of this machine's time zone: ``TZ``, else where /etc/localtime leads, else ``UTC``."""
    target = os.path.realpath("/etc/localtime")
    for name in (os.environ.get("TZ", "").lstrip(":"), target.partition("zoneinfo/")[2]):
        try:
            if name and ZoneInfo(name):
                return name
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return "UTC"
