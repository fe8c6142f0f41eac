"""The figures of a report as they stand in its forms: by section, what they are of, and under which heading.

A page has all of them, in tables whose headings say what they are. A mail and a plain text have fewer, in lines that
begin with the same names: so what two forms say can be compared without knowing the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

_BLOCKS = frozenset(("table", "tr", "p", "li", "h1", "h2", "h3", "figcaption", "caption", "img"))
_ASIDE = frozenset(("style", "title", "svg"))
_APART = frozenset(("span", "small", "br", "strong"))
_MONTHS = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_FIGURE = re.compile(
    r"[A-Z][a-z]{2} \d{1,2} (?:\d{4} )?\d\d:\d\d [A-Z]{2,4}\b"  # a moment: Nov 29 12:10 EST
    rf"|(?:[A-Z][a-z]{{2}} )?\d{{1,2}} {_MONTHS}\b(?: \d{{4}})?(?: \d\d:\d\d)?"  # a day: Sun 29 Nov
    r"|\d{4}-\d\d\b(?:-\d\d)?"
    r"|\d+ (?:d|h|min)\b(?: \d+ (?:h|min|s)\b)?"
    r"|[+-]?\d[\d.]* (?:%|(?:ms|s|[KMGT]iB|B)\b(?:/s)?)"
    r"|\d{1,3}(?: \d{3})*\.\d\d\b"  # an amount of money
    r"|\d[\d.]*/(?:s|min|h)\b"
    r"|[+-]?\d+(?:\.\d+)?"
)
_HEADING = re.compile(r"([A-Z][A-Z ,-]+)((?: \(|: ).*)?")
_NUMBERED = re.compile(r"#\d+")
_MOMENT = re.compile(r"[A-Z][a-z]{2} \d{1,2} (?:\d{4} )?\d\d:\d\d [A-Z]{2,4},? ")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a form, such as a row of a table: its cells, and the headings of their columns.

    ``name`` is what it is about: its first words, up to where something is said about them.
    """

    section: str
    cells: tuple[str, ...]
    name: str
    heads: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return plain(" ".join(self.cells))

    @property
    def figures(self) -> set[str]:
        return {figure for cell in (*self.cells, *self.heads) for figure in _FIGURE.findall(plain(cell))}

    def under(self, head: str) -> str:
        """What stands in the column with this heading."""
        return self.cells[self.heads.index(head)]


def plain(text: str) -> str:
    return " ".join(text.replace(" · ", " ").replace(" 3 months", " three months").split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._section, self._below, self._aside = "", "", ""
        self._heads: tuple[str, ...] = ()
        self._cells: list[str] = []
        self._first = ""
        self._named = self._is_head = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._end()
        if tag == "table":
            self._heads = ()
        if tag in _ASIDE:
            self._aside = tag
        if tag in ("td", "th"):
            self._is_head = tag == "th" and dict(attrs).get("scope") in (None, "col")
            self._named = self._named or bool(self._cells)
            self._cells.append("")
        if tag in ("span", "small", "br") and self._first.strip():
            self._named = True
        if tag == "img":
            self._take(dict(attrs).get("alt") or "")
            self._end()
        if tag in _APART:
            self._take(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _APART:
            self._take(" ")
        if tag == self._aside:
            self._aside = ""
        if tag == "h2":
            self._section, self._below = plain(" ".join(self._cells)), ""
            self._cells = []
        if tag == "h3":
            self._below = name_in(self._first)
        if tag in _BLOCKS:
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._aside:
            self._take(data)

    def _take(self, data: str) -> None:
        if not self._cells:
            self._cells.append("")
        self._cells[-1] += data
        if not self._named:
            self._first += data

    def _end(self) -> None:
        cells = tuple(" ".join(cell.split()) for cell in self._cells)
        if any(cells):
            if self._is_head:
                self._heads = cells
            heads = self._heads if len(self._heads) == len(cells) else ()
            name = " of ".join(cells[:2]) if heads[:2] == ("What", "Of") else name_in(self._first)
            self.lines.append(Line(self._section, cells, self._below or name, heads))
        self._cells, self._first, self._named, self._is_head = [], "", False, False


def name_in(text: str) -> str:
    """``#12`` of ``#12 critical``, ``Web`` of ``Web · 99.9 %``, ``api`` of ``api: 99.9 %``."""
    words = " ".join(text.split())
    numbered = _NUMBERED.match(words)
    return numbered[0] if numbered else words.partition(" · ")[0].partition(": ")[0]


def in_html(html: str) -> list[Line]:
    """The lines of a page or a mail."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return [*reader.lines, *_turned(reader.lines)]


def _turned(lines: Iterable[Line]) -> Iterator[Line]:
    """Of a table with a row for each month, a line for each column as well."""
    for one in lines:
        if one.heads[:1] == ("Month",) and one.cells != one.heads:
            for head, cell in zip(one.heads[1:], one.cells[1:], strict=True):
                yield Line(one.section, (one.cells[0], cell), head)


def in_text(text: str, sections: Iterable[str]) -> list[Line]:
    """The lines of a plain text, whose headings are those of the page in capitals."""
    known = {one.upper(): one for one in sections if one}
    section, found = "", []
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading and heading[1] in known:
            section = known[heading[1]]
        if line.strip() and not (heading and heading[1] in known and not heading[2]):
            said = line.strip().removeprefix("* ")
            found.append(Line(section, (said,), name_in(said)))
    return found


def strange(page: Iterable[Line], other: Iterable[Line]) -> list[str]:
    """The figures of another form that the page does not have in the same section of the same thing."""
    known: dict[str, dict[str, set[str]]] = {}
    for one in page:
        of = known.setdefault(one.section, {"": set()})
        of.setdefault(one.name, set()).update(one.figures)
        of[""] |= one.figures
    found, section, name = [], "", ""
    for one in other:
        if one.section not in known:
            found.append(f"the page has no section {one.section}")
            continue
        name = _about(known[one.section], one, name if one.section == section else "")
        section = one.section
        more = one.figures - known[section][name]
        found += [f"{section}, {name or 'all'}: {figure} in {one.text!r}" for figure in sorted(more)]
    return found


def _about(names: Iterable[str], one: Line, before: str) -> str:
    """What a line is about, of these; a line that says no name goes on with the one before it."""
    if not one.section:  # at the top there are no names, but sentences
        return ""
    named = _longest(names, one.text) or _longest(names, _MOMENT.sub("", one.text, count=1))
    return named or ("" if _MOMENT.match(one.text) else before)


def _longest(names: Iterable[str], text: str) -> str:
    return max((one for one in names if re.match(rf"{re.escape(one)}(?!\w)", text)), key=len, default="")
