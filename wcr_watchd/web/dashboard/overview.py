"""The overview: what is wrong now, then the checks by group, kept fresh by events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aiohttp import web

from wcr_watchd.core import health
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.view import View
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.board import BOARD, NO_VERSION, Board
from wcr_watchd.web.dashboard.layout import fragment, page, time_of_day
from wcr_watchd.web.dashboard.listing import STATES, WRONG, Wanted, listing, read
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import Event, follow

ROWS_AT_A_TIME = 8
"""Rows rendered before others have their turn: the event loop must not wait for a whole page."""
MOST_INCIDENTS = 50
"""Open incidents that stand on the page; the others are on a page of their own."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get("/", show)
    app.router.add_get("/live", live)


async def show(request: web.Request) -> web.Response:
    """Everything at a glance: open incidents, then the checks, the worst of each group first."""
    view, board, wanted = request.app[CONTROL], request.app[BOARD], read(request.query)
    stamp, catalogue = board.stamp(board.version), await board.catalogue()
    listed = await listing(view, catalogue, wanted)
    rows = {}
    for number, name in enumerate(listed.names, start=1):
        if number % ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        if view.setup is not catalogue.setup:
            raise web.HTTPFound(request.path_qs)  # reloaded meanwhile: other checks, another page
        rows[name] = board.row(name)
    return page(
        request,
        "overview.html",
        listed=listed,
        rows=rows,
        wanted=wanted,
        states=STATES,
        stream=f"/live?{wanted.query(page=listed.page, since=stamp, of=_digest(listed.names))}",
        header=_header(view, listed.words),
        incidents=_incidents(view),
        open_incidents=len(view.state.incidents),
        wall="wall" in request.query,
    )


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events for the dashboard: elements of the page that take the place of those with their ids.

    The page says by which version it was made (``since``) and, by a digest, which checks it shows (``of``). It gets
    what changed since; when it should show other checks, ``reload`` makes the browser ask for the list anew.
    """
    view, board, wanted = request.app[CONTROL], request.app[BOARD], read(request.query)
    catalogue = await board.catalogue()
    listed = await listing(view, catalogue, wanted)
    stamp = request.headers.get("Last-Event-ID") or request.query.get("since", "")
    reader = _Reader(
        view, board, wanted, frozenset(listed.names), catalogue.setup, request[VISITOR].may_act, board.version_of(stamp)
    )
    if request.query.get("of", "") not in ("", _digest(listed.names)):
        return await follow(request, [_RELOAD], _nothing, board.versions(board.version))
    now = board.version
    return await follow(request, reader.changes(now), reader.changes, board.versions(now), reader.stamp)


_RELOAD: Event = ("reload", "{}")


def _nothing(version: int) -> Iterator[Event]:
    return iter(())


def _digest(names: Iterable[str]) -> str:
    """Which checks a page shows, whatever their order."""
    return sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


@dataclass(slots=True)
class _Reader:
    """A page that is looked at: what it shows, and up to which version it has been told."""

    view: View
    board: Board
    wanted: Wanted
    shown: frozenset[str]
    setup: Setup
    may_act: bool
    seen: int
    above: bytes = b""

    def stamp(self) -> str:
        """Up to where the page has been told."""
        return self.board.stamp(self.seen)

    def changes(self, version: int) -> Iterator[Event]:
        """What of the page changed up to this version, in pieces that render quickly."""
        before = self.seen
        if self.view.setup is not self.setup or self._should_show_others(before):
            yield _RELOAD
            return
        above = _above(self.view, self.board, self.may_act)
        if above is not self.above:
            self.above = above
            yield None, above
        names = tuple(self.board.newer(self.shown, before))
        for at in range(0, len(names), ROWS_AT_A_TIME):
            some = [name for name in names[at : at + ROWS_AT_A_TIME] if name in self.view.setup.checks]
            if some:
                yield None, b"".join(map(self.board.row_event, some))
        self.seen = version  # not before all of it is sent: who loses the connection meanwhile asks for it again

    def _should_show_others(self, since: int) -> bool:
        """Whether a page that lists by state has to list other checks, because one of them changed."""
        if not self.wanted.state or since == NO_VERSION:
            return False
        checks = self.view.setup.checks
        changed = [name for name in self.board.newer(checks.keys(), since) if name in checks]
        return any(self.wanted.takes(checks[name], self.board.word(name)) != (name in self.shown) for name in changed)


def _above(view: View, board: Board, may_act: bool) -> bytes:
    """What stands above the list, as elements that take the place of those with their ids."""

    def make() -> str:
        header = fragment(view, "_header.html", header=_header(view, board.counts))
        incidents = fragment(
            view,
            "_incidents.html",
            incidents=_incidents(view),
            open_incidents=len(view.state.incidents),
            may_act=may_act,
        )
        return (
            f'<div id="header" hx-swap-oob="innerHTML">{header}</div>'
            f'<div id="incidents" hx-swap-oob="innerHTML">{incidents}</div>'
        )

    return board.above(may_act, make)


def _header(view: View, words: Counter[str]) -> dict[str, Any]:
    """The one sentence that says how it is, and what is wrong with the daemon itself."""
    return {
        "state": next((word for word in STATES if words[word] and word != "new"), "ok"),
        "wrong": sum(words[word] for word in WRONG),
        "counts": [(word, words[word]) for word in STATES if words[word]],
        "sentence": _sentence(words, len(health.waiting_for_first_result(view))),
        "reload_problems": view.reload_problems,
        "quiet": _quiet(view),
        "warnings": view.warnings,
        "ailing": [part for part in health.parts(view) if not part.ok],
        "store_mended": view.counters.store_mended,
        "dead_letters": view.counters.dead_letters,
    }


def _quiet(view: View) -> list[str]:
    """What is silenced or worked on now, each in a sentence."""
    now = view.now()
    spans = [(one, open_span(view.state, one, now)) for one in view.setup.windows]
    planned = [
        f"Maintenance {one.name} until {time_of_day(view, span[1])}" + (f": {one.comment}" if one.comment else "")
        for one, span in spans
        if span is not None
    ]
    held = [one for one in view.state.silences.values() if one.active(now)]
    started = [
        f"Maintenance by {one.author} until {time_of_day(view, one.ends_at)}"
        + (f": {one.comment}" if one.comment else "")
        for one in held
        if one.maintenance
    ]
    silences = sum(not one.maintenance for one in held)
    counted = [f"{silences} silence{'s' if silences > 1 else ''}"] if silences else []
    return [*planned, *started, *counted]


def _sentence(words: Counter[str], unseen: int) -> str:
    total = words.total()
    checks = "check" if total == 1 else "checks"
    bad = sum(words[word] for word in WRONG)
    if not total:
        return "Nothing is watched yet"
    if bad:
        return f"{bad} of {total} {checks} need{'s' if bad == 1 else ''} attention"
    if words["confirming"]:
        return f"{words['confirming']} of {total} {checks} failed just now; trying again"
    if words["down"]:
        return f"No problem by the rules; {words['down']} of {total} {checks} {_is(words['down'])} down"
    if words["unknown"]:
        return f"No problem found; {words['unknown']} of {total} {checks} could not tell"
    if unseen:
        return f"{total - unseen} of {total} {checks} looked at so far, all fine"
    return f"All {total} {checks} are fine" if total > 1 else "The one check is fine"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _incidents(view: View) -> list[Any]:
    found = sorted(view.state.incidents.values(), key=lambda found: (-found.severity, found.opened_at))
    return found[:MOST_INCIDENTS]
