"""Asking a program of this machine (apt-get, sshd, clamscan …): found, run under the deadline, its failure in words."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from wcr_watchd.core.run import Run
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.subprocess import DEFAULT_PATH, Finished, locate, run_child
from wcr_watchd.kit.threads import Threads

LARGEST_ANSWER = 1024 * 1024
"""Bytes that are kept of what a program says."""


class NoAnswerError(Exception):
    """A program could not be asked.

    ``reason`` is ``missing``, ``permission``, ``timeout`` or ``exec``; the text says what was tried and what to do.
    """

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


def patience_of(run: Run) -> float:
    """Seconds to wait for something that may hang: what that means is the probe's to say, so it ends before the run.

    Half a second before, so that there is time to kill a program, but no more than half of what is left.
    """
    return run.remaining - max(0.05 * run.remaining, min(0.5, 0.5 * run.remaining))


async def ask(run: Run, *words: str) -> Finished:
    """Run a program within the run's deadline, in the language of its manual page, and return how it ended.

    It gets no input and nothing of the daemon's environment but where programs are. Raises :class:`NoAnswerError`.
    """
    environment = {"PATH": _search_path(), "LC_ALL": "C", "LANG": "C"}
    patience = patience_of(run)
    program = Path(words[0]).name
    run.step = f"waiting for {program} to answer"
    try:
        async with asyncio.timeout(patience):
            file = await run.shared.get(Threads).call(locate, words[0], environment["PATH"])
            return await run_child(words, environment, file=file, limit=LARGEST_ANSWER)
    except TimeoutError:
        line = " ".join(words)
        raise NoAnswerError(
            "timeout", f"{line} did not end within {format_duration(patience)} and was killed"
        ) from None
    except FileNotFoundError:
        raise NoAnswerError("missing", f"{program} is not installed here") from None
    except PermissionError:
        raise NoAnswerError("permission", f"{program} may not be run by user id {os.geteuid()}") from None
    except OSError as error:
        raise NoAnswerError("exec", f"{program} could not be run: {error.strerror or error}") from error


def has(program: str) -> bool:
    """Whether there is such a program; blocks on its file system, so it is called in a thread."""
    try:
        locate(program, _search_path())
    except OSError:
        return False
    return True


def _search_path() -> str:
    """The daemon's own, and where root's programs are: sshd, nft and their kin can say much to any user."""
    return f"{os.environ.get('PATH', '')}:{DEFAULT_PATH}".lstrip(":")


def said(finished: Finished) -> str:
    """The last line of a program's complaint, else of what it printed; for summaries."""
    lines = (finished.stderr.strip() or finished.stdout.strip() or "it said nothing").splitlines()
    return lines[-1].strip()
