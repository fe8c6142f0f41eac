"""Who was told of an incident because somebody else could not be reached: they hear of its end as well."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wcr_watchd.core.message import redirected
from wcr_watchd.core.model import EventKind, Notification, Recipient

FALLBACK = ":fallback:"
"""Stands in the id of a notification that is owed in another's place."""
REMEMBERED = 1000
"""Pieces of news told in another's place that are known, the newest."""


class StandIns:
    """Remembers them for every incident that is not over.

    Where the channel that failed works again by then, the end would otherwise reach only whom it was meant for first,
    and whoever got up in their place would go on for nothing.
    """

    def __init__(self) -> None:
        self._by_incident: dict[int, dict[Recipient, None]] = {}
        self._told: OrderedDict[tuple[int, EventKind, float, Recipient], None] = OrderedDict()

    def told(self, news: Notification, who: Recipient) -> bool:
        """Whether somebody was told this already in another's place, whichever channel it was meant for first."""
        return _story(news, who) in self._told

    def note(self, notification: Notification, *, ended: bool = False) -> None:
        """A notification is owed to a fallback; ``ended`` says that its incident is over by now."""
        self._told[_story(notification, notification.recipient)] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if notification.incident and notification.event is not EventKind.RESOLVED and not ended:
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


def in_place_of(original: Notification, why: str, now: float) -> Notification:
    """The same news for the next in line, made now (epoch seconds) because its channel fails, as ``why`` says."""
    following, *others = original.fallbacks
    return replace(
        original,
        id=f"{original.id}{FALLBACK}{following.channel}",
        recipient=following,
        created_at=now,
        not_before=now,
        digest=False,
        fallbacks=tuple(others),
        message=redirected(original.message, original.recipient.channel, why),
    )


def _story(news: Notification, who: Recipient) -> tuple[int, EventKind, float, Recipient]:
    return news.incident, news.event, news.message.at, who


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
