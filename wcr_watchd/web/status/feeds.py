"""The status page for programs: Atom (RFC 4287), iCalendar (RFC 5545) and JSON of our own."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from wcr_watchd.core.posts import Post
from wcr_watchd.core.status import WORDS, ComponentStatus, DayBar, PlannedWork, PublicStatus, overall
from wcr_watchd.core.status_days import UPTIME
from wcr_watchd.web import icalendar
from wcr_watchd.web.status.words import machine_time

MOST_ENTRIES = 50


def atom(status: PublicStatus) -> str:
    """What was posted, and planned maintenance, the newest first."""
    page, changed = status.page, max((post.changed_at for post in status.posts), default=0.0)
    feed = f"{page.url}/feed.atom" if page.url else "urn:wcr-watchd:status"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape(page.title)}</title>",
        f"<id>{escape(feed)}</id>",
        f"<updated>{machine_time(changed)}</updated>",
        f"<author><name>{escape(page.title)}</name></author>",
    ]
    if page.url:
        lines.append(f'<link rel="self" type="application/atom+xml" href={quoteattr(feed)}/>')
        lines.append(f'<link rel="alternate" type="text/html" href={quoteattr(page.url + "/")}/>')
    for post in sorted(status.posts, key=lambda one: one.changed_at, reverse=True)[:MOST_ENTRIES]:
        lines += _entry(status, post)
    return "\n".join([*lines, "</feed>", ""])


def _entry(status: PublicStatus, post: Post) -> list[str]:
    said = "".join(
        f"<p><small>{machine_time(one.at)}</small><br><strong>{one.state.value.capitalize()}</strong> - "
        f"{escape(one.text)}</p>"
        for one in reversed(post.updates)
    )
    url = status.page.url
    link = [f'<link rel="alternate" type="text/html" href={quoteattr(f"{url}/incident/{post.id}/")}/>'] if url else []
    return [
        "<entry>",
        f"<id>{escape(f'{url}/incident/{post.id}/' if url else f'urn:wcr-watchd:status:{post.id}')}</id>",
        f"<title>{escape(post.title)}</title>",
        f"<published>{machine_time(post.created_at)}</published>",
        f"<updated>{machine_time(post.changed_at)}</updated>",
        *link,
        f'<content type="html">{escape(said)}</content>',
        "</entry>",
    ]


def calendar(status: PublicStatus) -> str:
    """Planned maintenance, to subscribe to."""
    names = {one.id: one.name for one in status.components}
    page = status.page
    entries = (
        icalendar.Entry(
            f"{work.id}@{page.host or 'status-page'}",
            work.start,
            work.end,
            f"{page.title}: {work.text}",
            f"Concerns: {', '.join(names[one] for one in work.components if one in names)}",
        )
        for work in status.planned
    )
    return icalendar.write(page.title, "status page", entries, status.at)


def own_json(status: PublicStatus) -> str:
    """Everything on the page, with the days."""
    condition, words = overall(status)
    document = {
        "title": status.page.title,
        "url": status.page.url or None,
        "as_of": machine_time(status.at),
        "renewed_every_seconds": status.page.every,
        "state": condition.value,
        "summary": words,
        "uptime_formula": UPTIME,
        "components": [_component(one) for one in status.components],
        "incidents": [_incident(post) for post in status.posts[:MOST_ENTRIES]],
        "planned_maintenance": [_planned(work) for work in status.planned],
    }
    return json.dumps(document, ensure_ascii=False)


def _component(one: ComponentStatus) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "group": one.group or None,
        "description": one.description or None,
        "state": one.condition.value,
        "words": WORDS[one.condition],
        "uptime": None if one.uptime is None else round(one.uptime, 6),
        "days": [_day(bar) for bar in one.days],
    }


def _day(bar: DayBar) -> dict[str, Any]:
    return {
        "date": bar.date,
        "seconds": round(bar.length),
        "outage": round(bar.outage),
        "degraded": round(bar.degraded),
        "maintenance": round(bar.maintenance),
        "not_watched": round(bar.unwatched),
        "outages": bar.outages,
    }


def _incident(post: Post) -> dict[str, Any]:
    return {
        "id": post.id,
        "title": post.title,
        "state": post.state.value,
        "impact": post.impact.value,
        "components": list(post.components),
        "began_at": machine_time(post.created_at),
        "resolved_at": None if post.resolved_at is None else machine_time(post.resolved_at),
        "updates": [{"at": machine_time(one.at), "state": one.state.value, "text": one.text} for one in post.updates],
    }


def _planned(work: PlannedWork) -> dict[str, Any]:
    return {
        "id": work.id,
        "text": work.text,
        "components": list(work.components),
        "from": machine_time(work.start),
        "until": machine_time(work.end),
    }
