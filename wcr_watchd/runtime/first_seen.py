"""Since when each entry of the knowledge folder is as it is: kept in the records, for no file system tells that.

What it calls the last change is also a chmod, a restore or a move; its time of modification is that of the archive
which brought the file, and may be years ago.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from wcr_watchd.core.knowledge import Book, Entry
from wcr_watchd.core.modifications import KnownFacts

SUBJECT = "[knowledge]"
"""What the records keep it under, among what checks know; no check can have this name."""


class FirstSeen:
    """The earliest time under which each text was seen; ``known`` is what was kept in the last life."""

    def __init__(self, known: Iterable[KnownFacts]) -> None:
        kept = next((one for one in known if one.check == SUBJECT), None)
        self._since = {(name, text): float(at) for name, text, at in kept.values} if kept else {}

    def aged(self, book: Book) -> Book:
        """The book, its entries since when they were first seen as they are; that is remembered."""
        texts = {one.name: (one.name, _fingerprint(one)) for one in book.entries.values()}
        self._since = {
            texts[one.name]: min(one.here_since, self._since.get(texts[one.name], one.here_since))
            for one in book.entries.values()
        }
        entries = {name: replace(one, here_since=self._since[texts[name]]) for name, one in book.entries.items()}
        return replace(book, entries=entries)

    def kept(self, now: float) -> KnownFacts:
        """What the next life is to know."""
        return KnownFacts(SUBJECT, tuple((name, text, repr(at)) for (name, text), at in self._since.items()), now)


def _fingerprint(entry: Entry) -> str:
    """What tells a text from every other; who is to read it, and when, is no part of that."""
    return hashlib.sha256(f"{entry.title}\0{entry.text}".encode()).hexdigest()
