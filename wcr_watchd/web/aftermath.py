"""What the report of an incident is written from, besides its records: what it hit, and its public name."""

from __future__ import annotations

import socket

from wcr_watchd.core.dependencies import ancestors
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Incident
from wcr_watchd.core.mute import facts_of_check
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.report import Audience, IncidentWanted, public_name
from wcr_watchd.core.review import Affected
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import covers
from wcr_watchd.core.status import StatusPage
from wcr_watchd.core.view import View
from wcr_watchd.web import investigation


async def report_of(view: View, number: int, audience: Audience, page: StatusPage | None) -> IncidentWanted:
    """All that the report of an incident is written from. Raises ``CommandError`` when there is no such incident."""
    found = view.state.incidents.get(number) or await view.store.incident(number)
    if found is None:
        raise CommandError(f"there is no incident #{number}; `wcr-watchd incidents --all` lists them")
    facts, written = await investigation.reviewed(view, found)
    earlier, recent = await investigation.earlier(view, found)
    setup = view.setup
    return IncidentWanted(
        name=f"incident-{number}",
        audience=audience,
        watchd=setup.name if audience is Audience.TEAM else public_name(setup, page, socket.gethostname()),
        location=setup.location,
        timezone=setup.timezone,
        url=setup.public_url.rstrip("/"),
        now=view.now(),
        facts=facts,
        written=written,
        earlier=tuple(earlier),
        recent=recent,
        affected=await affected(view, found),
        components=components_of(setup, found, page),
    )


async def affected(view: View, found: Incident) -> tuple[Affected, ...]:
    """The checks that depend on the one of the incident, with the incidents that they had meanwhile."""
    setup = view.setup
    names = frozenset(name for name in setup.checks if found.check in ancestors(setup, name))
    if not names:
        return ()
    meanwhile = Wanted(checks=names, since=found.opened_at, until=found.resolved_at or view.now())
    others = await view.store.find_incidents(meanwhile, limit=investigation.MOST_AROUND)
    return tuple(Affected(name, tuple(sorted(one.id for one in others if one.check == name))) for name in sorted(names))


def components_of(setup: Setup, found: Incident, page: StatusPage | None) -> tuple[str, ...]:
    """What visitors call what was hit: components of the status page, else the group of the check."""
    check = setup.checks.get(found.check)
    if check is None:
        return ()
    about = facts_of_check(setup, check)
    named = tuple(one.name for one in page.components if covers(one.matchers, about)) if page else ()
    return named or ((check.group,) if check.group else ())
