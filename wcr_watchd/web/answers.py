"""Acknowledging from anywhere: the page behind a message's link, and what Slack, Twilio and the like pass on to us.

All of it is reachable without signing in, so each request must bear a signature: the ticket in the link is ours, the
others are checked by the channel that knows its provider. What bears none gets the same answer whatever is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web

from wcr_watchd.core import replies
from wcr_watchd.core.drill_report import DrillState
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.model import Incident, IncidentState
from wcr_watchd.core.protocols import Answering, Asked, Call, Channel
from wcr_watchd.core.run import Shared
from wcr_watchd.core.setup import Contact
from wcr_watchd.core.view import Control
from wcr_watchd.kit.tickets import Ticket, Tickets
from wcr_watchd.web import reached
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.audit import AUDIT
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

log = structlog.get_logger(__name__)

ACK, ANSWER = "/ack/{ticket}", "/answer/{channel}"
ROUTES = frozenset({ACK, ANSWER})
"""These check for themselves who may."""
BODY_WITHIN = 5.0
"""Seconds for a provider to send all of its request."""
CLOCKS_DIFFER = 60.0
"""Seconds by which an incident may seem younger than the message about it."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What the requests from outside are checked with; ``channels`` are those of the configuration in force."""

    tickets: Tickets
    channels: Callable[[], Mapping[str, Channel]]
    shared: Shared
    refusals: Allowance


DOORS = web.AppKey("doors", Doors)


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(ACK, confirmation)
    app.router.add_post(ACK, confirmed)
    app.router.add_post(ANSWER, answer)


# --- the page behind a link --------------------------------------------------------------------------------------


async def confirmation(request: web.Request) -> web.Response:
    """Show what would be acknowledged. Changes nothing: mail scanners and link previews look at it, too."""
    ticket, control = _ticket(request), request.app[CONTROL]
    if isinstance(ticket, web.Response):
        return ticket
    incidents = await _incidents(control, ticket)
    if incidents and all(reached.asks(control, one, ticket) for one in incidents):
        return await reached.question(request, ticket, incidents[0])
    return page(
        request,
        "acknowledge.html",
        incidents=incidents,
        waiting=[incident for incident in incidents if _waits(incident)],
        forgotten=len(ticket.incidents) - len(incidents),
        who=ticket.contact,
        expires_at=ticket.expires_at,
    )


async def confirmed(request: web.Request) -> web.Response:
    """Acknowledge what waits, or take it that this reaches who was asked; back to the page, which then says so."""
    ticket, control = _ticket(request), request.app[CONTROL]
    if isinstance(ticket, web.Response):
        return ticket
    incidents = [one for one in await _incidents(control, ticket) if _waits(one) or reached.asks(control, one, ticket)]
    asked = [one for one in incidents if reached.asks(control, one, ticket)]
    waiting = [one.id for one in incidents if one not in asked]
    audit, through = request.app[AUDIT], f"{ticket.channel} link"
    if waiting or not asked:
        said = await _acknowledge(control, waiting, by_link(ticket))
        numbers = ", ".join(map(str, waiting))
        await audit.note(request, ticket.contact, through, "acknowledge", target=numbers, detail="; ".join(said))
    for one in asked:
        known = await reached.write_down(control, one, ticket)
        await audit.note(request, ticket.contact, through, "can be reached", target=ticket.contact, detail=known)
    raise web.HTTPSeeOther(request.path)


def by_link(ticket: Ticket) -> str:
    """Who acknowledges by such a link: ``lead by mail link``."""
    return f"{ticket.contact} by {ticket.channel} link" if ticket.contact else f"somebody by {ticket.channel} link"


def _ticket(request: web.Request) -> Ticket | web.Response:
    """The valid ticket of the request, or the page that says why there is none."""
    control, doors = request.app[CONTROL], request.app[DOORS]
    ticket = doors.tickets.read(request.match_info["ticket"])
    if ticket is None or (ticket.contact and ticket.contact not in control.setup.contacts):
        if not doors.refusals.take():
            raise web.HTTPTooManyRequests(text="too many requests; come again in a minute\n")
        return _refused(request, 404, expired=False)
    if ticket.expires_at < control.now():
        return _refused(request, 410, expired=True)
    return ticket


def _refused(request: web.Request, status: int, *, expired: bool) -> web.Response:
    answer = page(request, "no_ticket.html", expired=expired)
    answer.set_status(status)
    return answer


async def _incidents(control: Control, ticket: Ticket) -> list[Incident]:
    """The ticket's incidents that are still known; one that began after the message is another by the same number."""
    found = []
    for number in ticket.incidents:
        incident = control.state.incidents.get(number) or _drilled(control, number) or await _recorded(control, number)
        if incident is not None and incident.opened_at <= ticket.issued_at + CLOCKS_DIFFER:
            found.append(incident)
    return found


def _drilled(control: Control, number: int) -> Incident | None:
    """The drill of this number, as the incident that it plays."""
    try:
        drill = control.drill(number)
    except CommandError:
        return None
    over = IncidentState.ACKNOWLEDGED if drill.acknowledged_by else IncidentState.RESOLVED
    return Incident(
        id=drill.number,
        check="drill",
        subject=f"policy {drill.policy}",
        severity=drill.severity,
        peak=drill.severity,
        state=IncidentState.OPEN if drill.state is DrillState.RUNNING else over,
        opened_at=drill.started_at,
        changed_at=drill.started_at,
        summary="this is a drill: acknowledge it as you would a real one, and do nothing else",
        acknowledged_at=drill.acknowledged_at,
        acknowledged_by=drill.acknowledged_by,
        resolved_at=drill.ended_at,
    )


async def _recorded(control: Control, number: int) -> Incident | None:
    try:
        return await control.store.incident(number)
    except StoreError:
        return None


def _waits(incident: Incident) -> bool:
    return incident.state not in (IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED)


async def _acknowledge(control: Control, incidents: Iterable[int], by: str, note: str = "") -> list[str]:
    """Acknowledge each and write the note into its timeline; what each was answered.

    Somebody else may have been faster.
    """
    said = []
    for number in incidents:
        try:
            said.append(await control.acknowledge(number, by))
            if note:
                await control.note(number, by, note)
        except CommandError as error:
            said.append(str(error))
    return said


# --- what providers pass on --------------------------------------------------------------------------------------


async def answer(request: web.Request) -> web.Response:
    """Do what somebody asks for by a channel's provider, and say through it what came of it."""
    doors, control = request.app[DOORS], request.app[CONTROL]
    name = request.match_info["channel"]
    channel: object = doors.channels().get(name)
    call = await _call(request, control)
    asked = channel.asked(call) if isinstance(channel, Answering) else None
    if asked is None or not isinstance(channel, Answering):
        if not doors.refusals.take():
            raise web.HTTPTooManyRequests(text="too many requests; come again in a minute\n")
        log.warning("a request without a valid signature was refused", to="/answer/", remote=request.remote)
        raise web.HTTPForbidden(text="this request does not bear a valid signature\n")
    sentence = await _obey(control, doors, asked, control.setup.channels.get(name, ""))
    if sentence:
        kind = control.setup.channels.get(name, "")
        who = asked.person or _contact_of(control.setup.contacts.values(), kind, asked.address)
        action = f"answer by channel {name}"
        await request.app[AUDIT].note(request, who, asked.through, action, target=asked.text, result=sentence)
    said = await channel.answer(asked, sentence, doors.shared)
    return web.Response(text=said.body, content_type=said.content_type, headers={"Cache-Control": "no-store"})


async def _call(request: web.Request, control: Control) -> Call:
    try:
        async with asyncio.timeout(BODY_WITHIN):
            body = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the request did not come in time\n") from error
    url = control.setup.public_url.rstrip("/") + request.path_qs
    return Call(url, {name.lower(): value for name, value in request.headers.items()}, body, control.now())


async def _obey(control: Control, doors: Doors, asked: Asked, kind: str) -> str:
    """Do what is asked and return a sentence about it; none for whom we do not know.

    ``kind`` is the channel's kind of address.
    """
    person = asked.person
    if asked.address:
        person = _contact_of(control.setup.contacts.values(), kind, asked.address)
    if not person:
        if asked.address:
            log.warning("somebody who is no contact wrote by a channel; nothing was done", through=asked.through)
        return ""
    by = f"{person} by {asked.through}"
    if asked.ticket:
        return await _pressed(control, doors.tickets.read(asked.ticket), by)
    try:
        reply = replies.read(asked.text, control.state.incidents)
    except CommandError as error:
        return str(error)
    return "; ".join(await _acknowledge(control, reply.incidents, by, reply.note))


async def _pressed(control: Control, ticket: Ticket | None, by: str) -> str:
    if ticket is None:
        return "This button belongs to another watcher, or its message is damaged; acknowledge on the dashboard"
    if ticket.expires_at < control.now():
        return "This button has expired; acknowledge on the dashboard"
    known = await _incidents(control, ticket)
    numbers = [incident.id for incident in known]
    return "; ".join(await _acknowledge(control, numbers, by)) or "What this button was for is over and forgotten"


def _contact_of(contacts: Iterable[Contact], kind: str, address: str) -> str:
    """The name of the contact with this address; empty when there is none."""
    having: Sequence[str] = [one.name for one in contacts if address in one.addresses.get(kind, ())]
    return having[0] if having else ""
