"""One run of a task: its program under its limits, again when it fails, and what is to be remembered of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from wcr_watchd.core.run import Shared
from wcr_watchd.core.task import OUTPUT_LIMIT, TaskCommand
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.plain_text import plain
from wcr_watchd.kit.strays import MARK, Strays
from wcr_watchd.kit.subprocess import Finished, Identity, identity_of, locate, mark_of, run_child
from wcr_watchd.kit.threads import Threads

READ_LIMIT = 2 * OUTPUT_LIMIT
"""Bytes from the end of each output that are looked through for secrets; one that is cut off there is not shown."""
LONGEST_LINE = 200
DIES_FIRST = "500"
"""What makes the kernel end a run before anything else of usual weight when memory runs out (proc(5), oom_score_adj):
it would have the daemon's own protection, and the platform would be ended in its place."""
ENDS_WITHIN = 10.0
"""Seconds between the request to end and the end by force."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended: what there is to say of it, its exit status (None: it did not begin), what it wrote."""

    well: bool
    text: str
    status: int | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended: its last attempt, and how many there were."""

    last: Attempt
    attempts: int


async def carry_out(
    command: TaskCommand,
    mark: str,
    shared: Shared,
    redact: Callable[[str], str],
    begun: Callable[[int], None],
    may_begin: Callable[[], bool] = lambda: True,
) -> RunEnd:
    """Run the program until it succeeds, at most ``1 + retries`` times. Raises nothing but cancellation.

    ``mark`` tells this run from every other one, ``begun`` is called with the process number of each attempt, and
    ``may_begin`` says whether another attempt may begin now. Whatever an attempt started has ended when it is over.
    """
    number = 0
    while True:
        number += 1
        attempt = await _attempt(command, mark, shared, redact, begun)
        if attempt.well or number > command.retries:
            return RunEnd(attempt, number)
        await asyncio.sleep(command.retry_after)
        if not may_begin():
            return RunEnd(replace(attempt, text=f"{attempt.text}; not tried again, as its window is closed"), number)


async def _attempt(
    command: TaskCommand, mark: str, shared: Shared, redact: Callable[[str], str], begun: Callable[[int], None]
) -> Attempt:
    program, threads = command.words[0], shared.get(Threads)
    strays = Strays(mark)

    def noted(process: int) -> None:
        nonlocal strays
        strays = Strays(mark, mark_of(process))
        _dies_first(process)
        begun(process)

    try:
        identity = await _identity(command, threads)
        file = await threads.call(locate, program, command.environment["PATH"], command.folder)
        try:
            finished = await run_child(
                _words(command, file),
                _environment(command, identity) | {MARK: mark},
                command.folder,
                limit=READ_LIMIT,
                keep_end=True,
                identity=identity,
                time_limit=command.time_limit,
                ends_within=ENDS_WITHIN,
                begun=noted,
            )
        finally:
            await strays.end(threads)
    except (FileNotFoundError, NotADirectoryError) as error:
        what = f"the folder {command.folder} (cwd)" if error.filename == command.folder else f"{error.filename}"
        return Attempt(False, f"could not be run: {what} does not exist; install it or correct the path")
    except KeyError:
        return Attempt(False, f"could not be run: there is no user {command.user} on this machine")
    except PermissionError as error:
        return Attempt(False, _not_permitted(command, error))
    except OSError as error:
        return Attempt(False, f"could not be run: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - nothing that is wrong with a task may end the daemon
        return Attempt(False, redact(f"could not be run: {type(error).__name__}: {error}"))
    # Secrets go before it is cut: half of one is one that nothing recognises any more.
    out, err = (plain(redact(text)).rstrip() for text in (finished.stdout, finished.stderr))
    well = finished.status == 0 and not finished.timed_out
    ending = _ending(command, finished, _last_line(err) or _last_line(out))
    return Attempt(well, redact(ending), finished.status, "\n".join(filter(None, (out, err)))[-OUTPUT_LIMIT:])


def _dies_first(process: int) -> None:
    with contextlib.suppress(OSError):  # it has ended, or the daemon's own weight is above that
        Path(f"/proc/{process}/oom_score_adj").write_text(DIES_FIRST)


async def _identity(command: TaskCommand, threads: Threads) -> Identity | None:
    """Whose rights it gets; None: the daemon's own. Raises ``KeyError`` when there is no such user."""
    if not command.user:
        return None
    wanted = await threads.call(identity_of, command.user)
    return None if wanted.uid == os.getuid() else wanted


def _words(command: TaskCommand, file: str) -> list[str]:
    """The program's words, behind those that make it give way to others, where it is allowed to."""
    before: list[str] = []
    if command.nice:
        before += ["nice", "-n", str(command.nice)]
    if command.io_class:
        before += ["ionice", "-t", "-c", command.io_class]
    return [*before, file, *command.words[1:]]


def _environment(command: TaskCommand, identity: Identity | None) -> dict[str, str]:
    if identity is None:
        return dict(command.environment)
    own = {"HOME": identity.home, "USER": identity.name, "LOGNAME": identity.name}
    return own | dict(command.environment)


def _not_permitted(command: TaskCommand, error: PermissionError) -> str:
    if command.user and error.filename is None:
        service = "let it run `systemctl start --wait NAME.service`"
        return f"could not be run as {command.user}: only a daemon that is root may; {service}"
    return f"could not be run: {command.words[0]} may not be run by this user: check its mode and folders"


def _ending(command: TaskCommand, finished: Finished, said: str) -> str:
    program = command.words[0]
    if finished.timed_out:
        return f"{program} did not end within {format_duration(command.time_limit)} and was ended"
    if finished.status == 0:
        return f"{program} ended well"
    status = f"status {finished.status}" if finished.status > 0 else f"signal {-finished.status}"
    return f"{program} ended with {status}, expected status 0" + (f": {said}" if said else "")


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2].strip()[:LONGEST_LINE]


def seconds_until(at: float | None, now: float, longest: float) -> float:
    """How long to wait for a time (None: never), at most ``longest``."""
    return min(longest, max(0.0, (math.inf if at is None else at) - now))
