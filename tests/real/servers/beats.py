"""A receiver of heartbeats as healthchecks is one: a POST, GET or HEAD of a known key is a sign of life.

Source: https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from tests.real.servers.providers import Provider, Refused

KEY = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"


class Beats(Provider):
    """Counts the signs of life of one key; anything else, ``/fail`` too, is refused and noted."""

    @property
    def url(self) -> str:
        """Where to knock."""
        return f"{self.base}/{KEY}"

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.method not in ("POST", "GET", "HEAD") or request.path != f"/{KEY}":
            raise Refused(404, f"{request.method} {request.path}")
        return {"method": request.method}, web.Response(text="OK")

    def since(self, at: float) -> int:
        """Signs of life since then (epoch seconds)."""
        return sum(beat.at > at for beat in self.accepted)

    def quiet_for(self) -> float:
        """Seconds since the last sign of life."""
        return time.time() - self.accepted[-1].at if self.accepted else float("inf")


@pytest.fixture
def beats() -> Iterator[Beats]:
    server = Beats()
    server.start()
    yield server
    server.stop()
