"""Telegram: sends a message to a person, group or channel by a bot.

Format: https://core.telegram.org/bots/api#sendmessage (fields), #html-style (escaping), #making-requests (answers),
#responseparameters (429).
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import account, facts, headline, mark, shorten
from wcr_watchd.core.model import Message, Notification, Severity
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.outbound import OutboundHttp, Reply, Url, refused

TEXT_LENGTH = 4096
"""UTF-16 code units of a message, after its HTML is read."""


def _check_token(token: SecretStr) -> SecretStr:
    number, colon, key = token.get_secret_value().partition(":")
    if not (number.isdigit() and colon and key.replace("-", "").replace("_", "").isalnum()):
        raise ValueError("must be a bot's token as BotFather gives it: digits, a colon, letters")
    return token


def _check_chat(chat: int | str) -> int | str:
    if isinstance(chat, str) and not (chat.startswith("@") and len(chat) > 1):
        raise ValueError("must be the number of a chat, or the @name of a public channel")
    return chat


class Telegram(Options):
    """Sends to one chat as a bot."""

    type: ClassVar[str] = "telegram"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=TEXT_LENGTH, rate=(20, 60.0))
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.telegram]
type = "telegram"
token = "${credential:telegram_token}"
chat = -1001234567890
"""

    token: Annotated[SecretStr, AfterValidator(_check_token)]
    """The bot's token."""
    chat: Annotated[int | str, AfterValidator(_check_chat)]
    """The chat's number, or the ``@name`` of a public channel; the bot must be a member."""
    thread: int | None = Field(default=None, gt=0)
    """The number of a topic in a group that has topics."""
    quiet: bool = True
    """Whether info and the end of incidents come without a sound."""
    url: Url = "https://api.telegram.org"
    """Where the Bot API is."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The text in Telegram's HTML, and whether it comes without a sound."""
        calm = message.severity <= Severity.INFO or message.event.value in ("resolved", "acknowledged")
        return {"html": text(message), "sound": "off" if calm and self.quiet else "on"}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Send it; Telegram has taken it when it says ``ok`` and gives the message a number."""
        url = f"{self.url.rstrip('/')}/bot{self.token.get_secret_value()}/sendMessage"
        body = {
            "chat_id": self.chat,
            "text": parts["html"],
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
            "disable_notification": parts["sound"] == "off",
        }
        thread = {"message_thread_id": self.thread} if self.thread is not None else {}
        reply = await shared.get(OutboundHttp).send_json(url, body | thread)
        answer = reply.document()
        if not reply.accepted:
            raise self._refused(url, reply)
        if reply.complete and answer.get("ok") is not True:
            raise ChannelError(
                f"no answer of Telegram's came from its API, but HTTP {reply.status}; is a proxy answering?",
                reason="server",
                permanent=False,
            )
        return Receipt(f"message {_inner(answer, 'result').get('message_id', '')}".strip())

    def _refused(self, url: str, reply: Reply) -> ChannelError:
        answer = reply.document()
        asked = _inner(answer, "parameters")
        said = str(answer.get("description") or reply.text)
        if "migrate_to_chat_id" in asked:
            said += f"; set chat = {asked['migrate_to_chat_id']} in the configuration"
        wait = asked.get("retry_after")
        return refused(url, reply, said, float(wait) if isinstance(wait, int | float) else None)


def text(message: Message) -> str:
    """The whole message in Telegram's HTML: the headline bold, the text, the facts; cut before it is escaped."""
    title = f"{mark(message)} {headline(message)}"
    lines = [(fact.label, fact.value) for fact in facts(message)]
    room = TEXT_LENGTH - _units(title) - 2
    story = _cut(account(message), room // 2)
    room -= _units(story) + 2
    found = [f"<b>{html.escape(title, quote=False)}</b>", "", html.escape(story, quote=False), ""]
    for label, value in lines:
        shown = _cut(value, 1000)
        room -= _units(f"{label}: {shown}\n")
        if room < 0:
            break
        found.append(f"<b>{html.escape(label, quote=False)}</b>: {html.escape(shown, quote=False)}")
    return "\n".join(found).strip()


def _units(said: str) -> int:
    """Length as Telegram counts it."""
    return len(said.encode("utf-16-le", "surrogatepass")) // 2


def _cut(said: str, units: int) -> str:
    """The text in at most so many UTF-16 code units."""
    return shorten(said, units - sum(character > "\uffff" for character in said[:units]))


def _inner(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = answer.get(name)
    return found if isinstance(found, dict) else {}
