"""Whatever stands in the file: the answer is a configuration or a list of problems, each with its line."""

from __future__ import annotations

import copy
import tomllib
from datetime import date
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from wcr_watchd.config.load import loads
from wcr_watchd.config.positions import lines
from wcr_watchd.config.show import as_toml, effective
from wcr_watchd.core.errors import ConfigError

VALID = tomllib.loads(
    """
[watchd]
name = "x"
timezone = "UTC"
[store]
retention.raw = "7d"
[web]
listen = ["127.0.0.1:9848"]
token = "0123456789abcdef"
[channel.sms]
type = "sms"
account_sid = "AC1"
auth_token = "t"
from = "+15550100"
limit = "10/1h"
[channel.slack]
type = "slack"
webhook = "https://hooks.example/x"
[contact.lead]
phone = "+15550101"
[on_call.ops]
rotation = ["lead"]
handover = "Mon 09:00"
[policy.default.critical]
tell = ["sms:ops", "slack"]
escalate = [{ after = "15m", tell = ["sms:lead"] }]
repeat = "15m"
[defaults]
every = "1m"
retry = { times = 2, every = "10s" }
[check.api]
type = "http"
url = "http://localhost/"
expect.status = [200, 204]
expect.json.status = "ok"
expect.headers.A = "b"
values.users = "n"
warning = ["response_time > 1s for 5m", "users < 1"]
depends_on = ["cert"]
tags = ["a"]
[check.cert]
type = "certfile"
path = "/x.pem"
"""
)

JUNK = st.one_of(
    st.none().map(lambda _: {}),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.just(date(2026, 11, 23)),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.sampled_from(
        ["", "${env:}", "${", "$${", "1s", "sms:", ":", "down", "http://[", "2xx", "\n", "../..", "${file:.}"]
    ),
    st.lists(st.integers() | st.text("ab:${}[]", max_size=4) | st.just({}), max_size=3),
    st.dictionaries(st.text("ab.${}\"' é", max_size=4), st.integers() | st.just({}), max_size=2),
)


def places(table: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [found for key, value in entries for found in ((*place, key), *places(value, (*place, key)))]


PLACES = places(VALID)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK, st.sampled_from(["set", "add", "delete"])), max_size=4))
def test_junk_anywhere(changes: list[tuple[tuple[Any, ...], Any, str]]) -> None:
    table = copy.deepcopy(VALID)
    for place, value, how in changes:
        apply(table, place, value, how)
    text = tomli_w.dumps(table)
    try:
        loaded = loads(text, "junk.toml")
    except ConfigError as error:
        problems = error.problems
    else:
        problems = ()
        for name in loaded.every_check.checks:
            assert tomllib.loads(as_toml(effective(loaded, name)))
    assert [str(problem) for problem in problems if problem.line < 1 or not problem.reason] == []


def apply(table: Any, place: tuple[Any, ...], value: Any, how: str) -> None:
    """Change one place, unless an earlier change has taken it away."""
    *parents, last = place
    try:
        for key in parents:
            table = table[key]
        if how == "set":
            table[last if isinstance(table, list) else str(last)] = value
        elif how == "delete":
            del table[last]
        else:
            table["new key"] = value
    except (KeyError, IndexError, TypeError):
        return


@settings(max_examples=200)
@given(
    st.recursive(
        st.integers() | st.text(max_size=5) | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), inner, max_size=3)
        ),
        max_leaves=15,
    )
)
def test_every_key_of_every_toml_text_has_a_line(value: Any) -> None:
    table = {"section": {"name": value}}
    text = tomli_w.dumps(table)
    found = lines(text)
    assert [place for place in places(tomllib.loads(text)) if place not in found] == []
