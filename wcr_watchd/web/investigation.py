"""What is found out about an incident for page and API alike: likely causes, earlier ones like it, facts and review."""

from __future__ import annotations

from collections.abc import Sequence

from wcr_watchd.core import review, similar
from wcr_watchd.core.causes import AROUND, Cause, likely_causes
from wcr_watchd.core.model import Delivery, Event, Incident
from wcr_watchd.core.modifications import LATEST, SHORTLY, SLACK
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.view import View

MOST_DELIVERIES = 500
MOST_AROUND = 200
MOST_EARLIER = 200
SHOWN_EARLIER = 5


async def causes(view: View, found: Incident) -> tuple[Cause, ...]:
    """What may be the cause, from what else was open around its beginning and what was changed before."""
    around = Wanted(since=found.opened_at - AROUND, until=found.opened_at + AROUND)
    others = await view.store.find_incidents(around, limit=MOST_AROUND)
    # Of a long span the newest marks are found only: what was before must not be hidden by much that came after it.
    near = await view.marks(found.opened_at - SHORTLY, found.opened_at + SLACK)
    later = await view.marks(found.opened_at + SLACK, found.opened_at + LATEST)
    return likely_causes(view.setup, found, others, dict.fromkeys((*near, *later)))


async def earlier(view: View, found: Incident) -> tuple[list[similar.Earlier], int]:
    """The likest earlier incidents with what their timelines say, and how often such one came in the last 90 days."""
    known = [one for one in await view.store.incidents(check=found.check, limit=MOST_EARLIER) if one.id != found.id]
    likest = similar.similar(found, known)[:SHOWN_EARLIER]
    told = [similar.told(found, one, await view.store.events(one.id)) for one in likest]
    return told, similar.count_recent(found, known)


async def facts(
    view: View, found: Incident, timeline: Sequence[Event], deliveries: Sequence[Delivery], likely: Sequence[Cause]
) -> review.Facts:
    """The facts of the review: what was recorded, and what the runs meanwhile found."""
    end = found.resolved_at or view.now()
    outcomes = await view.store.outcomes(found.check, since=found.opened_at, until=end)
    inside = [one for one in outcomes if one.start >= found.opened_at - one.width]
    return review.facts(found, timeline, deliveries, inside, likely, view.now())


async def reviewed(view: View, found: Incident) -> tuple[review.Facts, review.Review]:
    """The facts, and what people wrote."""
    timeline = await view.store.events(found.id)
    deliveries = await view.store.deliveries(incident=found.id, limit=MOST_DELIVERIES)
    recorded = await facts(view, found, timeline, deliveries, await causes(view, found))
    return recorded, await view.store.review(found.id) or review.Review(found.id)
