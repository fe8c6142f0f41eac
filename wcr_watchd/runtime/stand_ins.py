"""Who was told of an incident because somebody else could not be reached: they hear of its end as well."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from wcr_watchd.core.message import DIGEST_ITEMS, digest, redirected
from wcr_watchd.core.model import EventKind, Message, Notification, Recipient

FALLBACK = ":fallback:"
"""Stands in the id of a notification that is owed in another's place."""
REMEMBERED = 5000
"""Pieces of news of which is known who is told them, the newest."""


class StandIns:
    """Remembers them for every incident that is not over.

    Where the channel that failed works again by then, the end would otherwise reach only whom it was meant for first,
    and whoever got up in their place would go on for nothing.
    """

    def __init__(self) -> None:
        self._by_incident: dict[int, dict[Recipient, float]] = {}
        self._told: OrderedDict[tuple[int, EventKind, float, Recipient], None] = OrderedDict()
        self._newest: OrderedDict[tuple[int, Recipient], float] = OrderedDict()
        """Of when the newest news of an incident is that somebody is told at once."""
        self._ends: OrderedDict[int, list[Notification]] = OrderedDict()
        """To whom the latest end of an incident is owed in their own right."""

    def untold(self, message: Message, who: Recipient) -> Message | None:
        """What of a message somebody is not told anyway, or was not told yet in another's place.

        What came before the newest they are told has lost its meaning: a failure after its end would sound as if it
        went on, and an end after it came back as if it were over.
        """
        news = message.items or (message,)
        left = [item for item in news if _story(item, who) not in self._told and not self._is_stale(item, who)]
        if len(left) == len(news) or len(news) == DIGEST_ITEMS:  # of so many, those beyond are only counted
            return message
        return digest(left, message.at, message.note) if left else None

    def note(self, notification: Notification, is_over: Callable[[int], bool] = lambda incident: False) -> None:
        """A notification is owed to a fallback; ``is_over`` says of which incidents nothing more will come."""
        self.meant(notification)
        who = notification.recipient
        for item in notification.message.items or (notification.message,):
            if item.incident and item.event is not EventKind.RESOLVED and not is_over(item.incident):
                heard = self._by_incident.setdefault(item.incident, {})
                heard[who] = max(item.at, heard.get(who, item.at))

    def meant(self, notification: Notification) -> None:
        """It is owed to somebody in their own right: they need not hear it in another's place as well."""
        held = notification.digest or notification.not_before > notification.created_at
        for item in notification.message.items or (notification.message,):
            self._told[_story(item, notification.recipient)] = None
            if item.incident and (item.event is EventKind.RESOLVED or not held):
                self._newest[item.incident, notification.recipient] = item.at
        if notification.event is EventKind.RESOLVED:
            at = notification.message.at
            same = [end for end in self._ends.get(notification.incident, ()) if end.message.at == at]
            self._ends[notification.incident] = [*same, notification]
        for remembered in (self._told, self._newest, self._ends):
            while len(remembered) > REMEMBERED:
                remembered.popitem(last=False)

    def _is_stale(self, news: Message, who: Recipient) -> bool:
        return news.at < self._newest.get((news.incident, who), news.at)

    def ends_since(self, notification: Notification) -> list[Notification]:
        """The ends that were owed already when this came to be owed to a fallback: it was late."""
        news = notification.message.items or (notification.message,)
        return [end for item in news for end in self._ends.get(item.incident, ()) if end.message.at >= item.at]

    def ends(self, notifications: Iterable[Notification], now: float) -> list[tuple[Notification, Notification]]:
        """What is owed to them because of these notifications, each with the one it follows from.

        Made now (epoch seconds). They are forgotten then. An end that came before what they heard is not theirs.
        """
        ended: dict[int, list[Notification]] = {}
        for one in notifications:
            if one.event is EventKind.RESOLVED and one.incident in self._by_incident:
                ended.setdefault(one.incident, []).append(one)
        found = []
        for number, told in ended.items():
            at = max(one.message.at for one in told)
            latest = [one for one in told if one.message.at == at]
            for who in [who for who, heard in self._by_incident[number].items() if heard <= at]:
                del self._by_incident[number][who]
                if who not in {one.recipient for one in latest} and _story(latest[0].message, who) not in self._told:
                    found.append(_end(who, latest, now))
            if not self._by_incident[number]:
                del self._by_incident[number]
        return found


def in_place_of(original: Notification, untold: Message, why: str, now: float) -> Notification:
    """The news for the next in line, as far as ``untold``: made now (epoch seconds) as its channel fails (``why``)."""
    following, *others = original.fallbacks
    return replace(
        original,
        id=f"{original.id}{FALLBACK}{following.channel}",
        recipient=following,
        created_at=now,
        not_before=now,
        digest=False,
        fallbacks=tuple(others),
        message=redirected(untold, original.recipient.channel, why),
    )


def _story(news: Message, who: Recipient) -> tuple[int, EventKind, float, Recipient]:
    return news.incident, news.event, news.at, who


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
