"""The module file of blackbox_exporter, read as it is (its CONFIGURATION.md, versions 0.23 to 0.28).

What a module asks for and cannot be had here (HTTP/3, a proxy, CEL …) keeps neither the file nor the other modules from
being used: the module then says so in :attr:`Module.unsupported`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import dns.exception
import dns.rdataclass
import dns.rdatatype
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic import model_validator as after_all

from wcr_watchd.kit.go_patterns import python_pattern
from wcr_watchd.kit.options import Duration

LARGEST_FILE = 1024 * 1024
HIDDEN = "<secret>"
"""What the exporter shows in place of a secret."""
PROBERS = ("http", "tcp", "dns", "icmp", "unix")
WITHOUT_LIBRARY = {
    "grpc": "gRPC needs a library that is not installed with wcr-watchd",
    "websocket": "WebSocket modules are not served here",
}
_SECRET_KEYS = frozenset({"password", "bearer_token", "credentials", "client_secret", "key"})
_UNITS = {"": 1, "B": 1, "K": 10, "M": 20, "G": 30}
_CODINGS = ("", "identity", "gzip", "deflate", "br")


class ModulesError(ValueError):
    """The file cannot be read, or not be used; the text says why, one reason a line."""


def _pattern(text: str) -> str:
    return python_pattern(text)


def _size(value: object) -> object:
    """``128B``, ``1MB``: powers of two, whichever way they are written, as the exporter reads them."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)i?B?", value.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{value!r} is not a size such as 1MB")
    exponent = _UNITS[match[2].upper()]
    return int(float(match[1]) * (2**exponent if exponent > 1 else 1))


def _record(text: str) -> str:
    try:
        dns.rdatatype.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{text!r} is no type of DNS records") from error
    return text


def _class(text: str) -> str:
    try:
        dns.rdataclass.from_text(text)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{text!r} is no class of DNS records") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression as Go writes them, turned into Python's."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)


class TlsConfig(_Part):
    """``tls_config`` of Prometheus' common library."""

    insecure_skip_verify: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13", ""] = ""
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13", ""] = ""
    ca: str = ""
    cert: str = ""
    key: SecretStr = SecretStr("")

    def unsupported(self) -> Iterator[str]:
        """What of it cannot be had here."""
        if self.ca or self.cert or self.key.get_secret_value():
            yield "certificates within the module file (write ca_file, cert_file, key_file)"
        if self.max_version not in ("", "TLS13"):
            yield "tls_config.max_version"


class _Reaching(_Part):
    """What all probers have in common: which address of the target is used."""

    preferred_ip_protocol: Literal["ip4", "ip6", ""] = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str = ""


class HeaderMatcher(_Part):
    """One entry of ``fail_if_header_matches``."""

    header: Annotated[str, Field(min_length=1)]
    regexp: Pattern
    allow_missing: bool = False


class BasicAuth(_Part):
    """``basic_auth``."""

    username: str = ""
    username_file: str = ""
    password: SecretStr = SecretStr("")
    password_file: str = ""


class Authorization(_Part):
    """``authorization``."""

    type: str = "Bearer"
    credentials: SecretStr = SecretStr("")
    credentials_file: str = ""


class HttpModule(_Reaching):
    """``http``."""

    valid_status_codes: tuple[int, ...] = ()
    valid_http_versions: tuple[str, ...] = ()
    method: str = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    body_file: str = ""
    body_size_limit: Annotated[int, BeforeValidator(_size)] = 0
    compression: str = ""
    follow_redirects: bool = True
    no_follow_redirects: bool | None = None
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_matches_regexp: tuple[Pattern, ...] = ()
    fail_if_body_not_matches_regexp: tuple[Pattern, ...] = ()
    fail_if_body_json_matches_cel: str = ""
    fail_if_body_json_not_matches_cel: str = ""
    fail_if_header_matches: tuple[HeaderMatcher, ...] = ()
    fail_if_header_not_matches: tuple[HeaderMatcher, ...] = ()
    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: SecretStr = SecretStr("")
    bearer_token_file: str = ""
    oauth2: dict[str, Any] | None = None
    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, Any] | None = None
    skip_resolve_phase_with_proxy: bool = False
    enable_http2: bool = True
    enable_http3: bool = False
    http_headers: dict[str, Any] | None = None

    @after_all(mode="after")
    def _makes_sense(self) -> Self:
        ways = (self.basic_auth, self.authorization, self.bearer_token.get_secret_value(), self.oauth2)
        if sum(map(bool, (*ways, self.bearer_token_file))) > 1:
            raise ValueError("at most one of basic_auth, authorization, bearer_token, bearer_token_file, oauth2")
        if self.enable_http3 and self.enable_http2:
            raise ValueError("enable_http3 needs enable_http2: false")
        if self.compression not in _CODINGS:
            raise ValueError(f"compression {self.compression!r} is none of {', '.join(_CODINGS[1:])}")
        accepted = next((text for name, text in self.headers.items() if name.lower() == "accept-encoding"), None)
        if self.compression and accepted is not None and not _accepts(accepted, self.compression):
            raise ValueError(f"the header Accept-Encoding: {accepted} does not take compression {self.compression}")
        return self

    def unsupported(self) -> Iterator[str]:
        """What of it cannot be had here."""
        yield from self.tls_config.unsupported()
        wanted = {
            "HTTP/3": self.enable_http3,
            "a proxy": self.proxy_url or self.proxy_from_environment,
            "oauth2": self.oauth2,
            "http_headers (write headers)": self.http_headers,
            "compression: br": self.compression == "br",
            "CEL expressions": self.fail_if_body_json_matches_cel or self.fail_if_body_json_not_matches_cel,
            "source_ip_address of http": self.source_ip_address,
        }
        yield from (name for name, asked in wanted.items() if asked)


class ExpectLabel(_Part):
    """A label made out of what a line said."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
    value: str


class QueryResponse(_Part):
    """One step of a dialogue."""

    expect: Pattern | None = None
    expect_bytes: str = ""
    labels: tuple[ExpectLabel, ...] = ()
    send: str = ""
    starttls: bool = False

    @after_all(mode="after")
    def _makes_sense(self) -> Self:
        if self.expect is not None and self.expect_bytes:
            raise ValueError("expect and expect_bytes exclude each other")
        return self


class TcpModule(_Reaching):
    """``tcp``, and ``unix``, which has less."""

    query_response: tuple[QueryResponse, ...] = ()
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()

    def unsupported(self) -> Iterator[str]:
        """What of it cannot be had here."""
        yield from self.tls_config.unsupported()


class RecordMatcher(_Part):
    """``validate_answer_rrs`` and its like."""

    fail_if_matches_regexp: tuple[Pattern, ...] = ()
    fail_if_all_match_regexp: tuple[Pattern, ...] = ()
    fail_if_not_matches_regexp: tuple[Pattern, ...] = ()
    fail_if_none_matches_regexp: tuple[Pattern, ...] = ()


class DnsModule(_Reaching):
    """``dns``."""

    query_name: Annotated[str, Field(min_length=1)]
    query_type: Annotated[str, AfterValidator(_record)] = "ANY"
    query_class: Annotated[str, AfterValidator(_class)] = "IN"
    recursion_desired: bool = True
    transport_protocol: str = "udp"
    dns_over_tls: bool = False
    tls_config: TlsConfig = TlsConfig()
    valid_rcodes: tuple[str, ...] = ()
    validate_answer_rrs: RecordMatcher = RecordMatcher()
    validate_authority_rrs: RecordMatcher = RecordMatcher()
    validate_additional_rrs: RecordMatcher = RecordMatcher()

    def unsupported(self) -> Iterator[str]:
        """What of it cannot be had here."""
        yield from self.tls_config.unsupported()


class IcmpModule(_Reaching):
    """``icmp``."""

    payload_size: Annotated[int, Field(ge=0, le=65507)] = 28
    dont_fragment: bool = False
    ttl: Annotated[int, Field(ge=0, le=255)] = 0

    def unsupported(self) -> Iterator[str]:
        """What of it cannot be had here: nothing."""
        return iter(())


class _Table(_Part):
    """A module as it stands in the file."""

    prober: str = ""
    timeout: Duration = 0.0
    http: HttpModule = HttpModule()
    tcp: TcpModule = TcpModule()
    unix: TcpModule = TcpModule()
    dns: DnsModule | None = None
    icmp: IcmpModule = IcmpModule()
    grpc: dict[str, Any] = Field(default_factory=dict)
    websocket: dict[str, Any] = Field(default_factory=dict)

    @after_all(mode="after")
    def _makes_sense(self) -> Self:
        if self.prober == "dns" and self.dns is None:
            raise ValueError("dns: query_name must be set")
        return self


@dataclass(frozen=True, slots=True)
class Module:
    """A module: how to probe. ``timeout`` in seconds (0: the scraper's); ``shown`` is what ``debug=true`` shows of it.

    ``unsupported`` names what it asks for and cannot have here (empty: it can be used).
    """

    prober: str
    timeout: float
    options: HttpModule | TcpModule | DnsModule | IcmpModule | None
    shown: str
    unsupported: str = ""


def read_modules(path: str) -> dict[str, Module]:
    """The modules of a file by name; blocks. Raises :class:`ModulesError`."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ModulesError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ModulesError(f"{path} has more than {LARGEST_FILE} bytes")
    return parse_modules(content)


def parse_modules(content: bytes | str) -> dict[str, Module]:
    """The modules of a file's content by name. Raises :class:`ModulesError`."""
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModulesError(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or set(found) - {"modules"} or not isinstance(found.get("modules", {}), dict | None):
        raise ModulesError("it must be a table with the one key `modules`")
    modules, problems = {}, []
    for name, table in (found.get("modules") or {}).items():
        try:
            modules[str(name)] = _module(table or {})
        except ValidationError as error:
            problems += [f"module {name}: {_place(one)}{one['msg']}" for one in error.errors(include_url=False)]
    if problems:
        raise ModulesError("\n".join(problems))
    return modules


def _module(raw: object) -> Module:
    table = _Table.model_validate(raw)
    options = getattr(table, table.prober) if table.prober in PROBERS else None
    lacking = WITHOUT_LIBRARY.get(table.prober, "")
    if options is not None:
        lacking = ", ".join(options.unsupported())
    shown = yaml.safe_dump(_masked(raw), sort_keys=False)
    return Module(table.prober, table.timeout, options, shown, lacking)


def _place(error: Mapping[str, Any]) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"{place}: " if place else ""


def _masked(value: Any, key: str = "") -> Any:
    """The same without secrets: those of known keys, and what headers carry to show who asks."""
    if isinstance(value, dict):
        return {name: _masked(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    secret = key in _SECRET_KEYS or key.lower() in ("authorization", "cookie", "proxy-authorization")
    return HIDDEN if secret and value else value


def _accepts(header: str, coding: str) -> bool:
    """Whether an Accept-Encoding takes this coding (RFC 9110, 12.5.3)."""
    weights = {}
    for part in filter(None, map(str.strip, header.split(","))):
        name, _, weight = part.partition(";")
        match = re.fullmatch(r"\s*q\s*=\s*([\d.]+)\s*", weight)
        weights[name.strip().lower()] = float(match[1]) if match else 1.0
    return weights.get(coding, weights.get("*", 0.0)) > 0
