"""Checks the records that a domain's mail needs: MX, SPF, DKIM and DMARC are there, make sense, and stay as they are.

MX names must have addresses and be no aliases (RFC 5321, 5.1; RFC 2181, 10.3); SPF must be one record that can be read,
with at most ten look-ups in all (RFC 7208); the key of each DKIM selector must be there and strong enough (RFC 6376,
RFC 8301); DMARC must say what to do (RFC 7489), for the domain or one above it. A change of any is told for a while.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import AfterValidator, Field

from wcr_watchd.core.mail_records import (
    MOST_LOOKUPS,
    POLICIES,
    RecordError,
    dmarc_policy,
    is_dmarc,
    is_spf,
    only_one,
    read_spf,
    tags,
)
from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import is_address, split_address
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.side_loop import SideLoop
from wcr_watchd.kit.threads import Threads

MOST_EXCHANGES = 10
MOST_INCLUDED = 20
"""SPF records that are followed; one that leads further asks DNS too often in any case."""
SHORTEST_RSA = 1_024
"""Bits of a DKIM key that receivers accept (RFC 8301, 3.2)."""
SHOWN = 300
"""Characters of a record in the evidence."""


def _domain(text: str) -> str:
    name = text.rstrip(".").lower()
    try:
        dns.name.from_text(name)
    except dns.exception.DNSException as error:
        raise ValueError(f"{text!r} is not a name that DNS can hold: {error}") from error
    if "." not in name:
        raise ValueError(f"{text!r} is no domain")
    return name


def _server(value: str) -> str:
    if value and not is_address(value):
        host, _ = split_address(value)
        if not is_address(host):
            raise ValueError("must be an address, with or without a port")
    return value


class _CannotTellError(Exception):
    """A question that no name server answered."""


class MailDns(Options):
    """Checks the records that a domain's mail needs."""

    type: ClassVar[str] = "maildns"
    target_key: ClassVar[str] = "domain"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 30.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("record_ok", Unit.COUNT, "1 when it is as it should be: mx, spf, dkim, dmarc", ("record",)),
        MeasurementSpec("spf_lookups", Unit.COUNT, "Terms of the SPF record, with what it includes, that ask DNS"),
        MeasurementSpec("dkim_key_length", Unit.COUNT, "Length of a DKIM key in binary digits", labels=("selector",)),
        MeasurementSpec("changed", Unit.COUNT, "1 when a record has changed within `tell_change`", topic="change"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.WARNING, "changed == 1"),
    )
    example: ClassVar[str] = 'domain = "example.org"\nselectors = ["mail2026"]\n'

    domain: Annotated[str, AfterValidator(_domain)]
    """The part of the addresses after the @."""
    selectors: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")], ...], Field(max_length=10)
    ] = ()
    """The selectors of DKIM keys in use; without any, DKIM is not looked at."""
    receives: bool = True
    """Whether the domain receives mail, so that it needs MX records."""
    dmarc: Literal["none", "quarantine", "reject"] = "none"
    """The weakest DMARC policy that will do."""
    server: Annotated[str, AfterValidator(_server)] = ""
    """The name server to ask, an address with or without a port; the system's when empty."""
    tell_change: Duration = 86_400.0
    """How long a change is told."""

    @property
    def target(self) -> str:
        """The domain."""
        return self.domain

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Look at each record once."""
        try:
            resolver = await self._resolver(run)
            look = _Look(self, run, resolver)
            # A little before the run's own deadline: a name server that does not answer says nothing about the records.
            async with asyncio.timeout(run.remaining * 0.9):
                await look.at_all()
        except TimeoutError:
            return run.unknown("dns", f"{self.domain}: no name server answers; was {run.step}")
        except dns.resolver.NoResolverConfiguration:
            return run.unknown("missing", f"{self.domain}: /etc/resolv.conf names no server; set server")
        except _CannotTellError as error:
            return run.unknown("dns", f"{self.domain}: {error}")
        changed = self._changed(run, look.records)
        run.measure("changed", bool(changed))
        run.evidence.update((name, "\n".join(values)[:SHOWN] or "(none)") for name, values in look.records.items())
        if look.problems:
            return run.down("content", f"{self.domain}: {'; '.join(look.problems)}")
        if changed:
            return run.up(f"{self.domain}: {changed}", reason="changed")
        return run.up(f"{self.domain}: {', '.join(look.records)} are as they should be")

    async def _resolver(self, run: Run) -> dns.asyncresolver.Resolver:
        run.step = "reading /etc/resolv.conf"
        resolver = dns.asyncresolver.Resolver(configure=False)
        if self.server:
            host, port = (self.server, 53) if is_address(self.server) else split_address(self.server)
            resolver.nameservers, resolver.port = [host], port
        else:
            system = await run.shared.get(Threads).call(dns.resolver.Resolver)
            resolver.nameservers = list(system.nameservers)
        return resolver

    def _changed(self, run: Run, records: dict[str, list[str]]) -> str:
        """What has changed lately, in words; what was looked at for the first time has not."""
        known: dict[str, list[str]] = run.memory.setdefault("records", {})
        changes: dict[str, list[Any]] = run.memory.setdefault("changes", {})
        for name, values in records.items():
            if name in known and known[name] != values:
                changes[name] = [run.started, ", ".join(known[name])[:SHOWN]]
            known[name] = values
        for name in [name for name in known if name not in records]:
            del known[name]
        lately = {name: told for name, told in changes.items() if run.started - told[0] < self.tell_change}
        run.memory["changes"] = lately
        for name, (_, before) in lately.items():
            run.evidence[f"{name} before"] = before or "(none)"
        told = [f"{name} changed {format_duration(run.started - at)} ago" for name, (at, _) in lately.items()]
        return "; ".join(told)


class _Look:
    """One look at all records: what they are, and what is wrong with them."""

    def __init__(self, check: MailDns, run: Run, resolver: dns.asyncresolver.Resolver) -> None:
        self._check = check
        self._run = run
        self._resolver = resolver
        self.records: dict[str, list[str]] = {}
        self.problems: list[str] = []

    async def at_all(self) -> None:
        """Look at each."""
        if self._check.receives:
            await self._judge("mx", self._mx)
        await self._judge("spf", self._spf)
        for selector in self._check.selectors:
            await self._judge(f"dkim {selector}", lambda one=selector: self._dkim(one))  # type: ignore[misc]
        await self._judge("dmarc", self._dmarc)

    async def _judge(self, record: str, look: Callable[[], Awaitable[None]]) -> None:
        kind, _, selector = record.partition(" ")
        try:
            await look()
        except RecordError as error:
            self.problems.append(f"{f'{kind.upper()} {selector}'.strip()}: {error}")
            self._run.measure("record_ok", 0, record=record)
        else:
            self._run.measure("record_ok", 1, record=record)

    async def _mx(self) -> None:
        answer = await self._ask(self._check.domain, "MX")
        found = sorted((one.preference, one.exchange) for one in answer or ())
        self.records["mx"] = [f"{preference} {exchange}" for preference, exchange in found]
        if not found:
            raise RecordError("there is no MX record")
        if any(exchange == dns.name.root for _, exchange in found):
            raise RecordError("it says that the domain takes no mail (RFC 7505)")
        for _, exchange in found[:MOST_EXCHANGES]:
            await self._look_at_exchange(exchange)

    async def _look_at_exchange(self, exchange: dns.name.Name) -> None:
        addresses = [answer for answer in (await self._ask(exchange, "A"), await self._ask(exchange, "AAAA")) if answer]
        if not addresses:
            raise RecordError(f"{exchange} has no address")
        if any(answer.canonical_name != exchange for answer in addresses):
            raise RecordError(f"{exchange} is an alias (CNAME), which a mail server's name must not be")

    async def _spf(self) -> None:
        self.records["spf"] = texts = [text for text in await self._texts(self._check.domain) if is_spf(text)]
        first = read_spf(only_one("SPF", texts))
        lookups = await self._count_lookups([self._check.domain], first.leads_to) + first.lookups
        self._run.measure("spf_lookups", lookups)
        if lookups > MOST_LOOKUPS:
            raise RecordError(f"it takes {lookups} look-ups, more than the {MOST_LOOKUPS} that receivers make")
        if first.rest == "+":
            raise RecordError("it ends with +all, which lets everybody send as the domain")

    async def _count_lookups(self, seen: list[str], leads_to: Sequence[str]) -> int:
        """The look-ups of all that a record leads to. Raises ``RecordError`` where that is not one record."""
        lookups = 0
        waiting = list(leads_to)
        while waiting and len(seen) <= MOST_INCLUDED:
            domain = waiting.pop()
            if "%" in domain:  # a macro: what it is depends on the mail
                continue
            if domain in seen:
                raise RecordError(f"it leads in a circle over {domain}")
            seen.append(domain)
            try:
                found = read_spf(only_one("SPF", [text for text in await self._texts(domain) if is_spf(text)]))
            except RecordError as error:
                raise RecordError(f"it includes {domain}: {error}") from error
            lookups += found.lookups
            waiting += found.leads_to
        return lookups

    async def _dkim(self, selector: str) -> None:
        name = f"{selector}._domainkey.{self._check.domain}"
        self.records[f"dkim {selector}"] = texts = await self._texts(name)
        found = tags(only_one("DKIM", texts))
        if found.get("v", "DKIM1") != "DKIM1":
            raise RecordError(f"its version is {found['v']!r}")
        bits = _bits(found.get("k", "rsa"), found.get("p"))
        self._run.measure("dkim_key_length", bits, selector=selector)
        if found.get("k", "rsa") == "rsa" and bits < SHORTEST_RSA:
            raise RecordError(f"its key has {bits} bits, less than the {SHORTEST_RSA} that receivers accept")

    async def _dmarc(self) -> None:
        labels = self._check.domain.split(".")
        texts: list[str] = []
        for place in range(len(labels) - 1):
            texts = [text for text in await self._texts("_dmarc." + ".".join(labels[place:])) if is_dmarc(text)]
            if texts:
                break
        self.records["dmarc"] = texts
        policy = dmarc_policy(only_one("DMARC", texts), of_parent=place > 0)
        if POLICIES.index(policy) < POLICIES.index(self._check.dmarc):
            raise RecordError(f"its policy is {policy}, weaker than {self._check.dmarc}")

    async def _texts(self, name: str) -> list[str]:
        answer = await self._ask(name, "TXT")
        return sorted(b"".join(one.strings).decode(errors="replace") for one in answer or ())

    async def _ask(self, name: str | dns.name.Name, kind: str) -> dns.resolver.Answer | None:
        """The answer; None when there is no such record. Raises :class:`_CannotTellError`."""
        self._run.step = f"waiting for the answer about {name} {kind}"
        try:
            absolute = dns.name.from_text(name) if isinstance(name, str) else name
        except dns.exception.DNSException as error:
            raise RecordError(f"{name[:60]!r} is no name that DNS can hold") from error
        try:
            asking = self._resolver.resolve(absolute, kind, lifetime=max(0.1, self._run.remaining))
            return await self._run.shared.get(SideLoop).run(asking)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except (dns.exception.DNSException, OSError) as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            raise _CannotTellError(f"{name} {kind} cannot be looked up: {words}") from error


def _bits(kind: str, key: str | None) -> int:
    """How long a public key is. Raises :class:`RecordError`."""
    if not key:
        raise RecordError("its key is revoked (empty p=)" if key == "" else "it has no key (p=)")
    try:
        raw = base64.b64decode("".join(key.split()), validate=True)
        if kind == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(raw)
            return 256
        loaded = load_der_public_key(raw)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise RecordError("its key cannot be read") from error
    if not isinstance(loaded, rsa.RSAPublicKey):
        raise RecordError(f"its key is no {kind} key")
    return loaded.key_size
