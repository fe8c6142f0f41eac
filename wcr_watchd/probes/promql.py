"""Asks a Prometheus server (or one that speaks its API) and takes what its queries find as measurements.

Without queries of its own it tells how many of the server's targets are down. HTTP API:
https://prometheus.io/docs/prometheus/latest/querying/api/.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.asking import Asking, NoAnswerError, WebUrl, ask
from wcr_watchd.kit.http import Answer, Exchange
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.scrape import MOST_SERIES, LabelName, ValueName, refuse_taken
from wcr_watchd.kit.threads import StillBlockedError, Threads

LARGEST = 2 * 1024 * 1024
TARGETS = {
    "targets": "count(up) or vector(0)",
    "targets_down": "count(up == 0) or vector(0)",
}
"""What is asked of every server, by the measurement it becomes."""
UNITS = {
    "number": Unit.COUNT,
    "seconds": Unit.SECONDS,
    "bytes": Unit.BYTES,
    "ratio": Unit.RATIO,
    "celsius": Unit.CELSIUS,
    "timestamp": Unit.TIMESTAMP,
    "per_second": Unit.PER_SECOND,
    "bytes_per_second": Unit.BYTES_PER_SECOND,
}


class Query(Options):
    """A query that becomes one measurement."""

    query: Annotated[str, Field(min_length=1)]
    """The query, in PromQL."""
    by: tuple[LabelName, ...] = ()
    """Labels that stay. Without it the query must find one number."""
    unit: Literal["number", "seconds", "bytes", "ratio", "celsius", "timestamp", "per_second", "bytes_per_second"] = (
        "number"
    )
    """What the number is."""
    when_empty: float | None = None
    """The number when the query finds nothing; without it the measurement is absent then."""


_Queries = dict[
    ValueName,
    Annotated[
        Query,
        BeforeValidator(lambda given: {"query": given} if isinstance(given, str) else given),
        WithJsonSchema({"anyOf": [{"type": "string"}, Query.model_json_schema()]}),
    ],
]


class PromQl(Asking):
    """Options of queries against a Prometheus server."""

    type: ClassVar[str] = "promql"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
url = "http://localhost:9090"
values.error_share = { query = "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))", unit = "ratio" }
values.queue = { query = "max by (queue) (queue_length)", by = ["queue"] }
values.alerts = { query = 'count(ALERTS{alertstate="firing"})', when_empty = 0 }
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time of the slowest query"),
        MeasurementSpec("targets", Unit.COUNT, "Targets that the server scrapes", topic="targets"),
        MeasurementSpec("targets_down", Unit.COUNT, "Targets that it cannot scrape", topic="targets"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "targets_down > 0 for 5m"),
    )

    url: WebUrl
    """The server, without /api/v1."""
    values: _Queries = Field(default_factory=dict)
    """Measurements: name = query in PromQL, or a table with more."""

    @model_validator(mode="after")
    def _names_are_free(self) -> PromQl:
        refuse_taken(self.measurements, self.values)
        return self

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements and those under ``values``."""
        own = (MeasurementSpec(name, UNITS[one.unit], one.query, one.by) for name, one in self.values.items())
        return (*self.measurements, *own)

    async def run(self, run: Run) -> Observation:
        """Ask one query after the other."""
        queries = {name: Query(query=text) for name, text in TARGETS.items()} | self.values
        times = []
        for name, query in queries.items():
            try:
                seconds, found = await self._ask(run, query)
                self._measure(run, name, query, found)
            except NoAnswerError as error:
                return error.observation(run, f"{self.url}, query for {name}")
            times.append(seconds)
        run.measure("response_time", max(times))
        known = {one.name: one.value for one in run.measurements}
        return run.up(
            f"{self.url} answered {len(times)} queries, the slowest in {format_duration(max(times))}; "
            f"{known.get('targets_down', 0):.0f} of its {known.get('targets', 0):.0f} targets are down"
        )

    async def _ask(self, run: Run, query: Query) -> tuple[float, _Found]:
        """Seconds, and what was found; raises :class:`NoAnswerError`."""
        address = self.url.rstrip("/") + "/api/v1/query"
        body = urlencode({"query": query.query, "timeout": f"{max(1, int(run.remaining))}s"}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        exchange = Exchange(self.request(URL(address), "POST", headers, body, max_body=LARGEST))
        answer = await ask(run, exchange)
        try:
            found = await run.shared.get(Threads).run(f"answer for {run.check}", _found, answer)
        except StillBlockedError as error:
            raise NoAnswerError(Outcome.UNKNOWN, "timeout", str(error)) from error
        return sum(exchange.phases.values()), found

    def _measure(self, run: Run, name: str, query: Query, series: _Found) -> None:
        if not series and query.when_empty is not None and not query.by:
            run.measure(name, query.when_empty)
        elif not series:
            run.missing((name,), "the query finds nothing")
        if len(series) > 1 and not query.by:
            raise NoAnswerError(
                Outcome.UNKNOWN, "content", f"it finds {len(series)} series, expected one: aggregate it, or set by"
            )
        seen = set[tuple[str, ...]]()
        for labels, number in series[:MOST_SERIES]:
            kept = tuple(str(labels.get(label, ""))[:200] for label in query.by)
            if kept in seen:
                raise NoAnswerError(
                    Outcome.UNKNOWN, "content", f"several series have the same {', '.join(query.by)}: aggregate them"
                )
            seen.add(kept)
            if math.isfinite(number):
                run.measure(name, number, **dict(zip(query.by, kept, strict=True)))
        if len(series) > MOST_SERIES:
            run.evidence[f"series of {name}"] = f"{len(series)}; only the first {MOST_SERIES} are kept"


_Found = list[tuple[Mapping[str, Any], float]]
"""Labels and number of each series that a query finds."""


def _found(answer: Answer) -> _Found:
    """What an instant query found, a vector or a scalar. Takes its time; raises :class:`NoAnswerError`."""
    data = _data(answer)
    kind = data.get("resultType")
    try:
        if kind == "scalar":
            return [({}, float(data["result"][1]))]
        if kind == "vector":
            return [(dict(one["metric"]), float(one["value"][1])) for one in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise NoAnswerError(Outcome.DOWN, "content", "does not answer as a Prometheus does") from error
    what = f"a {str(kind)[:40]}" if kind else "what has no type"
    raise NoAnswerError(Outcome.UNKNOWN, "content", f"it finds {what}, expected a vector or a scalar")


def _data(answer: Answer) -> Mapping[str, Any]:
    """The data of an answer; raises :class:`NoAnswerError` for an error that it tells, and for what is no answer."""
    try:
        told = json.loads(answer.body) if answer.complete else None
    except (ValueError, RecursionError):
        told = None
    if not answer.complete:
        raise NoAnswerError(Outcome.UNKNOWN, "too_large", f"it finds more than {LARGEST} bytes: aggregate it")
    if isinstance(told, dict) and told.get("status") == "success" and isinstance(told.get("data"), dict):
        return dict(told["data"])
    said = str(told.get("error", "")) if isinstance(told, dict) else ""
    if answer.status in (400, 422) and said:
        raise NoAnswerError(Outcome.UNKNOWN, "parse", f"the server does not take the query: {said[:300]}")
    if answer.status != 200:
        raise NoAnswerError(Outcome.DOWN, "status", f"answered {answer.status} {answer.phrase} {said[:300]}".rstrip())
    raise NoAnswerError(Outcome.DOWN, "content", "does not answer as a Prometheus does; is the URL right?")
