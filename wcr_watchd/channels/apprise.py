"""Apprise: sends to any of the hundred-odd services that Apprise knows, by its URLs.

Needs the package ``apprise``: ``pip install 'wcr-watchd[apprise]'``. URLs: https://github.com/caronc/apprise/wiki
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import headline, long_text
from wcr_watchd.core.model import EventKind, Message, Notification, Severity
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.threads import StillBlockedError, Threads

DEADLINE = 40.0
"""Seconds for all URLs together."""
_KINDS = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info", Severity.OK: "success"}


class Apprise(Options):
    """Sends by Apprise; when one of several URLs fails, all are tried again."""

    type: ClassVar[str] = "apprise"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits()
    timeout: ClassVar[float] = DEADLINE + 5.0
    example: ClassVar[str] = """\
[channel.matrix]
type = "apprise"
urls = ["${credential:matrix_apprise_url}"]
"""

    urls: list[Secret] = Field(min_length=1)
    """Apprise URLs, such as ``matrixs://user:password@host/#room``; most hold a secret."""
    _sender: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        """Read the URLs, so that a wrong one is found when the configuration is read."""
        try:
            library = importlib.import_module("apprise")
        except ImportError as error:
            raise ValueError("needs the package apprise: pip install 'wcr-watchd[apprise]'") from error
        sender = library.Apprise()
        for number, url in enumerate(self.urls, 1):
            if not sender.add(url.get_secret_value()):
                raise ValueError(f"Apprise cannot use the {_nth(number)} of the URLs: see its wiki for how they look")
        self._sender = sender
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """Headline, text, and Apprise's kind of message, which gives it its colour or picture."""
        over = message.event in (EventKind.RESOLVED, EventKind.ACKNOWLEDGED)
        return {
            "title": headline(message),
            "text": long_text(message).partition("\n\n")[2].strip() or headline(message),
            "kind": "success" if over else _KINDS[message.severity],
        }

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Let Apprise send it, in a thread that nobody waits for beyond the deadline."""
        try:
            async with asyncio.timeout(DEADLINE):
                taken = await shared.get(Threads).run(
                    f"apprise {notification.recipient.channel} {notification.id}", self._notify, dict(parts)
                )
        except TimeoutError as error:
            said = f"Apprise did not end within {DEADLINE:g} s; it may have been accepted all the same"
            raise ChannelError(said, reason="timeout", permanent=False) from error
        except StillBlockedError as error:
            raise ChannelError(str(error), reason="timeout", permanent=False) from error
        if not taken:
            raise ChannelError(
                f"not taken by {'all of ' if len(self.urls) > 1 else ''}{self._places()}; "
                "Apprise says no more: try its own command line with -vv",
                reason="connect",
                permanent=False,
            )
        return Receipt(f"taken by {self._places()}")

    def _notify(self, parts: dict[str, str]) -> bool:
        return bool(self._sender.notify(title=parts["title"], body=parts["text"], notify_type=parts["kind"]))

    def _places(self) -> str:
        """The services behind the URLs with their hosts, without what may be secret."""
        return ", ".join(_place(service) for service in self._sender)


def _place(service: Any) -> str:
    host, port = getattr(service, "host", None), getattr(service, "port", None)
    return " ".join(filter(None, (str(service.service_name), f"at {host}{f':{port}' if port else ''}" if host else "")))


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
