"""From text to matchers: ``group="web", tag=~"eu-.*"``, with or without braces around them.

The grammar is that of Alertmanager's UTF-8 matchers
(https://prometheus.io/docs/alerting/latest/configuration/#label-matchers): names and values may stand without quotes as
long as they have no blanks, braces, quotes, commas, backslashes and none of ``! = ~``; in quotes the escapes of Go
strings hold. A comma may follow the last matcher.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

from wcr_watchd.core.errors import MatcherError
from wcr_watchd.core.silence import Matcher, Operator

MAX_MATCHERS = 100
MAX_NAME = 200
MAX_VALUE = 10_000
"""Characters of a value or regular expression."""
MAX_WILDCARDS = 8
"""Repetitions in one alternative of a regular expression: each may multiply the time that a comparison takes."""

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"""[^\s{}!=~,\\"'`]+""")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\[^\n])*)"')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers that a text names; none for an empty one. Raises :class:`MatcherError` with the column."""
    return _Reader(text).matchers()


def matchers_of(texts: Iterable[str]) -> tuple[Matcher, ...]:
    """The matchers of several texts, each once. Raises :class:`MatcherError`."""
    return tuple(dict.fromkeys(matcher for text in texts for matcher in parse_matchers(text)))


def any_of(name: str, values: Iterable[str]) -> Matcher:
    """One matcher that holds for each of the values; in a value ``*`` stands for any text and ``?`` for a character."""
    given = tuple(values)
    if len(given) == 1 and not is_glob(given[0]):
        return checked(Matcher(name, Operator.EQUAL, given[0]))
    return checked(Matcher(name, Operator.MATCHES, "|".join(map(_glob, given))))


def is_glob(text: str) -> bool:
    """Whether the text stands for several by ``*`` or ``?``."""
    return "*" in text or "?" in text


def _glob(text: str) -> str:
    # Several stars in a row are one, and cost as much.
    return re.escape(re.sub(r"\*+", "*", text)).replace(r"\*", ".*").replace(r"\?", ".")


def checked(matcher: Matcher) -> Matcher:
    """Return the matcher when it can be used. Raises :class:`MatcherError` for one that is too long or no pattern."""
    if not matcher.name or len(matcher.name) > MAX_NAME:
        raise MatcherError(f"a label's name has 1 to {MAX_NAME} characters")
    if len(matcher.value) > MAX_VALUE:
        raise MatcherError(f"the value of {matcher.name} has {len(matcher.value)} characters; at most {MAX_VALUE}")
    if matcher.operator in (Operator.MATCHES, Operator.MATCHES_NOT):
        _check_pattern(matcher.value)
    return matcher


def _check_pattern(pattern: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns of (``[[:alpha:]]``) means something else elsewhere
            re.compile(pattern)
    except (re.error, FutureWarning, DeprecationWarning, RecursionError, OverflowError) as error:
        raise MatcherError(f'"{pattern}" is no regular expression: {error}') from error
    if _may_take_for_ever(pattern):
        raise MatcherError(
            f'"{pattern}" may take for ever to compare: repeat no group that has a repetition or an alternative in it, '
            f"and use at most {MAX_WILDCARDS} of * and + in one alternative"
        )


_PART = re.compile(
    r"\\."  # an escaped character
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a set of characters
    r"|\(|\)|[*+|]|\{\d*,\d*\}|\{\d+\}",
    re.DOTALL,
)


def _may_take_for_ever(pattern: str) -> bool:
    """Whether matching may try exponentially many ways: a repeated group that can itself match in several ways."""
    open_groups = [False]
    """For each open group, whether something in it may match in several ways."""
    closed_ambiguous = False
    wildcards = most = 0
    for found in _PART.finditer(pattern):
        part = found[0]
        repeats = part in ("*", "+") or part.startswith("{")
        if repeats and closed_ambiguous:
            return True
        closed_ambiguous = False
        if part == "(":
            open_groups.append(False)
        elif part == ")" and len(open_groups) > 1:
            ambiguous = open_groups.pop()
            open_groups[-1] = open_groups[-1] or ambiguous
            closed_ambiguous = ambiguous and pattern[found.end() : found.end() + 1] in ("*", "+", "{")
        elif part == "|" and len(open_groups) == 1:
            most, wildcards = max(most, wildcards), 0
        elif repeats or part == "|":
            open_groups[-1] = True
            wildcards += repeats
    return max(most, wildcards) > MAX_WILDCARDS


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def matchers(self) -> tuple[Matcher, ...]:
        braces = self._takes("{")
        found: list[Matcher] = []
        while not self._ends():
            found.append(self._matcher())
            if len(found) > MAX_MATCHERS:
                raise MatcherError(f"at most {MAX_MATCHERS} matchers", self._at)
            if not self._takes(","):
                break
        if braces and not self._takes("}"):
            raise MatcherError("the closing } is missing, or a comma before what follows", self._at)
        if not self._at_end():
            raise MatcherError(f"did not expect {self._rest()} here; matchers are separated by commas", self._at)
        return tuple(found)

    def _matcher(self) -> Matcher:
        start = self._at
        name = self._word("the name of a label")
        operator = self._match(_OPERATOR)
        if operator is None:
            raise MatcherError(f"expected =, !=, =~ or !~ after {name}", self._at)
        value = self._word("a value")
        try:
            return checked(Matcher(name, Operator(operator[0]), value))
        except MatcherError as error:
            raise MatcherError(error.reason, start) from error

    def _word(self, what: str) -> str:
        if found := self._match(_QUOTED):
            return self._unquoted(found[1])
        if found := self._match(_WORD):
            return found[0]
        raise MatcherError(f"expected {what}, found {self._rest()}; other characters need double quotes", self._at)

    def _unquoted(self, text: str) -> str:
        def replaced(escape: re.Match[str]) -> str:
            code = escape[1]
            if code in _ESCAPED:
                return _ESCAPED[code]
            if len(code) == 1:
                raise MatcherError(f"\\{code} is no escape; write \\\\ for a backslash", self._at)
            return chr(int(code, 8) if code.isdigit() and len(code) == 3 else int(code[1:], 16))

        try:
            return _ESCAPE.sub(replaced, text)
        except (ValueError, OverflowError) as error:
            raise MatcherError("an escape stands for no character", self._at) from error

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip()
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _takes(self, character: str) -> bool:
        self._skip()
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _ends(self) -> bool:
        return self._at_end() or self._text.startswith("}", self._at)

    def _at_end(self) -> bool:
        self._skip()
        return self._at == len(self._text)

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _rest(self) -> str:
        rest = self._text[self._at : self._at + 20]
        return f'"{rest}"' if rest else "the end"
