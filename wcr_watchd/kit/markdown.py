"""Markdown: to HTML that can be shown on our own pages, and which links and headings are in a text.

CommonMark with tables; HTML in a text is shown and not used, pictures are links. What a text says cannot run anything,
load anything from elsewhere, or leave its place on the page.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LOWEST_HEADING = 6

_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a text: where it leads, and the line (from 1) of the text on which it stands."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Outline:
    """All links of a text in their order, and the names of its headings, which a link into it can lead to."""

    links: tuple[Link, ...]
    anchors: frozenset[str]


def to_html(text: str, target: Callable[[str], str], *, below: int = 1, anchors: bool = False) -> str:
    """The text as HTML.

    ``target`` maps where a link leads to where it should lead on the page; empty: it is shown without one. The text's
    headings are put ``below`` that level; with ``anchors`` they can be linked to.
    """
    tokens = _parser().parse(text)
    _put_below(tokens, below)
    if anchors:
        headings = (token for token in tokens if token.type == "heading_open")
        for heading, name in zip(headings, _anchors(tokens), strict=True):
            heading.attrSet("id", name)
    for token in tokens:
        if "style" in token.attrs:  # how a column is aligned; pages have no style of their own
            aligned = str(token.attrs.pop("style"))
            token.attrSet("class", "number" if aligned.endswith("right") else "")
        _retarget(token.children or (), target)
    return str(_parser().renderer.render(tokens, _parser().options, {}))


def _put_below(tokens: Sequence[Token], level: int) -> None:
    """Number the headings anew, from below that level on and without leaving one out, as readers aloud expect it."""
    above: list[int] = []
    for token in tokens:
        if token.type == "heading_open":
            own = int(token.tag.removeprefix("h"))
            above = [*(one for one in above if one < own), own]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(LOWEST_HEADING, level + len(above))}"


def _retarget(tokens: Sequence[Token], target: Callable[[str], str]) -> None:
    for token in tokens:
        if token.type == "link_open":
            href = target(str(token.attrs.get("href", "")))
            token.attrs.pop("href", None)
            if href:
                token.attrSet("href", href)
                token.attrSet("rel", "noopener noreferrer")


def outline(text: str) -> Outline:
    """The links of a text, and what can be linked to."""
    tokens = _parser().parse(text)
    return Outline(tuple(_links(tokens)), frozenset(_anchors(tokens)))


def _links(tokens: Sequence[Token]) -> Iterator[Link]:
    for token in tokens:
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or ():
            if child.type == "link_open":
                yield Link(str(child.attrs.get("href", "")), line)
            elif child.type in ("softbreak", "hardbreak"):
                line += 1


def _anchors(tokens: Sequence[Token]) -> list[str]:
    """The headings' names as GitHub gives them: in small letters, dashes for blanks, numbered when one comes again."""
    found: list[str] = []
    seen: dict[str, int] = {}
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            name = _NOT_IN_ANCHORS.sub("", words.strip().lower()).replace(" ", "-")
            seen[name] = seen.get(name, -1) + 1
            found.append(f"{name}-{seen[name]}" if seen[name] else name)
    return found


@cache
def _parser() -> MarkdownIt:
    """Loaded when the first text is read: that takes longer than any page without one needs."""
    library = importlib.import_module("markdown_it")
    parser: MarkdownIt = library.MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return parser
