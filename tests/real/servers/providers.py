"""Local stand-ins for the HTTP APIs of Twilio and Slack, an SMS gateway and a webhook receiver.

Each enforces the documented shape of requests (what the provider would refuse is refused here with the provider's own
status and words), records what it accepted, and can be told to fail. Each runs on a loop and thread of its own, so
that tests with a virtual clock and daemons in other processes can use it alike.

Sources: https://www.twilio.com/docs/messaging/api/message-resource, https://www.twilio.com/docs/api/errors,
https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/block-kit/blocks
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "a-token-that-must-never-be-seen"
FROM = "+15550100"
SLACK_PATH = "/services/T00000000/B00000000/a-secret-that-must-never-be-seen"
WEBHOOK_SECRET = "a-key-that-must-never-be-seen"
E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True)
class Fault:
    """How to fail one request: answer a status, never answer, or drop the connection.

    ``after_accepting`` does so only once the message is recorded: the case that nobody can tell apart from outside.
    """

    status: int = 0
    retry_after: str = ""
    body: str = ""
    hang: bool = False
    reset: bool = False
    after_accepting: bool = False


HANG = Fault(hang=True)
RESET = Fault(reset=True)


@dataclass(frozen=True)
class Accepted:
    """One message that the provider took."""

    at: float
    fields: dict[str, Any]
    headers: dict[str, str]
    raw: bytes


@dataclass
class Provider:
    """A provider's API on loopback. ``fault`` holds until it is None again.

    ``faults`` are used up one per request (None: take it).

    ``cut_answers`` drops the connection in the midst of an acceptance's body.
    """

    accepted: list[Accepted] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    requests: int = 0
    faults: deque[Fault | None] = field(default_factory=deque)
    fault: Fault | None = None
    cut_answers: bool = False
    port: int = 0

    def start(self) -> None:
        """Listen; again on the same port after a stop."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def stop(self) -> None:
        """Close every connection and stop listening."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._gone = asyncio.Event()
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        self._gone.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        raw = await request.read()
        fault = self.faults.popleft() if self.faults else self.fault
        if fault and not fault.after_accepting:
            return await self._fail(request, fault)
        try:
            fields, answer = self.take(request, raw)
        except Refused as refused:
            self.refused.append(refused.text)
            return web.Response(status=refused.status, text=refused.text, content_type=refused.content_type)
        self.accepted.append(Accepted(time.time(), fields, dict(request.headers), raw))
        if self.cut_answers:
            return await self._cut(request, answer)
        return await self._fail(request, fault) if fault else answer

    async def _cut(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        stream = web.StreamResponse(status=answer.status, headers={"Content-Length": "1000"})
        await stream.prepare(request)
        await stream.write(b"begun")
        if request.transport is not None:
            request.transport.abort()
        return stream

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.hang:
            await self._gone.wait()
        if fault.hang or fault.reset:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return web.Response(status=fault.status, text=fault.body, headers=headers)

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        """Check a request as the provider would; returns its fields and the answer, or raises Refused."""
        raise Refused(404, "this provider takes no messages")


class Refused(Exception):  # noqa: N818 - it is an answer
    """The provider's refusal of a request."""

    def __init__(self, status: int, text: str, content_type: str = "text/plain") -> None:
        super().__init__(text)
        self.status, self.text, self.content_type = status, text, content_type


def read_form(raw: bytes) -> dict[str, str]:
    pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs), f"a field stands twice: {pairs}"
    return dict(pairs)


class Twilio(Provider):
    """POST /2010-04-01/Accounts/{sid}/Messages.json; ``unsubscribed`` numbers answer STOP (21610)."""

    unsubscribed: frozenset[str] = frozenset()

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.headers.get("Authorization") != aiohttp.encode_basic_auth(ACCOUNT, TOKEN):
            raise self._error(401, 20003, "Authentication Error - invalid username")
        if request.path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
            raise self._error(404, 20404, f"The requested resource {request.path} was not found")
        if request.method != "POST":
            raise self._error(405, 20004, "Method not allowed")
        if request.content_type != "application/x-www-form-urlencoded":
            raise self._error(400, 21603, "A 'From' phone number is required.")
        fields = read_form(raw)
        self._check(fields)
        sid = "SM" + hashlib.md5(f"{id(self)}{len(self.accepted)}".encode()).hexdigest()
        answer = {"sid": sid, "status": "queued", "to": fields["To"], "error_code": None, "num_segments": "1"}
        return fields, web.json_response(answer, status=201)

    def _check(self, fields: dict[str, str]) -> None:
        unknown = fields.keys() - {"To", "From", "MessagingServiceSid", "Body"}
        assert not unknown, f"fields that Twilio does not know: {unknown}"
        if not fields.get("To"):
            raise self._error(400, 21604, "A 'To' phone number is required.")
        if not E164.fullmatch(fields["To"]):
            raise self._error(400, 21211, f"The 'To' number {fields['To']} is not a valid phone number.")
        if not fields.get("From") and not re.fullmatch("MG[0-9a-f]{32}", fields.get("MessagingServiceSid", "")):
            raise self._error(400, 21603, "A 'From' phone number is required.")
        if not fields.get("Body"):
            raise self._error(400, 21602, "Message body is required.")
        if len(fields["Body"]) > 1600:
            raise self._error(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        if fields["To"] in self.unsubscribed:
            raise self._error(400, 21610, "Attempt to send to unsubscribed recipient")

    @staticmethod
    def _error(status: int, code: int, message: str) -> Refused:
        more = f"https://www.twilio.com/docs/errors/{code}"
        said = {"code": code, "message": message, "more_info": more, "status": status}
        return Refused(status, json.dumps(said), "application/json")


class Slack(Provider):
    """An incoming webhook; ``archived`` makes its channel one that takes nothing more."""

    archived: bool = False

    @property
    def url(self) -> str:
        return self.base + SLACK_PATH

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != SLACK_PATH:
            raise Refused(404, "no_service")
        if request.method != "POST":
            raise Refused(405, "method_not_allowed")
        if self.archived:
            raise Refused(410, "channel_is_archived")
        try:
            payload = json.loads(raw) if request.content_type == "application/json" else None
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            raise Refused(400, "invalid_payload")
        if not payload.get("text") and not payload.get("blocks"):
            raise Refused(400, "no_text")
        wrong = [problem for block in payload.get("blocks", []) for problem in block_problems(block)]
        if wrong or len(payload.get("blocks", [])) > 50 or len(payload.get("text", "")) > 40_000:
            raise Refused(400, f"invalid_blocks {wrong}")
        return payload, web.Response(text="ok", content_type="text/html")


def block_problems(block: dict[str, Any]) -> Iterator[str]:
    """What Slack would not take about a block."""
    match block:
        case {"type": "header", "text": text}:
            yield from text_problems(text, 150, ("plain_text",))
        case {"type": "section", **rest}:
            fields = rest.get("fields", [])
            if "text" not in rest and not fields:
                yield "section without text and fields"
            if "text" in rest:
                yield from text_problems(rest["text"], 3000)
            if len(fields) > 10:
                yield "more than 10 fields"
            for part in fields:
                yield from text_problems(part, 2000)
        case {"type": "context", "elements": elements}:
            if not 1 <= len(elements) <= 10:
                yield "context with no or more than 10 elements"
            for part in elements:
                yield from text_problems(part, 3000)
        case {"type": "actions", "elements": [*buttons]}:
            yield from actions_problems(buttons)
        case _:
            yield f"unknown block {block}"


def actions_problems(buttons: list[dict[str, Any]]) -> Iterator[str]:
    """What Slack would not take about a row of buttons."""
    if not 1 <= len(buttons) <= 25 or len({one.get("action_id") for one in buttons}) < len(buttons):
        yield "actions with no or more than 25 elements, or one action_id twice"
    for button in buttons:
        yield from button_problems(button)


def button_problems(button: dict[str, Any]) -> Iterator[str]:
    """What Slack would not take about a button."""
    unknown = button.keys() - {"type", "text", "action_id", "url", "value", "style"}
    if button.get("type") != "button" or unknown:
        yield f"no button, or one with unknown fields: {unknown}"
    yield from text_problems(button.get("text"), 75, ("plain_text",))
    url = button.get("url", "https://")
    if len(url) > 3000 or not url.startswith(("https://", "http://")):
        yield "button with a bad url"
    if len(button.get("value", "")) > 2000 or button.get("style", "primary") not in ("primary", "danger"):
        yield "button with a bad value or style"


def text_problems(text: Any, length: int, types: tuple[str, ...] = ("plain_text", "mrkdwn")) -> Iterator[str]:
    """What Slack would not take about a text object."""
    match text:
        case {"type": kind, "text": str(said)}:
            if kind not in types:
                yield f"text of type {kind}"
            if not 1 <= len(said) <= length:
                yield f"text of {len(said)} characters where 1 to {length} are allowed"
            if kind == "mrkdwn" and "emoji" in text:
                yield "emoji in mrkdwn"
        case _:
            yield f"no text object: {text}"


class WebhookReceiver(Provider):
    """Takes signed JSON; like a careful receiver it knows a repeated Idempotency-Key and does its work once."""

    url_path = "/hook"

    @property
    def url(self) -> str:
        return self.base + self.url_path

    @property
    def keys(self) -> list[str]:
        return [message.headers["Idempotency-Key"] for message in self.accepted]

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != self.url_path or request.method != "POST":
            raise Refused(404, "not found")
        if request.content_type != "application/json":
            raise Refused(415, "application/json only")
        if not request.headers.get("Idempotency-Key"):
            raise Refused(400, "Idempotency-Key is missing")
        expected = "sha256=" + hmac.new(WEBHOOK_SECRET.encode(), raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers.get("X-Watchd-Signature", ""), expected):
            raise Refused(401, "the signature is wrong")
        return json.loads(raw), web.Response(status=202, text="taken")


class SmsGateway(Provider):
    """An SMS gateway of the plain sort: a bearer token, and JSON or a form."""

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refused(401, "who are you?")
        if request.content_type == "application/json":
            return json.loads(raw), web.json_response({"id": len(self.accepted) + 1})
        return read_form(raw), web.Response(text="queued")


def _serving(provider: Provider) -> Iterator[Any]:
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def twilio() -> Iterator[Twilio]:
    """Twilio's Messages API."""
    yield from _serving(Twilio())


@pytest.fixture
def slack() -> Iterator[Slack]:
    """Slack's incoming webhooks."""
    yield from _serving(Slack())


@pytest.fixture
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """A receiver of our webhook messages."""
    yield from _serving(WebhookReceiver())


@pytest.fixture
def sms_gateway() -> Iterator[SmsGateway]:
    """A generic SMS gateway."""
    yield from _serving(SmsGateway())
