"""Hand-overs: noticing when somebody else is on call, so that they learn what is open."""

from __future__ import annotations

import asyncio
from typing import Protocol

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.on_call import on_call_at, turns
from wcr_watchd.core.setup import Setup

LOOK_AHEAD = 14 * 86_400.0
"""Seconds in which the end of a turn is looked for."""
LONGEST_WAIT = 300.0
"""Seconds after which the schedules are looked at again: a reload may have changed them."""


class Duties(Protocol):
    """Who is to be told of a hand-over, and by which configuration."""

    setup: Setup

    def hand_over(self, schedule: str, people: tuple[str, ...], until: float | None) -> None:
        """Somebody else, or nobody, is on call from now on."""
        ...


class DutyWatch:
    """Watches the on-call schedules; ``since`` is when somebody last did (epoch seconds)."""

    def __init__(self, duties: Duties, clock: Clock, since: float) -> None:
        self._duties = duties
        self._clock = clock
        # Whether it was told that nobody is on call is not known here: telling it again does nothing.
        self._known = {
            name: on_call_at(schedule, since).contacts or ("",) for name, schedule in duties.setup.on_call.items()
        }

    async def serve(self) -> None:
        """Watch until cancelled."""
        while True:  # a clock is waited for, not an event
            wait = self.look()
            await asyncio.sleep(wait)

    def look(self) -> float:
        """Hand over what is due; returns the seconds until the next turn ends, or until it is worth looking again."""
        now = self._clock.now()
        wait = LONGEST_WAIT
        schedules = self._duties.setup.on_call
        for name, schedule in schedules.items():
            turn = turns(schedule, now, now + LOOK_AHEAD)[0]
            until = turn.end if turn.end < now + LOOK_AHEAD else None
            before = self._known.get(name)
            self._known[name] = turn.contacts
            if before is None:  # a schedule that a reload brought: nobody hands over
                before = turn.contacts if turn.contacts else ("",)
            if before != turn.contacts:
                self._duties.hand_over(name, turn.contacts, until)
            wait = min(wait, turn.end - now)
        self._known = {name: people for name, people in self._known.items() if name in schedules}
        return max(wait, 0.1)
