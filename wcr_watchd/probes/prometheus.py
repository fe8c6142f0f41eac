"""Scrapes an exporter as Prometheus would, and takes the numbers that are chosen by name and labels.

Counters become rates. Reads the Prometheus text format and OpenMetrics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.asking import Asking, NoAnswerError, WebUrl, ask
from wcr_watchd.kit.http import Answer, Exchange
from wcr_watchd.kit.options import Size
from wcr_watchd.kit.scrape import ExpositionError, Values, read_and_measure, refuse_taken, specs_of
from wcr_watchd.kit.threads import StillBlockedError, Threads

ACCEPTED = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Prometheus(Asking):
    """Options of a scrape of an exporter."""

    type: ClassVar[str] = "prometheus"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
url = "http://localhost:9100/metrics"
values.load = "node_load5"
values.errors = 'http_requests_total{code=~"5.."}'
values.queue = { metric = "queue_length", by = ["queue"], combine = "max" }
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time until everything was read"),
        MeasurementSpec("scrape_size", Unit.BYTES, "Size of the exposition"),
        MeasurementSpec("metrics", Unit.COUNT, "Metrics that it shows"),
        MeasurementSpec("samples", Unit.COUNT, "Series that it shows"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.CRITICAL, "down"),)

    url: WebUrl
    """Where its metrics are."""
    values: Values = Field(default_factory=dict)
    """Measurements: name = metric with labels as in PromQL, or a table with more."""
    max_body: Annotated[Size, Field(ge=1, le=64 * 1024 * 1024)] = 8 * 1024 * 1024
    """How much is read; an exporter that shows more is too large."""

    @model_validator(mode="after")
    def _names_are_free(self) -> Prometheus:
        refuse_taken(self.measurements, self.values)
        return self

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements and those under ``values``."""
        return specs_of(self.measurements, self.values)

    async def run(self, run: Run) -> Observation:
        """Ask once, read, choose."""
        request = self.request(URL(self.url), headers={"Accept": ACCEPTED}, max_body=self.max_body)
        exchange = Exchange(request)
        try:
            answer = await ask(run, exchange)
        except NoAnswerError as error:
            return error.observation(run, self.url)
        run.measure("response_time", sum(exchange.phases.values()))
        run.measure("scrape_size", len(answer.body))
        kind = answer.headers.get("content-type", ("",))[0]
        if answer.status != 200:
            run.evidence["body"] = answer.text[:512]
            return run.down("status", f"{self.url} answered {answer.status} {answer.phrase}, expected 200")
        if not answer.complete:
            return run.unknown("too_large", f"{self.url} shows more than {self.max_body} bytes: raise max_body")
        if "html" in kind:
            return run.down("content", f"{self.url} shows a web page ({kind}), expected metrics: is the path right?")
        return await self._read(run, answer, kind)

    async def _read(self, run: Run, answer: Answer, kind: str) -> Observation:
        run.step = f"reading the {len(answer.body)} bytes that {self.url} shows"
        threads, openmetrics = run.shared.get(Threads), "openmetrics" in kind
        # A run that is cut off is read while the thread goes on.
        aside = replace(run, measurements=[], evidence={}, memory=dict(run.memory))
        try:
            found = await threads.run(
                f"exposition of {run.check}", read_and_measure, answer.body, openmetrics, self.values, aside
            )
        except StillBlockedError:
            return run.unknown("parse", f"{self.url}: an earlier answer is still being read; choose a smaller exporter")
        except ExpositionError as error:
            return run.down("parse", f"{self.url} shows what is no proper exposition: {error}")
        run.measure("metrics", found.metrics)
        run.measure("samples", found.samples)
        run.measurements += aside.measurements
        run.evidence |= aside.evidence
        run.memory |= aside.memory
        if found.absent and len(found.absent) == len(self.values):
            return run.unknown("missing", f"{self.url} shows none of the metrics chosen: {', '.join(found.absent)}")
        seconds = format_duration(sum(part.value for part in run.measurements if part.name == "response_time"))
        missing = f"; it does not show {', '.join(found.absent)}" if found.absent else ""
        return run.up(f"{self.url} showed {found.samples} series in {seconds}{missing}")
