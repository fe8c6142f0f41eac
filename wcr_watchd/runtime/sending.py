"""One attempt to hand a notification over to a channel."""

from __future__ import annotations

import asyncio

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import Message, Notification, Recipient
from wcr_watchd.core.protocols import Channel, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.templates import Wording


def out_of_turn(recipient: Recipient, message: Message) -> Notification:
    """A message that is owed to nobody, for one recipient: a test of a channel, or a step of a drill."""
    return Notification(
        id=f"{message.watchd}-test-{message.at:.3f}-{recipient.channel}-{recipient.contact}",
        incident=message.incident,
        event=message.event,
        severity=message.severity,
        recipient=recipient,
        created_at=message.at,
        not_before=message.at,
        message=message,
    )


async def hand_over(
    channel: Channel, notification: Notification, shared: Shared, wording: Wording | None = None
) -> Receipt:
    """Render and send one notification within the channel's deadline; raises nothing but :class:`ChannelError`."""
    try:
        message = notification.message
        parts = channel.render(wording.of(message) if wording else message)
    except Exception as error:  # a channel may be anybody's; its defect must not stop the others
        raise _defect("rendering", channel, error, permanent=True) from error
    try:
        async with asyncio.timeout(channel.timeout):
            return await channel.send(notification, parts, shared)
    except ChannelError:
        raise
    except TimeoutError as error:
        said = f"no answer within {channel.timeout:g} s; it may have been accepted all the same"
        raise ChannelError(said, reason="timeout", permanent=False) from error
    except Exception as error:
        raise _defect("sending", channel, error, permanent=False) from error


def _defect(doing: str, channel: Channel, error: Exception, *, permanent: bool) -> ChannelError:
    summary = f"{doing} by a channel of type {channel.type} failed: {type(error).__name__}: {error}; please report this"
    return ChannelError(summary, reason="internal", permanent=permanent)
