"""Subscribers of the status page as operators see them, on the page and in the API.

What stands in the link that ends a subscription is the subscriber's secret, so nobody sees it here: a handle made of it
names the subscriber.
"""

from __future__ import annotations

from collections.abc import Sequence

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.posts import Subscriber
from wcr_watchd.core.view import View
from wcr_watchd.web.access.digest import digest_of

HANDLE = "[0-9a-f]{16}"


def handle_of(who: Subscriber) -> str:
    """What names a subscriber here."""
    return digest_of(who.id)[:16]


async def found(view: View, text: str = "") -> tuple[Sequence[Subscriber], int]:
    """Those with this text in their address, by address, and how many there are of all. Raises ``StoreError``."""
    known = await view.store.status_page.subscribers()
    wanted = text.strip().casefold()
    some = [one for one in known if wanted in one.address.casefold()]
    return sorted(some, key=lambda one: one.address.casefold()), len(known)


async def remove(view: View, handle: str) -> str:
    """End the subscription that a handle names; returns a sentence without the address.

    Raises ``CommandError`` when there is none, and ``StoreError``.
    """
    known = await view.store.status_page.subscribers()
    who = next((one for one in known if handle_of(one) == handle), None)
    if who is None or not await view.store.status_page.unsubscribe(who.id):
        raise CommandError(f"there is no subscriber {handle} any more")
    return f"subscriber {handle} is removed and gets no more mails"
