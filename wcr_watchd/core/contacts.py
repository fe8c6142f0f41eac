"""Contacts that are verified: that somebody reached them, by each of their ways, and they answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wcr_watchd.core.setup import Contact, Setup
from wcr_watchd.core.task import TaskView

VERIFY = "verify-"
"""The task that a contact is verified by is called by their name with this before it."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A contact, and the task by which they are verified (None: nobody asks for that)."""

    contact: Contact
    task: TaskView | None


def task_of(contact: str) -> str:
    """The name of the task by which a contact is verified."""
    return f"{VERIFY}{contact}"


def verifications(setup: Setup, tasks: Iterable[TaskView]) -> Iterator[Verification]:
    """Every contact with the task of theirs."""
    known = {task.name: task for task in tasks}
    for contact in setup.contacts.values():
        yield Verification(contact, known.get(task_of(contact.name)))
