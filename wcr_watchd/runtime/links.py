"""Puts the link to acknowledge into a notification on its way out, so that no store, page or log ever holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wcr_watchd.core.message import unattended
from wcr_watchd.core.model import Notification
from wcr_watchd.kit.tickets import MOST_INCIDENTS, Ticket, Tickets, way_of


class Links:
    """Writes links with ``tickets`` below ``public_url``, the dashboard's address; without one there are no links."""

    def __init__(self, tickets: Tickets, public_url: Callable[[], str]) -> None:
        self._tickets = tickets
        self._public_url = public_url

    def linked(self, notification: Notification) -> Notification:
        """The notification with its recipient's own link, if there is something to acknowledge.

        It is the same at each attempt: a provider that knows an idempotency key expects the same words with it.
        """
        message, to = notification.message, notification.recipient
        numbers, base = unattended(message), self._public_url().rstrip("/")
        if not base or not 0 < len(numbers) <= MOST_INCIDENTS:
            return notification
        way = way_of(to.address) if message.question else ""
        ticket = self._tickets.write(Ticket(numbers, to.contact, to.channel, message.at, way))
        return replace(notification, message=replace(message, ack_url=f"{base}/ack/{ticket}"))
