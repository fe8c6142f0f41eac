"""Apprise, by its URL for JSON, which is the one that needs nobody's service."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.servers.providers import Fault, Provider, Refused
from tests.samples import make_message, make_notification
from wcr_watchd.channels.apprise import Apprise
from wcr_watchd.config import load
from wcr_watchd.core.errors import ChannelError, ConfigError
from wcr_watchd.core.model import EventKind, Recipient
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over

SECRET = "a-path-that-must-never-be-seen"


class Receiver(Provider):
    """Takes the JSON that Apprise posts."""

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        if request.path.strip("/") != SECRET:
            raise Refused(404, "not found")
        return json.loads(raw), web.Response(text="ok")


@pytest.fixture
def receiver() -> Any:
    server = Receiver()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def url_of(server: Provider) -> str:
    return f"json://127.0.0.1:{server.port}/{SECRET}"


async def send(shared: SharedHelpers, *urls: str, event: EventKind = EventKind.OPENED) -> str:
    kind = Apprise.model_validate({"urls": list(urls)})
    return (await hand_over(kind, make_notification(Recipient("it"), make_message(event=event)), shared)).text


async def test_apprise_hands_it_over(receiver: Receiver, shared: SharedHelpers) -> None:
    assert await send(shared, url_of(receiver)) == f"taken by JSON at 127.0.0.1:{receiver.port}"
    fields = receiver.accepted[0].fields
    assert fields["title"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert fields["message"].startswith("Check: api")
    assert fields["type"] == "failure"


async def test_the_end_is_a_success(receiver: Receiver, shared: SharedHelpers) -> None:
    await send(shared, url_of(receiver), event=EventKind.RESOLVED)
    assert receiver.accepted[0].fields["type"] == "success"


async def test_what_is_not_taken_may_be_later(receiver: Receiver, shared: SharedHelpers) -> None:
    receiver.faults.append(Fault(500))
    with pytest.raises(ChannelError, match=f"not taken by JSON at 127.0.0.1:{receiver.port}") as caught:
        await send(shared, url_of(receiver))
    assert not caught.value.permanent
    assert SECRET not in caught.value.summary


async def test_one_of_two_is_not_enough(receiver: Receiver, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="not taken by all of JSON"):
        await send(shared, url_of(receiver), f"json://127.0.0.1:{free_port()}/{SECRET}")


def test_a_url_that_apprise_does_not_know_is_found_at_once() -> None:
    with pytest.raises(ValidationError, match="cannot use the second of the URLs") as caught:
        Apprise.model_validate({"urls": ["json://localhost", f"nosuch://{SECRET}"]})
    assert SECRET not in str(caught.value.errors(include_input=False))


def test_without_the_package_the_configuration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(
        ConfigError, match=r"channel\.all: needs the package apprise: pip install 'wcr-watchd\[apprise\]'"
    ):
        load.loads('[channel.all]\ntype = "apprise"\nurls = ["json://localhost"]', "watchd.toml")
