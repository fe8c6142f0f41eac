"""What happens to changes as time passes: steps tick themselves, windows end, before and after are compared."""

from __future__ import annotations

import asyncio

import structlog

from wcr_watchd.core import changes
from wcr_watchd.core.changes import Change, ChangeState, Phase, Tick
from wcr_watchd.core.checklist import looked_over
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Severity
from wcr_watchd.core.units import format_duration
from wcr_watchd.runtime.changes.mode import MaintenanceMode
from wcr_watchd.runtime.changes.register import Register
from wcr_watchd.runtime.changes.verification import Verification

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0
"""Seconds after which it is looked again what ticks itself."""
SHORTEST_WAIT = 0.5
OVERRUNS, BROKE_OFF, UNFINISHED, WORSE, UNDONE = (
    "overruns", "was not started", "was not finished", "made it worse", "left undone"
)  # fmt: skip
DAY = 86_400.0
UNDONE_AFTER, UNDONE_UNTIL = 3 * DAY, 14 * DAY
"""Seconds after the end of a change from which on, and until which, it is told what of its checklist is not done."""


class Course:
    """Looks after the changes that are under way, and for a while after those that are over."""

    def __init__(self, register: Register, mode: MaintenanceMode, verification: Verification) -> None:
        self._register = register
        self._mode = mode
        self._verification = verification

    async def serve(self) -> None:
        """Tick what ticks itself, notice windows that are over, compare after the end. Runs until cancelled."""
        while True:
            await self._register.look_for_versions()
            for number in [one.id for one in self._register.known]:
                try:
                    await self.look_after(number)
                except StoreError as error:
                    log.warning("a change is compared when the store works again", change=number, error=str(error))
            self._register.touched.clear()
            try:
                async with asyncio.timeout(self._until_next_end()):
                    await self._register.touched.wait()
            except TimeoutError:
                pass

    def _until_next_end(self) -> float:
        """Seconds until it is looked again: soon when a window ends soon."""
        now = self._register.clock.now()
        ends = (
            one.ends_at - now
            for one in self._register.known
            if one.state is ChangeState.RUNNING and one.ends_at is not None
        )
        return max(SHORTEST_WAIT, min((LOOK_EVERY, *(left for left in ends if left > 0))))

    async def look_after(self, number: int) -> None:
        """Do what is due for one change."""
        change = self._register.at_hand(number)
        now = self._register.clock.now()
        if change is None:  # there were too many that are over to keep all at hand
            return
        if change.state is ChangeState.PREPARED and change.silence and not self._register.is_busy(number):
            change = await self._broke_off(change)
        if change.state is ChangeState.RUNNING and change.ending and not self._register.is_busy(number):
            self._left_halfway(change)
        if change.state in (ChangeState.PREPARED, ChangeState.RUNNING) or _waits(change):
            change = self._register.keep(looked_over(change, self._register.sight()))
        if change.state is ChangeState.RUNNING and change.ends_at is not None and now >= change.ends_at:
            self._overran(change, now)
        elif change.watched_until is not None and change.state is ChangeState.FINISHED:
            last = change.compared_at or 0.0
            if now <= change.watched_until + LOOK_EVERY and last < change.watched_until:
                await self.compared(change)
            self._remind(self._register.newest(change), now)

    def _remind(self, change: Change, now: float) -> None:
        """Tell what is not done of the checklist some days after the end: feedback, what went wrong, the logs."""
        since = now - (change.finished_at or now)
        left = changes.undone(change, Phase.POST)
        if left and UNDONE_AFTER <= since < UNDONE_UNTIL:
            steps = "; ".join(step.text for step in left)
            because = (
                f"{change.name} is over since {format_duration(since)}, and of its checklist is not done: {steps}. "
            )
            because += (
                f"wcr-watchd change show {change.id} says what each waits for; a step can be ticked with a reason"
            )
            self._register.trouble(change, UNDONE, because, "by its checklist", Severity.INFO)
        elif since >= UNDONE_AFTER:
            why = "nobody is reminded any more" if left else "its checklist is done"
            self._register.trouble_over(change, UNDONE, why)

    async def _broke_off(self, change: Change) -> Change:
        """The last life ended while it started this: nobody waits for that start, and its window hides what breaks."""
        async with self._register.alone(change.id, "cleared up"):
            off = f"; {(await self._mode.switched_back(change))[1]}" if change.plan.hooks.on else ""
            await self._mode.close(change.silence)
            because = f"the daemon ended while {change.name} was started; its window is closed{off}"
            because += f". Start it again, or: wcr-watchd change abandon {change.id}"
            self._register.trouble(change, BROKE_OFF, because, "by its start")
            change, now = self._register.newest(change), self._register.clock.now()
            return self._register.keep(changes.not_started(change, f"the daemon ended meanwhile{off}", now))

    def _left_halfway(self, change: Change) -> None:
        """Its end was broken off, by the end of the daemon or of the records: nobody waits for that any more."""
        mode = "is off" if change.is_off or not change.plan.hooks.off else "may be on, look what visitors see"
        because = f"{change.name} was being finished by {change.ending}, and that was broken off: it goes on, "
        because += f"its window hides what breaks, and maintenance mode {mode}; wcr-watchd change finish {change.id}"
        self._register.trouble(change, UNFINISHED, because, "by its end")

    def _overran(self, change: Change, now: float) -> None:
        if change.overran:
            return
        self._register.keep(changes.overrun(change, now))
        because = (
            f"{change.name} goes on although its window is over; finish it, or: wcr-watchd change extend {change.id}"
        )
        self._register.trouble(change, OVERRUNS, because, "by its window")

    async def compared(self, change: Change) -> Change:
        """Compare the time after the update with that before it began, and keep what that says."""
        found = await self._verification.comparison(change)
        before, bad = changes.worse(change.compared), changes.worse(found)
        now_known = self._register.newest(change)
        change = self._register.keep(changes.with_comparison(now_known, found, self._register.clock.now()))
        if bad and change.state is ChangeState.FINISHED:
            because = f"after {change.name}: {'; '.join(one.text for one in bad[:3])}"
            self._register.trouble(change, WORSE, because, "by comparison")
        elif before and not bad:
            self._register.trouble_over(change, WORSE, "it is no worse than before any more")
        return change


def _waits(change: Change) -> bool:
    """Whether a step of a finished change may still tick itself."""
    return change.state is ChangeState.FINISHED and any(
        step.tick is Tick.LOGS and done is None for step, done in change.steps
    )
