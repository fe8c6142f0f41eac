"""Asks a URL and checks the answer: status, headers, text, JSON, certificate, and how long each phase took.

What is expected is said under ``expect``; without it, any 2xx status will do. Redirects are followed first. All
expectations are looked at and every one that fails is told, but those about the content only when status, final URL
and headers are right, since the text of an error page says nothing about the page that was meant.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field, model_validator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.core.versions import VERSION
from wcr_watchd.kit.asking import Auth, WebUrl, shown_chain
from wcr_watchd.kit.certificates import SERVED_EXPIRES_SOON, SERVED_MEASUREMENTS, in_words, measure_served
from wcr_watchd.kit.expectations import Document, Expect, Path, shown
from wcr_watchd.kit.http import Answer, Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.network import HostName, IpVersion, is_address
from wcr_watchd.kit.options import Options, Secret, Size
from wcr_watchd.kit.patterns import PatternsTooSlowError
from wcr_watchd.kit.tls import TlsSettings, UnusableFileError, Version, explain

EXCERPT = 512
"""Bytes of the body that are kept as evidence of a failure."""


_ANY_2XX = Expect()
"""What is expected when nothing is said; one for all checks."""


# --- options ----------------------------------------------------------------------------------------------------------


class Http(Options):
    """Options of an HTTP check."""

    type: ClassVar[str] = "http"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
url = "https://www.example.org/health"
expect.status = 200
expect.json.status = "Healthy"
expect.headers.Strict-Transport-Security = true
values.users = "userCount"
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time from the start until the body was read, with redirects"),
        MeasurementSpec(
            "response_phase",
            Unit.SECONDS,
            "Time of each phase, summed over redirects: dns, connect, tls, first_byte, transfer",
            labels=("phase",),
        ),
        MeasurementSpec("status", Unit.COUNT, "Status of the last answer"),
        MeasurementSpec("body_size", Unit.BYTES, "Size of the body after decompression"),
        MeasurementSpec("redirects", Unit.COUNT, "Redirects that were followed"),
        *SERVED_MEASUREMENTS,
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "response_time > 2s for 3x"),
        (Severity.WARNING, SERVED_EXPIRES_SOON),
    )

    url: WebUrl
    """What to ask: http:// or https://."""
    method: Annotated[str, Field(pattern=r"^[A-Z]+$")] = "GET"
    """Method, in capitals."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to send; they may hold keys, so they are never shown, and never sent to another host by a redirect."""
    body: str = ""
    """Body to send."""
    json_: Any = Field(default=None, alias="json")
    """Body to send, as JSON."""
    form: dict[str, Secret] = Field(default_factory=dict)
    """Body to send, as the fields of a form."""
    auth: Auth | None = None
    """Who asks."""
    certificate: str = ""
    """File with the client certificate, PEM."""
    key: str = ""
    """File with the client certificate's key, PEM, when it is not in the same file."""
    ca_file: str = ""
    """File with the certificate authorities to trust instead of the system's, PEM."""
    verify: bool = True
    """Whether the server's certificate must be right for its name and trusted."""
    server_name: HostName | None = None
    """Name to ask for in TLS (SNI) and to check, when it is not the URL's host."""
    min_version: Version = "1.2"
    """Oldest TLS version that will do."""
    ip: IpVersion = "any"
    """Addresses to use: "any", "4" or "6"."""
    resolve: HostName | None = None
    """Address to connect to instead of looking the URL's host up."""
    follow_redirects: bool = True
    """Whether redirects are followed."""
    max_redirects: Annotated[int, Field(ge=1, le=50)] = 10
    """Most redirects that are followed."""
    allow_downgrade: bool = False
    """Whether a redirect may lead from https to http."""
    max_body: Annotated[Size, Field(ge=1, le=64 * 1024 * 1024)] = 1024 * 1024
    """How much of the body is read, after decompression; the rest is left unread."""
    expect: Expect = Field(default_factory=lambda: _ANY_2XX)
    """What the answer must be."""
    values: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Path] = Field(default_factory=dict)
    """Measurements of one's own: name = JMESPath to a number, true or false in the JSON of the body."""

    version: Path | None = None
    """JMESPath to what tells which version answers, in the JSON of the body; another one is a modification (see
    changes.md), and a change that names its version waits until staging runs it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Http:
        if sum((bool(self.body), self.json_ is not None, bool(self.form))) > 1:
            raise ValueError("give one of body, json and form")
        if self.auth is not None and "authorization" in {name.lower() for name in self.headers}:
            raise ValueError("give either auth or the header Authorization")
        if self.key and not self.certificate:
            raise ValueError("key needs certificate")
        host = URL(self.url).host or ""
        if is_address(host) and self.ip != "any" and (":" in host) != (self.ip == "6"):
            raise ValueError(f'{host} is not an address of ip = "{self.ip}"')
        if max(self.expect.min_size, self.expect.max_size or 0) > self.max_body:
            raise ValueError("the sizes expected are beyond max_body, which is all that is read; raise max_body")
        taken = {spec.name for spec in self.measurements} & set(self.values)
        if taken:
            raise ValueError(f"values.{min(taken)} has the name of a measurement that every http check has; rename it")
        return self

    @property
    def target(self) -> str:
        """The URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements and those under ``values``."""
        own = (MeasurementSpec(name, Unit.COUNT, f"{path} in the answer") for name, path in self.values.items())
        return (*self.measurements, *own)

    async def run(self, run: Run) -> Observation:
        """Ask once, measure, and compare the answer with what is expected."""
        client = run.shared.get(HttpClient)

        def tell(step: str) -> None:
            run.step = step

        exchange = Exchange(self._request, told=tell)
        try:
            answer = await _carried_out(run, client, exchange)
        except ExchangeError as error:
            return run.down(error.reason, f"{self._asked}: {error.summary}")
        except UnusableFileError as error:
            return run.unknown(error.reason, f"{self._asked}: {error.summary}")
        except OSError as error:
            return self._handshake_failed(run, client, exchange, error)
        run.step = "comparing the answer with what is expected"
        return await self._judge(run, exchange, answer)

    @property
    def _asked(self) -> str:
        return f"{self.method} {self.url}"

    @cached_property
    def _request(self) -> Request:
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        body, kind = self._body()
        if kind and "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = kind
        if self.auth is not None:
            headers["Authorization"] = self.auth.header()
        return Request(
            method=self.method,
            url=URL(self.url),
            headers=headers,
            body=body,
            ip=self.ip,
            resolve=self.resolve or "",
            server_name=self.server_name or "",
            tls=TlsSettings(self.verify, self.ca_file, self.certificate, self.key, self.min_version),
            redirects=self.max_redirects if self.follow_redirects else 0,
            downgrade=self.allow_downgrade,
            max_body=self.max_body,
        )

    def _body(self) -> tuple[bytes | None, str]:
        if self.json_ is not None:
            return json.dumps(self.json_).encode(), "application/json"
        if self.form:
            fields = {name: value.get_secret_value() for name, value in self.form.items()}
            return urlencode(fields).encode(), "application/x-www-form-urlencoded"
        return (self.body.encode(), "") if self.body else (None, "")

    def _handshake_failed(self, run: Run, client: HttpClient, exchange: Exchange, error: OSError) -> Observation:
        trusted = client.contexts.authorities(exchange.request.tls)
        chain = shown_chain(exchange)
        asked = exchange.handshake.asked
        return run.down("tls", f"{self._asked}: {explain(error, chain, asked, run.started, trusted)}")

    async def _judge(self, run: Run, exchange: Exchange, answer: Answer) -> Observation:
        seconds = sum(exchange.phases.values())
        said = f"{self._asked} answered {answer.status} {answer.phrase}".rstrip() + f" in {seconds:.3f} s"
        if answer.url != str(exchange.request.url):
            run.evidence["final_url"] = answer.url
        run.evidence["http_version"] = answer.version
        document = Document(answer)
        self._measure_values(run, document)
        self._note_version(run, document)
        try:
            failures = await self.expect.failures(answer, document, run.remaining)
        except PatternsTooSlowError as error:
            return run.unknown(
                "timeout", f"{said}, but the regular expressions are too slow: {error}; make them simpler"
            )
        except OSError as error:
            return run.unknown("missing", f"{said}, but the regular expressions could not be tried: {error}")
        if not failures:
            return run.up(said)
        run.evidence["failed"] = "\n".join(text for _, text in failures)
        run.evidence["headers"] = "\n".join(f"{name}: {', '.join(values)}" for name, values in answer.headers.items())
        run.evidence["body"] = answer.text[:EXCERPT]
        reason, text = failures[0]
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return run.down(reason, f"{said}, {text}{more}")

    def _measure_values(self, run: Run, document: Document) -> None:
        for name, path in self.values.items():
            value = document.at(path)
            if isinstance(value, bool | int | float) and math.isfinite(value):
                run.measure(name, value)
            else:
                run.missing((name,), document.problem or f"{path} is {shown(value)}, not a number")

    def _note_version(self, run: Run, document: Document) -> None:
        """State which version answers; an answer that does not tell says nothing of it."""
        version = document.at(self.version) if self.version else None
        if isinstance(version, str | int | float) and not isinstance(version, bool) and str(version).strip():
            run.fact(VERSION, run.check, str(version).strip())


# --- measuring --------------------------------------------------------------------------------------------------------


async def _carried_out(run: Run, client: HttpClient, exchange: Exchange) -> Answer:
    try:
        return await client.carry_out(exchange)
    finally:
        _measure_exchange(run, exchange)


def _measure_exchange(run: Run, exchange: Exchange) -> None:
    """Also when it failed or was cut off: the phases until then, and the certificates if it came to them."""
    for phase, seconds in exchange.phases.items():
        run.measure("response_phase", seconds, phase=phase)
    run.measure("redirects", exchange.redirects)
    if exchange.answer is not None:
        run.measure("response_time", sum(exchange.phases.values()))
        run.measure("status", exchange.answer.status)
    if exchange.answer is not None and exchange.answer.complete:
        run.measure("body_size", len(exchange.answer.body))
    chain = shown_chain(exchange)
    measure_served(run, chain)
    if chain:
        run.evidence["certificates"] = "\n".join(in_words(certificate, run.started) for certificate in chain)
    session = exchange.handshake.session
    if session is not None and session.version():
        run.evidence["tls"] = f"{session.version()}, {(session.cipher() or ('no cipher',))[0]}"
