"""Mails to subscribers of the status page: invitations to confirm, and what was published since.

Whoever asks for mails gets one with a link that confirms; until then nothing is stored. What subscribers are owed is
stored with the post it is about, and forgotten when it is delivered. These mails have a queue of their own, so that
hundreds of them delay no page to whoever is on call.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import html
import re
import secrets
from collections.abc import Callable, Mapping

import structlog

from wcr_watchd.core.errors import ChannelError, StoreError
from wcr_watchd.core.message import about_no_incident
from wcr_watchd.core.model import (
    EventKind,
    Notification,
    Recipient,
    Severity,
)
from wcr_watchd.core.planned_mails import word_of
from wcr_watchd.core.posts import OwedMail, Post, Subscriber, Update
from wcr_watchd.core.protocols import Channel
from wcr_watchd.core.run import Shared
from wcr_watchd.core.status import StatusPage
from wcr_watchd.core.view import View

log = structlog.get_logger(__name__)

CONFIRM_WITHIN = 48 * 3_600.0
"""Seconds for which a link to confirm is good."""
LONGEST_ADDRESS = 254
"""Characters (RFC 5321, 4.5.3.1.3, without the brackets)."""
MOST_INVITATIONS = 100
"""Invitations that wait to be sent; more are not sent at all."""
AT_A_TIME = 4
PORTION = 40
FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 3_600.0
GIVE_UP_AFTER = 24 * 3_600.0
LOOK_EVERY = 30.0
"""Seconds between looks at what is owed; a new post wakes it up at once."""
_SIGNATURE = 16
_LINK = re.compile(r"https?://[^\s<>\"']+")
_PURPOSE = b"status page: confirm "


class Invitations:
    """Writes and reads what confirms an address: the address and a time, signed (HMAC-SHA256, cut to 128 bit)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, address: str, now: float) -> str:
        """The text in the link."""
        said = f"{int(now)} {address}".encode()
        return base64.urlsafe_b64encode(said + self._sign(said)).rstrip(b"=").decode()

    def read(self, text: str, now: float) -> str | None:
        """The address; None for what was not written here, or is too old."""
        try:
            raw = base64.b64decode(text[:1_000] + "=" * (-len(text[:1_000]) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        said, signature = raw[:-_SIGNATURE], raw[-_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(said)):
            return None
        at, _, address = said.decode().partition(" ")
        return address if 0 <= now - int(at) <= CONFIRM_WITHIN else None

    def _sign(self, said: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + said, hashlib.sha256)[:_SIGNATURE]


class StatusMails:
    """Sends them. ``page`` gives the settings in force, ``channels`` the channels, ``post`` a post by its id."""

    def __init__(
        self,
        page: Callable[[], StatusPage | None],
        channels: Callable[[], Mapping[str, Channel]],
        view: View,
        shared: Shared,
        key: bytes,
        post: Callable[[str], Post | None],
    ) -> None:
        self._page = page
        self._channels = channels
        self._view = view
        self._shared = shared
        self._post = post
        self._invitations = Invitations(key)
        self._invited: asyncio.Queue[str] = asyncio.Queue(MOST_INVITATIONS)
        self._news = asyncio.Event()

    # --- for the web ---

    def invite(self, address: str) -> bool:
        """Send a mail with a link that confirms; returns whether it will be tried."""
        try:
            self._invited.put_nowait(address)
        except asyncio.QueueFull:
            return False
        self._news.set()
        return True

    def acceptable(self, address: str) -> bool:
        """Whether a text may be a mail address."""
        return acceptable(address)

    def invited(self, text: str) -> bool:
        """Whether the text of a link is good to confirm with."""
        return self._invitations.read(text, self._view.now()) is not None

    async def confirm(self, text: str) -> bool:
        """Subscribe whom the text of a link names; returns whether it was good. Raises ``StoreError``."""
        address = self._invitations.read(text, self._view.now())
        if address is None:
            return False
        who = Subscriber(secrets.token_urlsafe(18), address, self._view.now())
        await self._view.store.status_page.subscribe(who)
        return True

    async def unsubscribe(self, identity: str) -> bool:
        """End a subscription; returns whether there was one. Raises ``StoreError``."""
        return await self._view.store.status_page.unsubscribe(identity)

    def wake(self) -> None:
        """Something was published."""
        self._news.set()

    # --- sending ---

    async def serve(self) -> None:
        """Send what is owed until cancelled."""
        while True:
            self._news.clear()
            patience, page = LOOK_EVERY, self._page()
            channel = self._channels().get(page.mail) if page and page.mail else None
            if page is not None and channel is not None:
                try:
                    patience = await self._send_all(page, channel)
                except StoreError as error:
                    log.warning("mails to subscribers wait: the records cannot be read", error=str(error))
                except Exception:  # a defect here must not end the watch over everything else
                    log.exception("mails to subscribers wait; please report this")
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _send_all(self, page: StatusPage, channel: Channel) -> float:
        """Send what is due; returns for how many seconds nothing more is."""
        while not self._invited.empty():
            await self._invite(page, channel, self._invited.get_nowait())
        while due := await self._view.store.status_page.mails(self._view.now(), PORTION):
            for start in range(0, len(due), AT_A_TIME):
                async with asyncio.TaskGroup() as tasks:
                    for mail, address in due[start : start + AT_A_TIME]:
                        tasks.create_task(self._tell(page, channel, mail, address))
        due_at = await self._view.store.status_page.next_mail_at()
        return LOOK_EVERY if due_at is None else min(LOOK_EVERY, max(1.0, due_at - self._view.now()))

    async def _invite(self, page: StatusPage, channel: Channel, address: str) -> None:
        link = f"{page.url}/confirm/{self._invitations.write(address, self._view.now())}"
        subject = f"{page.title}: please confirm that you want mails"
        text = (
            f"Somebody, hopefully you, asked for mails about {page.title} to this address.\n\n"
            f"To get them, open this page and press the button within two days:\n{link}\n\n"
            "If it was not you, do nothing: without that, nothing is stored and nothing more is sent.\n"
        )
        try:
            await self._send(
                channel, f"status-invitation-{secrets.token_hex(8)}", address, {"subject": subject, "text": text}
            )
        except ChannelError as error:
            # Whoever asked can ask again; the address is not written anywhere, and so not into the log.
            log.warning("a mail to confirm a subscription was not accepted", reason=error.reason)

    async def _tell(self, page: StatusPage, channel: Channel, mail: OwedMail, address: str) -> None:
        records, now = self._view.store.status_page, self._view.now()
        post = self._post(mail.post)
        update = next((one for one in post.updates if one.id == mail.update), None) if post else None
        if post is None or update is None or not update.published:
            await records.mailed(mail)
            return
        try:
            # The same name at each attempt, so that a mail that comes twice can be recognised.
            await self._send(
                channel, f"status-{mail.update}-{mail.subscriber}", address, told(page, post, update, mail)
            )
        except ChannelError as error:
            late = now - mail.owed_at >= GIVE_UP_AFTER
            log.warning(
                "a mail to a subscriber was not accepted", reason=error.reason, given_up=error.permanent or late
            )
            if not error.permanent and not late:
                wait = min(FIRST_BACKOFF * 2 ** min(mail.attempts, 20), LONGEST_BACKOFF)
                await records.mailed(mail, again_at=now + wait)
                return
        await records.mailed(mail)

    async def _send(self, channel: Channel, identity: str, address: str, parts: Mapping[str, str]) -> None:
        """Hand one mail over; raises nothing but :class:`ChannelError`."""
        now, page = self._view.now(), self._page()
        # What a channel wants to know besides the parts: when, and nothing of what is inside.
        message = about_no_incident(EventKind.NOTED, now, page.timezone if page else "UTC")
        recipient = Recipient(channel="", contact="subscriber", address=address)
        notification = Notification(identity, 0, EventKind.NOTED, Severity.INFO, recipient, now, now, message)
        written = {**parts, "html": _html(parts["text"])}
        try:
            async with asyncio.timeout(channel.timeout):
                await channel.send(notification, written, self._shared)
        except ChannelError:
            raise
        except TimeoutError as error:
            raise ChannelError("no answer in time", reason="timeout", permanent=False) from error
        except Exception as error:  # a channel may be anybody's; its defect must not stop the page
            said = f"{type(error).__name__}: {error}"
            raise ChannelError(said, reason="internal", permanent=False) from error


def told(page: StatusPage, post: Post, update: Update, mail: OwedMail) -> dict[str, str]:
    """The parts of a mail about an update: from what is public alone."""
    names = [one.name for one in page.components if one.id in post.components]
    about = f"Concerns: {', '.join(names)}\n" if names else ""
    leave = f"{page.url}/unsubscribe/{mail.subscriber}"
    word = word_of(update) if post.planned else update.state.value.capitalize()
    more = f"{page.url}/" if post.planned else f"{page.url}/incident/{post.id}/"
    text = (
        f"{post.title}\n\n{word}: {update.text}\n\n{about}"
        f"More, and how things are now: {more}\n\n"
        f"You get this because you asked for it at {page.url}/\nNo more mails: {leave}\n"
    )
    return {
        "subject": f"[{page.title}] {word}: {post.title}",
        "text": text,
        "List-Unsubscribe": f"<{leave}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def acceptable(address: str) -> bool:
    """Whether a text may be a mail address: what stands in a mail's header must be one and nothing else."""
    name, at, domain = address.rpartition("@")
    plain = address.isascii() and address.isprintable() and not set(address) & set(' <>,;:"()[]\\')
    return bool(at and name and "." in domain) and plain and len(address) <= LONGEST_ADDRESS and "@" not in name


def _html(text: str) -> str:
    """The text with its links; without pictures, styles or anything that tells who reads it."""
    shown = _LINK.sub(r'<a href="\g<0>">\g<0></a>', html.escape(text))
    return f'<!doctype html><html lang="en"><body><p>{shown.replace(chr(10), "<br>" + chr(10))}</p></body></html>'
