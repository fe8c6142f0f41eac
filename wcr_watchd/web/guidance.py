"""Entries of the knowledge folder as they are shown: their Markdown as HTML, off the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from markupsafe import Markup

from wcr_watchd.core.guidance import Guidance, guidance_for_check, guidance_for_incident
from wcr_watchd.core.knowledge import Entry
from wcr_watchd.core.model import Incident
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.kit.markdown import to_html

PATH = "/knowledge"
KEPT = 256
"""Texts whose HTML is kept."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry with its text as HTML."""

    entry: Entry
    html: Markup


@dataclass(frozen=True, slots=True)
class ShownGuidance:
    """What is written down about a check or an incident; risks and articles are only named."""

    runbooks: tuple[Shown, ...]
    vendors: tuple[Shown, ...]
    related: tuple[Entry, ...]


async def shown_guidance(setup: Setup, check: Check, incident: Incident | None = None) -> ShownGuidance:
    """What helps with an incident, or with a check."""
    if not setup.knowledge.entries:
        return ShownGuidance((), (), ())
    found = guidance_for_incident(setup, check, incident) if incident else guidance_for_check(setup, check)
    return await asyncio.to_thread(_shown, found)


def _shown(found: Guidance) -> ShownGuidance:
    return ShownGuidance(
        tuple(Shown(one, html(one.text, below=2)) for one in found.runbooks),
        tuple(Shown(one, html(one.text, below=2)) for one in found.vendors),
        found.related,
    )


@lru_cache(maxsize=KEPT)
def html(text: str, *, below: int = 1, anchors: bool = False) -> Markup:
    """The text of an entry as HTML, its headings below that level; it takes a while, so call it in a thread."""
    # What comes out has no markup but what the library made itself.
    return Markup(to_html(text, target, below=below, anchors=anchors))  # noqa: S704


def target(href: str) -> str:
    """Where a link of an entry leads on our pages: another file of the folder is its page, other files have none."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc or href.startswith(("/", "#")):
        return href
    file = PurePosixPath(parts.path)
    if file.suffix != ".md":
        return ""
    return f"{PATH}/{file.stem}" + (f"#{parts.fragment}" if parts.fragment else "")


def runbook_href(runbook: str) -> str:
    """Where the runbook of a check is, for a link on our pages; empty for what is neither a URL nor a name."""
    if runbook.startswith(("https://", "http://")):
        return runbook
    return f"{PATH}/{runbook}" if runbook and "/" not in runbook and " " not in runbook else ""
