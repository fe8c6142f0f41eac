"""The prober ``http``: one request, its phases, and what must be true of the answer."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from wcr_watchd import __version__
from wcr_watchd.kit.blackbox_modules import BasicAuth, HeaderMatcher, HttpModule
from wcr_watchd.kit.http import Answer, Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.network import connect_problem
from wcr_watchd.kit.patterns import PatternsTooSlowError, found
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tls import UnusableFileError
from wcr_watchd.web.compatible.blackbox import secured
from wcr_watchd.web.compatible.blackbox.attempt import Attempt

LARGEST_BODY = 256 * 1024 * 1024
"""Bytes of a body that are read where the module sets no limit; the exporter reads on for ever."""
KEPT = 4 * 1024 * 1024
"""Bytes of a body that expressions are tried on."""
LARGEST_FILE = 1024 * 1024
REDIRECTS = 10
_LED_ON = frozenset({301, 302, 303, 307, 308})
_PHASES = {"connect": "connect", "tls": "tls", "first_byte": "processing", "transfer": "transfer"}


async def probe(attempt: Attempt, target: str, module: HttpModule) -> bool:
    """Whether the target answers as the module wants it. Raises :class:`ProbeFailedError`."""
    attempt.zero(
        "probe_http_content_length",
        "probe_http_uncompressed_body_length",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_version",
        "probe_failed_due_to_regex",
    )
    url = _url(attempt, target)
    attempt.zero_phases("probe_http_duration_seconds", "resolve")
    host = url.raw_host or ""
    address, took = await attempt.choose_address(host, module.preferred_ip_protocol, module.ip_protocol_fallback)
    attempt.zero_phases("probe_http_duration_seconds", *_PHASES.values())
    attempt.add("probe_http_duration_seconds", took, phase="resolve")
    exchange = Exchange(await _request(attempt, url, address, module))
    try:
        return await _judged(attempt, module, exchange, await _carried_out(attempt, exchange))
    finally:
        _measure(attempt, exchange)


def _url(attempt: Attempt, target: str) -> URL:
    given = target if target.lower().startswith(("http://", "https://")) else f"http://{target}"
    try:
        scheme, rest = given.split(":", 1)
        url = URL(f"{scheme.lower()}:{rest}")
        if url.raw_host and urlsplit(given).port != 0:
            return url
    except ValueError as error:
        raise attempt.fail("Could not parse target URL", err=error) from error
    raise attempt.fail("Could not parse target URL", err="it names no host, or no port")


async def _request(attempt: Attempt, url: URL, address: str, module: HttpModule) -> Request:
    headers = {"User-Agent": f"wcr-watchd/{__version__} (as blackbox_exporter)", "Accept-Encoding": "identity"}
    if module.compression:
        headers["Accept-Encoding"] = module.compression
    own = {name.lower() for name in module.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in own} | module.headers
    named = next((value for name, value in module.headers.items() if name.lower() == "host"), "")
    if who := await _authorization(attempt, module):
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = who
    body: bytes | None = module.body.encode() or None
    if module.body_file:
        body = await _content(attempt, module.body_file)
    return Request(
        module.method,
        url,
        headers=headers,
        body=body,
        resolve=address,
        server_name=module.tls_config.server_name or named.rpartition(":")[0] or named,
        tls=secured.settings(module.tls_config),
        redirects=REDIRECTS if _follows(module) else 0,
        downgrade=True,
        max_body=module.body_size_limit or LARGEST_BODY,
        kept=KEPT if module.fail_if_body_matches_regexp or module.fail_if_body_not_matches_regexp else 0,
        coding=module.compression if module.compression != "identity" else "",
    )


def _follows(module: HttpModule) -> bool:
    return module.follow_redirects if module.no_follow_redirects is None else not module.no_follow_redirects


async def _authorization(attempt: Attempt, module: HttpModule) -> str:
    """The header that shows who asks; empty when the module names nobody."""
    if module.basic_auth is not None:
        return await _basic(attempt, module.basic_auth)
    if module.authorization is not None:
        given = module.authorization.credentials.get_secret_value()
        return f"{module.authorization.type} {await _secret(attempt, given, module.authorization.credentials_file)}"
    token = await _secret(attempt, module.bearer_token.get_secret_value(), module.bearer_token_file)
    return f"Bearer {token}" if token else ""


async def _basic(attempt: Attempt, auth: BasicAuth) -> str:
    user = await _secret(attempt, auth.username, auth.username_file)
    password = await _secret(attempt, auth.password.get_secret_value(), auth.password_file)
    return aiohttp.encode_basic_auth(user, password)


async def _secret(attempt: Attempt, given: str, path: str) -> str:
    return (await _content(attempt, path)).decode(errors="replace").strip() if path else given


async def _content(attempt: Attempt, path: str) -> bytes:
    try:
        return await attempt.shared.get(Threads).call(_read, path)
    except OSError as error:
        raise attempt.fail("A file of the module cannot be read", file=path, err=error.strerror) from error


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(LARGEST_FILE)


async def _carried_out(attempt: Attempt, exchange: Exchange) -> Answer:
    attempt.log("Making HTTP request", url=exchange.request.url, host=exchange.request.url.raw_host)
    try:
        answer = await attempt.shared.get(HttpClient).carry_out(exchange)
    except ExchangeError as error:
        raise attempt.fail("Error for HTTP request", err=error.summary) from error
    except UnusableFileError as error:
        raise attempt.fail("Error generating HTTP client", err=error.summary) from error
    except ssl.SSLError as error:
        raise attempt.fail(
            "Error for HTTP request", err=secured.problem(exchange.handshake, error, attempt.now())
        ) from error
    except OSError as error:
        raise attempt.fail("Error for HTTP request", err=connect_problem(error)) from error
    attempt.log("Received HTTP response", status_code=answer.status)
    return answer


# --- what must be true ------------------------------------------------------------------------------------------------


async def _judged(attempt: Attempt, module: HttpModule, exchange: Exchange, answer: Answer) -> bool:
    """Whether the answer is as the module wants it; the gauges about it are set by :func:`_measure`."""
    good = _good_status(attempt, module, answer.status)
    if good and (module.fail_if_header_matches or module.fail_if_header_not_matches):
        good = _told(attempt, await _good_headers(attempt, module, answer.headers))
    if good and (module.fail_if_body_matches_regexp or module.fail_if_body_not_matches_regexp):
        good = _told(attempt, await _good_body(attempt, module, answer.text))
    if not answer.complete:
        limit = exchange.request.max_body
        attempt.log("Failed to read HTTP response body", "error", err=f"it is longer than {limit} bytes")
        good = False
    if module.valid_http_versions and f"HTTP/{answer.version}" not in module.valid_http_versions:
        attempt.log("Invalid HTTP version number", "error", version=f"HTTP/{answer.version}")
        good = False
    return _good_scheme(attempt, module, answer, good)


def _good_status(attempt: Attempt, module: HttpModule, status: int) -> bool:
    valid = status in module.valid_status_codes if module.valid_status_codes else 200 <= status < 300
    if not valid:
        attempt.log("Invalid HTTP response status code", status_code=status, wanted=module.valid_status_codes or "2xx")
    return valid


def _told(attempt: Attempt, good: bool) -> bool:
    attempt.set("probe_failed_due_to_regex", not good)
    return good


async def _good_body(attempt: Attempt, module: HttpModule, body: str) -> bool:
    unwanted, wanted = module.fail_if_body_matches_regexp, module.fail_if_body_not_matches_regexp
    there = await _found(attempt, [(pattern, body) for pattern in (*unwanted, *wanted)])
    for pattern, is_there in zip((*unwanted, *wanted), there, strict=True):
        if is_there is (pattern in unwanted):
            attempt.log(
                "Body matched regular expression" if is_there else "Body did not match", "error", regexp=pattern
            )
            return False
    return True


async def _good_headers(attempt: Attempt, module: HttpModule, headers: Mapping[str, tuple[str, ...]]) -> bool:
    rules = [(one, True) for one in module.fail_if_header_matches]
    rules += [(one, False) for one in module.fail_if_header_not_matches]
    for matcher, unwanted in rules:
        values = headers.get(matcher.header.lower())
        if values is None:
            if not matcher.allow_missing:
                attempt.log("Missing required header", "error", header=matcher.header)
                return False
        elif await _any_matches(attempt, matcher, values) is unwanted:
            attempt.log("Header is not as wanted", "error", header=matcher.header, regexp=matcher.regexp)
            return False
    return True


async def _any_matches(attempt: Attempt, matcher: HeaderMatcher, values: Sequence[str]) -> bool:
    return any(await _found(attempt, [(matcher.regexp, value) for value in values]))


async def _found(attempt: Attempt, pairs: list[tuple[str, str]]) -> list[bool]:
    try:
        return await found(pairs, max(0.0, attempt.timeout - attempt.elapsed))
    except (PatternsTooSlowError, OSError) as error:
        raise attempt.fail("The regular expressions could not be tried", err=error) from error


def _good_scheme(attempt: Attempt, module: HttpModule, answer: Answer, good: bool) -> bool:
    secure = answer.url.startswith("https:")
    if secure and module.fail_if_ssl:
        attempt.log("Final request was over SSL", "error")
        return False
    if not secure and module.fail_if_not_ssl and good:
        attempt.log("Final request was not over SSL", "error")
        return False
    return good


# --- what is measured -------------------------------------------------------------------------------------------------


def _measure(attempt: Attempt, exchange: Exchange) -> None:
    """Set the gauges about as much of the exchange as there was."""
    for ours, theirs in _PHASES.items():
        attempt.add("probe_http_duration_seconds", exchange.phases.get(ours, 0.0), phase=theirs)
    attempt.add("probe_http_duration_seconds", exchange.phases.get("dns", 0.0), phase="resolve")
    attempt.set("probe_http_redirects", exchange.redirects)
    answer = exchange.answer
    if answer is None:
        return
    led_on = exchange.request.redirects == 0 and answer.status in _LED_ON and bool(answer.headers.get("location"))
    if led_on:
        attempt.set("probe_http_redirects", 1)  # it counts although it is not followed, and its body does not
    attempt.set("probe_http_status_code", answer.status)
    attempt.set("probe_http_version", float(answer.version))
    attempt.set("probe_http_content_length", _content_length(answer))
    attempt.set("probe_http_uncompressed_body_length", 0 if led_on else answer.size)
    if (modified := _moment(answer.headers.get("last-modified", ("",))[0])) is not None:
        attempt.set("probe_http_last_modified_timestamp_seconds", modified)
    session = exchange.handshake.session
    if answer.url.startswith("https:") and session is not None:
        attempt.set("probe_http_ssl", 1)
        secured.tell(attempt, session)


def _content_length(answer: Answer) -> int:
    """What the answer says of it; -1 when nothing."""
    said = answer.headers.get("content-length", ("",))[0]
    if re.fullmatch(r"\d{1,18}", said):
        return int(said)
    return 0 if answer.status in (204, 304) else -1


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
