"""Since when an entry of the knowledge folder is as it is, whatever the file system says by now."""

from __future__ import annotations

from dataclasses import replace

from wcr_watchd.core.knowledge import FIRST_READ, Book, Entry, EntryKind
from wcr_watchd.runtime.first_seen import FirstSeen

WRITTEN = 1_790_000_000.0
DAY = 86_400.0
ENTRY = Entry("disk", EntryKind.RUNBOOK, "The disk is full", "Delete something.", "disk.md", here_since=WRITTEN)


def book(**changes: object) -> Book:
    return Book("knowledge", {ENTRY.name: replace(ENTRY, **changes)})  # type: ignore[arg-type]


def test_a_chmod_or_a_restore_does_not_make_it_new_also_after_a_restart() -> None:
    first = FirstSeen(())
    assert first.aged(book()).entries["disk"].here_since == WRITTEN
    touched = book(here_since=WRITTEN + 13 * DAY)
    assert first.aged(touched).entries["disk"].here_since == WRITTEN
    again = FirstSeen((first.kept(WRITTEN + 13 * DAY),))
    aged = again.aged(touched)
    assert aged.entries["disk"].here_since == WRITTEN
    assert [one.name for one in aged.late(WRITTEN + FIRST_READ)] == ["disk"]
    assert again.kept(0.0) == first.kept(0.0)


def test_another_text_is_new_and_another_owner_is_not() -> None:
    first = FirstSeen(())
    first.aged(book())
    later = WRITTEN + 5 * DAY
    assert first.aged(book(owner="ben", here_since=later)).entries["disk"].here_since == WRITTEN
    assert first.aged(book(text="Buy a larger one.", here_since=later)).entries["disk"].here_since == later
    # The text of before is forgotten: who goes back to it has changed it again.
    assert first.aged(book(here_since=later + DAY)).entries["disk"].here_since == later + DAY
