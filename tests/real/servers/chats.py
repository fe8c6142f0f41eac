"""Local stand-ins for Discord, Telegram, ntfy and Microsoft Teams: they take only what their documentation describes.

Sources: https://discord.com/developers/docs/resources/webhook#execute-webhook,
https://core.telegram.org/bots/api#sendmessage, https://docs.ntfy.sh/publish/,
https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using,
https://adaptivecards.io/explorer/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Annotated, Any, Literal

import aiohttp
import pytest
from aiohttp import web
from pydantic import AwareDatetime, Field, HttpUrl, ValidationError

from tests.real.servers.pagers import Strict, Text, body_of, problems
from tests.real.servers.providers import TOKEN, Provider, Refused

SECRET_PATH = "/api/webhooks/1234/a-secret-that-must-never-be-seen"
WORKFLOW_PATH = "/workflows/0123/triggers/manual/paths/invoke"
SIGNATURE = "a-signature-that-must-never-be-seen"
BOT = "123456:AAa-key_that-must-never-be-seen"
CHAT = -1001234567890
TOPIC = "a-topic-that-must-never-be-seen"


def as_json(status: int, **said: Any) -> Refused:
    return Refused(status, json.dumps(said), "application/json")


# --- Discord ----------------------------------------------------------------------------------------------------------


class EmbedField(Strict):
    name: Text(256)
    value: Text(1024)
    inline: bool = False


class Embed(Strict):
    title: Text(256)
    description: Text(4096)
    url: HttpUrl | None = None
    color: Annotated[int, Field(ge=0, le=0xFFFFFF)]
    timestamp: AwareDatetime
    fields: Annotated[list[EmbedField], Field(max_length=25)]


class Mentions(Strict):
    parse: list[Literal["users", "roles", "everyone"]]


class DiscordMessage(Strict):
    content: Text(2000) | None = None
    username: Text(80) | None = None
    embeds: Annotated[list[Embed], Field(min_length=1, max_length=10)]
    allowed_mentions: Mentions


class Discord(Provider):
    """A channel's webhook; thread 77 is the only one."""

    @property
    def url(self) -> str:
        return self.base + SECRET_PATH

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != SECRET_PATH or request.method != "POST":
            raise as_json(404, message="Unknown Webhook", code=10015)
        if request.query.get("thread_id", "77") != "77":
            raise as_json(400, message="Unknown Channel", code=10003)
        assert request.query.keys() <= {"wait", "thread_id"}
        fields = body_of(request, raw)
        try:
            message = DiscordMessage.model_validate(fields)
        except ValidationError as error:
            raise as_json(400, message="Invalid Form Body", code=50035, errors=problems(error)) from error
        for embed in message.embeds:
            texts = [embed.title, embed.description, *(part for one in embed.fields for part in (one.name, one.value))]
            if sum(map(len, texts)) > 6000:
                raise as_json(400, message="Invalid Form Body", code=50035, errors="embeds over 6000")
        if request.query.get("wait") == "true":
            return fields, web.json_response({"id": "998877", "channel_id": "1"})
        return fields, web.Response(status=204)


# --- Telegram ---------------------------------------------------------------------------------------------------------


class Preview(Strict):
    is_disabled: bool


class SendMessage(Strict):
    chat_id: int | str
    message_thread_id: int | None = None
    text: Text(100_000)
    parse_mode: Literal["HTML"]
    link_preview_options: Preview
    disable_notification: bool


class Entities(HTMLParser):
    """Reads Telegram's HTML: few tags, all closed, and only four named entities."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.seen, self.open = "", [""]
        self.feed(text)
        self.close()
        if self.open != [""]:
            raise as_json(400, ok=False, error_code=400, description=f"can't parse entities: unclosed {self.open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("b", "i", "u", "s", "code", "pre", "a") or (attrs and tag != "a"):
            raise as_json(400, ok=False, error_code=400, description=f'can\'t parse entities: Unsupported tag "{tag}"')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            raise as_json(400, ok=False, error_code=400, description=f"can't parse entities: unexpected {tag}")

    def handle_data(self, data: str) -> None:
        self.seen += data

    def handle_entityref(self, name: str) -> None:
        self.seen += {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}[name]

    def handle_charref(self, name: str) -> None:
        raise AssertionError(name)


class Telegram(Provider):
    """POST /bot<token>/sendMessage; ``migrated`` makes the chat one that has become a supergroup.

    ``shown`` are the texts as a person sees them.
    """

    migrated = False

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != f"/bot{BOT}/sendMessage":
            raise as_json(401, ok=False, error_code=401, description="Unauthorized")
        fields = body_of(request, raw)
        try:
            message = SendMessage.model_validate(fields)
        except ValidationError as error:
            raise as_json(400, ok=False, error_code=400, description=f"Bad Request: {problems(error)}") from error
        if message.chat_id != CHAT:
            raise as_json(400, ok=False, error_code=400, description="Bad Request: chat not found")
        if self.migrated:
            moved, said = {"migrate_to_chat_id": -100999}, "group chat was upgraded to a supergroup chat"
            raise as_json(400, ok=False, error_code=400, description=f"Bad Request: {said}", parameters=moved)
        seen = Entities(message.text).seen
        if len(seen.encode("utf-16-le")) // 2 > 4096:
            raise as_json(400, ok=False, error_code=400, description="Bad Request: message is too long")
        self.shown.append(seen)
        return fields, web.json_response({"ok": True, "result": {"message_id": len(self.shown)}})


# --- ntfy -------------------------------------------------------------------------------------------------------------


class Action(Strict):
    action: Literal["view"]
    label: Text(100)
    url: HttpUrl


class Publication(Strict):
    topic: str
    title: Text(250)
    message: Text(100_000)
    priority: Annotated[int, Field(ge=1, le=5)]
    tags: list[Text(50)]
    click: HttpUrl | None = None
    actions: Annotated[list[Action], Field(max_length=3)] = Field(default_factory=list)


class Ntfy(Provider):
    """POST / with JSON; its one topic is for those who have the token or the password."""

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != "/" or request.method not in ("POST", "PUT"):
            raise as_json(404, code=40401, http=404, error="page not found")
        known = (f"Bearer {TOKEN}", aiohttp.encode_basic_auth("watch", TOKEN))
        if request.headers.get("Authorization") not in known:
            raise as_json(403, code=40301, http=403, error="forbidden")
        fields = body_of(request, raw)
        try:
            published = Publication.model_validate(fields)
        except ValidationError as error:
            raise as_json(400, code=40024, http=400, error=f"invalid request: {problems(error)}") from error
        if published.topic != TOPIC:
            raise as_json(403, code=40301, http=403, error="forbidden")
        assert len(published.message.encode()) <= 4096, "it would become an attachment"
        answer = {"id": "hwQ2YpKdmg", "time": 1635528741, "event": "message", "topic": TOPIC}
        return fields, web.json_response(answer)


# --- Microsoft Teams --------------------------------------------------------------------------------------------------


class Run(Strict):
    type: Literal["TextRun"]
    text: Text(100_000)
    weight: Literal["Bolder", "Default", "Lighter"] = "Default"
    size: Literal["Small", "Default", "Medium", "Large", "ExtraLarge"] = "Default"
    color: Literal["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"] = "Default"


class Block(Strict):
    type: Literal["RichTextBlock"]
    inlines: Annotated[list[Run], Field(min_length=1)]


class OpenUrl(Strict):
    type: Literal["Action.OpenUrl"]
    title: Text(100)
    url: HttpUrl


class Card(Strict):
    schema_: Literal["http://adaptivecards.io/schemas/adaptive-card.json"] = Field(alias="$schema")
    type: Literal["AdaptiveCard"]
    version: Literal["1.2", "1.3", "1.4"]
    msteams: dict[str, str]
    body: Annotated[list[Block], Field(min_length=1)]
    actions: Annotated[list[OpenUrl], Field(max_length=6)] = Field(default_factory=list)


class Attachment(Strict):
    content_type: Literal["application/vnd.microsoft.card.adaptive"] = Field(alias="contentType")
    content_url: None = Field(default=None, alias="contentUrl")
    content: Card


class TeamsMessage(Strict):
    type: Literal["message"]
    attachments: Annotated[list[Attachment], Field(min_length=1)]


class Teams(Provider):
    """A workflow "When a Teams webhook request is received": 202, and 28 KB at most."""

    @property
    def url(self) -> str:
        return f"{self.base}{WORKFLOW_PATH}?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sig={SIGNATURE}"

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path != WORKFLOW_PATH or request.method != "POST":
            raise as_json(404, error={"code": "WorkflowNotFound", "message": "The workflow could not be found."})
        if request.query.get("sig") != SIGNATURE or request.query.get("sp") != "/triggers/manual/run":
            raise as_json(401, error={"code": "DirectApiAuthorizationRequired", "message": "no valid signature"})
        if len(raw) > 28 * 1024:
            raise as_json(413, error={"code": "RequestEntityTooLarge", "message": "over 28 KB"})
        fields = body_of(request, raw)
        try:
            TeamsMessage.model_validate(fields)
        except ValidationError as error:
            raise as_json(400, error={"code": "TriggerInputSchemaMismatch", "message": str(problems(error))}) from error
        return fields, web.Response(status=202)


def _serving(provider: Provider) -> Iterator[Any]:
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def discord() -> Iterator[Discord]:
    """Discord's webhooks."""
    yield from _serving(Discord())


@pytest.fixture
def telegram() -> Iterator[Telegram]:
    """Telegram's Bot API."""
    yield from _serving(Telegram())


@pytest.fixture
def ntfy() -> Iterator[Ntfy]:
    """An ntfy server."""
    yield from _serving(Ntfy())


@pytest.fixture
def teams() -> Iterator[Teams]:
    """A workflow of Microsoft Teams."""
    yield from _serving(Teams())
