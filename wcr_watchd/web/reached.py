"""Whether contacts can be reached: they say so by the link of the message that asks, for each address of theirs."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.core import contacts
from wcr_watchd.core.contacts import way_words, ways
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.model import Incident, IncidentState, Recipient
from wcr_watchd.core.view import Control
from wcr_watchd.core.work import check_of
from wcr_watchd.kit.tickets import Ticket, way_of
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL


def asks(control: Control, incident: Incident, ticket: Ticket) -> bool:
    """Whether an incident asks whether who has this ticket can be reached."""
    return bool(ticket.contact) and check_of(control.setup, incident).asks == ticket.contact


async def question(request: web.Request, ticket: Ticket, incident: Incident) -> web.Response:
    """The page that asks whether this still reaches them, or says that it is known."""
    control = request.app[CONTROL]
    known, way = await _known_ways(control, incident, ticket), _way(control, ticket)
    over = incident.state is IncidentState.RESOLVED
    others = [] if over else [one for one in ways(control.setup, ticket.contact) if one not in known]
    return page(
        request,
        "reach.html",
        who=ticket.contact,
        channel=way_words(control.setup, way) if way else ticket.channel,
        known=over or way in known,
        missing=[way_words(control.setup, one) for one in others],
        expires_at=ticket.expires_at,
    )


async def write_down(control: Control, incident: Incident, ticket: Ticket) -> str:
    """Write down that this reaches them; when all else does, they are verified. Returns a sentence."""
    known, way = await _known_ways(control, incident, ticket), _way(control, ticket)
    if way is None:
        return "it is not written down: that address is no longer theirs in the configuration"
    if incident.state is IncidentState.RESOLVED or way in known:
        return "that was known"
    await control.note(incident.id, _by_way(control, way), contacts.REACHED)
    if set(ways(control.setup, ticket.contact)) - known - {way}:
        return "it is written down; not all of their ways are known to reach them yet"
    names = sorted(way_words(control.setup, one) for one in known | {way})
    note = f"said so by the links sent over {', '.join(names)}"
    try:
        return await control.sign_off_task(contacts.task_of(ticket.contact), _by_way(control, way), note)
    except CommandError as error:
        return str(error)


def _way(control: Control, ticket: Ticket) -> Recipient | None:
    """By which of their ways somebody got a link; None: the address that it went to is not theirs any more.

    The policy may tell them over a channel by which they are not asked: a second one for mail.
    """
    found = [one for one in ways(control.setup, ticket.contact) if one.channel == ticket.channel]
    if not found:
        return Recipient(ticket.channel, ticket.contact)
    # An ordinary message to them, and an older link, say the channel only: that is the first address.
    return next((one for one in found if ticket.way in ("", way_of(one.address))), None)


async def _known_ways(control: Control, incident: Incident, ticket: Ticket) -> set[Recipient]:
    """The ways by which they have said since it began that they can be reached."""
    try:
        events = await control.store.events(incident.id)
    except StoreError:
        events = ()
    said = {one.by for one in events if one.reason == contacts.REACHED}
    own = _way(control, ticket)
    every = {*ways(control.setup, ticket.contact), *((own,) if own else ())}
    return {one for one in every if _by_way(control, one) in said}


def _by_way(control: Control, way: Recipient) -> str:
    """Who says by a link that it reaches them: ``lead by mail link``."""
    return f"{way.contact} by {way_words(control.setup, way)} link"
