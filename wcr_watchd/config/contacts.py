"""That contacts are verified: a task for each of them, made from the section ``contacts``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from wcr_watchd.config.checks import Checks
from wcr_watchd.config.faults import Faults
from wcr_watchd.config.models import DAY, Span, Texts
from wcr_watchd.config.typed import named_tables
from wcr_watchd.config.write import duration_text
from wcr_watchd.core.contacts import task_of
from wcr_watchd.core.task import PREFIX
from wcr_watchd.kit.options import Duration, Options


class ContactsTable(Options):
    """That every contact is verified from time to time: somebody reaches them, and they answer."""

    verify_every: Span = 90 * DAY
    """How long a contact counts as verified."""
    grace: Span = 14 * DAY
    """How much later it may be done before it is a warning."""
    remind: Duration = 7 * DAY
    """How long before it is due it is reminded of, as an info."""
    owner: str = ""
    """Who sees to it."""
    policy: str | None = None
    """Who is told of what is not done; default: as of any check."""
    tags: Texts = ("contacts",)
    """Words to find these tasks by."""


def with_verifications(faults: Faults, data: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a task ``verify-CONTACT`` for each contact, where the section ``contacts`` asks for that.

    A task of that name that is written stands in its place.
    """
    if "contacts" not in data:
        return data
    table = faults.validate(ContactsTable, data["contacts"], ("contacts",))
    tasks = data.get("task", {})
    if table is None or not isinstance(tasks, Mapping):
        return data
    # What is wrong with a contact is told where contacts are read.
    made = {task_of(name): _task(name, table) for name, _ in named_tables(Faults(data), data, "contact")}
    return data | {"task": made | dict(tasks)}


def asking(checks: Checks, data: Mapping[str, Any], contacts: Iterable[str]) -> Checks:
    """The checks, of which those by which contacts are verified say whom they ask."""
    if "contacts" not in data:
        return checks
    tasks = {PREFIX + task_of(name): name for name in contacts}
    return replace(checks, checks={name: replace(one, asks=tasks.get(name, "")) for name, one in checks.checks.items()})


def _task(contact: str, table: ContactsTable) -> dict[str, Any]:
    policy = {} if table.policy is None else {"policy": table.policy}
    return policy | {
        "about": f"Reach {contact} by each of their ways, have them answer, and write down what changed",
        "period": duration_text(table.verify_every),
        "grace": duration_text(table.grace),
        "remind": duration_text(table.remind),
        "owner": table.owner,
        "tags": list(table.tags),
    }
