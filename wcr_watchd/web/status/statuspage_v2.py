"""The status page in the JSON shape of Statuspage's API v2, so that clients and bots written for that work.

The shape is that of the "Status API" which every page there offers under ``/api/v2``
(https://metastatuspage.com/api). It knows no state that says "not known": that is told as degraded performance, since
it must not look like working.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from wcr_watchd.core.posts import Impact, Post, PostState, Update
from wcr_watchd.core.status import ComponentStatus, Condition, PlannedWork, PublicStatus, overall
from wcr_watchd.web.status.words import machine_time

Json = dict[str, Any]

MOST = 50
_INDICATORS: Mapping[Condition, str] = {
    Condition.OPERATIONAL: "none",
    Condition.MAINTENANCE: "maintenance",
    Condition.UNKNOWN: "minor",
    Condition.DEGRADED: "minor",
    Condition.PARTIAL: "major",
    Condition.MAJOR: "critical",
}


def documents(status: PublicStatus) -> Iterator[tuple[str, str]]:
    """Path and content of each document."""
    page = {"page": _page(status)}
    state = {"status": _status(status)}
    components = {"components": _components(status)}
    every = [_incident(status, post) for post in status.posts[:MOST]]
    unresolved = [_incident(status, post) for post in status.open_posts]
    planned = [_maintenance(status, work) for work in status.planned]
    active = [one for one in planned if one["status"] == "in_progress"]
    upcoming = [one for one in planned if one["status"] == "scheduled"]
    summary = {**page, **components, "incidents": unresolved, "scheduled_maintenances": planned, **state}
    for name, content in (
        ("summary", summary),
        ("status", page | state),
        ("components", page | components),
        ("incidents", {**page, "incidents": every}),
        ("incidents/unresolved", {**page, "incidents": unresolved}),
        ("scheduled-maintenances", {**page, "scheduled_maintenances": planned}),
        ("scheduled-maintenances/upcoming", {**page, "scheduled_maintenances": upcoming}),
        ("scheduled-maintenances/active", {**page, "scheduled_maintenances": active}),
    ):
        yield f"api/v2/{name}.json", json.dumps(content, ensure_ascii=False)


def _identity(*parts: str) -> str:
    """Twelve characters, as ids are there."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _page(status: PublicStatus) -> Json:
    return {
        "id": _page_id(status),
        "name": status.page.title,
        "url": status.page.url,
        "time_zone": status.page.timezone,
        "updated_at": machine_time(status.at),
    }


def _page_id(status: PublicStatus) -> str:
    return _identity("page", status.page.title)


def _status(status: PublicStatus) -> Json:
    condition, words = overall(status)
    worst = max((post.impact for post in status.open_posts), key=list(Impact).index, default=Impact.NONE)
    indicator = _INDICATORS[condition]
    if indicator in ("none", "maintenance") and worst is not Impact.NONE:
        indicator = worst.value
    return {"indicator": indicator, "description": words}


def _components(status: PublicStatus) -> list[Json]:
    """Groups come before what stands under them."""
    found: list[Json] = []
    groups: dict[str, Json] = {}
    for one in status.components:
        if one.group and one.group not in groups:
            group = _component(status, one, len(found) + 1)
            members = [other for other in status.components if other.group == one.group]
            group |= {
                "id": _identity("group", one.group),
                "name": one.group,
                "description": None,
                "group": True,
                "group_id": None,
                "status": max((_state(other.condition) for other in members), key=_WORDS.index),
                "components": [_identity("component", other.id) for other in members],
            }
            groups[one.group] = group
            found.append(group)
        found.append(_component(status, one, len(found) + 1))
    return found


_WORDS = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")


def _state(condition: Condition) -> str:
    return Condition.DEGRADED.value if condition is Condition.UNKNOWN else condition.value


def _component(status: PublicStatus, one: ComponentStatus, position: int) -> Json:
    first = one.days[0].date if one.days else None
    return {
        "id": _identity("component", one.id),
        "name": one.name,
        "status": _state(one.condition),
        "created_at": f"{first}T00:00:00.000Z" if first else machine_time(status.at),
        "updated_at": machine_time(one.since if one.since is not None else status.at),
        "position": position,
        "description": one.description or None,
        "showcase": True,
        "start_date": first,
        "group_id": _identity("group", one.group) if one.group else None,
        "page_id": _page_id(status),
        "group": False,
        "only_show_if_degraded": False,
    }


def _concerned(status: PublicStatus, ids: tuple[str, ...]) -> list[Json]:
    return [_component(status, one, number) for number, one in enumerate(status.components, 1) if one.id in ids]


def _incident(status: PublicStatus, post: Post) -> Json:
    components = _concerned(status, post.components)
    watching = next((one.at for one in post.updates if one.state is PostState.MONITORING), None)
    return {
        "id": post.id,
        "name": post.title,
        "status": post.state.value,
        "created_at": machine_time(post.created_at),
        "updated_at": machine_time(post.changed_at),
        "monitoring_at": None if watching is None else machine_time(watching),
        "resolved_at": None if post.resolved_at is None else machine_time(post.resolved_at),
        "impact": post.impact.value,
        "shortlink": f"{status.page.url}/incident/{post.id}/",
        "started_at": machine_time(post.created_at),
        "page_id": _page_id(status),
        "incident_updates": [_update(post.id, one, components) for one in reversed(post.updates)],
        "components": components,
        "reminder_intervals": None,
    }


def _update(owner: str, one: Update, components: list[Json]) -> Json:
    return _said(owner, one.id, one.state.value, one.text, one.at, components)


def _said(owner: str, identity: str, state: str, text: str, at: float, components: list[Json]) -> Json:
    return {
        "id": identity,
        "status": state,
        "body": text,
        "incident_id": owner,
        "created_at": machine_time(at),
        "updated_at": machine_time(at),
        "display_at": machine_time(at),
        "affected_components": [
            {
                "code": one["id"],
                "name": one["name"],
                "old_status": one["status"],
                "new_status": one["status"],
            }
            for one in components
        ],
        "deliver_notifications": True,
        "custom_tweet": None,
        "tweet_id": None,
    }


def _maintenance(status: PublicStatus, work: PlannedWork) -> Json:
    components = _concerned(status, work.components)
    going_on = work.start <= status.at < work.end
    state = "in_progress" if going_on else "scheduled"
    began = machine_time(work.start)
    return {
        "id": _identity("maintenance", work.id),
        "name": work.text,
        "status": state,
        "created_at": began,
        "updated_at": began,
        "monitoring_at": None,
        "resolved_at": None,
        "impact": "maintenance",
        "shortlink": f"{status.page.url}/",
        "started_at": began,
        "page_id": _page_id(status),
        "incident_updates": [
            _said(
                _identity("maintenance", work.id), _identity("said", work.id), state, work.text, work.start, components
            )
        ],
        "components": components,
        "scheduled_for": began,
        "scheduled_until": machine_time(work.end),
        "reminder_intervals": None,
    }
