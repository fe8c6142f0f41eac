"""The knowledge folder: Markdown files, each with a head in TOML between two lines of ``+++``.

What is wrong with one file keeps nothing else from being used: it is told beside the other warnings.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.files import read_regular
from wcr_watchd.config.maintenance import Coverage, Known, covering
from wcr_watchd.config.models import Span, Texts
from wcr_watchd.config.sources import Source, Sources
from wcr_watchd.core.errors import Problem
from wcr_watchd.core.knowledge import USUAL_REVIEW, Book, Entry, EntryKind, Rating, Support, SupportLevel
from wcr_watchd.core.silence import Matcher
from wcr_watchd.kit.entry_files import FENCE, LARGEST_ENTRY, MOST_ENTRIES, Halves, entry_files, halves, leads_out
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.plain_text import plain

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TITLE = re.compile(r"\s*# +(\S.*?)\s*#*\s*(?:\n|\Z)")
_HEAD_HELP = f'begin it with {FENCE}, kind = "runbook" and {FENCE}, each on a line of its own'

Grade = Literal["low", "medium", "high"]


class KnowledgeTable(Options):
    """Where runbooks, vendors, risks and articles are kept as Markdown files."""

    folder: str | None = None
    """The folder with the files and its subfolders, relative to this file."""
    review_every: Span = USUAL_REVIEW
    """After how long an entry is to be read again that does not say so itself."""


class EntryTable(Coverage):
    """The head of a file."""

    kind: Literal["runbook", "vendor", "risk", "article"]
    """What it is."""
    title: str = ""
    """Its title; default: the heading that it begins with, else its name."""
    words: Texts = ()
    """Only about incidents that say one of these."""
    owner: str = ""
    """Who keeps it right."""
    reviewed: date | None = None
    """The day on which somebody last read it and found it right."""
    review_every: Span | None = None
    """After how long it is to be read again."""


class LevelTable(Options):
    """Whom to call at the vendor when there is no help."""

    after: Duration
    """How long after the first call."""
    contact: str
    """Whom, and how."""


class VendorTable(EntryTable):
    """The head of a vendor's file."""

    support: str = ""
    """Where to ask for help: an address, a number, a page."""
    hours: str = ""
    """When somebody answers there."""
    account: str = ""
    """What to name oneself by, such as a customer number; never a secret."""
    agreement: str = ""
    """What is promised, and where that is written."""
    escalation: tuple[LevelTable, ...] = ()
    """Whom to call next when there is no help."""


class RiskTable(EntryTable):
    """The head of a risk's file."""

    likelihood: Grade = "medium"
    """How likely it is."""
    impact: Grade = "medium"
    """How much it would hurt."""
    status: Literal["open", "mitigated", "accepted", "closed"] = "open"
    """What became of it."""


_TABLES: Mapping[str, type[EntryTable]] = {"vendor": VendorTable, "risk": RiskTable}


def read_knowledge(faults: Faults, sources: Sources, data: Mapping[str, Any], known: Known) -> Book:
    """Read the section knowledge and the folder that it names; without one there is nothing in the book."""
    place = ("knowledge",)
    table = faults.validate(KnowledgeTable, data.get("knowledge", {}), place)
    if table is None or table.folder is None:
        return Book()
    folder = (sources.folder((*place, "folder")) or Path()) / table.folder
    reading = _Reading(folder, table.review_every, known)
    if not folder.is_dir():
        return Book(str(folder), {}, (sources.problem((*place, "folder"), f"there is no folder {folder}"),))
    for path in reading.files():
        reading.read(path)
    by_title = sorted(reading.entries.values(), key=lambda entry: (entry.title.casefold(), entry.name))
    return Book(str(folder), {entry.name: entry for entry in by_title}, tuple(reading.problems))


class _Reading:
    """Reads one file after the other, and notes what is wrong."""

    def __init__(self, folder: Path, review_every: float, known: Known) -> None:
        self.entries: dict[str, Entry] = {}
        self.problems: list[Problem] = []
        self._folder = folder
        self._review_every = review_every
        self._known = known

    def files(self) -> list[Path]:
        """The files that should be entries."""
        found = entry_files(self._folder)
        if len(found) > MOST_ENTRIES:
            self._note(self._folder, 0, f"has {len(found)} files; the first {MOST_ENTRIES} are read")
        return found[:MOST_ENTRIES]

    def read(self, path: Path) -> None:
        """Read one file into the entries."""
        if leads_out(path, self._folder):
            self._note(path, 0, "is a link that leads out of the folder", "put the file itself here")
            return
        try:
            content = plain(read_regular(path, LARGEST_ENTRY).decode("utf-8-sig").replace("\r\n", "\n"))
        except UnicodeDecodeError as error:
            self._note(path, 0, f"is not UTF-8: byte {error.start + 1} is no text", "save it as UTF-8")
            return
        except (OSError, ValueError) as error:
            said = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
            self._note(path, 0, f"cannot be read: {said}")
            return
        parts = halves(content)
        if parts is None:
            self._note(path, 1, f"does not begin with a head between two lines of {FENCE}", _HEAD_HELP)
        elif not _NAME.fullmatch(path.stem):
            self._note(path, 0, "has no usable name", "use letters, digits, dot, dash and underscore, at most 100")
        elif path.stem in self.entries:
            other = self.entries[path.stem].file
            self._note(path, 0, f'has the name "{path.stem}", as {other} has', "rename one; folders do not count")
        elif (entry := self._entry(path, parts)) is not None:
            self.entries[entry.name] = entry

    def _entry(self, path: Path, parts: Halves) -> Entry | None:
        head = Sources()
        head.take(Source(str(path), parts.head, None))
        faults = Faults(head.table)
        model = _TABLES.get(str(head.table.get("kind")), EntryTable)
        table = None if head.problems else faults.validate(model, head.table, ())
        # A check that it names may be one of another machine: that is told, and the entry is used.
        matchers = None if table is None else covering(faults, (), table, self._known)
        found = [head.problem(fault.place, fault.reason, fault.suggestion) for fault in faults.found]
        self.problems += (replace(one, line=one.line or 1) for one in head.in_order([*head.problems, *found]))
        return None if table is None or matchers is None else self._made(path, parts.text, table, matchers)

    def _made(self, path: Path, text: str, table: EntryTable, matchers: tuple[Matcher, ...]) -> Entry:
        heading = None if table.title else _TITLE.match(text)
        return Entry(
            name=path.stem,
            kind=EntryKind(table.kind),
            title=table.title or (heading[1] if heading else path.stem),
            text=(text[heading.end() :] if heading else text).strip("\n"),
            file=path.relative_to(self._folder).as_posix(),
            matchers=matchers,
            words=table.words,
            owner=table.owner,
            here_since=_here_since(path),
            reviewed=table.reviewed,
            review_every=table.review_every or self._review_every,
            support=_support(table) if isinstance(table, VendorTable) else None,
            rating=Rating(table.likelihood, table.impact, table.status) if isinstance(table, RiskTable) else None,
        )

    def _note(self, path: Path, line: int, reason: str, suggestion: str = "") -> None:
        self.problems.append(Problem(str(path), line, "", reason, suggestion))


def _here_since(path: Path) -> float:
    """When a file came here or was last changed; its mtime may be that of the archive which brought it.

    A later change of its mode alone counts as well: a daemon knows since when it saw the same text.
    """
    try:
        return path.stat().st_ctime
    except OSError:  # it went just now, or another one is put in its place
        return time.time()


def _support(table: VendorTable) -> Support:
    levels = sorted(table.escalation, key=lambda level: level.after)
    return Support(
        table.support,
        table.hours,
        table.account,
        table.agreement,
        tuple(SupportLevel(level.after, level.contact) for level in levels),
    )
