"""Passwords that users chose in the browser: kept in the records, in the place of those in the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from wcr_watchd.core.access import OwnPassword, User
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.records import AccessRecords
from wcr_watchd.kit.passwords import LONGEST_PASSWORD, SHORTEST_PASSWORD, hash_of
from wcr_watchd.web.access.digest import digest_of

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class OwnPasswords:
    """Which hash of a user holds; ``now`` gives epoch seconds."""

    records: AccessRecords
    now: Callable[[], float]
    _known: dict[str, OwnPassword] = field(default_factory=dict)

    async def load(self) -> None:
        """Read back those of the last life."""
        try:
            self._known = {one.name: one for one in await self.records.own_passwords()}
        except StoreError as error:
            log.warning("passwords that users chose do not hold, those in the configuration do", error=str(error))

    def of(self, user: User) -> str:
        """The hash that holds: the user's own, unless the configuration was given another one since."""
        own = self._known.get(user.name)
        return own.password if own is not None and own.replaces == digest_of(user.password) else user.password

    async def choose(self, user: User, password: str) -> None:
        """Take a new password for the user. Raises ``StoreError`` when it cannot be kept; then the old one holds."""
        chosen = await asyncio.to_thread(hash_of, password)
        own = OwnPassword(user.name, chosen, digest_of(user.password), self.now())
        await self.records.keep_own_password(own)
        self._known[user.name] = own


def fault_of(password: str, again: str, old: str) -> str:
    """What is wrong with a new password, in a sentence; empty when it can be taken (NIST SP 800-63B, 5.1.1.2)."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return (
            f"The new password has {len(password)} characters; take {SHORTEST_PASSWORD} or more, "
            "a few words do well. Nothing was changed."
        )
    if password != again:
        return "The new password was not typed the same way twice. Nothing was changed."
    return "The new password is the old one. Nothing was changed." if password == old else ""
