"""What somebody should know of a configuration although it can be used: nobody on call, rights it lacks, all over."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from wcr_watchd.config.checks import place_of
from wcr_watchd.config.load import Loaded
from wcr_watchd.config.look import user_name
from wcr_watchd.core.errors import Problem
from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.core.knowledge import EntryKind
from wcr_watchd.core.local_time import local_time
from wcr_watchd.core.on_call import OnCallSchedule, gaps
from wcr_watchd.core.protocols import Awaiting, Recurring
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.refused import did_you_mean

TOKEN_ENDS_SOON = 14 * 86_400.0
NAMED = 5
"""Entries of the knowledge folder that are named; of more it is told how many."""


def warnings(loaded: Loaded, now: float) -> tuple[Problem, ...]:
    """Everything to be warned of at a time (epoch seconds), in file order."""
    found = []
    for contact in loaded.setup.contacts.values():
        if not contact.addresses:
            reason = "has no address, so nobody can tell them anything"
            place = ("contact", contact.name)
            found.append(loaded.sources.problem(place, reason, 'add phone = "+15550100" or email'))
    for schedule in loaded.setup.on_call.values():
        if reason := _gaps(schedule, now):
            place = ("on_call", schedule.name)
            found.append(loaded.sources.problem(place, reason, "add a layer or an override that covers it"))
    for name, channel in loaded.channels.items():
        if getattr(channel, "signing_secret", None) and not loaded.setup.public_url:
            reason = "has a signing secret, but without public_url in [web] its messages have no button to answer with"
            found.append(loaded.sources.problem(("channel", name), reason, "set public_url in [web]"))
    for window in loaded.setup.windows:
        if window.spans.around(now) is None and next(iter(window.spans.after(now)), None) is None:
            place = ("maintenance", window.name)
            found.append(loaded.sources.problem(place, "is over and does not come again", "remove it"))
    for token in loaded.web.access.tokens:
        if token.expires_at is not None and token.expires_at < now + TOKEN_ENDS_SOON:
            over = "is over" if token.expires_at <= now else f"is over in {format_duration(token.expires_at - now)}"
            found.append(loaded.sources.problem(("token", token.name, "expires"), over, "make a new one, or remove it"))
    found += _knowledge(loaded, now)
    found += _users(loaded)
    for check, other in _with_the_same_key(loaded):
        reason = f'reports by the same key and name as "{other}", so that its signals are refused'
        found.append(
            loaded.sources.problem(
                place_of(loaded.sources.table, check), reason, "give it a key, or a slug, of its own"
            )
        )
    return (*loaded.sources.in_order(found), *loaded.setup.knowledge.problems)


def _knowledge(loaded: Loaded, now: float) -> Iterator[Problem]:
    """Entries of the knowledge folder that are to be read, and checks that name what does not stand in it."""
    book = loaded.setup.knowledge
    late = book.late(now)
    for found, stand, help_ in (
        ([one for one in late if one.reviewed], "to be read again", "set `reviewed` in what is still right"),
        ([one for one in late if not one.reviewed], "not read yet", "put in what is true for you, and set `reviewed`"),
    ):
        if found:
            names = ", ".join(one.name for one in found[:NAMED]) + (" …" if len(found) > NAMED else "")
            reason = (
                f"{len(found)} of {len(book.entries)} entries {'is' if len(found) == 1 else 'are'} {stand}: {names}"
            )
            yield loaded.sources.problem(("knowledge",), reason, help_)
    known = {kind: {one.name for one in book.of(kind)} for kind in (EntryKind.RUNBOOK, EntryKind.VENDOR)}
    for check in loaded.setup.checks.values():
        for kind, name in ((EntryKind.RUNBOOK, check.runbook), (EntryKind.VENDOR, check.vendor)):
            is_name = name and "/" not in name and (book.folder or kind is EntryKind.VENDOR)
            if is_name and name not in known[kind]:
                place = (*place_of(loaded.sources.table, check.name), kind.value)
                reason = f'there is no {kind.value} "{name}" in the knowledge folder'
                yield loaded.sources.problem(place, reason, did_you_mean(name, known[kind]))


def _users(loaded: Loaded) -> Iterator[Problem]:
    """Tasks that are to run with the rights of a user whom there is not, or whom only root can give to them."""
    own = os.geteuid()
    for name, probe in loaded.probes.items():
        command = probe.command if isinstance(probe, Recurring) else None
        if command is None or not command.user:
            continue
        place = (*place_of(loaded.sources.table, name), "user")
        try:
            wanted = pwd.getpwnam(command.user).pw_uid
        except KeyError:
            reason = f'there is no user "{command.user}" on this machine, so that its run fails'
            yield loaded.sources.problem(place, reason, "make that user, or correct the name")
            continue
        if own not in (0, wanted):
            reason = f'cannot run as "{command.user}": only a daemon that is root may, and this is {user_name()}'
            remedy = (
                'take it out, or have the service manager do it: run = ["systemctl", "start", "--wait", "x.service"]'
            )
            yield loaded.sources.problem(place, reason, remedy)


def _with_the_same_key(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Heartbeats at whose address another one reports as well, with that other one."""
    known: dict[tuple[str, str], str] = {}
    for name, probe in loaded.probes.items():
        for address in probe.addresses(name) if isinstance(probe, Awaiting) else ():
            if known.setdefault(address, name) != name:
                yield name, known[address]


def _gaps(schedule: OnCallSchedule, now: float) -> str:
    found = gaps(schedule, now, now + LOOK_AHEAD)
    if not found:
        return ""
    zone = ZoneInfo(schedule.timezone)
    start, end = (local_time(at, zone).strftime("%a %Y-%m-%d %H:%M") for at in (found[0].start, found[0].end))
    since = "now" if found[0].start == now else start
    until = f"to {end}" if found[0].end < now + LOOK_AHEAD else "on"
    more = f", and {len(found) - 1} times more" if len(found) > 1 else ""
    return f"nobody is on call from {since} {until}{more}; looked {LOOK_AHEAD / 86_400:.0f} days ahead"
