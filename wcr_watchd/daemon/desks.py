"""What programs and people hand in, and what is written for them: signals of jobs, tasks, reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wcr_watchd.core.heartbeat import Book
from wcr_watchd.core.report import Upcoming
from wcr_watchd.core.task import TaskBook
from wcr_watchd.daemon.base import Base
from wcr_watchd.daemon.in_force import InForce
from wcr_watchd.daemon.watching import Watching
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.runtime.follow_ups import FollowUps
from wcr_watchd.runtime.pings import PingDesk
from wcr_watchd.runtime.reports import Records, Reporter
from wcr_watchd.runtime.task_desk import TaskDesk
from wcr_watchd.store.open import file_of


@dataclass(frozen=True, slots=True)
class Desks:
    """Where things are handed in and out."""

    pings: PingDesk
    tasks: TaskDesk
    follow_ups: FollowUps
    reporter: Reporter


def build_desks(base: Base, force: InForce, watching: Watching, dispatcher: Dispatcher) -> Desks:
    """The desks, for the configuration in force."""
    monitor, clock, run_soon = watching.monitor, base.clock, watching.scheduler.run_soon
    pings = PingDesk(base.shared.get(Book), monitor, clock, base.shared, base.redactor.text, run_soon)
    pings.replace(force.probes)
    tasks = TaskDesk(base.shared.get(TaskBook), monitor, clock, base.shared, base.redactor.text, run_soon)
    tasks.replace(force.probes)
    follow_ups = FollowUps(monitor, base.store, clock)

    async def coming(until: float) -> Sequence[Upcoming]:
        return (*await tasks.coming(monitor.setup, until), *follow_ups.coming(until))

    reporter = Reporter(
        lambda: force.loaded.reports,
        lambda: force.specs,
        monitor,
        Records(base.store, file_of(force.loaded.store.url)),
        dispatcher,
        clock.now,
        base.since,
        coming,
        lambda: force.loaded.status_page,
        lambda: force.loaded.canaries,
    )
    return Desks(pings, tasks, follow_ups, reporter)
