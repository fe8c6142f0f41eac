"""Who a visitor is, and what a route asks of one.

Roles build on each other: a viewer reads, an operator also acts (acknowledges, silences, runs), an admin also changes
how the daemon works (reloads, users, audit). A route that says nothing asks for a viewer to be read and for an operator
to be used; :func:`needs` says otherwise. One middleware (:mod:`wcr_watchd.web.access.gate`) holds all of them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from aiohttp import web

from wcr_watchd.core.access import Role as Role

READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110, 9.2.1)."""

H = TypeVar("H", bound=Callable[..., Any])


class Means(Enum):
    """By what a visitor was let in."""

    SOCKET = "Unix socket"
    SESSION = "session"
    TOKEN = "token"
    CALENDAR = "calendar key"
    LOOPBACK = "loopback"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in.

    ``doors`` are what a token opens besides: ``metrics``, ``alerts``, ``probe``. ``contact`` is the configured contact
    that a user is; empty for none.
    """

    name: str
    role: Role
    means: Means
    doors: frozenset[str] = frozenset()
    contact: str = ""

    @property
    def may_act(self) -> bool:
        """Whether to show buttons that act."""
        return self.role >= Role.OPERATOR

    @property
    def may_administer(self) -> bool:
        """Whether to show what is for admins."""
        return self.role >= Role.ADMIN


VISITOR = web.RequestKey("visitor", Visitor)

_DECLARED: dict[Callable[..., Any], Role] = {}


def needs(role: Role) -> Callable[[H], H]:
    """Declare the role that a handler's routes ask for, where it is not the usual one."""

    def declare(handler: H) -> H:
        _DECLARED[handler] = role
        return handler

    return declare


def needed(method: str, handler: Callable[..., Any]) -> Role:
    """The role that a route asks for."""
    return _DECLARED.get(handler, Role.VIEWER if method in READING else Role.OPERATOR)
