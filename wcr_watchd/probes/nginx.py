"""Follows an access log of nginx (or Apache): how many requests come, how they end, how long they take, and where.

Reads what is new since the last run, over rotation and restarts of the daemon; the first run only marks the end. With
the format "combined", which has no times, the response times are absent; add ``$request_time`` to the log_format.
Clients are told apart by address and user agent, which stands in for sessions that nobody counts.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs.access_log import SLOW, distinct, format_pattern, summarise
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.tools import patience_of

MOST = 100 * 1024 * 1024
"""Bytes of log that one run reads; of more, the newest."""
CLIENTS_WITHIN = 300.0
"""Seconds within which clients are counted."""
_STATUSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_OF_ALL = 'path="all"'


def _checked_format(text: str) -> str:
    if text not in ("auto", "json"):
        format_pattern(text)
    return text


def _checked_path(pattern: str) -> str:
    if pattern.startswith("~"):
        try:
            re.compile(pattern[1:].strip())
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
    elif not pattern.startswith("/"):
        raise ValueError('write a prefix such as "/api/", or a regular expression after a tilde: "~ \\.(css|js)$"')
    return pattern


def _checked_name(name: str) -> str:
    if name in ("all", "other"):
        raise ValueError(f'"{name}" stands for the requests that no other name fits; choose another')
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$"), AfterValidator(_checked_name)]
PathPatterns = Annotated[
    tuple[Annotated[str, AfterValidator(_checked_path)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _about(topic: str, *specs: MeasurementSpec) -> tuple[MeasurementSpec, ...]:
    return tuple(replace(spec, topic=topic) for spec in specs)


def _spec(name: str, unit: Unit, text: str, *labels: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, labels, counter)


class Nginx(Options):
    """Options of a check of an access log."""

    type: ClassVar[str] = "nginx"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = """\
path = "/var/log/nginx/access.log"
paths.api = "/api/"
paths.assets = "~ \\\\.(css|js|png|svg|woff2)$"
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        *_about(
            "errors",
            _spec("answers", Unit.COUNT, "Answers, by hundreds of their status: 2xx, 5xx …", "status", counter=True),
            _spec("server_error_share", Unit.RATIO, "Share of requests answered 5xx", "path"),
            _spec("client_error_share", Unit.RATIO, "Share of requests answered 4xx", "path"),
            _spec("success_share", Unit.RATIO, "Share answered well (1xx, 2xx, 304, 401), redirects aside", "path"),
        ),
        *_about(
            "speed",
            _spec("response_time_mean", Unit.SECONDS, "Mean time of requests; absent in a log without times", "path"),
            _spec("response_time_p50", Unit.SECONDS, "Time within which half of the requests were done", "path"),
            _spec("response_time_p95", Unit.SECONDS, "Time within which 95 % of the requests were done", "path"),
            _spec("response_time_p99", Unit.SECONDS, "Time within which 99 % of the requests were done", "path"),
            _spec("slow_requests", Unit.COUNT, f"Requests that took {SLOW:g} s or longer", counter=True),
        ),
        *_about(
            "traffic",
            _spec("requests", Unit.PER_SECOND, "Requests: all, and by path", "path"),
            _spec("sent", Unit.BYTES_PER_SECOND, "Bytes of bodies sent"),
            _spec("clients", Unit.COUNT, "Different addresses with user agent within the last 5 min"),
            _spec("silence", Unit.SECONDS, "Time since the last request, by the log's own clock"),
        ),
        *_about("log", _spec("unreadable", Unit.COUNT, "New lines that are not of the format")),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (
            Severity.CRITICAL,
            'rate(answers{status="5xx"}, 5m) > 0.05/s until rate(answers{status="5xx"}, 5m) < 0.02/s',
        ),
        (
            Severity.CRITICAL,
            f"server_error_share{{{_OF_ALL}}} > 2% and requests{{{_OF_ALL}}} >= 120/m for 2x "
            f"until server_error_share{{{_OF_ALL}}} < 1%",
        ),
        (
            Severity.WARNING,
            f"server_error_share{{{_OF_ALL}}} > 1% and requests{{{_OF_ALL}}} >= 120/m for 2x "
            f"until server_error_share{{{_OF_ALL}}} < 0.5%",
        ),
        (Severity.WARNING, 'increase(answers{status="5xx"}, 1h) > 10'),
        (
            Severity.WARNING,
            f"success_share{{{_OF_ALL}}} < 85% and requests{{{_OF_ALL}}} >= 120/m for 2x "
            f"until success_share{{{_OF_ALL}}} > 95%",
        ),
        (
            Severity.WARNING,
            f"client_error_share{{{_OF_ALL}}} > 30% and requests{{{_OF_ALL}}} >= 120/m for 2x "
            f"until client_error_share{{{_OF_ALL}}} < 10%",
        ),
        # Counted in runs, not minutes: in a quiet night two slow requests, with nothing between them, are no slow site.
        (Severity.WARNING, "response_time_p95 > 1s for 5x until response_time_p95 < 800ms for 2x"),
        (Severity.INFO, "response_time_mean > 200ms for 15x until response_time_mean < 150ms for 5x"),
        (Severity.INFO, "clients < 0.5 * baseline(clients) and baseline(clients) >= 20 for 10m"),
    )

    path: str
    """The log file. The files that logrotate makes of it are found beside it."""
    format: Annotated[str, AfterValidator(_checked_format)] = "auto"
    """How its lines look: "auto" (combined with whatever follows, or JSON), "json" (objects with nginx's variables as
    keys: status, request, request_time …), or the log_format as it stands in nginx.conf."""
    paths: dict[Name, PathPatterns] = Field(default_factory=dict)
    """Requests to be told apart: name = prefix of the path ("/api/"), "~" and a regular expression, or a list of these;
    the first that fits counts, what fits none is "other"."""

    @property
    def target(self) -> str:
        """The path."""
        return self.path

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read on, and tell what came."""
        run.step = f"reading what is new in {self.path}"
        given = {
            "path": self.path,
            "cursor": run.memory.get("cursor"),
            "format": self.format,
            "paths": {name: list(patterns) for name, patterns in self.paths.items()},
            "most": MOST,
        }
        patience = patience_of(run)  # a file system that does not answer says nothing of the site
        try:
            async with asyncio.timeout(patience):
                found = await aside(summarise, given)
        except TimeoutError:
            return run.unknown("timeout", f"{self.path} could not be gone through within {format_duration(patience)}")
        except FileNotFoundError:
            return run.unknown("missing", f"{self.path} does not exist: see access_log in the server's configuration")
        except PermissionError:
            return run.unknown("permission", f"{self.path} may not be read: add this user to its group (often adm)")
        except OSError as error:
            return run.unknown("missing", f"{self.path} cannot be read: {error.strerror or error}")
        except RuntimeError as error:
            return run.unknown("parse", f"{self.path} could not be gone through: {error}")
        return self._told(run, found)

    def _told(self, run: Run, found: Mapping[str, Any]) -> Observation:
        before = run.memory.get("at")
        self._remember(run, found)
        if before is None:
            return run.up(f"{self.path} is followed from here on; what comes is told by the next run")
        if found["unreadable"] and found["unreadable"] == found["lines"]:
            run.evidence["line"] = found["example"]
            return run.unknown(
                "parse",
                f"none of the {found['lines']} new lines of {self.path} is of the format {self.format}: set format",
            )
        span = max(1.0, run.started - before)
        if found["skipped"] and found["oldest"] and found["newest"]:
            span = max(1.0, found["newest"] - found["oldest"])
        self._measure(run, found, span)
        self._keep_evidence(run, found)
        return run.up(_summary(found["tallies"]["all"], span))

    def _remember(self, run: Run, found: Mapping[str, Any]) -> None:
        """Where to go on, the counters, and when the last request came."""
        everything, memory = found["tallies"]["all"], run.memory
        counted = memory.get("answers", [0] * len(_STATUSES))
        memory["answers"] = [had + new for had, new in zip(counted, everything["statuses"][1:], strict=True)]
        memory["slow"] = memory.get("slow", 0) + (everything["slow"] or 0)
        memory["newest"] = found["newest"] or memory.get("newest")
        memory["cursor"], memory["at"] = found["cursor"], run.started

    def _measure(self, run: Run, found: Mapping[str, Any], span: float) -> None:
        for status, count in zip(_STATUSES, run.memory["answers"], strict=True):
            run.measure("answers", count, status=status)
        for path, tally in found["tallies"].items():
            _measure_path(run, path, tally, span)
        run.measure("sent", found["tallies"]["all"]["size"] / span)
        run.measure("unreadable", found["unreadable"])
        if run.memory["newest"] is not None:
            run.measure("silence", max(0.0, run.started - run.memory["newest"]))
        self._measure_clients(run, found["clients"], span)
        requests = found["tallies"]["all"]["requests"]
        if requests and not found["tallies"]["all"]["times"]:
            run.missing(("response_time_…", "slow_requests"), "the log has no times: add $request_time to log_format")
        elif requests or run.memory["slow"]:
            run.measure("slow_requests", run.memory["slow"])

    def _measure_clients(self, run: Run, sketch: Sequence[int], span: float) -> None:
        """Known only once enough time has been looked at; a few seconds less will do."""
        seen = [*run.memory.get("clients", ()), [run.started - span, sketch]]
        # Of those that began earlier, the last reaches into the time that counts.
        first = max((at for at, _ in seen if at <= run.started - CLIENTS_WITHIN), default=seen[0][0])
        run.memory["clients"] = seen = [[at, hashes] for at, hashes in seen if at >= first]
        if run.started - first >= CLIENTS_WITHIN * 0.9:
            run.measure("clients", distinct([hashes for _, hashes in seen]))

    def _keep_evidence(self, run: Run, found: Mapping[str, Any]) -> None:
        if found["failing"]:
            run.evidence["failed"] = "\n".join(
                f"{count} x {status} {address}" for count, status, address in found["failing"]
            )
        if found["slowest"]:
            run.evidence["slowest"] = "\n".join(
                f"{format_duration(time)} {status} {address}" for time, status, address in found["slowest"]
            )
        if found["unreadable"]:
            run.evidence["unreadable line"] = found["example"]
        if found["skipped"]:
            run.evidence["skipped"] = f"{format_value(found['skipped'], Unit.BYTES)} of older lines were not read"
        if found["lost"]:
            run.evidence["lost"] = (
                "the log was truncated or removed before its rest was read; some requests are not counted"
            )


def _measure_path(run: Run, path: str, tally: Mapping[str, Any], span: float) -> None:
    requests = tally["requests"]
    run.measure("requests", requests / span, path=path)
    if requests:
        run.measure("server_error_share", tally["statuses"][5] / requests, path=path)
        run.measure("client_error_share", tally["statuses"][4] / requests, path=path)
    if requests > tally["redirects"]:
        run.measure("success_share", tally["good"] / (requests - tally["redirects"]), path=path)
    for name, value in tally["times"].items():
        run.measure(f"response_time_{name}", value, path=path)


def _summary(tally: Mapping[str, Any], span: float) -> str:
    requests, statuses = tally["requests"], tally["statuses"]
    if not requests:
        return f"no request within {format_duration(span)}"
    said = f"{requests} requests within {format_duration(span)}"
    for status in (5, 4):
        said += f", {format_value(statuses[status] / requests, Unit.RATIO)} answered {status}xx"
    times = tally["times"]
    return f"{said}, 95 % done within {format_duration(times['p95'])}" if times else said
