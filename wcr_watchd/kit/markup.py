"""What an HTML page needs and holds: the files that it loads at once, and the fields of its forms.

Read by the standard library's ``html.parser``, letter by letter and on hostile pages much more slowly, so both
functions belong in a thread; they end by themselves after :data:`PATIENCE`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from yarl import URL

PATIENCE = 3.0
"""Seconds of reading one page."""
_PIECE = 8 * 1024
_KINDS = {"stylesheet": "css", "modulepreload": "js", "icon": "image"}
"""What a ``<link>`` loads at once, by its relation."""


class PageTooSlowError(Exception):
    """The page is made so that reading it takes too long."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a page loads at once; ``kind`` is ``css``, ``js`` or ``image``."""

    kind: str
    url: str


@dataclass(slots=True)
class Page:
    """The assets of a page, each once, in its order, and its title."""

    assets: dict[Asset, None] = field(default_factory=dict)
    title: str = ""


def page_of(text: str, url: str) -> Page:
    """Title and assets of the page at ``url``; raises :class:`PageTooSlowError`."""
    reader = _Assets(URL(url))
    _feed(reader, text)
    return reader.page


def field_of(text: str, name: str) -> str | None:
    """What the first ``<input>`` or ``<meta>`` of that name (or ``property``) holds; None when there is none."""
    reader = _Fields(name)
    _feed(reader, text)
    return reader.found


def _feed(reader: HTMLParser, text: str) -> None:
    until = time.monotonic() + PATIENCE
    for at in range(0, len(text), _PIECE):
        if time.monotonic() > until:
            raise PageTooSlowError(f"reading the page took longer than {PATIENCE:g} s")
        reader.feed(text[at : at + _PIECE])
    reader.close()


class _Reader(HTMLParser):
    """Reads as browsers do where Python's parser gives up."""

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """``<![`` begins a comment that ends with the next ``>`` (HTML Living Standard, 13.2.5.41)."""
        return self.parse_bogus_comment(i, report)


class _Assets(_Reader):
    """Collects what is loaded at once: not what a script loads later, nor pictures that wait until they are seen."""

    def __init__(self, base: URL) -> None:
        super().__init__()
        self.page = Page()
        self._base = base
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title" and not self.page.title
        if tag == "base" and given.get("href"):
            self._base = self._joined(given["href"]) or self._base
        elif tag == "script":
            self._add("js", given.get("src", ""))
        elif tag == "img" and given.get("loading", "").lower() != "lazy":
            self._add("image", given.get("src", ""))
        elif tag == "link":
            self._add_link(given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.page.title = (self.page.title + data)[:200]

    def _add_link(self, given: Mapping[str, str]) -> None:
        relations = given.get("rel", "").lower().split()
        if "alternate" in relations or "disabled" in given:
            return
        for relation in relations:
            if relation in _KINDS:
                self._add(_KINDS[relation], given.get("href", ""))
                return

    def _add(self, kind: str, reference: str) -> None:
        url = self._joined(reference.strip()) if reference.strip() else None
        if url is not None and url.scheme in ("http", "https") and url.raw_host:
            self.page.assets[Asset(kind, str(url.with_fragment(None)))] = None

    def _joined(self, reference: str) -> URL | None:
        try:
            return self._base.join(URL(reference))
        except ValueError:
            return None


class _Fields(_Reader):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        if self.found is None and tag in ("input", "meta") and self._name in (given.get("name"), given.get("property")):
            self.found = given.get("value" if tag == "input" else "content") or ""
