"""What every channel type must be: found by its file, described, bounded, and unable to show its secrets."""

from __future__ import annotations

import asyncio
import inspect
import socket
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.samples import MESSAGES, make_message, make_notification
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import Message, Recipient
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.kit import plugins
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over

PACKAGE = "wcr_watchd.channels"
COMMON_KEYS = ("type", "limit", "template")
"""Keys of every channel's table, which the configuration reads itself."""
SECRET = "a-value-that-must-never-be-seen"
ADDRESSES = {"phone": "+15550101", "email": "lead@example.org", "": ""}


@pytest.fixture(params=plugins.names(PACKAGE))
def kind(request: pytest.FixtureRequest) -> Any:
    """Each channel type in turn."""
    return plugins.load(PACKAGE, request.param)


FORMS = {
    "apprise": f"json://127.0.0.1:9/{SECRET}",
    "pagerduty": f"{SECRET:-<32}",
    "telegram": f"12345:{SECRET}",
}
"""How the secret looks where it has to have a certain form."""


def table(kind: Any) -> dict[str, Any]:
    """The settings of its example."""
    (settings,) = tomllib.loads(kind.example)["channel"].values()
    return {key: _with_secrets(kind, value) for key, value in settings.items() if key not in COMMON_KEYS}


def _with_secrets(kind: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_with_secrets(kind, one) for one in value]
    if isinstance(value, str) and value.startswith("${"):
        return FORMS.get(kind.type) or (f"https://127.0.0.1:9/{SECRET}" if "webhook" in value else SECRET)
    return value


def make(kind: Any, **changes: Any) -> Any:
    return kind.model_validate(table(kind) | changes)


def towards(kind: Any, port: int) -> Any:
    """A channel of the type that talks to a local port."""
    address = f"http://127.0.0.1:{port}/{SECRET}"
    options = {
        "alertmanager": {"urls": [address]},
        "apprise": {"urls": [f"json://127.0.0.1:{port}/{SECRET}?retry=0"]},
        "discord": {"webhook": address},
        "email": {"servers": [f"smtp://127.0.0.1:{port}"]},
        "jira": {"url": address},
        "ntfy": {"url": address},
        "opsgenie": {"url": address},
        "pagerduty": {"url": address},
        "slack": {"webhook": address},
        "sms": {"api_url": address},
        "teams": {"webhook": address},
        "telegram": {"url": address},
        "webhook": {"url": address},
    }
    assert kind.type in options, f"tell this test which option of {kind.type} names its provider"
    return make(kind, **options[kind.type])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_it_describes_itself(kind: Any) -> None:
    module = inspect.getmodule(kind)
    assert module is not None
    assert module.__doc__
    assert module.__doc__.strip().splitlines()[0].endswith(".")
    assert issubclass(kind, Options)
    assert kind.address_kind in ADDRESSES
    assert isinstance(kind.limits, Limits)
    assert 1 <= kind.timeout <= 60
    for name, option in kind.model_fields.items():
        assert option.description, f"option {name} of {kind.type} is not described"


def test_its_example_is_valid(kind: Any) -> None:
    (settings,) = tomllib.loads(kind.example)["channel"].values()
    assert settings["type"] == kind.type
    make(kind)


def test_it_refuses_unknown_options(kind: Any) -> None:
    with pytest.raises(ValidationError, match="unheard_of"):
        make(kind, unheard_of=1)


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_it_renders_every_message(kind: Any, message: Message) -> None:
    parts = make(kind).render(message)
    assert parts
    assert all(isinstance(part, str) and part.strip() for part in parts.values())


def test_what_it_renders_says_what_matters(kind: Any) -> None:
    said = "\n".join(make(kind).render(make_message()).values())
    for essential in ("CRITICAL", "wcr-prod", "api", "HTTP 500, expected 2xx", "42"):
        assert essential.lower() in said.lower()


def test_it_never_shows_its_secrets(kind: Any) -> None:
    channel = make(kind)
    for shown in (repr(channel), str(channel), str(channel.model_dump()), channel.model_dump_json()):
        assert SECRET not in shown


async def test_a_provider_that_says_nothing_is_given_up_in_time(kind: Any, silent_port: int) -> None:
    channel = towards(kind, silent_port)
    shared = SharedHelpers()
    recipient = Recipient("it", "lead", ADDRESSES[kind.address_kind])
    notification = make_notification(recipient)
    async with asyncio.timeout(30):
        sending = asyncio.create_task(channel.send(notification, channel.render(notification.message), shared))
        await asyncio.sleep(0.3)
        assert not sending.done()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    await shared.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_provider_that_is_not_there_may_come_back(kind: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = SharedHelpers()
    recipient = Recipient("it", "lead", ADDRESSES[kind.address_kind])
    with pytest.raises(ChannelError) as caught:
        await hand_over(towards(kind, port), make_notification(recipient), shared)
    await shared.close()
    assert not caught.value.permanent
    assert caught.value.reason == "connect"
    assert f"127.0.0.1:{port}" in caught.value.summary
    assert SECRET not in caught.value.summary


async def test_a_defect_of_a_channel_is_its_own_failure() -> None:
    class Broken:
        type, address_kind, limits, example, timeout = "broken", "", Limits(), "", 1.0

        def render(self, message: Message) -> dict[str, str]:
            raise LookupError("no such template")

        async def send(self, *_: object) -> Receipt:
            raise AssertionError("never reached")

    with pytest.raises(ChannelError, match="LookupError: no such template") as caught:
        await hand_over(Broken(), make_notification(Recipient("broken")), SharedHelpers())
    assert caught.value.permanent
