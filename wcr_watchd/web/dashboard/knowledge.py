"""The pages of the knowledge folder: all entries with what is to be read again, and one of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web

from wcr_watchd.core.guidance import checks_of
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.view import View
from wcr_watchd.web import guidance
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PATH = guidance.PATH
ONE = PATH + "/{name}"

SHOWN = 200
"""Entries on the page; more are found by searching."""


def add_routes(app: web.Application) -> None:
    """Put the pages' routes into the application."""
    app.router.add_get(PATH, show_all)
    app.router.add_get(ONE, show)


async def show_all(request: web.Request) -> web.Response:
    """Every entry; ``?q=…`` those with a text, ``?kind=…`` of a kind, ``?due=1`` those that are to be read."""
    view = request.app[CONTROL]
    book, asked = view.setup.knowledge, request.query
    due = {entry.name for entry in book.due(view.now())}
    unread = sum(entry.reviewed is None for entry in book.entries.values())
    kinds = [kind for kind in EntryKind if kind.value == asked.get("kind")] or list(EntryKind)
    text, only_due = asked.get("q", "").strip(), "due" in asked
    # Thousands of long texts are looked through.
    found = await asyncio.to_thread(lambda: [one for one in book.of(*kinds) if one.holds(text)])
    wanted = [one for one in found if not only_due or one.name in due]
    return page(
        request,
        "knowledge.html",
        book=book,
        kinds=[(kind.value, count) for kind, count in _counted(view).items()],
        chosen=asked.get("kind", ""),
        text=text,
        only_due=only_due,
        due=due,
        sentence=_sentence(len(book.entries), len(due) - unread, unread),
        entries=wanted[:SHOWN],
        more=max(0, len(wanted) - SHOWN),
    )


def _sentence(entries: int, again: int, unread: int) -> str:
    """How the entries stand: how many are to be read again, and how many nobody has read yet."""
    if not entries:
        return "Nothing is written down"
    parts = [
        f"{count} of {entries} entries {'is' if count == 1 else 'are'} {stand}"
        for count, stand in ((again, "to be read again"), (unread, "not read yet"))
        if count
    ]
    return ", ".join(parts) or f"{entries} entr{'y' if entries == 1 else 'ies'}, all read lately"


def _counted(view: View) -> Counter[EntryKind]:
    return Counter(entry.kind for entry in view.setup.knowledge.entries.values())


async def show(request: web.Request) -> web.Response:
    """One entry, with the checks that it is about."""
    view = request.app[CONTROL]
    entry = view.setup.knowledge.entries.get(request.match_info["name"])
    if entry is None:
        raise web.HTTPNotFound(text=f"there is no {request.match_info['name']!r} in the knowledge folder\n")
    return page(
        request,
        "entry.html",
        entry=entry,
        is_due=entry.due_at <= view.now(),
        html=await asyncio.to_thread(guidance.html, entry.text, anchors=True),
        checks=await asyncio.to_thread(checks_of, view.setup, entry),
    )
