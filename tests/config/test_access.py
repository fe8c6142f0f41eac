"""``[user.NAME]``, ``[token.NAME]``, ``[oidc]`` and the rest of who is let in: what is read, and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.real.servers.certificates import Authority
from wcr_watchd.config.load import loads
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.access import ALERTS, METRICS, AccessSettings, Role
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.kit.passwords import hash_of

HASH = hash_of("correct horse battery")
SECRET = "0123456789abcdef0123456789abcdef"
OIDC = '[web]\npublic_url = "https://w.example"\n[oidc]\nissuer = "https://id.example"\nclient_id = "watchd"\n'


def access(text: str) -> AccessSettings:
    return loads(text, "w.toml").web.access


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loads(text, "w.toml")
    return [str(problem) for problem in refused.value.problems]


def test_users_have_a_role_and_may_be_a_contact() -> None:
    found = access(f"""
[contact.ann]
email = "ann@example.org"
[user.ann]
password = "{HASH}"
role = "operator"
contact = "ann"
[user.vic]
password = "{HASH}"
""")
    assert {name: (user.role, user.contact, user.password) for name, user in found.users.items()} == {
        "ann": (Role.OPERATOR, "ann", HASH),
        "vic": (Role.VIEWER, "", HASH),
    }
    assert not found.nobody


def test_tokens_have_scopes_and_an_end() -> None:
    found = access(f"""
[watchd]
timezone = "America/New_York"
[token.scraper]
secret = "{SECRET}"
scopes = ["metrics", "alerts"]
[token.script]
sha256 = "{sha256(b"x").hexdigest().upper()}"
scopes = ["read", "act"]
expires = 2027-01-31T00:00:00
[token.utc]
secret = "{SECRET}-2"
expires = "2027-01-31T00:00:00Z"
""")
    assert [(one.name, one.role, one.doors, one.expires_at) for one in found.tokens] == [
        ("scraper", Role.NONE, frozenset({METRICS, ALERTS}), None),
        ("script", Role.OPERATOR, frozenset(), 1_801_371_600.0),
        ("utc", Role.VIEWER, frozenset(), 1_801_353_600.0),
    ]
    assert found.tokens[0].digest == sha256(SECRET.encode()).digest()


def test_the_token_of_web_goes_on_as_an_admin() -> None:
    (token,) = access(f'[web]\ntoken = "{SECRET}"\n').tokens
    assert (token.name, token.role, token.doors) == ("operator", Role.ADMIN, {"metrics", "alerts", "probe"})


def test_single_sign_on_and_proxies() -> None:
    found = access(
        OIDC.replace("[web]\n", '[web]\ntrusted_proxies = ["127.0.0.1", "2001:db8::/32"]\n')
        + 'client_secret = "s3cret-of-the-client"\nadmin = "admins"\nviewer = ["*"]\nallow = ["*@example.org"]\n'
    )
    assert found.single_sign_on is not None
    assert found.single_sign_on.roles == (
        (Role.ADMIN, frozenset({"admins"})),
        (Role.OPERATOR, frozenset()),
        (Role.VIEWER, frozenset({"*"})),
    )
    assert found.proxies == (ip_network("127.0.0.1/32"), ip_network("2001:db8::/32"))


def test_hashes_and_secrets_are_never_shown() -> None:
    loaded = loads(f'[user.ann]\npassword = "{HASH}"\n[token.t]\nsecret = "{SECRET}"\n', "w.toml")
    assert {HASH, SECRET} <= loaded.secrets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[user.ann]\npassword = "hunter2"\n',
            "w.toml:2: user.ann.password: is not an Argon2 hash; a password never stands in the configuration"
            " (make a hash with: wcr-watchd user hash)",
        ),
        (f'[user.ann]\npassword = "{HASH}"\ncontact = "an"\n[contact.ann]\nphone = "+15550100"\n', 'no contact "an"'),
        (f'[user.ann]\npassword = "{HASH}"\nrole = "boss"\n', "user.ann.role"),
        ("[user.ann]\n", "user.ann.password"),
        ("[token.t]\n", "needs one of `secret` and `sha256`"),
        (f'[token.t]\nsecret = "{SECRET}"\nsha256 = "{"0" * 64}"\n', "needs one of `secret` and `sha256`"),
        ('[token.t]\nsecret = "short"\n', "fewer than 16 characters"),
        ('[token.t]\nsha256 = "beef"\n', "is no SHA-256"),
        (f'[token.t]\nsecret = "{SECRET}"\nscopes = []\n', "token.t.scopes"),
        (f'[token.t]\nsecret = "{SECRET}"\nscopes = ["write"]\n', "token.t.scopes"),
        ('[web]\nlisten = ["0.0.0.0:9848"]\n', "nobody could sign in"),
        ('[web]\ntrusted_proxies = ["nginx"]\n', "web.trusted_proxies"),
        ('[web]\ncertificate = "/none.pem"\n', "key is missing"),
        ('[web]\ncertificate = "/none.pem"\nkey = "/none.pem"\n', "cannot be used with the key: No such file"),
        ('[oidc]\nissuer = "https://id.example"\nclient_id = "w"\nclient_secret = "x"\nviewer = "*"\n', "public_url"),
        (OIDC + 'client_secret = "x"\n', "gives nobody a role"),
        (OIDC + 'client_secret = "x"\nviewer = "*"\nscopes = ["email"]\n', 'without "openid"'),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    assert any(said in one for one in problems(text)), problems(text)


def test_other_machines_may_ask_when_somebody_can_sign_in() -> None:
    assert access(f'[web]\nlisten = ["0.0.0.0:0"]\n[user.ann]\npassword = "{HASH}"\n').users


def test_a_certificate_and_another_ones_key_are_told_before_the_start(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("localhost"), authority.issue("localhost")
    (said,) = problems(f'[web]\ncertificate = "{one.certificate}"\nkey = "{other.key}"\n')
    assert "web.certificate: cannot be used with the key" in said
    loaded = loads(f'[web]\ncertificate = "{one.certificate}"\nkey = "{one.key}"\n', "w.toml")
    assert loaded.web.certificate == (Path(one.certificate), Path(one.key))


def test_tokens_that_end_soon_are_warned_of() -> None:
    ends = {"old": "2027-01-01T00:00:00Z", "soon": "2027-01-12T00:00:00Z", "new": "2028-01-01T00:00:00Z"}
    text = "".join(f'[token.{name}]\nsecret = "{SECRET}-{name}"\nexpires = {when}\n' for name, when in ends.items())
    now = datetime(2027, 1, 10, tzinfo=UTC).timestamp()
    assert [str(one) for one in warnings(loads(text, "w.toml"), now)] == [
        "w.toml:3: token.old.expires: is over (make a new one, or remove it)",
        "w.toml:6: token.soon.expires: is over in 2 d (make a new one, or remove it)",
    ]
