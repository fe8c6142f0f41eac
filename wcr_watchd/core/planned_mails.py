"""What subscribers of the status page are told of planned maintenance: beforehand, when it begins and when it is over.

Each piece of work has a post of its own that stands on no page (planned work does already): it remembers what was told,
also over a restart, and is what the mails are made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from wcr_watchd.core.message import clock_time
from wcr_watchd.core.posts import AUTOMATIC, LONGEST_TITLE, Impact, Post, PostState, Update, said, written
from wcr_watchd.core.status import MaintenanceMails, PlannedWork

ANNOUNCED, BEGUN, OVER = PostState.IDENTIFIED, PostState.MONITORING, PostState.RESOLVED
CALLED_OFF = "It is called off."


def identity_of(work: PlannedWork) -> str:
    """What names a piece of work, however the configuration is ordered and however long the work takes."""
    parts = "\0".join((work.text, *work.components, f"{work.start:.3f}"))
    return hashlib.sha256(f"planned {parts}".encode()).hexdigest()[:12]


def word_of(update: Update) -> str:
    """What an update of such a post is, in a few words: for the subject of its mail."""
    if update.state is BEGUN:
        return "Maintenance has begun"
    if update.state is OVER:
        return "Maintenance is called off" if update.text == CALLED_OFF else "Maintenance is over"
    return "Planned maintenance"


def follow_planned(
    known: Mapping[str, Post], planned: Iterable[PlannedWork], mails: MaintenanceMails, timezone: str, now: float
) -> tuple[Post, ...]:
    """The posts that begin or change. ``known`` are those of work that is not over, ``planned`` is all work there is.

    What is published in them is mailed; the rest only remembers.
    """
    changed = []
    here = {identity_of(work): work for work in planned}
    for identity, work in here.items():
        post = known.get(identity)
        following = _begun(post, work, mails, timezone, now) if work.start <= now else None
        following = following or _announced(post, work, mails, timezone, now)
        if following is not None and following is not post:
            changed.append(replace(following, id=identity))
    changed += [_ended(post, mails, now) for identity, post in known.items() if identity not in here]
    return tuple(changed)


def _announced(post: Post | None, work: PlannedWork, mails: MaintenanceMails, timezone: str, now: float) -> Post | None:
    """The announcement that is due; of several (nobody was watching, or it was planned late) only the last."""
    due = [before for before in mails.before if work.start - before <= now < work.start]
    if not due:
        return None
    already = [float(one.by) for one in post.updates if one.state is ANNOUNCED] if post else []
    if already and min(already) <= min(due):
        return None
    start, end = (clock_time(at, timezone, now) for at in (work.start, work.end))
    # Who wrote it is shown nowhere: it says how long beforehand this was.
    return said(post or _new(work), ANNOUNCED, f"From {start} to {end}.", now, f"{min(due):g}", publish=True)


def _begun(post: Post | None, work: PlannedWork, mails: MaintenanceMails, timezone: str, now: float) -> Post | None:
    if post is not None and any(one.state is BEGUN for one in post.updates):
        return post
    if post is None and not mails.start and not mails.end:
        return None
    text = f"It has begun and goes on until {clock_time(work.end, timezone, now)}."
    return said(post or _new(work), BEGUN, text, now, AUTOMATIC, publish=mails.start)


def _ended(post: Post, mails: MaintenanceMails, now: float) -> Post:
    if post.created_at > now:
        # Whoever was told that it comes is told that it does not.
        return said(post, OVER, CALLED_OFF, now, AUTOMATIC, publish=post.published)
    return said(post, OVER, "It is over.", now, AUTOMATIC, publish=mails.end)


def _new(work: PlannedWork) -> Post:
    title = " ".join(work.text.split())[:LONGEST_TITLE] or "Maintenance"
    return replace(written(title, work.components, Impact.NONE, work.start), planned=True)
