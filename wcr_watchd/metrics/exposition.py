"""``/metrics``: Prometheus text 0.0.4 and OpenMetrics 1.0, gzip, from a read-only view of the daemon.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from wcr_watchd.core.setup import Setup
from wcr_watchd.core.view import View
from wcr_watchd.metrics.families import Snapshot, families, take_snapshot
from wcr_watchd.metrics.series import Family, check_families

KEEP = 1.0
"""Seconds for which a rendered page is given to further scrapes."""
_GZIP_LEVEL = 4
_PAUSE = 0.001
"""Seconds."""
_END = b"# EOF\n"
"""The last line of OpenMetrics."""


@dataclass(frozen=True, slots=True)
class Page:
    """What to answer a scrape with."""

    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A rendered page, with when (monotonic seconds) and for which configuration it was made."""

    page: Page
    at: float
    setup: Setup


class Exposition:
    """Renders the metrics, in a thread of its own: however many series there are, the event loop goes on.

    Scrapes that come at the same time, or within a second, share one rendering; a page made before a reload is
    never given out after it, so that the series of a removed check are gone at once.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._registry = CollectorRegistry()
        self._collector = _DaemonCollector()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._rendering = asyncio.Lock()
        self._kept: dict[tuple[str, bool], _Kept] = {}

    async def render(self, accept: str, accept_encoding: str) -> Page:
        """Return the metrics as the scraper wants them, by its headers ``Accept`` and ``Accept-Encoding``."""
        form = (_content_type(accept), _quality(accept_encoding, "gzip") > 0)
        async with self._rendering:
            kept = self._kept.get(form)
            now = self._view.monotonic()
            if kept is None or now - kept.at >= KEEP or kept.setup is not self._view.setup:
                snapshot = take_snapshot(self._view)
                page = await asyncio.get_running_loop().run_in_executor(self._thread, self._render, snapshot, *form)
                kept = self._kept[form] = _Kept(page, now, snapshot.setup)
        return kept.page

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def _render(self, snapshot: Snapshot, content_type: str, compressed: bool) -> Page:
        self._collector.snapshot = snapshot
        generate: Callable[[CollectorRegistry], bytes] = (
            generate_openmetrics if content_type == CONTENT_TYPE_OPENMETRICS else generate_latest
        )
        parts: list[bytes | bytearray] = [generate(self._registry).removesuffix(_END)]
        for family in check_families(snapshot, _breathe):
            parts += (generate(_head(family)).removesuffix(_END), family.lines)
        if content_type == CONTENT_TYPE_OPENMETRICS:
            parts.append(_END)
        body = b"".join(parts)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if compressed:
            body = gzip.compress(body, compresslevel=_GZIP_LEVEL)
            headers["Content-Encoding"] = "gzip"
        return Page(body, headers)


def _breathe() -> None:
    """Let the event loop have the interpreter: it would have to wait for it five milliseconds each time."""
    time.sleep(_PAUSE)


def _head(family: Family) -> CollectorRegistry:
    """A registry with a family's name, help and type only."""
    registry = CollectorRegistry()
    registry.register(_Head(Metric(family.name, family.help, family.kind, family.unit)))
    return registry


class _Head(Collector):
    """A metric without series."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class _DaemonCollector(Collector):
    """Hands the families of the snapshot at hand to the registry."""

    snapshot: Snapshot | None = None

    def collect(self) -> Iterable[Metric]:
        return families(self.snapshot) if self.snapshot else ()


def _content_type(accept: str) -> str:
    """OpenMetrics when the scraper wants it at least as much as plain text, else text 0.0.4, which all can read."""
    openmetrics = max(_quality(accept, "application/openmetrics-text", version=version) for version in ("", "1.0.0"))
    if openmetrics > 0 and openmetrics >= _quality(accept, "text/plain"):
        return CONTENT_TYPE_OPENMETRICS
    return CONTENT_TYPE_PLAIN_0_0_4


def _quality(header: str, wanted: str, version: str | None = None) -> float:
    """How much a header such as ``Accept`` wants something (RFC 9110, 12.4.2): 0 not at all, 1 most.

    With ``version``, only offers with this parameter count (empty: without one).
    """
    best = 0.0
    for offer in header.split(","):
        name, *parameters = (part.strip().lower() for part in offer.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        if name == wanted and version in (None, values.get("version", "")):
            best = max(best, _number(values.get("q", "1")))
    return best


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
