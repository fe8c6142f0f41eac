"""Asking a web server, as several probes do: who asks, what is trusted, and what it means when no answer comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import aiohttp
from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.run import Run
from wcr_watchd.kit.certificates import Certificate, read_chain
from wcr_watchd.kit.http import Answer, Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.tls import TlsSettings, UnusableFileError, explain, served_chain


def checked_url(url: str) -> str:
    """Return the URL when it is one that may be asked and shown; else ``ValueError``."""
    try:
        parsed = URL(url)
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.raw_host:
        raise ValueError('must begin with "http://" or "https://" and name a host')
    if parsed.user or parsed.password:
        raise ValueError("a URL is shown everywhere: put user and password under auth.user and auth.password")
    return url


WebUrl = Annotated[str, AfterValidator(checked_url)]
"""An http or https URL without a password in it, as an option."""


class Auth(Options):
    """Who asks: user and password (Basic, RFC 7617) or a token (Bearer, RFC 6750)."""

    user: str = ""
    """User name for Basic authentication."""
    password: Secret = Secret("")
    """Password for Basic authentication."""
    bearer: Secret = Secret("")
    """Token for Bearer authentication."""

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        if bool(self.user) == bool(self.bearer.get_secret_value()):
            raise ValueError("give either user and password, or bearer")
        return self

    def header(self) -> str:
        """The value of the Authorization header."""
        if self.user:
            return aiohttp.encode_basic_auth(self.user, self.password.get_secret_value())
        return f"Bearer {self.bearer.get_secret_value()}"


class Asker(Options):
    """The options that say who asks."""

    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to send; they may hold keys, so they are never shown, and never sent to another host by a redirect."""
    auth: Auth | None = None
    """Who asks."""

    def own_headers(self) -> dict[str, str]:
        """What is sent to the server that is asked, and to no other."""
        sent = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.auth is not None:
            sent["Authorization"] = self.auth.header()
        return sent


class Asking(Asker):
    """The options that all probes have that ask a web server themselves."""

    ca_file: str = ""
    """File with the certificate authorities to trust instead of the system's, PEM."""
    verify: bool = True
    """Whether the server's certificate must be right for its name and trusted."""

    def request(
        self,
        url: URL,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        redirects: int = 10,
        max_body: int = 1024 * 1024,
    ) -> Request:
        """A request by these options; headers of its own come first."""
        sent = {**self.own_headers(), **(headers or {})}
        tls = TlsSettings(self.verify, self.ca_file)
        return Request(method, url, sent, body, tls=tls, redirects=redirects, max_body=max_body)


class NoAnswerError(Exception):
    """No usable answer came. ``outcome`` says whether that is the server's fault, the text what happened."""

    def __init__(self, outcome: Outcome, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.outcome = outcome
        self.reason = reason
        self.summary = summary

    def observation(self, run: Run, asked: str) -> Observation:
        """How a run ends that needed the answer to ``asked``."""
        ended = run.down if self.outcome is Outcome.DOWN else run.unknown
        return ended(self.reason, f"{asked}: {self.summary}")


async def ask(run: Run, exchange: Exchange, shown: str = "") -> Answer:
    """Carry an exchange out, telling the run what goes on. Raises :class:`NoAnswerError`.

    ``shown`` is told in place of an address that holds what nobody may see.
    """

    def tell(step: str) -> None:
        run.step = step.replace(exchange.url, shown) if shown else step

    exchange.told = tell
    client = run.shared.get(HttpClient)
    try:
        return await client.carry_out(exchange)
    except ExchangeError as error:
        raise NoAnswerError(Outcome.DOWN, error.reason, error.summary) from error
    except UnusableFileError as error:
        raise NoAnswerError(Outcome.UNKNOWN, error.reason, error.summary) from error
    except OSError as error:
        trusted = client.contexts.authorities(exchange.request.tls)
        words = explain(error, shown_chain(exchange), exchange.handshake.asked, run.started, trusted)
        raise NoAnswerError(Outcome.DOWN, "tls", words) from error


def shown_chain(exchange: Exchange) -> tuple[Certificate, ...]:
    """The certificates that the server of an exchange showed; none when it showed none that can be read."""
    session = exchange.handshake.session
    if session is None:
        return ()
    try:
        return read_chain(served_chain(session))
    except ValueError:
        return ()  # what OpenSSL takes and cryptography cannot read; the verdict is OpenSSL's
