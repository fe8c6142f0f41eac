"""What of the knowledge folder helps with a check or an incident."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wcr_watchd.core.knowledge import Entry, EntryKind
from wcr_watchd.core.model import Incident
from wcr_watchd.core.mute import facts_of, facts_of_check
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.silence import Facts, covers


@dataclass(frozen=True, slots=True)
class Guidance:
    """What to do (the runbook that the check names first), whom to ask, and what else is known."""

    runbooks: tuple[Entry, ...] = ()
    vendors: tuple[Entry, ...] = ()
    related: tuple[Entry, ...] = ()
    """Risks and articles."""


def guidance_for_check(setup: Setup, check: Check) -> Guidance:
    """What is written down about a check; what is about certain incidents alone is left out."""
    return _guidance(setup, check, facts_of_check(setup, check), "")


def guidance_for_incident(setup: Setup, check: Check, incident: Incident) -> Guidance:
    """What is written down about an incident."""
    return _guidance(setup, check, facts_of(setup, check, incident), f"{incident.summary}\n{incident.rule}")


def _guidance(setup: Setup, check: Check, facts: Facts, said: str) -> Guidance:
    book = setup.knowledge

    def fitting(named: str, *kinds: EntryKind) -> tuple[Entry, ...]:
        chosen = book.entries.get(named)
        first = (chosen,) if chosen is not None and chosen.kind in kinds else ()
        return (*first, *(one for one in book.of(*kinds) if one not in first and one.fits(facts, said)))

    return Guidance(
        fitting(check.runbook, EntryKind.RUNBOOK),
        fitting(check.vendor, EntryKind.VENDOR),
        fitting("", EntryKind.RISK, EntryKind.ARTICLE),
    )


def checks_of(setup: Setup, entry: Entry) -> list[str]:
    """The checks that an entry is about: those that name it, and those that its matchers cover."""
    return [
        name
        for name, check in setup.checks.items()
        if entry.name in (check.runbook, check.vendor) or covers(entry.matchers, facts_of_check(setup, check))
    ]


def with_runbook(setup: Setup, check: Check) -> Check:
    """The check with the name of a runbook that is about it, where it names none itself."""
    if check.runbook or not setup.knowledge.entries:
        return check
    facts = facts_of_check(setup, check)
    return replace(
        check, runbook=next((one.name for one in setup.knowledge.of(EntryKind.RUNBOOK) if one.fits(facts)), "")
    )


def runbook_address(setup: Setup, runbook: str) -> str:
    """Where a check's runbook can be read: its own URL, or that of the entry's page on the dashboard."""
    if runbook not in setup.knowledge.entries or not setup.public_url:
        return runbook
    return f"{setup.public_url.rstrip('/')}/knowledge/{runbook}"
