"""What somebody answers to a message in their own words: ``ACK 42`` by SMS, ``/watchd ack 42`` in a chat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Incident, IncidentState

NAMED = 4
"""Incidents that an answer names: it may go by SMS."""
USAGE = "Answer ACK and the incident's number, such as: ACK 42"
_ACKNOWLEDGE = re.compile(r"ack(?:nowledged?)?(?![a-z])[\s:.,!-]*(.*)", re.IGNORECASE | re.DOTALL)
DIGITS = 9
"""More of them are no number of an incident: a telephone number, or a slip."""
_NUMBER = re.compile(r"#?(\d+)[.,;:!]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """An acknowledgement of the incidents with these numbers, with the rest of what was said (or nothing)."""

    incidents: tuple[int, ...]
    note: str = ""


def read(text: str, incidents: Mapping[int, Incident]) -> Reply:
    """What the text asks for; ``incidents`` are those that are not over, by number.

    Without a number it means the one incident that nobody has acknowledged. Raises :class:`CommandError` with what to
    answer when it cannot be understood, or could mean several.
    """
    found = _ACKNOWLEDGE.fullmatch(text.strip())
    if found is None:
        raise CommandError(f"{USAGE}. {_waiting(incidents)}")
    words, numbers = found[1].split(), list[int]()
    while words and (number := _NUMBER.fullmatch(words[0])):
        too_long = len(number[1]) > DIGITS
        if too_long and not numbers:
            raise CommandError(f"No incident has the number {words[0][: 2 * DIGITS]}. {_waiting(incidents)}. {USAGE}")
        if numbers and (too_long or int(number[1]) not in incidents):
            break  # "42 10 minutes"
        numbers.append(int(number[1]))
        words = words[1:]
    if numbers:
        return Reply(tuple(dict.fromkeys(numbers)), " ".join(words))
    waiting = _unattended(incidents)
    if len(waiting) != 1:
        raise CommandError(_waiting(incidents) + (f". {USAGE}" if waiting else ""))
    return Reply((waiting[0].id,), " ".join(words))


def _unattended(incidents: Mapping[int, Incident]) -> list[Incident]:
    found = (incident for incident in incidents.values() if incident.state is IncidentState.OPEN)
    return sorted(found, key=lambda incident: (-incident.severity, incident.opened_at))


def _waiting(incidents: Mapping[int, Incident]) -> str:
    waiting = _unattended(incidents)
    if not waiting:
        return "No incident waits for an acknowledgement"
    named = ", ".join(f"#{incident.id} {incident.check}" for incident in waiting[:NAMED])
    more = f" and {len(waiting) - NAMED} more" if len(waiting) > NAMED else ""
    return f"Open: {named}{more}"
