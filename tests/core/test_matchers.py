"""Matchers: what can be written, what it covers, and what is refused with which words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.errors import MatcherError
from wcr_watchd.core.matchers import MAX_VALUE, any_of, matchers_of, parse_matchers
from wcr_watchd.core.silence import Matcher, Operator, covers

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(st.tuples(texts.filter(bool), st.sampled_from(["=", "!="]), texts), min_size=1, max_size=4))
def test_whatever_can_be_matched_can_be_written(wanted: list[tuple[str, str, str]]) -> None:
    matchers = tuple(Matcher(name, Operator(operator), value) for name, operator, value in wanted)
    assert parse_matchers("{" + ",".join(map(str, matchers)) + "}") == matchers


@given(st.text('{}=~!",\\ab \n\tä', max_size=30))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        found = parse_matchers(text)
    except MatcherError:
        return
    assert parse_matchers(",".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("check", "expected =, !=, =~ or !~ after check", 5),
        ("check=", "expected a value, found the end", 6),
        ('check="a" tag="b"', 'did not expect "tag="b"" here; matchers are separated by commas', 10),
        ("{check=a", "the closing } is missing", 8),
        ('check="\\d"', "\\d is no escape", 10),
        ('group=web, check=~"("', "is no regular expression: missing )", 11),
        ('check=~"[[:alpha:]]"', "is no regular expression: Possible nested set", 0),
        ('check=~"(a+)+"', "may take for ever", 0),
        ('check=~"(a|aa)*b"', "may take for ever", 0),
        ('check=~"(?:x*){2,}"', "may take for ever", 0),
        ('check=~"' + ".*" * 9 + '"', "at most 8", 0),
        (f'check="{"a" * (MAX_VALUE + 1)}"', f"at most {MAX_VALUE}", 0),
        ('"\\U00110000"=a', "an escape stands for no character", 12),
    ],
)
def test_what_is_refused_says_what_and_where(text: str, said: str, column: int) -> None:
    with pytest.raises(MatcherError, match=re.escape(said)) as refused:
        parse_matchers(text)
    assert refused.value.column == column


@pytest.mark.parametrize(
    "pattern", ["web-(1|2)", "(eu|us)-.*", "a+b+", "(abc)+", "[(*+]+(b)*", "\\\\(a+\\\\)+", "(?i)web"]
)
def test_usual_patterns_are_fine(pattern: str) -> None:
    assert parse_matchers(f'check=~"{pattern}"')


def test_names_with_stars_stand_for_several() -> None:
    matcher = any_of("check", ["web-*", "a.b", "db?"])
    assert [covers((matcher,), {"check": (name,)}) for name in ("web-1", "a.b", "axb", "db1", "db", "xweb-1")] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    many = [f"web-{number}-*" for number in range(500)]
    assert covers((any_of("check", many),), {"check": ("web-499-eu",)})
    assert any_of("check", ["api"]) == Matcher("check", Operator.EQUAL, "api")


def test_several_values_of_a_label() -> None:
    facts = {"tag": ("eu", "web")}
    assert [covers(parse_matchers(text), facts) for text in ("tag=web", "tag!=web", "tag!=db", 'tag=~"e."')] == [
        True,
        False,
        True,
        True,
    ]
    assert not covers((), facts)
    assert matchers_of(["tag=web", "tag=web,group!=x"]) == parse_matchers("tag=web,group!=x")
