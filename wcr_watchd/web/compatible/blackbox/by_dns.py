"""The prober ``dns``: one question, and what must be true of the records that come back."""

from __future__ import annotations

from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from wcr_watchd.kit.blackbox_modules import DnsModule, RecordMatcher
from wcr_watchd.kit.network import connect_problem, is_address, split_address
from wcr_watchd.kit.patterns import PatternsTooSlowError, found
from wcr_watchd.kit.side_loop import SideLoop
from wcr_watchd.kit.tls import TlsContexts, UnusableFileError
from wcr_watchd.web.compatible.blackbox import secured
from wcr_watchd.web.compatible.blackbox.attempt import Attempt

PORT, TLS_PORT = 53, 853


async def probe(attempt: Attempt, target: str, module: DnsModule) -> bool:
    """Whether the target, a name server, answers as the module wants it. Raises :class:`ProbeFailedError`."""
    attempt.zero_phases("probe_dns_duration_seconds", "resolve", "connect", "request")
    attempt.zero(
        "probe_dns_answer_rrs", "probe_dns_authority_rrs", "probe_dns_additional_rrs", "probe_dns_query_succeeded"
    )
    if module.query_type == "SOA":
        attempt.zero("probe_dns_serial")
    if module.transport_protocol not in ("udp", "tcp"):
        raise attempt.fail("Configuration error: Expected transport protocol udp or tcp")
    if module.dns_over_tls and module.transport_protocol != "tcp":
        raise attempt.fail("Configuration error: Expected transport protocol tcp for DNSOverTLS")
    host, port = _place(attempt, target, TLS_PORT if module.dns_over_tls else PORT)
    address, took = await attempt.choose_address(host, module.preferred_ip_protocol, module.ip_protocol_fallback)
    attempt.set("probe_dns_duration_seconds", took, phase="resolve")
    answer = await _ask(attempt, module, host, address, port)
    _measure(attempt, module, answer)
    return await _judged(attempt, module, answer)


def _place(attempt: Attempt, target: str, default: int) -> tuple[str, int]:
    """Host and port of the target, which may be a bare name or address."""
    bare = target.strip("[]")
    if is_address(bare) or ":" not in target:
        return bare, default
    try:
        return split_address(target)
    except ValueError as error:
        raise attempt.fail("Error splitting target address and port", err=error) from error


async def _ask(attempt: Attempt, module: DnsModule, host: str, address: str, port: int) -> dns.message.Message:
    query = dns.message.make_query(module.query_name, module.query_type, module.query_class)
    if not module.recursion_desired:
        query.flags &= ~dns.flags.RD
    attempt.log("Making DNS query", target=f"{address} port {port}", query=module.query_name, type=module.query_type)
    source = module.source_ip_address or None
    begun = attempt.clock()
    try:
        if module.dns_over_tls:
            context = await attempt.shared.get(TlsContexts).get(secured.settings(module.tls_config))
            name = module.tls_config.server_name or host
            asking = dns.asyncquery.tls(
                query, address, port=port, source=source, ssl_context=context, server_hostname=name
            )
        elif module.transport_protocol == "tcp":
            asking = dns.asyncquery.tcp(query, address, port=port, source=source)
        else:
            asking = dns.asyncquery.udp(query, address, port=port, source=source, ignore_errors=True)
        answer = await attempt.shared.get(SideLoop).run(asking)
    except UnusableFileError as error:
        raise attempt.fail("Failed to create TLS configuration", err=error.summary) from error
    except (dns.exception.DNSException, ValueError, EOFError) as error:
        raise attempt.fail("Error while sending a DNS query", err=error or type(error).__name__) from error
    except OSError as error:
        raise attempt.fail("Error while sending a DNS query", err=connect_problem(error)) from error
    # Connecting is not told apart: dnspython does both in one call.
    attempt.set("probe_dns_duration_seconds", attempt.clock() - begun, phase="request")
    attempt.log("Got response", rcode=dns.rcode.to_text(answer.rcode()))
    return answer


def _measure(attempt: Attempt, module: DnsModule, answer: dns.message.Message) -> None:
    attempt.set("probe_dns_answer_rrs", sum(map(len, answer.answer)))
    attempt.set("probe_dns_authority_rrs", sum(map(len, answer.authority)))
    attempt.set("probe_dns_additional_rrs", sum(map(len, answer.additional)) + (answer.edns >= 0))
    attempt.set("probe_dns_query_succeeded", 1)
    for group in answer.answer if module.query_type == "SOA" else ():
        for record in group:
            if record.rdtype == dns.rdatatype.SOA:
                attempt.set("probe_dns_serial", record.serial)


async def _judged(attempt: Attempt, module: DnsModule, answer: dns.message.Message) -> bool:
    rcode = dns.rcode.to_text(answer.rcode())
    if rcode not in (module.valid_rcodes or ("NOERROR",)):
        attempt.log("Rcode is not one of the valid rcodes", "error", rcode=rcode, valid_rcodes=module.valid_rcodes)
        return False
    sections = (
        ("Answer", answer.answer, module.validate_answer_rrs),
        ("Authority", answer.authority, module.validate_authority_rrs),
        ("Additional", answer.additional, module.validate_additional_rrs),
    )
    for name, groups, matcher in sections:
        attempt.log(f"Validating {name} RRs")
        if problem := await _problem(attempt, _texts(groups), matcher):
            attempt.log(f"{name} RRs validation failed", "error", err=problem)
            return False
    return True


def _texts(groups: Sequence[dns.rrset.RRset]) -> list[str]:
    """Records as the exporter's library writes them: name, TTL, class, type, data, with tabs in between."""
    lines = [line for group in groups for line in group.to_text().splitlines()]
    return ["\t".join(line.split(" ", 4)) for line in lines]


async def _problem(attempt: Attempt, records: Sequence[str], matcher: RecordMatcher) -> str:
    """What is wrong with the records, as the exporter judges; empty when nothing is.

    By its name ``fail_if_all_match_regexp`` should fail when all match; there it fails when not all do, so here too.
    """
    unwanted, every = matcher.fail_if_matches_regexp, matcher.fail_if_all_match_regexp
    wanted, some = matcher.fail_if_not_matches_regexp, matcher.fail_if_none_matches_regexp
    if not records and (wanted or some):
        return "no records returned"
    if any(await _matches(attempt, unwanted, records)):
        return "at least one RR matched fail_if_matches_regexp"
    if not all(await _matches(attempt, wanted, records)):
        return "at least one RR did not match fail_if_not_matches_regexp"
    if not all(await _matches(attempt, every, records)):
        return "not all RRs matched fail_if_all_match_regexp"
    if some and not any(await _matches(attempt, some, records)):
        return "none of the RRs matched fail_if_none_matches_regexp"
    return ""


async def _matches(attempt: Attempt, patterns: Sequence[str], records: Sequence[str]) -> list[bool]:
    """Whether each pattern is in each record."""
    pairs = [(pattern, record) for record in records for pattern in patterns]
    try:
        return await found(pairs, max(0.0, attempt.timeout - attempt.elapsed))
    except (PatternsTooSlowError, OSError) as error:
        raise attempt.fail("The regular expressions could not be tried", err=error) from error
