"""Watches when the registration of a domain ends, and whether its registry has suspended it (RDAP, RFC 9083).

The registry's server is found as RFC 9224 says, in IANA's list. It is asked once a day at most, since registries count;
what it said last is kept for when it does not answer. Where a registry tells no date (many of countries do not), write
``expires``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar

import dns.asyncresolver
import dns.exception
import dns.resolver
from pydantic import AfterValidator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.http import Answer, Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.network import HostName
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.side_loop import SideLoop
from wcr_watchd.kit.tls import TlsSettings, UnusableFileError

DAY = 86400.0
BOOTSTRAP = "https://data.iana.org/rdap/dns.json"
ASK_AGAIN = 0.8 * DAY
"""Seconds for which the registry's last answer is good enough."""
KEEP_SERVER = 7 * DAY
"""Seconds for which the server of a top-level domain is not looked for again."""
FORGET = 45 * DAY
"""Seconds after which an old answer says nothing any more."""
BAD = {
    "redemption period": "it was deleted and can be had back for a fee",
    "pending delete": "it will be deleted within days",
    "server hold": "the registry has taken it out of DNS",
    "client hold": "the registrar has taken it out of DNS",
    "inactive": "it has no name servers",
}
"""Statuses (RFC 8056) in which a domain does not work, or will not for long."""


class _Unanswered(Exception):  # noqa: N818 - it is an answer, too
    """The registry told nothing of the domain."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class _Unregistered(Exception):  # noqa: N818 - likewise
    """The registry does not know the domain."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registry tells: end of the registration (epoch seconds, None: not told), statuses, registrar."""

    expires: float | None
    statuses: tuple[str, ...]
    registrar: str


def _http_url(value: str) -> str:
    if value and not value.startswith(("https://", "http://")):
        raise ValueError(f"{value!r} is not a URL: write https://rdap.example.net/")
    return value


class Domain(Options):
    """Options of a check of a domain's registration."""

    type: ClassVar[str] = "domain"
    target_key: ClassVar[str] = "name"
    every: ClassVar[float] = DAY
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = 'name = "example.org"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("expires_in", Unit.SECONDS, "Time until the registration ends", topic="expiry"),
        MeasurementSpec(
            "suspended", Unit.COUNT, "Statuses by which it does not work, or will not for long", topic="status"
        ),
        MeasurementSpec("locked", Unit.COUNT, "1 when it cannot be transferred to another registrar, else 0"),
        MeasurementSpec("answer_age", Unit.SECONDS, "Time since the registry said so"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "suspended > 0"),
        (Severity.CRITICAL, "expires_in < 7d"),
        (Severity.WARNING, "expires_in < 30d"),
        (Severity.INFO, "expires_in < 60d"),
    )

    name: HostName
    """The domain, as it is registered: "example.org"."""
    expires: date | None = None
    """When it ends, where the registry does not tell: "2027-05-01"."""
    rdap: Annotated[str, AfterValidator(_http_url)] = ""
    """The registry's RDAP server, in place of the one in IANA's list."""
    bootstrap: Annotated[str, AfterValidator(_http_url)] = BOOTSTRAP
    """Where the list of RDAP servers is."""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""

    @property
    def target(self) -> str:
        """The domain."""
        return self.name

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask the registry, or remember what it said today already."""
        problem: _Unanswered | None = None
        if not 0 <= run.started - run.memory.get("at", 0.0) < ASK_AGAIN:
            try:
                found = await self._ask(run)
            except _Unregistered:
                return await self._unregistered(run)
            except _Unanswered as unanswered:
                problem = unanswered
            else:
                run.memory |= {"at": run.started, "expires": found.expires, "registrar": found.registrar}
                run.memory["statuses"] = list(found.statuses)
        age = run.started - run.memory.get("at", 0.0)
        if age < FORGET:
            return self._told(run, age, problem)
        summary = problem.summary if problem else "the registry told nothing"
        if self.expires is None:
            return run.unknown(problem.reason if problem else "missing", f"{self.name}: {summary}; or set expires")
        run.measure("expires_in", self._own_date() - run.started)
        run.missing(("suspended", "locked"), summary)
        return run.up(f"{self.name} {_end(self._own_date(), run.started)}, by the date in the configuration")

    def _own_date(self) -> float:
        assert self.expires is not None
        return datetime(self.expires.year, self.expires.month, self.expires.day, tzinfo=UTC).timestamp()

    def _told(self, run: Run, age: float, problem: _Unanswered | None) -> Observation:
        """The verdict over what the registry said, now or lately."""
        statuses: list[str] = run.memory["statuses"]
        expires = run.memory["expires"]
        if expires is None and self.expires is not None:
            expires = self._own_date()
        run.measure("answer_age", age)
        bad = [status for status in statuses if status in BAD]
        run.measure("suspended", len(bad))
        run.measure("locked", any("transfer prohibited" in status for status in statuses))
        run.evidence["status"] = ", ".join(statuses) or "none"
        run.evidence["registrar"] = run.memory["registrar"] or "not told"
        if problem is not None:
            run.evidence["last attempt"] = problem.summary
        meanings = "".join(f"; {status}: {BAD[status]}" for status in bad)
        if expires is None:
            run.missing(("expires_in",), "the registry tells no date: set expires")
            return run.up(f"{self.name} is registered until nobody says when (set expires){meanings}")
        run.measure("expires_in", expires - run.started)
        by = f", registrar {run.memory['registrar']}" if run.memory["registrar"] else ""
        return run.up(f"{self.name} {_end(expires, run.started)}{by}{meanings}", "status" if bad else "")

    async def _unregistered(self, run: Run) -> Observation:
        """A registry that knows nothing may be wrong, so DNS is asked, too, before anybody is woken."""
        run.step = f"asking DNS whether {self.name} exists"
        try:
            asking = dns.asyncresolver.resolve(self.name, "SOA", raise_on_no_answer=False, lifetime=run.remaining * 0.8)
            await run.shared.get(SideLoop).run(asking)
        except dns.resolver.NXDOMAIN:
            return run.down("missing", f"{self.name} is not registered: its registry and DNS do not know it")
        except (dns.exception.DNSException, OSError) as error:
            said = " ".join(str(error).split())
            return run.unknown("dns", f"{self.name}: the registry does not know it, and DNS did not answer: {said}")
        return run.unknown("content", f"{self.name}: its RDAP server does not know it, but it is in DNS; see rdap")

    # --- asking ---

    async def _ask(self, run: Run) -> Registration:
        """Raises :class:`_Unanswered` and :class:`_Unregistered`."""
        server = self.rdap or await self._server(run)
        url = URL(server if server.endswith("/") else server + "/") / "domain" / self.name
        answer = await self._get(run, url)
        if answer.status == 404:
            raise _Unregistered
        if answer.status == 429:
            raise _Unanswered("refused", f"{url.host} answers no more for now (429, too many questions)")
        return read_registration(_table(answer, url))

    async def _server(self, run: Run) -> str:
        """The registry's server, from IANA's list; remembered for a week."""
        known = run.memory.get("server")
        if known and 0 <= run.started - known["at"] < KEEP_SERVER:
            return str(known["url"])
        url = URL(self.bootstrap)
        server = server_for(self.name, _table(await self._get(run, url), url))
        if not server:
            top = self.name.rpartition(".")[2]
            raise _Unanswered("missing", f"the registry of .{top} has no RDAP server")
        run.memory["server"] = {"url": server, "at": run.started}
        return server

    async def _get(self, run: Run, url: URL) -> Answer:
        run.step = f"asking {url}"
        headers = {"Accept": "application/rdap+json, application/json"}
        request = Request("GET", url, headers=headers, tls=TlsSettings(ca_file=self.ca_file))
        try:
            return await run.shared.get(HttpClient).carry_out(Exchange(request))
        except (ExchangeError, UnusableFileError) as error:
            raise _Unanswered(error.reason, f"{url.host} cannot be asked: {error.summary}") from error
        except OSError as error:
            said = " ".join(str(error).split())
            raise _Unanswered("tls", f"{url.host} cannot be asked: {said}") from error


def _table(answer: Answer, url: URL) -> Mapping[str, Any]:
    if answer.status not in (200, 404):
        raise _Unanswered("status", f"{url.host} answers with status {answer.status}, expected 200")
    if answer.status == 200:
        with suppress(ValueError, RecursionError):
            found = json.loads(answer.body)
            if isinstance(found, dict):
                return found
    raise _Unanswered("parse", f"{url.host} does not answer as an RDAP server does")


def server_for(name: str, bootstrap: Mapping[str, Any]) -> str:
    """The RDAP server for a domain by IANA's list (RFC 9224, 4): that of the longest ending; empty: there is none."""
    servers: dict[str, str] = {}
    for service in _listed(bootstrap.get("services")):
        if isinstance(service, list) and len(service) >= 2:
            urls = [url for url in _listed(service[1]) if isinstance(url, str) and url.startswith("http")]
            secure = [url for url in urls if url.startswith("https:")] or urls
            servers |= {str(ending).lower(): secure[0] for ending in _listed(service[0]) if secure}
    labels = name.lower().rstrip(".").split(".")
    endings = (".".join(labels[place:]) for place in range(len(labels)))
    return next((servers[ending] for ending in endings if ending in servers), "")


def read_registration(answer: Mapping[str, Any]) -> Registration:
    """What an RDAP answer about a domain says (RFC 9083, 4.5 and 4.6). Statuses in its words: ``client hold``."""
    ends = [
        _moment(event.get("eventDate"))
        for event in _tables(answer.get("events"))
        if event.get("eventAction") == "expiration"
    ]
    statuses = [_spaced(status) for status in _listed(answer.get("status")) if isinstance(status, str)]
    known = [end for end in ends if end is not None]
    return Registration(max(known, default=None), tuple(statuses), _registrar(answer))


def _spaced(status: str) -> str:
    """Some servers write EPP's ``clientHold`` for RDAP's ``client hold``."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in status.strip()).strip()


def _moment(text: object) -> float | None:
    try:
        found = datetime.fromisoformat(str(text))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _registrar(answer: Mapping[str, Any]) -> str:
    """The name on the registrar's card (jCard, RFC 7095)."""
    for entity in _tables(answer.get("entities")):
        if "registrar" not in _listed(entity.get("roles")):
            continue
        card = _listed(entity.get("vcardArray"))
        for field in _listed(card[1]) if len(card) > 1 else ():
            if isinstance(field, list) and len(field) > 3 and field[0] == "fn":
                return str(field[3])[:100]
    return ""


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _tables(value: object) -> Iterable[dict[str, Any]]:
    return (one for one in _listed(value) if isinstance(one, dict))


def _end(expires: float, now: float) -> str:
    day = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%d")
    if expires <= now:
        return f"has expired on {day} ({format_duration(now - expires)} ago)"
    return f"is registered until {day} (in {format_duration(expires - now)})"
