"""Signing in: a name and a password, a token, a one-time link, or what a provider vouches for, for a session.

Whether a user exists cannot be told from the answer nor from how long it takes. What fails is delayed by where it comes
from and by whom it is for; the second never for long, and not where this user has signed in before, so that nobody can
lock somebody else out (OWASP Authentication Cheat Sheet).
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from wcr_watchd.core.access import AccessSettings, ApiToken, Role, User
from wcr_watchd.kit.passwords import matches
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.audit import Audit
from wcr_watchd.web.access.digest import digest_of
from wcr_watchd.web.access.links import OneTimeLinks
from wcr_watchd.web.access.open_id import OpenId
from wcr_watchd.web.access.own_passwords import OwnPasswords
from wcr_watchd.web.access.peer import is_direct
from wcr_watchd.web.access.refused import SignInRefusedError
from wcr_watchd.web.access.sessions import Sessions
from wcr_watchd.web.access.throttle import Throttle

ACTION = "sign in"
CHANGE = "change password"
MOST_WAITING = 20
"""Passwords that wait to be checked; of more, people are told to come again."""
MOST_PLACES = 10_000
SHORT_WAIT, LONG_WAIT = 30.0, 900.0
"""Seconds that anybody waits at most for a user's sake, and for that of the address alone."""
MOST_FAILURES_RECORDED = 500
"""Failed sign-ins that are recorded in an hour: a flood of them must not push out of the audit log what was done."""
PASSWORD, TOKEN, LINK, ELSEWHERE = "password", "token", "one-time link", "single sign-on"


@dataclass(slots=True)
class SignIn:
    """Checks what people show and starts their sessions. ``token`` finds the token that was shown."""

    settings: Callable[[], AccessSettings]
    own_passwords: OwnPasswords
    sessions: Sessions
    links: OneTimeLinks
    open_id: OpenId
    audit: Audit
    token: Callable[[str], ApiToken | None]
    by_source: Throttle
    by_account: Throttle
    recorded: Allowance
    _one_at_a_time: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _waiting: int = 0
    _places: dict[tuple[str, str], None] = field(default_factory=dict)
    """Users and sources from where they signed in."""

    async def by_password(self, request: web.Request, name: str, password: str) -> str:
        """Return a new session's cookie. Raises :class:`SignInRefusedError`."""
        source = source_of(request)
        at_home = (name, source) in self._places
        account = f"{name} from {source}" if at_home else name
        self._may_try(request, source, account, at_home=at_home)
        user = self.settings().users.get(name)
        if not await self._is_right(user, password):
            # A name that nobody has may be a password, typed into the wrong field.
            who = name if user else ""
            await self._failed(request, who, PASSWORD, "wrong name or password")
            raise SignInRefusedError("The name or the password is wrong.")
        assert user is not None
        self._went_well(source, account)
        self._places[name, source] = None
        while len(self._places) > MOST_PLACES:
            del self._places[next(iter(self._places))]
        return await self._begin(request, user.name, user.role, PASSWORD, bound_to(self.own_passwords.of(user)))

    async def change_password(self, request: web.Request, name: str, old: str, new: str) -> str:
        """Give a user who is signed in a new password; the old one is asked for, and failing is made to wait.

        All sessions of the user end; returns the cookie of a new one. Raises :class:`SignInRefusedError`, and
        ``StoreError`` when nothing was changed because it cannot be kept.
        """
        source = source_of(request)
        # Counted apart from signing in: whoever found an open browser must not lock its owner out.
        account = f"{name} changes the password"
        self._may_try(request, source, account, at_home=True)
        user = self.settings().users.get(name)
        if user is None or not await self._is_right(user, old):
            await self._failed(request, name, PASSWORD, "wrong old password", CHANGE)
            raise SignInRefusedError("The old password is wrong. Nothing was changed.")
        self._went_well(source, account)
        await self.own_passwords.choose(user, new)
        await self.sessions.end_all(name)
        bound = bound_to(self.own_passwords.of(user))
        cookie = await self.sessions.begin(request, user.name, user.role, PASSWORD, bound)
        await self.audit.note(request, name, PASSWORD, CHANGE, detail="all other sessions ended")
        return cookie

    async def by_token(self, request: web.Request, shown: str) -> str:
        """Likewise, for a token."""
        source = source_of(request)
        self._may_try(request, source, "")
        token = self.token(shown)
        if token is None or token.role is Role.NONE:
            await self._failed(request, "", TOKEN, "no such token")
            raise SignInRefusedError("That is not a token of this daemon, or it has expired.")
        self._went_well(source, "")
        return await self._begin(request, token.name, token.role, TOKEN, token.digest.hex())

    async def by_link(self, request: web.Request, code: str) -> str:
        """Likewise, for a one-time link. Its codes cannot be guessed, so nobody waits."""
        name = self.links.take(code)
        if not name:
            raise SignInRefusedError("This link was used already, or its quarter of an hour is over.")
        return await self._begin(request, name, Role.ADMIN, LINK, "")

    async def elsewhere(self, request: web.Request) -> tuple[str, str]:
        """Likewise, for somebody who comes back from the provider of single sign-on; also the path to go on to."""
        try:
            person = await self.open_id.finish(request)
        except SignInRefusedError as error:
            await self._failed(request, "", ELSEWHERE, str(error))
            raise
        bound = self.open_id.bound()
        cookie = await self._begin(request, person.name, person.role, ELSEWHERE, bound)
        self.open_id.remember(digest_of(cookie), person.id_token)
        return cookie, person.after

    async def _begin(self, request: web.Request, name: str, role: Role, how: str, bound: str) -> str:
        cookie = await self.sessions.begin(request, name, role, how, bound)
        await self.audit.note(request, name, how, ACTION)
        return cookie

    async def _failed(self, request: web.Request, who: str, means: str, why: str, action: str = ACTION) -> None:
        if self.recorded.take():
            await self.audit.note(request, who, means, action, result=f"refused: {why}")

    def _may_try(self, request: web.Request, source: str, account: str, *, at_home: bool = False) -> None:
        # Behind a proxy that is not declared all have one address: some of them must not keep the others out for long.
        shared = at_home or not is_direct(request)
        waits = [self.by_source.wait(source, SHORT_WAIT if shared else math.inf)]
        waits += [self.by_account.wait(account)] if account else []
        wait = max(waits)
        if wait > 0:
            raise SignInRefusedError("Too many attempts failed.", wait)
        self.by_source.fail(source)
        if account:
            self.by_account.fail(account)

    def _went_well(self, source: str, account: str) -> None:
        self.by_source.forget(source)
        self.by_account.forget(account)

    async def _is_right(self, user: User | None, password: str) -> bool:
        if self._waiting >= MOST_WAITING:
            raise SignInRefusedError("Too many people sign in at once.", 5.0)
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(matches, self.own_passwords.of(user) if user else "", password)
        finally:
            self._waiting -= 1


def bound_to(credential: str) -> str:
    """The fingerprint by which a session is tied to a credential."""
    return digest_of(credential)


def source_of(request: web.Request) -> str:
    """Where a request comes from, as attempts are counted: the address, of IPv6 the network that somebody is given."""
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return request.remote or ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
