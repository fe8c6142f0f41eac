"""Signals of jobs that report by themselves: taken, stored before they are confirmed, and judged at once.

Silence is judged, too: when a deadline passes without a signal, the check is run at that moment.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Never, Protocol

import structlog

from wcr_watchd.core import heartbeat
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.heartbeat import Book, Door, HeartbeatState, JobKey, Ping
from wcr_watchd.core.protocols import Awaiting, Probe
from wcr_watchd.core.run import Shared

log = structlog.get_logger(__name__)

LONGEST_TEXT = 1_000
"""Characters from the end of a body that are shown; where a program says why it failed."""
REDACTED_TEXT = 8_000
"""Characters from the end of a body in which secrets are looked for; one that is cut off at their beginning is not
among those that are shown."""
GONE_AFTER = 3_600.0
"""Seconds that a job taken for gone is still there, so that a run of its check ends what was told of it."""
LOOK_AGAIN = 60.0
"""Seconds after which deadlines are looked at in any case."""

ANY_JOB = "*"


class Records(Protocol):
    """Where signals are stored."""

    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        """Remember what became of a job."""
        ...

    async def flush(self) -> bool:
        """Store what waits; whether it is stored."""
        ...


class PingDesk:
    """Takes the signals for the checks of the configuration in force.

    ``book`` holds what is known of every job, ``run_soon`` has a check run out of turn, ``redact`` takes secrets out of
    what is shown of a body.
    """

    def __init__(
        self,
        book: Book,
        records: Records,
        clock: Clock,
        shared: Shared,
        redact: Callable[[str], str],
        run_soon: Callable[[str, float], None],
    ) -> None:
        self._book = book
        self._records = records
        self._clock = clock
        self._shared = shared
        self._redact = redact
        self._run_soon = run_soon
        self._probes: dict[str, Awaiting] = {}
        self._doors: dict[bytes, list[str]] = {}
        self._locks: defaultdict[JobKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._deadlines: dict[JobKey, float] = {}
        self._changed = asyncio.Event()
        book.kept = True

    def replace(self, probes: Mapping[str, Probe]) -> None:
        """Take the signals for these checks from now on; every job is looked at anew, as its terms may be others."""
        self._probes = {name: probe for name, probe in probes.items() if isinstance(probe, Awaiting)}
        self._doors = {}
        for name, probe in self._probes.items():
            for address in probe.addresses(name):
                self._doors.setdefault(_digest(*address), []).append(name)
        jobs = {*((name, "") for name in self._probes), *self._book.states}
        self._deadlines = {key: 0.0 for key in sorted(jobs) if key[0] in self._probes}
        self._changed.set()

    def doors(self, key: str, name: str = "") -> Sequence[Door]:
        """Whose signals arrive at a key, or at a ping key and a name: nobody's, one's, or, ambiguously, several's."""
        found = [Door(check) for check in self._doors.get(_digest(key, name), ())]
        if found or not name or name == ANY_JOB:
            return found
        groups = self._doors.get(_digest(key, ANY_JOB), ())
        return [Door(check, name, known=(check, name) in self._book.states) for check in groups]

    def has_room(self, door: Door) -> bool:
        """Whether one more job may announce itself there."""
        return len(self._book.jobs(door.check)) < self._probes[door.check].terms.most_jobs

    async def take(self, door: Door, ping: Ping) -> bool:
        """Take a signal for a door just found; whether it is stored, so that it may be confirmed.

        In any case it is judged at once.
        """
        key, probe = (door.check, door.job), self._probes[door.check]
        async with self._locks[key]:
            state = await self._lapsed(key, probe)
            ping = replace(
                ping,
                check=door.check,
                job=door.job,
                number=state.count + 1,
                at=self._clock.now(),
                kind=heartbeat.kind_of(probe.terms, ping),
            )
            state = heartbeat.take(state, ping, self._shown(ping.body))
            self._records.heard(state, ping)
            self._deadlines[key] = 0.0
        self._changed.set()
        self._run_soon(door.check, 0.0)
        return await self._records.flush()

    async def serve(self) -> Never:
        """Judge silence when its time has come. Runs until cancelled."""
        while True:
            self._changed.clear()
            wait = await self._pass_deadlines()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _pass_deadlines(self) -> float:
        """Take note of every deadline that has passed; returns the seconds until the next one."""
        now = self._clock.now()
        for key in [key for key, at in self._deadlines.items() if at <= now]:
            await self._pass(key)
        following = min(self._deadlines.values(), default=inf)
        # The daemon's time may run a little faster or slower than the loop's: look again soon enough.
        return min(max(0.0, following - self._clock.now()), LOOK_AGAIN)

    async def _pass(self, key: JobKey) -> None:
        probe = self._probes.get(key[0])
        if probe is None:
            self._deadlines.pop(key, None)
            return
        async with self._locks[key]:
            state = await self._lapsed(key, probe)
            gone_at = heartbeat.forgotten_at(state, probe.terms.forget_after) + GONE_AFTER if key[1] else inf
            if gone_at <= self._clock.now():
                self._book.states.pop(key, None)
                self._deadlines.pop(key, None)
                return
            if state != self._book.of(*key):
                self._records.heard(state)
                self._run_soon(key[0], 0.0)
            due = await self._due(state, probe)
            following = heartbeat.deadline(state, due, probe.terms.grace)
            self._deadlines[key] = min(gone_at, inf if following is None else following)

    async def _lapsed(self, key: JobKey, probe: Awaiting) -> HeartbeatState:
        """What is known of a job, with a deadline taken into account that passed before now."""
        state = self._book.of(*key)
        return heartbeat.lapse(state, await self._due(state, probe), probe.terms.grace, self._clock.now())

    async def _due(self, state: HeartbeatState, probe: Awaiting) -> float | None:
        try:
            return await probe.due(state, self._shared)
        except ScheduleError as error:  # the check's own run says so, too
            log.error("it cannot be told when a job is due", check=state.check, error=str(error))
            return None

    def _shown(self, body: bytes) -> str:
        # Secrets go before it is cut: half of one is one that nothing recognises any more.
        return self._redact(body[-REDACTED_TEXT:].decode(errors="replace")).strip()[-LONGEST_TEXT:]


_SALT = secrets.token_bytes(32)


def _digest(*address: str) -> bytes:
    """What addresses are looked up by, so that the time it takes tells nothing about the keys there are."""
    return hmac.digest(_SALT, "\0".join(address).encode("utf-8", "replace"), "sha256")
