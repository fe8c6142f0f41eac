"""Who was told of an incident because somebody else could not be reached: they hear of its end as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wcr_watchd.core.message import redirected
from wcr_watchd.core.model import EventKind, Notification, Recipient

FALLBACK = ":fallback:"
"""Stands in the id of a notification that is owed in another's place."""


class StandIns:
    """Remembers them for every incident that is not over.

    Where the channel that failed works again by then, the end would otherwise reach only whom it was meant for first,
    and whoever got up in their place would go on for nothing.
    """

    def __init__(self) -> None:
        self._by_incident: dict[int, dict[Recipient, None]] = {}

    def note(self, notification: Notification) -> None:
        """A notification is owed to a fallback."""
        if notification.event is not EventKind.RESOLVED and notification.incident:
            self._by_incident.setdefault(notification.incident, {})[notification.recipient] = None

    def ends(self, notifications: Iterable[Notification], now: float) -> list[tuple[Notification, Notification]]:
        """What is owed to them because of these notifications, each with the one it follows from.

        Made now (epoch seconds). They are forgotten then.
        """
        ended: dict[int, list[Notification]] = {}
        for one in notifications:
            if one.event is EventKind.RESOLVED and one.incident in self._by_incident:
                ended.setdefault(one.incident, []).append(one)
        return [
            _end(who, told, now)
            for number, told in ended.items()
            for who in self._by_incident.pop(number)
            if who not in {one.recipient for one in told}
        ]


def _end(who: Recipient, told: Sequence[Notification], now: float) -> tuple[Notification, Notification]:
    """The end for somebody, and what was meant for whom they stand in for."""
    meant = next((one for one in told if who in one.fallbacks), told[0])
    key = f"{meant.id}{FALLBACK}{who.channel}"  # the one under which it would be told if its channel failed again
    end = replace(
        meant,
        id=key if who in meant.fallbacks[:1] else f"{key}{who.contact}",
        recipient=who,
        created_at=now,
        not_before=now,
        digest=False,
        fallbacks=meant.fallbacks[meant.fallbacks.index(who) + 1 :] if who in meant.fallbacks else (),
        message=redirected(meant.message, meant.recipient.channel, "could not deliver what came before"),
    )
    return end, meant
