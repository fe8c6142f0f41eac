"""Looks for dead links in the Markdown files of a folder, such as the knowledge folder.

A runbook whose links are dead is found out about at night. Links to other files and their headings must lead somewhere
within the folder; links to the web are asked, each once, some side by side: those of the texts, those in a vendor's
head, and the URLs that checks name as their `runbook`. What needs a sign-in (401, 403) or asks to wait (429) is there.
When no host at all answers, of two or more, this machine is offline, and nothing is said of links. What there was no
time for comes first the next time.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import unquote, urldefrag, urlsplit

from pydantic import Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.entry_files import LARGEST_ENTRY, MOST_ENTRIES, entry_files, halves, leads_out
from wcr_watchd.kit.fetch import NotFetchedError, fetch
from wcr_watchd.kit.http import Request
from wcr_watchd.kit.markdown import Link, Outline, outline
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.threads import StillBlockedError, Threads

AT_ONCE = 6
"""Pages that are asked side by side."""
MOST_LINKS = 2_000
READ_OF_A_PAGE = 4_096
"""Bytes of a page that are read: that it is there is all that is asked."""
THERE = frozenset({401, 403, 429})
"""Statuses of what is there, though not for us (RFC 9110, RFC 6585)."""
SILENT = frozenset({"dns", "connect", "timeout"})
"""Why nothing was heard of a host."""
NAMED = 3

_SAYS_WHERE = re.compile(r"\s*(?:support|hours|account|agreement|contact)\s*=")
"""A line of a head that may tell people where to go."""
_URL = re.compile(r"""https?://[^\s"'<>()\[\]{}\\]+""")


@dataclass(frozen=True, slots=True)
class Place:
    """A link and where it stands; ``line`` is 0 for what stands in no file of the folder."""

    file: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.target}" if self.line else f"{self.file}: {self.target}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a page cannot be had, as a label and in words."""

    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the files have: links to the web by their URL, what is wrong with the others, and files left out."""

    files: int
    others: int
    web: Mapping[str, tuple[Place, ...]]
    broken: tuple[tuple[Place, str], ...]
    unread: tuple[str, ...]


class Links(Options):
    """Options of a check for dead links."""

    type: ClassVar[str] = "links"
    target_key: ClassVar[str] = "folder"
    every: ClassVar[float] = 86_400.0
    timeout: ClassVar[float] = 120.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("files", Unit.COUNT, "Files that were read"),
        MeasurementSpec("links", Unit.COUNT, "Links in them, those to the web each counted once"),
        MeasurementSpec("broken", Unit.COUNT, "Links that lead nowhere, as many times as they stand there"),
        MeasurementSpec("not_asked", Unit.COUNT, "Pages that there was no time for"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.INFO, "broken > 0 or down"),)
    example: ClassVar[str] = 'folder = "/etc/wcr-watchd/knowledge"\n'

    folder: Annotated[str, Field(pattern=r"^/.+")]
    """The folder with the files and its subfolders."""
    runbooks: dict[str, str] = Field(default_factory=dict)
    """What else is asked: URLs by the check that names them as its `runbook`. Those of all checks are put in here."""
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Beginnings of URLs that are not asked, such as those of an intranet that this machine does not reach."""
    patience: Annotated[Duration, Field(gt=0)] = 15.0
    """How long one page may take."""

    @property
    def target(self) -> str:
        """The folder."""
        return self.folder

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the files, then ask the pages that they link to."""
        run.step = f"reading the files of {self.folder}"
        try:
            found = await run.shared.get(Threads).call(read_folder, self.folder)
        except (OSError, StillBlockedError) as error:
            return run.down("missing", f"{self.folder} cannot be read: {error}")
        found = _with_runbooks(found, self.runbooks)
        asked = [url for url in found.web if not url.startswith(self.exclude)] if self.exclude else list(found.web)
        said = await self._ask_all(run, _from(asked, str(run.memory.get("next", ""))))
        left = [url for url in asked if url not in said]
        run.memory["next"] = left[0] if left else ""
        dead = {url: fault for url, fault in said.items() if fault is not None}
        if found.unread:
            run.evidence["not read"] = "\n".join(found.unread)
        run.measure_all({"files": found.files, "links": found.others + len(found.web), "not_asked": len(left)})
        if len(dead) == len(said) and _offline(dead):
            return run.unknown("connect", f"none of {len(said)} pages can be had; is this machine offline?")
        broken = [*found.broken, *((place, fault.why) for url, fault in dead.items() for place in found.web[url])]
        run.measure("broken", len(broken))
        return self._told(run, found, broken, len(left))

    def _told(self, run: Run, found: Found, broken: Sequence[tuple[Place, str]], left: int) -> Observation:
        later = f"; {left} pages are asked the next time" if left else ""
        if not broken:
            return run.up(f"{found.others + len(found.web)} links of {found.files} files lead somewhere{later}")
        lines = [f"{place}: {why}" for place, why in sorted(broken, key=lambda one: (one[0].file, one[0].line))]
        run.evidence["broken"] = "\n".join(lines)
        more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
        return run.up(f"broken: {'; '.join(lines[:NAMED])}{more}{later}", reason="links")

    async def _ask_all(self, run: Run, urls: Iterable[str]) -> dict[str, Fault | None]:
        """What is wrong with each page (None: nothing); those that there is no time for are left out."""
        said: dict[str, Fault | None] = {}
        waiting = iter(urls)
        until = run.remaining * 0.9

        async def one_after_the_other() -> None:
            for url in waiting:
                said[url] = await self._ask(run, url)

        run.step = "asking the pages that are linked to"
        try:
            async with asyncio.timeout(until), asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(one_after_the_other())
        except TimeoutError:
            pass
        return said

    async def _ask(self, run: Run, url: str) -> Fault | None:
        try:
            async with asyncio.timeout(self.patience):
                answer = await fetch(run, Request("GET", URL(url), max_body=READ_OF_A_PAGE, kept=0))
        except TimeoutError:
            return Fault("timeout", f"no answer within {format_duration(self.patience)}")
        except NotFetchedError as error:
            return Fault(error.reason, error.summary)
        except ValueError as error:
            return Fault("url", f"is no URL: {error}")
        if answer.status < 400 or answer.status in THERE:
            return None
        return Fault("status", f"answered {answer.status} {answer.phrase}")


def _offline(dead: Mapping[str, Fault]) -> bool:
    """Whether it looks as if this machine had no network: several hosts, and none of them said anything."""
    return len({urlsplit(url).hostname for url in dead}) > 1 and all(one.reason in SILENT for one in dead.values())


def _from(urls: list[str], first: str) -> list[str]:
    """The URLs, beginning with that one."""
    start = urls.index(first) if first in urls else 0
    return urls[start:] + urls[:start]


def _with_runbooks(found: Found, runbooks: Mapping[str, str]) -> Found:
    """What was found, with the pages that checks name as their runbooks."""
    web = dict(found.web)
    for check, target in runbooks.items():
        url = urldefrag(target).url
        web[url] = (*web.get(url, ()), Place(f"runbook of {check}", 0, target))
    return replace(found, web=web)


# --- in a thread ------------------------------------------------------------------------------------------------------


def read_folder(folder: str) -> Found:
    """Read all files; raises ``OSError`` when the folder cannot be."""
    top = Path(folder)
    if not top.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    texts: dict[Path, Outline] = {}
    unread: list[str] = []
    for path in entry_files(top)[:MOST_ENTRIES]:
        if leads_out(path, top):
            unread.append(f"{path.relative_to(top)}: is a link that leads out of the folder")
            continue
        try:
            texts[path] = _read(path)
        except (OSError, ValueError) as error:
            unread.append(f"{path.relative_to(top)}: {error}")
    web: dict[str, list[Place]] = {}
    broken: list[tuple[Place, str]] = []
    others = 0
    for path, known in texts.items():
        for link in known.links:
            place = Place(path.relative_to(top).as_posix(), link.line, link.target)
            if link.target.startswith(("http://", "https://")):
                url = urldefrag(link.target).url
                if url in web or len(web) < MOST_LINKS:
                    web.setdefault(url, []).append(place)
            else:
                others += 1
                if why := _astray(top, path, link.target, texts):
                    broken.append((place, why))
    return Found(len(texts), others, {url: tuple(places) for url, places in web.items()}, tuple(broken), tuple(unread))


def _read(path: Path) -> Outline:
    """The links of a file, by its lines, and its headings."""
    if not path.is_file():  # a pipe could block for ever
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        content = file.read(LARGEST_ENTRY + 1)
    if len(content) > LARGEST_ENTRY:
        raise ValueError(f"has more than {LARGEST_ENTRY} bytes")
    decoded = content.decode("utf-8-sig")
    parts = halves(decoded)
    if parts is None:
        return outline(decoded)
    text = outline(parts.text)
    links = (replace(link, line=parts.text_line + link.line - 1) for link in text.links)
    return Outline((*_links_of_head(parts.head), *links), text.anchors)


def _links_of_head(head: str) -> Iterator[Link]:
    for number, line in enumerate(head.splitlines(), 1):
        if _SAYS_WHERE.match(line):
            yield from (Link(found[0].rstrip(".,;:!?"), number) for found in _URL.finditer(line))


def _astray(top: Path, path: Path, target: str, texts: Mapping[Path, Outline]) -> str:
    """What is wrong with a link that does not lead to the web; empty: nothing."""
    parts = urlsplit(target)
    if parts.scheme or target.startswith("/"):  # mail, telephone; a page of the dashboard
        return ""
    leads = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if not leads.is_relative_to(top):
        return "leads out of the folder"
    if not leads.exists():
        return "there is no such file"
    if parts.fragment and leads in texts and unquote(parts.fragment) not in texts[leads].anchors:
        return f'{leads.name} has no heading "{unquote(parts.fragment)}"'
    return ""
