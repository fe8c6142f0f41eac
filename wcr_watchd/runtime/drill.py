"""Drills: an escalation walked with messages marked [DRILL], and a report of what was accepted and who answered.

One that is over is kept in the records, for the report of what was rehearsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from wcr_watchd.core.drill import Move, moves
from wcr_watchd.core.drill_report import DrillMessage, DrillReport, DrillState, DrillWish
from wcr_watchd.core.errors import ChannelError, CommandError, StoreError
from wcr_watchd.core.model import Message, Notification, Recipient
from wcr_watchd.core.protocols import Batch, Receipt, Store
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.units import format_duration

log = structlog.get_logger(__name__)

Send = Callable[[Recipient, Message], Awaitable[Receipt]]


@dataclass(slots=True)
class _Running:
    """The drill that is under way, or the last one."""

    report: DrillReport
    wish: DrillWish
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Drills:
    """Walks one drill at a time, and keeps those that are over in the ``store``.

    ``send`` hands a message to a channel at once; ``now`` is the time (epoch seconds).
    """

    def __init__(self, send: Send, now: Callable[[], float], store: Store) -> None:
        self._send = send
        self._now = now
        self._store = store
        self._last: _Running | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def serve(self) -> None:
        """Carry drills out until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.Event().wait()

    def start(self, setup: Setup, wish: DrillWish, number: int) -> DrillReport:
        """Begin a drill under this number; raises ``CommandError`` when that makes no sense or one is under way."""
        if self._tasks is None:
            raise CommandError("the daemon is still starting; try again in a moment")
        if self._last and self._last.report.state is DrillState.RUNNING:
            raise CommandError(f"drill #{self._last.report.number} is under way: acknowledge or stop that one first")
        steps = moves(setup, wish.policy, wish.severity, number, wish.by, self._now())
        if not any(_to(step, wish.contact) for step in steps):
            whom = wish.contact or "anybody"
            raise CommandError(f"the policy {wish.policy} would not tell {whom} of {wish.severity.word} now")
        report = DrillReport(
            number, wish.policy, wish.severity, DrillState.RUNNING, self._now(), by=wish.by, contact=wish.contact
        )
        running = self._last = _Running(report, wish)
        running.task = self._tasks.create_task(self._walk(running, steps), name=f"drill {number}")
        log.info("drill begins", number=number, policy=wish.policy, by=wish.by)
        return report

    def report(self, number: int) -> DrillReport:
        """How the drill of this number went, or goes; raises ``CommandError`` when there is none."""
        if self._last is None or self._last.report.number != number:
            raise CommandError(f"there is no drill #{number} since the daemon started")
        return self._last.report

    def runs(self, number: int) -> bool:
        """Whether this is the number of the drill that is under way."""
        last = self._last
        return last is not None and last.report.number == number and last.report.state is DrillState.RUNNING

    def acknowledge(self, by: str) -> str:
        """Somebody took the drill that is under way: that ends it."""
        assert self._last is not None
        now, before = self._now(), self._last.report
        self._end(self._last, DrillState.ACKNOWLEDGED, acknowledged_by=by, acknowledged_at=now)
        took = format_duration(now - before.started_at)
        return f"drill #{before.number} is acknowledged by {by} after {took}; well done"

    def stop(self, number: int) -> DrillReport:
        """End the drill before its time."""
        report = self.report(number)
        if self._last is not None and report.state is DrillState.RUNNING:
            self._end(self._last, DrillState.STOPPED)
            report = self._last.report
        return report

    def _end(
        self, running: _Running, state: DrillState, acknowledged_by: str = "", acknowledged_at: float = 0.0
    ) -> None:
        running.report = replace(
            running.report,
            state=state,
            acknowledged_by=acknowledged_by,
            acknowledged_at=acknowledged_at or None,
            ended_at=self._now(),
        )
        running.answered.set()
        assert self._tasks is not None
        self._tasks.create_task(self._keep(running.report), name=f"keep drill {running.report.number}")
        log.info("drill ends", number=running.report.number, state=state.value, by=acknowledged_by)

    async def _keep(self, report: DrillReport) -> None:
        try:
            await self._store.commit(Batch(drills=(report,)))
        except StoreError as error:
            log.warning("drill is not kept", number=report.number, error=str(error))

    async def _walk(self, running: _Running, steps: Sequence[Move]) -> None:
        """Take the steps in time until somebody answers; then wait for an answer to the last one."""
        wish, begun = running.wish, 0.0
        for step in steps:
            if await self._answered(running, (step.after - begun) / wish.speed):
                return
            begun = step.after
            async with asyncio.TaskGroup() as sending:
                for owed in _to(step, wish.contact):
                    sending.create_task(self._tell(running, step, owed))
        if not await self._answered(running, wish.wait):
            self._end(running, DrillState.UNANSWERED)

    async def _answered(self, running: _Running, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await running.answered.wait()
        except TimeoutError:
            return running.answered.is_set()
        return True

    async def _tell(self, running: _Running, step: Move, owed: Notification) -> None:
        """Send one message, by its fallbacks in order when it is not accepted."""
        if owed.not_before > owed.created_at and not owed.digest:
            self._note(running, step, owed.recipient, error="not sent: quiet hours would hold it back")
            return
        instead = ""
        for who in (owed.recipient, *owed.fallbacks):
            began = self._now()
            message = replace(
                owed.message, at=began, note=f"sent here because {instead} could not deliver" if instead else ""
            )
            try:
                receipt = await self._send(who, message)
            except ChannelError as error:
                self._note(running, step, who, error=error.summary, seconds=self._now() - began, instead=instead)
                instead = instead or who.channel
            else:
                self._note(running, step, who, receipt=receipt.text, seconds=self._now() - began, instead=instead)
                return

    def _note(
        self,
        running: _Running,
        step: Move,
        who: Recipient,
        *,
        receipt: str = "",
        error: str = "",
        seconds: float = 0.0,
        instead: str = "",
    ) -> None:
        told = DrillMessage(
            self._now(), step.after, step.reason, who.channel, who.contact, not error, seconds, receipt, error, instead
        )
        running.report = replace(running.report, messages=(*running.report.messages, told))


def _to(step: Move, contact: str) -> tuple[Notification, ...]:
    """The step's messages, to one person only where one is named."""
    return tuple(one for one in step.notifications if not contact or one.recipient.contact == contact)
