"""Regular expressions as Go writes them (RE2 syntax, https://github.com/google/re2/wiki/Syntax) in Python's spelling.

Both agree on nearly everything; what differs and is seen in practice is translated, what Python cannot say is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_TOKEN = re.compile(r"\\Q(?P<quoted>.*?)(?:\\E|$)|\\.|\[:(?P<posix>\w+):\]|\(\?<(?=[A-Za-z_])|.", re.DOTALL)


def python_pattern(text: str) -> str:
    """The same expression for :mod:`re`; ``ValueError`` says what is wrong with it."""
    written: list[str] = []
    in_class = repeatable = False
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if token["quoted"] is not None:
            piece = re.escape(token["quoted"])
        elif token["posix"] and in_class:
            piece = _POSIX.get(token["posix"], piece)
        elif in_class:
            in_class = piece != "]" or written[-1] == "[" or written[-2:] == ["[", "^"]
            piece = r"\[" if piece == "[" else piece
        elif piece in ("+", "*", "?") and repeatable:
            # Go may repeat an anchor: once or more is the anchor itself, perhaps not at all is nothing.
            written[-1], piece = written[-1] if piece == "+" else "", ""
        else:
            piece = {"$": r"\Z" if "(?m" not in text else "$", r"\z": r"\Z", "(?<": "(?P<"}.get(piece, piece)
            in_class = piece == "["
        repeatable = not in_class and piece in ("^", "$", r"\Z", r"\A", r"\b", r"\B")
        written.append(piece)
    result = "".join(written)
    try:
        re.compile(result)
    except (re.error, OverflowError) as error:
        raise ValueError(f"the regular expression {text!r} is not understood here: {error}") from error
    return result


def expand(template: str, groups: Sequence[str | None], names: Mapping[str, str | None]) -> str:
    """A template with ``$1``, ``${1}``, ``$name`` and ``$$`` filled in; ``groups[0]`` is all that matched.

    As Go's Regexp.Expand: what there is no group for is nothing.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if match[0] == "$$":
            return "$"
        if name.isdigit():
            return (groups[int(name)] or "") if int(name) < len(groups) else ""
        return names.get(name) or ""

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", fill, template)
