"""``[user.NAME]``, ``[token.NAME]`` and ``[oidc]``: who may use the dashboard and the API, and as what."""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, model_validator

from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.models import SHORTEST_TOKEN, Alerts, Texts, Web, is_loopback
from wcr_watchd.config.schedules import Moment
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.access import DOORS, AccessSettings, ApiToken, Role, SingleSignOn, User
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import Url
from wcr_watchd.kit.passwords import fault_of
from wcr_watchd.kit.refused import RefusedError

WEB_TOKEN = "operator"
"""The name under which the one token of [web] acts."""
ROLE_OF_SCOPE = {"read": Role.VIEWER, "act": Role.OPERATOR, "admin": Role.ADMIN}


def _hash(password: SecretStr) -> SecretStr:
    fault = fault_of(password.get_secret_value())
    if fault:
        raise RefusedError(fault, "make a hash with: wcr-watchd user hash")
    return password


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise RefusedError("is no SHA-256", "write its 64 hexadecimal digits: printf %s SECRET | sha256sum")
    return text.lower()


class UserTable(Options):
    """Somebody who signs in with a name and a password."""

    password: Annotated[Secret, AfterValidator(_hash)]
    """The Argon2 hash that `wcr-watchd user hash` prints, never the password."""
    role: Literal["viewer", "operator", "admin"] = "viewer"
    """Viewers read; operators also acknowledge, silence, run checks and write notes; admins also reload and see the
    audit log."""
    contact: str | None = None
    """The contact that this is, as named in [contact]."""


class TokenTable(Options):
    """What a program shows: `Authorization: Bearer …`."""

    secret: Secret | None = None
    """The token itself, at least 16 characters; make one with: openssl rand -hex 32."""
    sha256: Annotated[str, AfterValidator(_digest)] | None = None
    """Its SHA-256 in place of the token, so that who reads this file cannot use it."""
    scopes: Annotated[
        tuple[Literal["read", "act", "admin", "metrics", "alerts", "probe"], ...], Field(min_length=1)
    ] = ("read",)
    """What it may: read, act and admin as a viewer, operator and admin; metrics, alerts (the API of Alertmanager) and
    probe are those alone."""
    expires: Moment | None = None
    """Until when it holds, such as 2027-01-31T00:00:00Z; without an offset in the time zone of [watchd]."""

    @model_validator(mode="after")
    def _has_one(self) -> TokenTable:
        if (self.secret is None) == (self.sha256 is None):
            raise RefusedError("needs one of `secret` and `sha256`", "make a secret with: openssl rand -hex 32")
        if self.secret is not None and len(self.secret.get_secret_value()) < SHORTEST_TOKEN:
            raise RefusedError(
                f"has a secret of fewer than {SHORTEST_TOKEN} characters", "make one with: openssl rand -hex 32"
            )
        return self


class OidcTable(Options):
    """Single sign-on by OpenID Connect."""

    label: Annotated[str, Field(min_length=1, max_length=40)] = "single sign-on"
    """What stands on the button: "Sign in with …"."""
    issuer: Url
    """The provider, such as "https://accounts.example.org"; its description is found from there."""
    client_id: Annotated[str, Field(min_length=1)]
    """What the provider calls this daemon."""
    client_secret: Secret
    """What it shows the provider."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What is asked for; some providers send groups only when asked for "groups"."""
    allow: Texts = ()
    """Who may come in at all: mail addresses that the provider has verified, "*@example.org", or subjects; empty: all
    that have a role."""
    claim: str = "groups"
    """What the provider says that gives somebody a role: a text or a list of texts."""
    sign_out: bool = True
    """Whether who signs out here signs out at the provider, too, where it offers that; tell it the address to come back
    to then: `public_url` of [web] with /sign-in."""
    admin: Texts = ()
    """Values of that claim that make an admin; "*" is everybody."""
    operator: Texts = ()
    """Values that make an operator."""
    viewer: Texts = ()
    """Values that make a viewer."""

    @model_validator(mode="after")
    def _lets_somebody_in(self) -> OidcTable:
        if "openid" not in self.scopes:
            raise RefusedError('has scopes without "openid"', 'write ["openid", "email", "profile"]')
        if not (self.admin or self.operator or self.viewer):
            raise RefusedError("gives nobody a role", 'name values of the claim, such as operator = ["ops"]')
        return self


def read_access(
    faults: Faults, data: Mapping[str, Any], web: Web, alerts: Alerts, contacts: Collection[str], timezone: str
) -> tuple[AccessSettings, list[Options]]:
    """Who is let in, and the tables that hold secrets; what is wrong is noted in ``faults``."""
    users = _users(faults, data, contacts)
    tokens = {
        name: table
        for name, given in named_tables(faults, data, "token")
        if (table := faults.validate(TokenTable, given, ("token", name))) is not None
    }
    oidc = _oidc(faults, data, web)
    settings = AccessSettings(
        users=MappingProxyType({name: _user(name, table) for name, table in users.items()}),
        tokens=(*_web_token(web), *(_token(name, table, timezone) for name, table in tokens.items())),
        metrics_for_all=web.metrics == "all",
        alerts_without_token=alerts.without_token,
        proxies=web.trusted_proxies,
        single_sign_on=_single_sign_on(oidc) if oidc else None,
    )
    _check_web(faults, web, somebody=any(data.get(section) for section in ("user", "token", "oidc")))
    return settings, [*users.values(), *tokens.values(), *([oidc] if oidc else [])]


def _oidc(faults: Faults, data: Mapping[str, Any], web: Web) -> OidcTable | None:
    if "oidc" not in data:
        return None
    if web.public_url is None:
        faults.add(("oidc",), "needs to know where people reach the dashboard", "set public_url in [web]")
    return faults.validate(OidcTable, data["oidc"], ("oidc",))


def _single_sign_on(table: OidcTable) -> SingleSignOn:
    roles = ((Role.ADMIN, table.admin), (Role.OPERATOR, table.operator), (Role.VIEWER, table.viewer))
    return SingleSignOn(
        label=table.label,
        issuer=table.issuer,
        client_id=table.client_id,
        client_secret=table.client_secret.get_secret_value(),
        scopes=table.scopes,
        allowed=table.allow,
        claim=table.claim,
        ends_there=table.sign_out,
        roles=tuple((role, frozenset(values)) for role, values in roles),
    )


def _users(faults: Faults, data: Mapping[str, Any], contacts: Collection[str]) -> dict[str, UserTable]:
    found = {}
    for name, given in named_tables(faults, data, "user"):
        table = faults.validate(UserTable, given, ("user", name))
        if table is None:
            continue
        if table.contact is not None and table.contact not in contacts:
            hint = did_you_mean(table.contact, contacts)
            faults.add_reference(("user", name, "contact"), f'there is no contact "{table.contact}"', hint)
        found[name] = table
    return found


def _user(name: str, table: UserTable) -> User:
    return User(name, table.password.get_secret_value(), Role.of(table.role), table.contact or "")


def _token(name: str, table: TokenTable, timezone: str) -> ApiToken:
    digest = bytes.fromhex(table.sha256) if table.sha256 else _sha256(table.secret)
    role = max((ROLE_OF_SCOPE[scope] for scope in table.scopes if scope in ROLE_OF_SCOPE), default=Role.NONE)
    return ApiToken(name, digest, role, DOORS.intersection(table.scopes), _instant(table.expires, timezone))


def _web_token(web: Web) -> tuple[ApiToken, ...]:
    return (ApiToken(WEB_TOKEN, _sha256(web.token), Role.ADMIN, DOORS),) if web.token else ()


def _sha256(secret: SecretStr | None) -> bytes:
    return sha256(secret.get_secret_value().encode() if secret else b"").digest()


def _instant(moment: datetime | None, timezone: str) -> float | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).timestamp()


def _check_web(faults: Faults, web: Web, *, somebody: bool) -> None:
    if (web.certificate is None) != (web.key is None):
        missing = "key" if web.key is None else "certificate"
        faults.add(("web",), f"has only one of certificate and key; {missing} is missing", "name both PEM files")
    elif web.certificate is not None and web.key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(web.certificate, web.key)
        except OSError as error:
            reason = f"cannot be used with the key: {error.strerror or error}"
            faults.add(("web", "certificate"), reason, "name two PEM files that belong together and can be read")
    token = web.token.get_secret_value() if web.token else ""
    if web.token is not None and len(token) < SHORTEST_TOKEN:
        reason = f"has {len(token)} characters; at least {SHORTEST_TOKEN} are needed"
        faults.add(("web", "token"), reason, "make one with: openssl rand -hex 32")
    for index, (host, port) in enumerate(web.listen):
        if web.token is None and not somebody and not is_loopback(host):
            faults.add(
                ("web", "listen", index),
                f"{host}:{port} can be reached from other machines, and nobody could sign in",
                'add a [user.NAME], set token in [web], or listen on "127.0.0.1:9848"',
            )
