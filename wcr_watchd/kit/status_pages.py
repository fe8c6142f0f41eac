"""Reads vendors' status pages: the JSON of Statuspage, RSS 2.0 and Atom (RFC 4287). It is carried out aside.

Only the standard library is imported here (see aside).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

MOST_ENTRIES = 200
"""Of a feed, from its beginning, where the newest are."""

_STATES = {"operational": 0, "degraded_performance": 1, "partial_outage": 2, "major_outage": 3, "under_maintenance": 0}
_IMPACTS = {"none": 0, "maintenance": 0, "minor": 1, "major": 2, "critical": 3}
_OVER = ("resolved", "completed", "postmortem", "closed")
_SAYS_OVER = re.compile(
    r"\b(resolved|completed|closed|operating normally|fully recovered|post-?mortem)\b", re.IGNORECASE
)
_STATE_OF_UPDATE = re.compile(r"<(?:strong|b)>\s*([^<]{1,40}?)\s*</(?:strong|b)>", re.IGNORECASE)
_ATOM = "{http://www.w3.org/2005/Atom}"

Page = dict[str, Any]
"""``name``, ``impact`` (0 none to 3 critical), ``components`` (states 0 to 3 of those that matter, by name),
``incidents`` and ``maintenances`` (in words), ``known`` (the names of all components; empty of a feed)."""


class UnreadableError(Exception):
    """The page is not what can be read; the text says why."""


def read(given: Mapping[str, Any]) -> Page:
    """What the page ``text`` says of ``components`` (none: all); or under ``trouble`` why it cannot be read.

    Of a feed, entries count that are younger than ``recent`` seconds at ``now`` and do not say that it is over.
    """
    text = given["text"].lstrip("\ufeff \r\n\t")
    try:
        if text.startswith("{"):
            return _summary(text, given["components"])
        if text.startswith("<"):
            return _feed(text, given)
        raise UnreadableError("it is neither JSON nor a feed")
    except UnreadableError as error:
        return {"trouble": str(error)}


# --- Statuspage -------------------------------------------------------------------------------------------------------


def _summary(text: str, chosen: Sequence[str]) -> Page:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON: {error}") from error
    if not isinstance(found.get("status"), dict) or not isinstance(found.get("components"), list):
        raise UnreadableError("it is no summary of Statuspage: it has no status and components")
    states: dict[str, int] = {}
    for name, state in _states(_list(found, "components"), chosen):
        states[name] = max(state, states.get(name, 0))  # a region has its name in the group of every product
    incidents = [one for one in _list(found, "incidents") if _open(one) and _concerns(one, chosen)]
    going_on = ("in_progress", "verifying")
    busy = [one for one in _list(found, "scheduled_maintenances") if one.get("status") in going_on]
    impacts = [_impact(one.get("impact")) for one in incidents]
    whole = 0 if chosen else _impact(found["status"].get("indicator"))
    return {
        "name": str(_dict(found, "page").get("name") or "the page")[:100],
        "impact": max((whole, *states.values(), *impacts)),
        "components": states,
        "incidents": [_named(one) for one in incidents],
        "maintenances": [_named(one) for one in busy if _concerns(one, chosen)],
        "known": [str(one.get("name", ""))[:100] for one in _list(found, "components") if one.get("group") is not True],
    }


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


def _feed(text: str, given: Mapping[str, Any]) -> Page:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableError("it is no feed, or one with declarations that no feed needs")
    try:
        root = ElementTree.fromstring(_without_declaration(text))  # noqa: S314 - without declarations there is nothing that could expand
    except ElementTree.ParseError as error:
        raise UnreadableError(f"it is no XML: {error}") from error
    channel = root.find("channel")
    if channel is not None:
        title, entries = channel.findtext("title"), channel.findall("item")
    elif root.tag == f"{_ATOM}feed":
        title, entries = root.findtext(f"{_ATOM}title"), root.findall(f"{_ATOM}entry")
    else:
        raise UnreadableError("it is XML, but neither RSS 2.0 nor Atom")
    going_on = [name for name in (_entry(one, given) for one in entries[:MOST_ENTRIES]) if name]
    name = (title or "the feed").strip()[:100]
    return {"name": name, "impact": 0, "components": {}, "incidents": going_on, "maintenances": [], "known": []}


def _without_declaration(text: str) -> str:
    """The text is decoded already, whatever encoding it names for itself."""
    return re.sub(r"^<\?xml[^>]{0,200}\?>", "", text)


def _entry(entry: ElementTree.Element, given: Mapping[str, Any]) -> str:
    """The title of an entry about something that goes on; empty for any other."""
    title = _first_text(entry, "title", f"{_ATOM}title")
    text = _first_text(entry, "description", f"{_ATOM}content", f"{_ATOM}summary")
    age = given["now"] - _written(_first_text(entry, "pubDate", f"{_ATOM}updated", f"{_ATOM}published"))
    about, words = f"{title} {text}".lower(), given["components"]
    if age > given["recent"] or (words and not any(word.lower() in about for word in words)):
        return ""
    latest = _STATE_OF_UPDATE.search(text)
    if _SAYS_OVER.search(title) or _SAYS_OVER.search(latest[1] if latest else text):
        return ""
    state = f" ({html.unescape(latest[1])})" if latest else f" ({max(0.0, age) / 3_600:.0f} h ago)"
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
