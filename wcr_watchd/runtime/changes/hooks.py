"""Programs that are run for a change: they switch the platform's own maintenance mode on and off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.run import Shared
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.programs import environment
from wcr_watchd.kit.strays import MARK, Strays
from wcr_watchd.kit.subprocess import Finished, locate, run_child
from wcr_watchd.kit.threads import Threads

LONGEST_WORDS = 300
"""Characters of what a program said that are told."""


class Hooks:
    """Runs programs; ``redacted`` takes secrets out of what they say."""

    def __init__(self, shared: Shared, redacted: Callable[[str], str]) -> None:
        self._shared = shared
        self._redacted = redacted

    async def run(self, words: Sequence[str], variables: Mapping[str, str], timeout: float, mark: str) -> str:
        """Run ``words`` (no shell) with these further environment variables; returns the last of what it said.

        ``timeout`` is in seconds, ``mark`` is what :meth:`end` knows it by. Raises ``CommandError`` when it cannot be
        run or does not end with status 0.
        """
        program = words[0]
        inherited = environment({}, "HOME")
        try:
            async with asyncio.timeout(timeout):
                file = await self._shared.get(Threads).call(locate, program, inherited["PATH"])
                finished = await run_child(words, {**inherited, **variables, MARK: mark}, file=file)
        except TimeoutError:
            raise CommandError(f"{program} did not end within {format_duration(timeout)} and was killed") from None
        except FileNotFoundError:
            raise CommandError(f"{program} does not exist; install it or correct the path") from None
        except PermissionError:
            raise CommandError(f"{program} may not be run by this user: check its mode and folders") from None
        except OSError as error:
            raise CommandError(f"{program} could not be run: {error.strerror or error}") from error
        said = self._said(finished)
        if finished.status:
            how = f"signal {-finished.status}" if finished.status < 0 else f"status {finished.status}"
            raise CommandError(f"{program} ended with {how}, expected status 0: {said or 'it said nothing'}")
        return said

    def disguised(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words as they may be stored: without secrets."""
        return tuple(map(self._redacted, words))

    async def end(self, mark: str) -> None:
        """End what was run with this mark in the last life and goes on: it would switch after those of this life."""
        await Strays(mark).end(self._shared.get(Threads))

    def _said(self, finished: Finished) -> str:
        text = self._redacted(finished.stdout.strip() or finished.stderr.strip())
        words = " ".join(text.split())
        return words if len(words) <= LONGEST_WORDS else f"… {words[-LONGEST_WORDS:]}"
