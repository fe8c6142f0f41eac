"""Which role a route asks for, and that the middleware holds visitors to it."""

from __future__ import annotations

import pytest
from aiohttp import web

from wcr_watchd.web.access.roles import Role, needed, needs


async def plain(request: web.Request) -> web.Response:
    return web.Response()


@needs(Role.ADMIN)
async def declared(request: web.Request) -> web.Response:
    return web.Response()


@pytest.mark.parametrize(
    ("method", "role"),
    [("GET", Role.VIEWER), ("HEAD", Role.VIEWER), ("POST", Role.OPERATOR), ("DELETE", Role.OPERATOR)],
)
def test_what_says_nothing_is_read_by_viewers_and_used_by_operators(method: str, role: Role) -> None:
    assert needed(method, plain) is role


def test_what_is_declared_holds_for_every_method() -> None:
    assert {needed(method, declared) for method in ("GET", "POST", "DELETE")} == {Role.ADMIN}


def test_roles_build_on_each_other_and_have_words() -> None:
    assert Role.NONE < Role.VIEWER < Role.OPERATOR < Role.ADMIN
    assert all(Role.of(role.word) is role for role in Role)
    with pytest.raises(KeyError):
        Role.of("root")
