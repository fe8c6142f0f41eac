"""Contacts that are verified: that somebody reached them, by each of their ways, and they answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wcr_watchd.core.model import Recipient
from wcr_watchd.core.setup import Contact, Setup
from wcr_watchd.core.task import TaskView

VERIFY = "verify-"
"""The task that a contact is verified by is called by their name with this before it."""
QUESTION = "does this still reach you? Please say so by the link"
REACHED = "this still reaches me"
"""What a contact who opened the link and pressed the button has said, in the timeline."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A contact, and the task by which they are verified (None: nobody asks for that)."""

    contact: Contact
    task: TaskView | None


def task_of(contact: str) -> str:
    """The name of the task by which a contact is verified."""
    return f"{VERIFY}{contact}"


def ways(setup: Setup, contact: str) -> tuple[Recipient, ...]:
    """By what a contact can be told: each address of each kind, over the first channel that needs such a one."""
    found = setup.contacts.get(contact)
    channels: dict[str, str] = {}
    for name, kind in setup.channels.items():
        channels.setdefault(kind, name)
    known = found.addresses.items() if found else ()
    return tuple(Recipient(channels[kind], contact, each) for kind, some in known if kind in channels for each in some)


def way_words(setup: Setup, way: Recipient) -> str:
    """``sms``, and ``sms (number 2)`` of a further address: what it is stands in no page and no log."""
    further = [one for one in ways(setup, way.contact) if one.channel == way.channel][1:]
    return f"{way.channel} (number {further.index(way) + 2})" if way in further else way.channel


def verifications(setup: Setup, tasks: Iterable[TaskView]) -> Iterator[Verification]:
    """Every contact with the task of theirs."""
    known = {task.name: task for task in tasks}
    for contact in setup.contacts.values():
        yield Verification(contact, known.get(task_of(contact.name)))
