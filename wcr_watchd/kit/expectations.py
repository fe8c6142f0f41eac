"""What an HTTP answer must be: the options that say so, and the comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from yarl import URL

from wcr_watchd.kit.http import Answer
from wcr_watchd.kit.options import Options, Size
from wcr_watchd.kit.patterns import BUDGET, Pattern, check_pattern, found

Failure = tuple[str, str]
"""A reason label, and what was found against what was expected."""

# --- option types -----------------------------------------------------------------------------------------------------


def _status_ranges(value: object) -> tuple[tuple[int, int], ...]:
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts:
        raise ValueError("name at least one status")
    return tuple(part if isinstance(part, tuple) else _status_range(part) for part in parts)


def _status_range(part: object) -> tuple[int, int]:
    text = str(part).strip().lower()
    if match := re.fullmatch(r"([1-5])xx", text):
        first = int(match[1]) * 100
        return first, first + 99
    match = re.fullmatch(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?", text)
    if isinstance(part, bool) or match is None or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f'{part!r} is no status; write 200, "2xx", "200-204", or a list of these')
    return int(match[1]), int(match[2] or match[1])


Statuses = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_status_ranges),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["integer", "string"]},
                {"type": "array", "minItems": 1, "items": {"type": ["integer", "string"]}},
            ],
            "examples": [200, "2xx", [200, 204], "200-204"],
        }
    ),
]
"""A set of statuses: ``200``, ``"2xx"``, ``"200-204"`` or a list of these."""

Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One text or a list of texts."""

Patterns = Annotated[
    tuple[Pattern, ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One regular expression or a list of them."""


def _checked_path(path: str) -> str:
    try:
        jmespath.compile(path)
    except JMESPathError as error:
        why = str(error).splitlines()[0].rstrip(": ")  # the next lines draw an arrow below the expression
        raise ValueError(f"not a JMESPath expression: {why}") from error
    return path


Path = Annotated[str, AfterValidator(_checked_path)]
"""A JMESPath expression (jmespath.org)."""


def _flattened(table: Mapping[str, object]) -> dict[str, object]:
    """``expect.json.data.status = "ok"`` is a table in a table for TOML, and means the path ``data.status``."""
    flat: dict[str, object] = {}
    for key, wanted in table.items():
        if isinstance(wanted, Mapping):
            flat.update({f"{key}.{path}": inner for path, inner in _flattened(wanted).items()})
        else:
            flat[key] = wanted
    return flat


Scalar = bool | int | float | str
JsonExpectations = Annotated[
    dict[Path, Scalar | tuple[Scalar, ...]],
    BeforeValidator(lambda value: _flattened(value) if isinstance(value, Mapping) else value),
    WithJsonSchema({"type": "object"}),
]
"""JMESPath expressions and the value each must have; a list names several that will do."""


def _checked_header(value: bool | str) -> bool | str:
    if isinstance(value, str) and (pattern := _between_slashes(value.removeprefix("!"))) is not None:
        check_pattern(pattern)
    return value


def _between_slashes(text: str) -> str | None:
    return text[1:-1] if len(text) > 2 and text.startswith("/") and text.endswith("/") else None


HeaderExpectation = Annotated[bool | str, AfterValidator(_checked_header)]
HeaderExpectations = Annotated[
    tuple[HeaderExpectation, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value]),
    WithJsonSchema(
        {"anyOf": [{"type": ["string", "boolean"]}, {"type": "array", "items": {"type": ["string", "boolean"]}}]}
    ),
]


class Expect(Options):
    """What the answer must be."""

    status: Statuses = ((200, 299),)
    """Status: 200, "2xx", "200-204", or a list of these."""
    json_: JsonExpectations = Field(default_factory=dict, alias="json")
    """JMESPath = value in the JSON of the body; a list names several values that will do; "> 0", ">= 1.5", "< 3",
    "<= 3" and "!= 0" compare numbers. A path that leads nowhere never fulfils anything."""
    body: Texts = ()
    """Text, or list of texts, that must all occur in the body."""
    body_not: Texts = ()
    """Text, or list of texts, none of which may occur in the body."""
    body_matches: Patterns = ()
    """Regular expression, or list of them, that must all match somewhere in the body (Python's re)."""
    body_not_matches: Patterns = ()
    """Regular expression, or list of them, none of which may match anywhere in the body."""
    body_sha256: Annotated[str, Field(pattern=r"^([0-9a-fA-F]{64})?$")] = ""
    """SHA-256 of the body, after decompression, in hexadecimal digits."""
    headers: dict[str, HeaderExpectations] = Field(default_factory=dict)
    """Header = value; "/regex/" must match, "!/regex/" must not; true: must be there, false: must not. A list: all
    of these. Of a header that comes several times, one must fit."""
    url: str = ""
    """The URL that all redirects must have led to, or "/regex/"."""
    min_size: Size = 0
    """Smallest body that is right."""
    max_size: Size | None = None
    """Largest body that is right."""

    @model_validator(mode="after")
    def _url_pattern(self) -> Expect:
        if (pattern := _between_slashes(self.url)) is not None:
            check_pattern(pattern)
        return self

    async def failures(self, answer: Answer, document: Document, budget: float) -> list[Failure]:
        """All that is not as expected; the content only when everything else is.

        ``budget`` is the seconds there are left. Raises :class:`~wcr_watchd.kit.patterns.PatternsTooSlowError`, and
        ``OSError`` when patterns cannot be tried.
        """
        patterns = _Patterns()
        failures = [*_status_failures(self, answer), *_size_failures(self, answer)]
        failures += _url_failures(self, answer, patterns)
        for name, wanted in self.headers.items():
            failures += _header_failures(name, wanted, answer, patterns)
        failures += await patterns.failures(budget)
        return failures or await self._content_failures(answer, document, budget)

    async def _content_failures(self, answer: Answer, document: Document, budget: float) -> list[Failure]:
        patterns = _Patterns()
        for pattern in self.body_matches:
            patterns.add(pattern, answer.text, "content", f"the body does not match /{pattern}/")
        for pattern in self.body_not_matches:
            problem = f"the body matches /{pattern}/, which it must not"
            patterns.add(pattern, answer.text, "content", problem, wanted=False)
        failures = [*_text_failures(self, answer), *_digest_failures(self, answer), *_json_failures(self, document)]
        return failures + await patterns.failures(budget)


# --- comparing --------------------------------------------------------------------------------------------------------


def _status_failures(expect: Expect, answer: Answer) -> list[Failure]:
    if any(low <= answer.status <= high for low, high in expect.status):
        return []
    return [("status", f"expected {' or '.join(_range_text(*bounds) for bounds in expect.status)}")]


def _range_text(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low // 100}xx" if low % 100 == 0 and high == low + 99 else f"{low}-{high}"


def _size_failures(expect: Expect, answer: Answer) -> list[Failure]:
    size = len(answer.body)
    if expect.max_size is not None and (size > expect.max_size or not answer.complete):
        measured = f"{size} bytes" if answer.complete else f"more than {size} bytes"
        return [("too_large", f"the body has {measured}, expected at most {expect.max_size}")]
    if answer.complete and size < expect.min_size:
        return [("content", f"the body has {size} bytes, expected at least {expect.min_size}")]
    return []


def _url_failures(expect: Expect, answer: Answer, patterns: _Patterns) -> list[Failure]:
    problem = f"ended at {answer.url}, expected {expect.url}"
    pattern = _between_slashes(expect.url)
    if pattern is not None:
        patterns.add(pattern, answer.url, "redirect", problem)
    elif expect.url and answer.url != str(URL(expect.url)):
        return [("redirect", problem)]
    return []


def _header_failures(name: str, wanted: HeaderExpectations, answer: Answer, patterns: _Patterns) -> list[Failure]:
    values = answer.headers.get(name.lower(), ())
    got = f'header {name} is "{", ".join(values)[:200]}"' if values else f"header {name} is missing"
    failures: list[Failure] = []
    for one in wanted:
        pattern = _between_slashes(one.removeprefix("!")) if isinstance(one, str) else None
        if isinstance(one, bool):
            fits = bool(values) is one
            expected = "expected it to be there" if one else "expected it not to be there"
        elif pattern is not None:
            fits = bool(values) or one.startswith("!")
            expected = f"expected {one}"
            if values:
                patterns.add_any(pattern, values, "content", f"{got}, {expected}", wanted=not one.startswith("!"))
        else:
            fits = one in values
            expected = f'expected "{one}"'
        if not fits:
            failures.append(("content", f"{got}, {expected}"))
    return failures


def _text_failures(expect: Expect, answer: Answer) -> list[Failure]:
    if not expect.body and not expect.body_not:
        return []
    text = answer.text
    part = "" if answer.complete else f" within its first {len(answer.body)} bytes; raise max_body if it comes later"
    missing = [f'the body does not contain "{wanted}"{part}' for wanted in expect.body if wanted not in text]
    present = [f'the body contains "{unwanted}", which it must not' for unwanted in expect.body_not if unwanted in text]
    return [("content", failure) for failure in missing + present]


def _digest_failures(expect: Expect, answer: Answer) -> list[Failure]:
    if not expect.body_sha256:
        return []
    if not answer.complete:
        return [
            ("content", f"the body is longer than {len(answer.body)} bytes, too long for body_sha256; raise max_body")
        ]
    digest = sha256(answer.body).hexdigest()
    if digest == expect.body_sha256.lower():
        return []
    return [("content", f"the body has SHA-256 {digest}, expected {expect.body_sha256.lower()}")]


def _json_failures(expect: Expect, document: Document) -> list[Failure]:
    if expect.json_ and document.problem:
        return [("content", document.problem)]
    failures = []
    for path, wanted in expect.json_.items():
        value = document.at(path)
        if not any(_equals(value, one) for one in (wanted if isinstance(wanted, tuple) else (wanted,))):
            choice = " or ".join(map(shown, wanted)) if isinstance(wanted, tuple) else shown(wanted)
            failures.append(("content", f"JSON {path} is {shown(value)}, expected {choice}"))
    return failures


_COMPARISON = re.compile(r"(<=|>=|<|>|!=)\s*(-?\d+(?:\.\d+)?)")


def _equals(value: object, wanted: Scalar) -> bool:
    """Equal in kind and value: ``true`` is not 1 and ``"1"`` is not 1. Absent values fulfil nothing."""
    if isinstance(wanted, str) and (match := _COMPARISON.fullmatch(wanted.strip())):
        return _compares(value, match[1], float(match[2]))
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


def _compares(value: object, operator: str, number: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    results = {"<": value < number, "<=": value <= number, ">": value > number, ">=": value >= number}
    return results.get(operator, value != number)


def shown(value: object) -> str:
    """A JSON value for people."""
    if value is None:
        return "absent"
    return json.dumps(value, ensure_ascii=False, default=str)[:200]


class Document:
    """The JSON of an answer, read when first asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._read = False
        self._content: Any = None
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why the body is no JSON (empty: it is)."""
        if not self._read:
            self._read = True
            self._problem = self._parse()
        return self._problem

    def at(self, path: str) -> Any:
        """What a JMESPath expression finds; None when that is nothing, or not what the expression can work with."""
        if self.problem:
            return None
        try:
            return jmespath.search(path, self._content)
        except (JMESPathError, RecursionError, TypeError, ValueError, ArithmeticError):
            return None

    def _parse(self) -> str:
        if not self._answer.complete:
            return f"the body is longer than {len(self._answer.body)} bytes, too long to read as JSON; raise max_body"
        try:
            self._content = json.loads(self._answer.body)
        except (ValueError, RecursionError) as error:
            return f"the body is not JSON: {error}"
        return ""


class _Patterns:
    """Regular expressions collected to be tried all at once."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, tuple[str, ...], bool, Failure]] = []

    def add(self, pattern: str, text: str, reason: str, failure: str, *, wanted: bool = True) -> None:
        """Fail in these words unless the pattern occurs in the text (or unless it does not)."""
        self.add_any(pattern, (text,), reason, failure, wanted=wanted)

    def add_any(self, pattern: str, texts: tuple[str, ...], reason: str, failure: str, *, wanted: bool = True) -> None:
        """Likewise, for several texts of which one is enough."""
        self._waiting.append((pattern, texts, wanted, (reason, failure)))

    async def failures(self, budget: float) -> list[Failure]:
        """Try them all and forget them."""
        waiting, self._waiting = self._waiting, []
        answers = iter(
            await found([(pattern, text) for pattern, texts, *_ in waiting for text in texts], min(BUDGET, budget))
        )
        failures = []
        for _, texts, wanted, failure in waiting:
            occurs = True in [next(answers) for _ in texts]
            if occurs is not wanted:
                failures.append(failure)
        return failures
