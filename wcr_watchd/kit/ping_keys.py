"""The keys by which jobs report: option types."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator

from wcr_watchd.kit.options import Secret


def _key(value: Secret) -> Secret:
    text = value.get_secret_value()
    try:
        if str(UUID(text)) == text:
            return value
    except ValueError:
        pass
    raise ValueError("is no UUID in lower case, as /proc/sys/kernel/random/uuid gives one")


def _ping_key(value: Secret) -> Secret:
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", value.get_secret_value()):
        raise ValueError("must be 16 to 64 letters, digits, - and _")
    return value


JobKey = Annotated[Secret, AfterValidator(_key)]
"""A UUID, which only whoever reports by it knows."""
PingKey = Annotated[Secret, AfterValidator(_ping_key)]
"""What several jobs share, each with a name of its own."""
