"""The certificate of our own listener, put in force again whenever it is renewed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at the files."""


class Certificate:
    """A certificate chain and its key in PEM files. Raises ``OSError`` (``ssl.SSLError``) when they cannot be used."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._read()

    async def watch(self) -> None:
        """Look at the files from time to time; connections that begin after a renewal have the new certificate."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Put the files in force if they changed; what cannot be used leaves the old ones where they are."""
        try:
            if await asyncio.to_thread(self._identity) == self._seen:
                return
            # Tried on a context of its own: one that is half read must not serve anybody.
            await asyncio.to_thread(Certificate, self._chain, self._key)
            self._seen = await asyncio.to_thread(self._read)
        except OSError as error:
            log.warning("the listener's new certificate cannot be used, the old one goes on", error=str(error))
        else:
            log.info("the listener's certificate was renewed", chain=str(self._chain))

    def _read(self) -> tuple[tuple[int, int, int], ...]:
        seen = self._identity()
        self.context.load_cert_chain(self._chain, self._key)
        return seen

    def _identity(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in (self._chain.stat(), self._key.stat()))
