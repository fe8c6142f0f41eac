"""Reads a vendor's status page: what it says of the components that matter here, and of its open incidents.

Read are the JSON of Statuspage (https://www.atlassian.com/software/statuspage, `/api/v2/summary.json`, which many
others serve as well) and feeds, RSS 2.0 and Atom (RFC 4287). A page that cannot be read says nothing about the vendor:
that is unknown, not down.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, ClassVar
from xml.etree import ElementTree

from pydantic import AfterValidator, Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.fetch import NotFetchedError, fetch
from wcr_watchd.kit.http import Answer, Request
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.threads import Threads

LARGEST_PAGE = 4 * 1024 * 1024
MOST_ENTRIES = 200
"""Of a feed, from its beginning, where the newest are."""
NAMED = 5
"""Components and incidents that the summary names."""

_STATES = {"operational": 0, "degraded_performance": 1, "partial_outage": 2, "major_outage": 3, "under_maintenance": 0}
_IMPACTS = {"none": 0, "maintenance": 0, "minor": 1, "major": 2, "critical": 3}
_OVER = ("resolved", "completed", "postmortem", "closed")
_SAYS_OVER = re.compile(
    r"\b(resolved|completed|closed|operating normally|fully recovered|post-?mortem)\b", re.IGNORECASE
)
_STATE_OF_UPDATE = re.compile(r"<(?:strong|b)>\s*([^<]{1,40}?)\s*</(?:strong|b)>", re.IGNORECASE)
_ATOM = "{http://www.w3.org/2005/Atom}"


class UnreadableError(Exception):
    """The page is not what can be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says. ``impact`` is 0 (none) to 3 (critical), ``components`` the states 0 to 3 of those that matter.

    ``known`` are the names of all components; empty where it names none, as a feed.
    """

    name: str
    impact: int
    components: Mapping[str, int]
    incidents: Sequence[str]
    maintenances: Sequence[str]
    known: Sequence[str] = ()


def _url(url: str) -> str:
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or parsed.user:
        raise ValueError('must begin with "http://" or "https://", name a host and hold no password')
    return url


class Vendor(Options):
    """Reads a vendor's status page."""

    type: ClassVar[str] = "vendor"
    target_key: ClassVar[str] = "url"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 20.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("impact", Unit.COUNT, "The worst state: 0 none, 1 minor, 2 major or partial, 3 critical"),
        MeasurementSpec("incidents", Unit.COUNT, "Open incidents that concern the chosen components"),
        MeasurementSpec("maintenances", Unit.COUNT, "Maintenance that goes on and concerns them"),
        MeasurementSpec(
            "component_state",
            Unit.COUNT,
            "0 operational or maintained, 1 degraded, 2 partial outage, 3 major outage",
            labels=("component",),
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = ((Severity.INFO, "impact > 0 or incidents > 0"),)
    example: ClassVar[str] = 'url = "https://www.githubstatus.com/api/v2/summary.json"\ncomponents = ["API Requests"]\n'

    url: Annotated[str, AfterValidator(_url)]
    """The page's `/api/v2/summary.json`, or its feed."""
    components: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=50)] = ()
    """The components that matter here, by name; of a feed, words of which an entry must have one. Default: all."""
    recent: Duration = 2 * 86_400.0
    """Of a feed: how old an entry may be that does not say that it is over."""

    @property
    def target(self) -> str:
        """The page's URL."""
        return self.url

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Fetch the page and say what it says."""
        try:
            # A little before the run's own deadline: a page that does not answer says nothing about the vendor.
            async with asyncio.timeout(run.remaining * 0.95):
                answer = await fetch(run, Request("GET", URL(self.url), max_body=LARGEST_PAGE))
                run.step = "reading the page"
                page = await run.shared.get(Threads).call(read, answer.body, answer.complete, self, run.started)
        except TimeoutError:
            return run.unknown("timeout", f"{self.url}: no answer in time; was {run.step}")
        except NotFetchedError as error:
            return run.unknown(error.reason, f"{self.url}: {error.summary}")
        except UnreadableError as error:
            return run.unknown("parse", f"{self.url}: {_status(answer)}{error}")
        return self._told(run, page)

    def _told(self, run: Run, page: Page) -> Observation:
        absent = [name for name in self.components if page.known and name not in page.known]
        if absent:
            known = ", ".join(sorted(page.known)[:20])
            return run.unknown("content", f"{page.name} has no component {', '.join(absent)}; it has {known}")
        for name, state in list(page.components.items())[:50]:
            run.measure("component_state", state, component=name)
        run.measure("impact", page.impact)
        run.measure("incidents", len(page.incidents))
        run.measure("maintenances", len(page.maintenances))
        run.evidence["incidents"] = "\n".join((*page.incidents, *page.maintenances))
        words = {1: "degraded", 2: "partial outage", 3: "major outage"}
        troubles = [f"{name}: {words[state]}" for name, state in page.components.items() if state]
        troubles += page.incidents
        if troubles or page.impact:
            more = f" and {len(troubles) - NAMED} more" if len(troubles) > NAMED else ""
            return run.up(f"{page.name} reports {'; '.join(troubles[:NAMED]) or 'trouble'}{more}", reason="vendor")
        busy = f"; maintenance: {'; '.join(page.maintenances[:NAMED])}" if page.maintenances else ""
        return run.up(f"{page.name} reports no trouble{busy}")


def _status(answer: Answer) -> str:
    return "" if answer.status == 200 else f"it answered {answer.status} {answer.phrase}; "


def read(body: bytes, complete: bool, check: Vendor, now: float) -> Page:
    """What a page says, narrowed to the check's components. Raises :class:`UnreadableError`."""
    if not complete:
        raise UnreadableError(f"it is longer than {LARGEST_PAGE // 1024**2} MiB")
    beginning = body.lstrip()[:1]
    if beginning == b"{":
        return _summary(body, check.components)
    if beginning == b"<" or body.startswith(b"\xef\xbb\xbf<"):
        return _feed(body, check, now)
    raise UnreadableError("it is neither JSON nor a feed")


# --- Statuspage -------------------------------------------------------------------------------------------------------


def _summary(body: bytes, chosen: Sequence[str]) -> Page:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON: {error}") from error
    if not isinstance(found.get("status"), dict) or not isinstance(found.get("components"), list):
        raise UnreadableError("it is no summary of Statuspage: it has no status and components")
    states = dict(_states(_list(found, "components"), chosen))
    incidents = [one for one in _list(found, "incidents") if _open(one) and _concerns(one, chosen)]
    going_on = ("in_progress", "verifying")
    busy = [one for one in _list(found, "scheduled_maintenances") if one.get("status") in going_on]
    impacts = [_impact(one.get("impact")) for one in incidents]
    whole = 0 if chosen else _impact(found["status"].get("indicator"))
    return Page(
        name=str(_dict(found, "page").get("name") or "the page")[:100],
        impact=max((whole, *states.values(), *impacts)),
        components=states,
        incidents=[_named(one) for one in incidents],
        maintenances=[_named(one) for one in busy if _concerns(one, chosen)],
        known=[str(one.get("name", ""))[:100] for one in _list(found, "components") if one.get("group") is not True],
    )


def _states(components: Sequence[Mapping[str, Any]], chosen: Sequence[str]) -> Iterable[tuple[str, int]]:
    for one in components:
        if one.get("group") is True:
            continue
        name, status = str(one.get("name", ""))[:100], one.get("status")
        if chosen and name not in chosen:
            continue
        if status not in _STATES:
            raise UnreadableError(f"the state of {name} is {str(status)[:50]!r}, which is none that is known")
        yield name, _STATES[status]


def _open(one: Mapping[str, Any]) -> bool:
    return one.get("status") not in _OVER


def _concerns(one: Mapping[str, Any], chosen: Sequence[str]) -> bool:
    """Whether an incident is about a chosen component; one that names none is about everything."""
    named = [part.get("name") for part in _list(one, "components")]
    return not chosen or not named or any(name in chosen for name in named)


def _impact(word: object) -> int:
    if word not in _IMPACTS:
        raise UnreadableError(f"{str(word)[:50]!r} is no impact that is known")
    return _IMPACTS[str(word)]


def _named(one: Mapping[str, Any]) -> str:
    return f"{str(one.get('name', 'an incident'))[:120]} ({str(one.get('status', '?'))[:30]})"


def _list(found: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = found.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _dict(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


# --- feeds ------------------------------------------------------------------------------------------------------------


def _feed(body: bytes, check: Vendor, now: float) -> Page:
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise UnreadableError("it is no feed, or one with declarations that no feed needs")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without declarations there is nothing that could expand
    except ElementTree.ParseError as error:
        raise UnreadableError(f"it is no XML: {error}") from error
    channel = root.find("channel")
    if channel is not None:
        title, entries = channel.findtext("title"), channel.findall("item")
    elif root.tag == f"{_ATOM}feed":
        title, entries = root.findtext(f"{_ATOM}title"), root.findall(f"{_ATOM}entry")
    else:
        raise UnreadableError("it is XML, but neither RSS 2.0 nor Atom")
    going_on = [name for name in (_entry(one, check, now) for one in entries[:MOST_ENTRIES]) if name]
    return Page((title or "the feed").strip()[:100], 0, {}, going_on, ())


def _entry(entry: ElementTree.Element, check: Vendor, now: float) -> str:
    """The title of an entry about something that goes on; empty for any other."""
    title = _first_text(entry, "title", f"{_ATOM}title")
    text = _first_text(entry, "description", f"{_ATOM}content", f"{_ATOM}summary")
    age = now - _written(_first_text(entry, "pubDate", f"{_ATOM}updated", f"{_ATOM}published"))
    about = f"{title} {text}".lower()
    if age > check.recent or (check.components and not any(word.lower() in about for word in check.components)):
        return ""
    latest = _STATE_OF_UPDATE.search(text)
    if _SAYS_OVER.search(title) or _SAYS_OVER.search(latest[1] if latest else text):
        return ""
    state = f" ({html.unescape(latest[1])})" if latest else f" ({format_duration(max(0.0, age))} ago)"
    return title[:120] + state


def _first_text(entry: ElementTree.Element, *tags: str) -> str:
    return next((text.strip() for tag in tags if (text := entry.findtext(tag))), "")


def _written(text: str) -> float:
    """When an entry was written: RFC 822 as in RSS, or RFC 3339 as in Atom."""
    try:
        at = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"an entry has the date {text[:50]!r}, which cannot be read") from error
