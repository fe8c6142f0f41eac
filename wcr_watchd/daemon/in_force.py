"""The configuration in force: read from a file or discovered, exchanged by a reload, and what is to be said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from wcr_watchd.config import discover, load
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.model import MeasurementSpec
from wcr_watchd.core.protocols import Probe

log = structlog.get_logger(__name__)


def read_configuration(path: Path | None) -> Loaded:
    """Load the file, or without one discover what stands on this host. Raises ``ConfigError``."""
    return load.load(path) if path else load.loads(discover.render(discover.discover()), "what was discovered")


class InForce:
    """What the configuration says by now; every part that lives through a reload asks here.

    ``path`` is its file (None: what was discovered). ``probes`` are those that run, which a reload keeps for checks
    that did not change, and ``specs`` what they measure.
    """

    def __init__(self, path: Path | None, loaded: Loaded) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self.reload_problems: tuple[str, ...] = ()
        self.loaded = loaded
        self.take_probes(loaded.probes)

    def take_probes(self, probes: Mapping[str, Probe]) -> None:
        """Run these from now on."""
        self.probes = probes
        self.specs: Mapping[str, tuple[MeasurementSpec, ...]] = {name: one.specs() for name, one in probes.items()}

    @property
    def addresses(self) -> list[str]:
        """The URLs of the dashboard, by where it listens."""
        settings = self.loaded.web
        scheme = "https" if settings.certificate else "http"
        return [f"{scheme}://{'[' + host + ']' if ':' in host else host}:{port}" for host, port in settings.listen]

    async def look_for_warnings(self, now: float, *, log_them: bool = False) -> None:
        """See what is to be said of the configuration by now: gaps of on-call schedules come nearer with time."""
        found = await asyncio.to_thread(warnings, self.loaded, now)
        self.warnings = tuple(map(str, found))
        for warning in self.warnings if log_them else ():
            log.warning("the configuration can be used, but", warning=warning)


def public_addresses(loaded: Loaded) -> tuple[tuple[str, int], ...]:
    """Host and port where the status page alone is served."""
    return loaded.status_page.listen if loaded.status_page else ()
