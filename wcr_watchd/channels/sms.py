"""SMS: text messages by Twilio's Messages API or by any gateway that takes an HTTP request.

Format: https://www.twilio.com/docs/messaging/api/message-resource (request, answer),
https://www.twilio.com/docs/api/errors (error codes).
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, quote, urlencode
from xml.sax.saxutils import escape

from pydantic import Field, PrivateAttr, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import one_line, shorten
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Answer, Asked, Call, Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.core.sms import GSM7_LENGTH, plain, sms_text
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import OutboundHttp, Reply, SecretUrl, Url, refused

TWILIO_TOO_MANY = frozenset({14107, 20429})
"""Twilio error codes that ask to come again although their HTTP status is a refusal."""
REMEMBERED = 1000
"""Received messages whose repetition is noticed."""
_PLACEHOLDER = re.compile(r"\{(to|text|id)\}")
_TWILIO_KEYS = ("account_sid", "auth_token")
_GATEWAY_KEYS = ("url", "body")


class Sms(Options):
    """Sends one SMS per notification, short enough to be charged as one."""

    type: ClassVar[str] = "sms"
    address_kind: ClassVar[str] = "phone"
    limits: ClassVar[Limits] = Limits(length=GSM7_LENGTH)
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.sms]
type = "sms"
provider = "twilio"
account_sid = "${credential:twilio_sid}"
auth_token = "${credential:twilio_token}"
from = "+15550100"
limit = "10/1h"
"""

    provider: Literal["twilio", "http"] = "twilio"
    """``twilio``, or ``http`` for any gateway that takes an HTTP request."""
    account_sid: Secret | None = None
    """Twilio: the account."""
    auth_token: Secret | None = None
    """Twilio: the account's token; requests to ``/answer/<name of the channel>`` that it signs are obeyed."""
    sender: str = Field(default="", alias="from")
    """Twilio: the number (E.164) or sender id that messages come from."""
    messaging_service_sid: str = ""
    """Twilio: a messaging service, in place of ``from``."""
    api_url: Url = "https://api.twilio.com"
    """Twilio: where the API is."""
    url: SecretUrl | None = None
    """Gateway: where to send the request."""
    method: Literal["POST", "PUT"] = "POST"
    """Gateway: the request's method."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Gateway: headers to add, such as ``Authorization``."""
    format: Literal["json", "form"] = "json"
    """Gateway: how ``body`` is written into the request."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Gateway: the request's fields; in their texts ``{to}``, ``{text}`` and ``{id}`` stand for number, text and id."""

    _seen: OrderedDict[str, None] = PrivateAttr(default_factory=OrderedDict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Demand what the chosen provider needs and refuse what only the other one knows."""
        needed, foreign = (_TWILIO_KEYS, _GATEWAY_KEYS) if self.provider == "twilio" else (_GATEWAY_KEYS, _TWILIO_KEYS)
        missing = [name for name in needed if not getattr(self, name)]
        if self.provider == "twilio" and bool(self.sender) == bool(self.messaging_service_sid):
            missing.append('one of "from" and "messaging_service_sid"')
        if missing:
            raise ValueError(f'provider "{self.provider}" needs {", ".join(missing)}')
        unused = [name for name in foreign if name in self.model_fields_set]
        if unused:
            raise ValueError(f'provider "{self.provider}" does not use {", ".join(unused)}')
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """The text of one SMS."""
        return {"text": sms_text(message)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Hand the text to the provider for the recipient's number."""
        to = notification.recipient.address
        http = shared.get(OutboundHttp)
        if self.provider == "twilio":
            return await self._send_by_twilio(http, to, parts["text"])
        return await self._send_by_gateway(http, to, parts["text"], notification.id)

    def asked(self, call: Call) -> Asked | None:
        """What a text message asks for; None for a request that Twilio did not sign, or made before.

        https://www.twilio.com/docs/usage/security#validating-requests
        """
        if self.provider != "twilio" or self.auth_token is None:
            return None
        try:
            form = parse_qsl(call.body.decode(), keep_blank_values=True)
        except ValueError:
            return None
        signed = call.url + "".join(name + value for name, value in sorted(form))
        digest = hmac.digest(self.auth_token.get_secret_value().encode(), signed.encode(), "sha1")
        given = call.headers.get("x-twilio-signature", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), base64.b64encode(digest)):
            return None
        said = dict(form)
        if self._is_repeated(said.get("MessageSid", "")):
            return None
        return Asked("SMS", address=said.get("From", ""), text=said.get("Body", "").strip())

    async def answer(self, asked: Asked, sentence: str, shared: Shared) -> Answer:
        """One text message back (TwiML), or none."""
        said = f"<Message>{escape(shorten(plain(one_line(sentence)), GSM7_LENGTH))}</Message>" if sentence else ""
        return Answer(f'<?xml version="1.0" encoding="UTF-8"?><Response>{said}</Response>', "text/xml")

    def _is_repeated(self, sid: str) -> bool:
        """Whether this message was here before: Twilio's signature has no time in it that could be looked at."""
        if sid in self._seen:
            return True
        self._seen[sid] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return False

    async def _send_by_twilio(self, http: OutboundHttp, to: str, text: str) -> Receipt:
        account, token = (key.get_secret_value() if key else "" for key in (self.account_sid, self.auth_token))
        url = f"{self.api_url.rstrip('/')}/2010-04-01/Accounts/{quote(account, safe='')}/Messages.json"
        sender = {"From": self.sender} if self.sender else {"MessagingServiceSid": self.messaging_service_sid}
        form = urlencode({"To": to, **sender, "Body": text}).encode()
        reply = await http.send(url, form, content_type="application/x-www-form-urlencoded", auth=(account, token))
        if not reply.accepted:
            raise _twilio_error(url, reply)
        return Receipt(str(reply.document().get("sid", f"HTTP {reply.status}")))

    async def _send_by_gateway(self, http: OutboundHttp, to: str, text: str, identity: str) -> Receipt:
        url = self.url.get_secret_value() if self.url else ""
        fields = fill(self.body, {"to": to, "text": text, "id": identity})
        as_json = self.format == "json"
        reply = await http.send(
            url,
            (json.dumps(fields, ensure_ascii=False) if as_json else urlencode(fields)).encode(),
            content_type="application/json" if as_json else "application/x-www-form-urlencoded",
            method=self.method,
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
        )
        if not reply.accepted:
            raise refused(url, reply, reply.text)
        return Receipt(f"HTTP {reply.status} {reply.text[:200]}".strip())


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """The template with ``{to}``, ``{text}`` and ``{id}`` replaced in all its texts; what is put in is not searched."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    return template


def _twilio_error(url: str, reply: Reply) -> ChannelError:
    """The error that Twilio's answer means; its own code and words are worth more than the HTTP status."""
    answer = reply.document()
    code = answer.get("code")
    error = refused(url, reply, f"Twilio error {code}: {answer.get('message', '')}" if code else reply.text)
    if code in TWILIO_TOO_MANY:
        return ChannelError(error.summary, reason="rate_limited", permanent=False, retry_after=error.retry_after)
    return error
